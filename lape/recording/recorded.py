"""What methods identify neurons from: recordings of a model over text in several languages."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch

from lape.errors import BadFile, LapeError, unknown_label
from lape.languages import NOISE
from lape.storage.brief import listed, on_one_line


class Recorded(ABC):
    """A recording of every neuron of one model.

    Attributes:
        what: What it is called, such as "activation statistics".
        file: The name of its file in a folder.
        command: What records it.
        tokens: Language code to number of tokens read.
        metadata: Where it comes from; the keys are those of statistics (`lape/recording/statistics.py`).
    """

    what: ClassVar[str]
    file: ClassVar[str]
    command: ClassVar[str]
    tokens: Mapping[str, int]
    metadata: Mapping[str, Any]

    def __repr__(self) -> str:
        return recording_text(self)

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages to tell apart, sorted: all that were recorded, without the noise."""
        return tuple(sorted(set(self.tokens) - {NOISE}))

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """`(layers, neurons)`."""

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that have neurons."""
        return tuple(self.metadata.get("layers", range(self.shape[0])))

    @abstractmethod
    def mean(self, language: str) -> torch.Tensor:
        """What switches each neuron on in a language, such as its mean activation: float64 `[layers, neurons]`."""

    def probability(self, language: str) -> torch.Tensor:
        """Share of a language's tokens at which each neuron was active: float64 `[layers, neurons]`.

        Raises:
            LapeError: It was not counted.
        """
        raise LapeError(f"It was not counted how often neurons are active for these {self.what}.")

    def quantile(self, language: str, share: float, neurons: torch.Tensor | slice) -> torch.Tensor:
        """What each neuron's activation is at most for a share of the language's tokens or texts.

        Args:
            language: Its code.
            share: From 0, the lowest activation, to 1, the highest.
            neurons: Flat indices.

        Returns:
            float64 `[n]`.

        Raises:
            LapeError: It was not recorded.
        """
        raise LapeError(
            f"There are no quantiles in these {self.what}. Take activation histograms (lape record --histograms) for "
            "those over tokens, or means of texts (lape record --texts) for those over texts."
        )

    @abstractmethod
    def of_layers(self, layers: Sequence[int]) -> Self:
        """The same of some layers, in this order; the metadata stays that of all."""

    @abstractmethod
    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes its file; the same recording gives the same bytes."""

    @classmethod
    @abstractmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads its file.

        Raises:
            BadFile: It is missing or damaged, or its tensors do not fit each other.
        """

    def provenance(self, languages: Sequence[str]) -> dict[str, Any]:
        """What was read for some languages and how: tokens, corpora, dtype, quantization, library, date."""
        found = {key: self.metadata.get(key) for key in ("dtype", "quantization", "library", "date")}
        corpora = self.metadata.get("corpora", {})
        by_language = {"tokens": {code: self.tokens[code] for code in languages}}
        return {**found, **by_language, "corpora": {code: corpora.get(code, []) for code in languages}}

    @classmethod
    def load_from(cls, folder: Path, reader: str) -> Self:
        """Reads its file in a folder.

        Args:
            folder: Such as that of a mask.
            reader: What needs it, for the error.

        Raises:
            BadFile: As `load`; where it is missing, says how to make it.
        """
        if not (file := folder / cls.file).is_file():
            raise BadFile(f"There is no file {str(file)!r}. {reader} reads it; make it with {cls.command}.")
        return cls.load(file)

    def known(self, language: str) -> str:
        """Returns a language code, or raises when it was not recorded."""
        if language not in self.tokens:
            raise unknown_label(f"language in these {self.what}", language, self.tokens)
        return language


class _Described(Protocol):
    """What is said of a recording in one line."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def tokens(self) -> Mapping[str, int]: ...

    @property
    def metadata(self) -> Mapping[str, Any]: ...


def recording_text(recorded: _Described, columns: str = "neurons") -> str:
    """A recording in one line: model, languages, tokens, shape.

    Args:
        recorded: The recording.
        columns: What it has of each layer.
    """
    of = f" of {on_one_line(recorded.metadata['model'])[:80]}" if recorded.metadata.get("model") else ""
    tokens, codes = recorded.tokens, sorted(recorded.tokens)
    fewest, most = min(tokens.values(), default=0), max(tokens.values(), default=0)
    each = f"{most:,} tokens each" if fewest == most else f"{fewest:,} to {most:,} tokens each"
    languages = f"{len(codes)} language{'' if len(codes) == 1 else 's'}"
    layers, width = recorded.shape
    said = f"{languages} ({listed(codes)}), {each}, {layers} layers x {width} {columns}"
    return f"<{type(recorded).__name__}{of}: {said}>"
