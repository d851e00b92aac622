"""A visitor's own mask: files are brought, checked, and used for this visitor alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.checks import checked_line
from lape.demo.loaded import Loaded
from lape.demo.masks.listing import QUIETLY
from lape.demo.part import Outputs, failures_to, visitor_of
from lape.demo.status import sentences, status
from lape.demo.uploads import files_of
from lape.demo.words import say, word
from lape.errors import LapeError, LapeWarning
from lape.masks.mask import NeuronMask
from lape.masks.released import read_released
from lape.models.architectures import activation_sites
from lape.recording.statistics import ActivationStatistics
from lape.storage.names import STATISTICS_NAME

SUFFIXES = (".safetensors", ".pth")
MOST_LANGUAGES = 100  # of a mask; more would make every menu of the page endless


@dataclass(frozen=True)
class MaskUpload:
    """The components other sections of the tab read from.

    Attributes:
        files: What was brought.
        codes: The languages of a released mask.
        used: The event after which another mask may be in use.
    """

    files: gr.File
    codes: gr.Textbox
    used: Any


def build_upload(backend: Backend) -> MaskUpload:
    """Adds the section to the tab that is being built."""
    with gr.Accordion(word("masks.upload"), open=False, elem_id="lape-upload"):
        gr.Markdown(word("masks.upload_about"))
        with gr.Row():
            files = gr.File(
                file_count="multiple",
                file_types=[*SUFFIXES],
                label=word("masks.files"),
                height=150,
                min_width=260,
                elem_id="lape-upload-files",
            )
            codes = gr.Textbox(
                label=word("masks.codes"),
                info=word("masks.codes_info"),
                placeholder="en zh fr es vi id ja",
                min_width=260,
            )
        with gr.Row(elem_classes="lape-actions"):
            use = gr.Button(
                word("masks.use_files"), variant="primary", min_width=230, scale=0, elem_id="lape-upload-use"
            )
            line = gr.HTML(status(""), elem_id="lape-upload-status", min_width=240)

    @failures_to(line)
    def uploading(request: gr.Request, brought: Any, named: Any) -> Outputs:
        made = backend.change(visitor_of(request), lambda loaded: uploaded(loaded, brought, named))
        mask = made.known_mask
        said = say(
            "masks.brought",
            file=mask.metadata["uploaded"],
            languages=say("said.languages", count=len(mask.languages)),
            neurons=say("said.neurons", count=sum(map(mask.count, mask.languages))),
        )
        return {line: status(sentences(said, *made.notes))}

    used = use.click(uploading, [files, codes], line, **QUIETLY)
    return MaskUpload(files, codes, used)


def uploaded(loaded: Loaded, brought: Any, named: Any) -> Loaded:
    """What is loaded, with the mask of uploaded files.

    Args:
        loaded: The model the mask is for.
        brought: What gradio gives for uploaded files; anything at all from a hostile client.
        named: Codes of a released mask's languages, separated by spaces or commas.

    Raises:
        LapeError: There is not one mask, or it is damaged, hostile, too large, or not for this model.
    """
    files = _files(brought)
    masks = [file for file in files if file.name != STATISTICS_NAME]
    if len(masks) != 1 or len(files) > 2:
        listed = ", ".join(repr(file.name) for file in files[:5])
        raise LapeError(say("masks.bring_one", statistics=STATISTICS_NAME, files=listed))
    codes = checked_line(named, "list of languages").replace(",", " ").split()
    (file,) = masks
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LapeWarning)
        try:
            mask = _mask(file, loaded, codes)
            statistics = [ActivationStatistics.load(beside) for beside in files if beside != file]
        except LapeError as error:  # where uploads are kept on this machine is nobody's business
            raise type(error)(str(error).replace(f"{file.parent}/", "").replace(f"{files[-1].parent}/", "")) from None
    if len(mask.languages) > MOST_LANGUAGES:
        given = {"file": repr(file.name), "count": len(mask.languages), "most": MOST_LANGUAGES}
        raise LapeError(say("masks.too_many_languages", **given))
    mask = replace(mask, metadata={**mask.metadata, "uploaded": file.name})
    notes = [str(warning.message).replace(f"{file.parent}/", "") for warning in caught]
    return loaded.with_mask(mask, statistics[0] if statistics else None, notes)


def _mask(file: Path, loaded: Loaded, codes: Sequence[str]) -> NeuronMask:
    if file.suffix == ".pth":
        return read_released(file, loaded.name, languages=codes or None, shape=activation_sites(loaded.model).shape)
    return NeuronMask.load(file)


def _files(brought: Any) -> list[Path]:
    """The files, if they can be masks and statistics.

    Raises:
        LapeError: There is none, or one is something else.
    """
    files = [file.path for file in files_of(brought)]
    if not files:
        raise LapeError(say("masks.bring_file"))
    for file in files:
        if file.suffix not in SUFFIXES:
            raise LapeError(say("masks.no_mask_file", file=repr(file.name)))
    return files
