"""What is measured: a mask, what lies beside it, its model, and held-out text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.evaluation.metrics.perplexity import text_blocks
from lape.evaluation.runs.evidence import FOLDER, text_hash
from lape.identify import reads
from lape.masks.mask import NeuronMask
from lape.models.identity import identity
from lape.recording.beginnings import check_beginning, prefix_of
from lape.recording.groups import BlockGroups
from lape.recording.recorded import Recorded
from lape.recording.residual_means import ResidualMeans
from lape.recording.sources import Source
from lape.recording.statistics import ActivationStatistics
from lape.storage.files import sha256_of
from lape.storage.names import GROUPS_NAME, MASK_NAME, RESIDUALS_NAME, STATISTICS_NAME


@dataclass(frozen=True)
class Subject:
    """What is measured: a mask, what lies beside it, and its model, which is loaded when needed.

    Attributes:
        folder: Holds `mask.safetensors`, and what there is of the recording.
        load: Gives the model and its tokenizer.
        corpora: Held-out text by language; empty where none was named.
        languages: To be switched and measured; empty takes all of the mask.
        out: Folder of its evidence; None is `evidence` beside the mask.
        recording: Folder of the statistics and what is recorded beside them; None is the mask's.
        elsewhere: Held-out text of another domain, by language.
    """

    folder: Path
    load: Callable[[], tuple[PreTrainedModel, Tokenizer]]
    corpora: Mapping[str, Source] = field(default_factory=dict)
    languages: tuple[str, ...] = ()
    out: Path | None = None
    recording: Path | None = None
    elsewhere: Mapping[str, Source] = field(default_factory=dict)

    @property
    def evidence_folder(self) -> Path:
        """Where its evidence goes."""
        return self.out or self.folder / FOLDER

    @cached_property
    def whole_mask(self) -> NeuronMask:
        """The mask with every language it was identified among."""
        return NeuronMask.load(self.folder)

    @cached_property
    def mask(self) -> NeuronMask:
        """The mask with the languages that are measured."""
        return self.whole_mask.only(self.languages or self.whole_mask.languages)

    @cached_property
    def statistics(self) -> ActivationStatistics | None:
        """Those beside the mask, if any."""
        file = self._place(STATISTICS_NAME)
        return ActivationStatistics.load(file) if file.is_file() else None

    def has(self, method: str) -> bool:
        """Whether the recording that a method identifies neurons from is there."""
        return self._place(reads(method).file).is_file()

    def recorded(self, method: str) -> Recorded:
        """The recording that a method identifies neurons from.

        Raises:
            LapeError: There is none, it is damaged, or there is no such method.
        """
        wanted = reads(method)
        if wanted is ActivationStatistics and self.statistics is not None:
            return self.statistics
        if not self.has(method):
            raise LapeError(f"There is no {wanted.file} beside the mask; make it with {wanted.command}.")
        return wanted.load(self._place(wanted.file))

    @cached_property
    def residuals(self) -> ResidualMeans | None:
        """The means of the residual stream beside the mask, if any."""
        file = self._place(RESIDUALS_NAME)
        return ResidualMeans.load(file) if file.is_file() else None

    @cached_property
    def groups(self) -> BlockGroups | None:
        """The counts of groups of blocks beside the mask, if any."""
        file = self._place(GROUPS_NAME)
        return BlockGroups.load(file) if file.is_file() else None

    @cached_property
    def loaded(self) -> tuple[PreTrainedModel, Tokenizer]:
        """The model and its tokenizer; refuses one the mask is not for."""
        self.whole_mask  # noqa: B018  # a damaged mask is cheaper to find out than a model to load
        model, tokenizer = self.load()
        self.whole_mask.check(model)
        check_beginning(self.whole_mask.metadata, tokenizer)
        return model, tokenizer

    def text(self) -> dict[str, Source]:
        """Held-out text of the languages of the mask.

        Raises:
            LapeError: There is none.
        """
        found = {code: self.corpora[code] for code in self.mask.languages if code in self.corpora}
        if not found:
            raise LapeError("This is measured on held-out text in the mask's languages: name it with --corpus.")
        return found

    def blocks(self, tokens: int, block: int) -> dict[str, list[torch.Tensor]]:
        """The same as blocks of tokens."""
        return text_blocks(self.loaded[1], self.text(), tokens=tokens, block=block)

    def settings(self, **other: Any) -> dict[str, Any]:
        """What every run on this mask depends on, and what else one does."""
        about = {key: self.whole_mask.metadata.get(key) for key in ("method", "settings", "model", "revision")}
        mask = {**about, "model": _public(about["model"]), "sha256": self.hash_of(MASK_NAME)}
        return {"mask": mask, "languages": list(self.mask.languages), **other}

    def model_settings(self) -> dict[str, Any]:
        """The model that is loaded, and the ids that it reads before text where its tokenizer puts some there."""
        model, tokenizer = self.loaded
        found = asdict(identity(model))
        before = prefix_of(tokenizer)
        return {**found, "model": _public(found["model"]), **({"bos": before} if before else {})}

    def text_settings(self, blocks: Mapping[str, Sequence[torch.Tensor]]) -> dict[str, Any]:
        """Which text is measured."""
        return {code: text_hash(self.corpora[code], some) for code, some in blocks.items()}

    def hash_of(self, name: str) -> str | None:
        """The SHA-256 of a file beside the mask; None where there is none."""
        file = self._place(name)
        return sha256_of(file) if file.is_file() else None

    def _place(self, name: str) -> Path:
        return (self.folder if name == MASK_NAME else self.recording or self.folder) / name


def _public(model: Any) -> str:
    """A model's name; of a folder on this machine its own name only."""
    return Path(str(model)).name if Path(str(model)).is_absolute() else str(model)
