"""What goes to the Hub: a folder with a mask, checked to the last file before anything is asked of anybody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from lape.errors import BadFile, LapeError, MaskMismatch
from lape.hub.remote import LARGEST_TEXT_BYTES
from lape.masks.collection import LARGEST_BYTES
from lape.masks.indices import size_text
from lape.masks.mask import NeuronMask
from lape.masks.summaries import mask_path
from lape.recording.residual_means import ResidualMeans
from lape.recording.statistics import ActivationStatistics
from lape.recording.top_texts import TopTexts
from lape.recording.vocabulary import TokenCounts
from lape.sharing.cards import Evidence
from lape.sharing.markdown import SLUG
from lape.sharing.readme import own_text
from lape.storage.files import sha256_of
from lape.storage.json import read_json
from lape.storage.names import (
    EVIDENCE_NAME,
    MASK_NAME,
    ORIGIN_NAME,
    PICTURE_NAME,
    README_NAME,
    RESIDUALS_NAME,
    STATISTICS_NAME,
    SUMMARY_NAME,
    TOP_TEXTS_NAME,
    VOCABULARY_NAME,
)
from lape.storage.placing import settle
from lape.storage.schema import LONG_TEXT, TEXT, misfit, record

MADE_HERE = (README_NAME, PICTURE_NAME, ORIGIN_NAME)  # renewed for the Hub, or of this machine only
KNOWN = (
    *(MASK_NAME, SUMMARY_NAME, STATISTICS_NAME, RESIDUALS_NAME, TOP_TEXTS_NAME, VOCABULARY_NAME, EVIDENCE_NAME),
    *MADE_HERE,
)
SAID = record({}, {"title": TEXT, "summary": LONG_TEXT})  # what a card shows of evidence
EVIDENCE = re.compile(r"evidence/[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\.json")


@dataclass(frozen=True)
class Parcel:
    """A folder that may be pushed.

    Attributes:
        mask: Its mask.
        path: Where it goes in a collection, `<org>--<model>/<method>`.
        files: Name in the folder to file, of those that are sent as they are.
        statistics: Those beside the mask, if any.
        evidence: The measurements beside it.
        readme: The text of its README, if it has one.
    """

    mask: NeuronMask
    path: str
    files: Mapping[str, Path]
    statistics: ActivationStatistics | None
    evidence: tuple[Evidence, ...]
    readme: str | None

    @property
    def method(self) -> str:
        """Name of its folder."""
        return self.path.split("/")[1]


def packed(folder: Path) -> Parcel:
    """Checks a folder with a mask; nothing in it is changed.

    Raises:
        BadFile: Something is missing, damaged, too large, or does not belong there; says what.
        MaskMismatch: The statistics, residual means or counts of tokens are of another model.
        LapeError: The mask is not of a model on the Hub.
    """
    files = _files(folder)
    mask = NeuronMask.load(folder / MASK_NAME)
    _check_summary(folder, mask)
    model = str(mask.metadata.get("model", ""))
    if not is_hub_id(model) or Path(model).is_dir():
        raise LapeError(
            f"The mask is of {model or 'an unnamed model'!r}, which is not a model on the Hub but on this machine. "
            "Publish the model, then record with its id, such as `lape record --model owner/name`."
        )
    if not mask.languages:
        raise BadFile("The mask has no languages.")
    statistics = None
    if STATISTICS_NAME in files:
        statistics = ActivationStatistics.load(files[STATISTICS_NAME])
        _check_statistics(mask, statistics)
    if RESIDUALS_NAME in files:
        _check_model(mask, RESIDUALS_NAME, ResidualMeans.load(files[RESIDUALS_NAME]).metadata)
    if TOP_TEXTS_NAME in files:
        _check_top_texts(mask, TopTexts.load(files[TOP_TEXTS_NAME]))
    if VOCABULARY_NAME in files:
        _check_model(mask, VOCABULARY_NAME, TokenCounts.load(files[VOCABULARY_NAME]).metadata)
    evidence = tuple(_evidence(name, file) for name, file in files.items() if name.startswith("evidence/"))
    readme = None
    if README_NAME in files:
        readme = readme_text(files[README_NAME].read_bytes())
    sent = {name: file for name, file in files.items() if name not in MADE_HERE}
    return Parcel(mask, mask_path(model, _method(folder, mask, model)), sent, statistics, evidence, readme)


def is_hub_id(name: str) -> bool:
    """Whether this may be the id of a repo on the Hub, `owner/name`."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def readme_text(content: bytes) -> str:
    """The text of a README that can be updated.

    Raises:
        BadFile: It is not UTF-8, its front matter is not YAML, or it lacks one of our marks.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadFile("README.md is not UTF-8 text. Save it as such first.") from error
    own_text(text)
    return text


def _files(folder: Path) -> dict[str, Path]:
    """Every file of the folder by its name in it; refuses what does not belong there."""
    if not folder.is_dir():
        raise BadFile(f"There is no folder {str(folder)!r}.")
    for place in (folder, folder / "evidence"):  # what a killed process left is not to be pushed
        settle(place)
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    if links := [name for name, path in found.items() if path.is_symlink()]:
        raise BadFile(f"{', '.join(links)} in {str(folder)!r} only link to files. Put the files themselves there.")
    files = {name: path for name, path in found.items() if name != "evidence" or not path.is_dir()}
    stray = [name for name, path in files.items() if not path.is_file() or not _belongs(name)]
    if stray:
        raise BadFile(
            f"{', '.join(stray[:5])}{' and more' if len(stray) > 5 else ''} in {str(folder)!r} cannot be pushed. "
            f"Move them away; there may be {', '.join(KNOWN)}, and .json files in evidence/."
        )
    for name in (MASK_NAME, SUMMARY_NAME):
        if name not in files:
            raise BadFile(f"{str(folder)!r} has no {name}. `lape identify` writes it.")
    for name, path in files.items():
        largest = LARGEST_BYTES if path.suffix == ".safetensors" else LARGEST_TEXT_BYTES
        if (size := path.stat().st_size) > largest:
            raise BadFile(f"{name} has {size / 1e6:,.0f} MB; more than {largest / 1e6:,.0f} MB are not pushed.")
    if sum(path.stat().st_size for path in files.values()) > LARGEST_BYTES:
        raise BadFile(f"{str(folder)!r} has more than {LARGEST_BYTES / 1e9:.0f} GB, which nobody could pull.")
    return files


def _belongs(name: str) -> bool:
    return name in KNOWN or EVIDENCE.fullmatch(name) is not None


def _check_summary(folder: Path, mask: NeuronMask) -> None:
    """Refuses a `mask.json` that says something else than the mask beside it."""
    counts = {label: mask.count(label) for label in mask.languages}
    per_layer = {label: mask.per_layer(label) for label in mask.languages}
    sha256 = sha256_of(folder / MASK_NAME)
    expected = {**mask.metadata, "counts": counts, "counts_per_layer": per_layer, "sha256": sha256}
    summary = read_json(folder / SUMMARY_NAME, name=SUMMARY_NAME)
    if summary != expected:
        given = summary if isinstance(summary, dict) else {}
        wrong = sorted(key for key in given.keys() | expected.keys() if given.get(key) != expected.get(key))
        raise BadFile(
            f"{SUMMARY_NAME} does not belong to {MASK_NAME}: {', '.join(wrong)} differ. Write both again, with "
            "`lape identify` or NeuronMask.save."
        )


def _check_statistics(mask: NeuronMask, statistics: ActivationStatistics) -> None:
    if statistics.shape != mask.shape:
        sizes = f"{size_text(mask.shape)}, {STATISTICS_NAME} of {size_text(statistics.shape)}"
        raise MaskMismatch(f"The mask is of {sizes}. Keep only what belongs together.")
    _check_model(mask, STATISTICS_NAME, statistics.metadata)


def _check_model(mask: NeuronMask, name: str, metadata: Mapping[str, Any]) -> None:
    mine, theirs = mask.metadata["model"], metadata.get("model")
    if mine != theirs:
        raise MaskMismatch(f"The mask is of {mine}, {name} of {theirs}. Keep only what belongs together.")


def _check_top_texts(mask: NeuronMask, found: TopTexts) -> None:
    _check_model(mask, TOP_TEXTS_NAME, found.metadata)
    if found.licence is None:
        raise BadFile(
            f"{TOP_TEXTS_NAME} holds the text it was made from and names no licence of it. Move it away, or record it "
            "with --licence."
        )


def _method(folder: Path, mask: NeuronMask, model: str) -> str:
    """The mask's folder in a collection: the folder's own name below one of the model, else the method's."""
    place = folder.resolve()
    below_model = mask_path(model, place.name) == f"{place.parent.name}/{place.name}"
    method = place.name if below_model else str(mask.metadata.get("method") or "")
    if not SLUG.fullmatch(method):
        raise BadFile(
            f"{method!r} cannot name the mask's folder on the Hub: use up to 64 of A-Z, a-z, 0-9, _, . and -."
        )
    return method


def _evidence(name: str, path: Path) -> Evidence:
    """What a file of measurements says of itself; refuses one that is not what its name says."""
    content = read_json(path, name=name)
    if wrong := misfit(content, SAID):
        raise BadFile(f"{name} does not say its {wrong}.")
    return Evidence(path.name, content.get("title", ""), content.get("summary", ""))
