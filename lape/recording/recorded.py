"""What methods identify neurons from: recordings of a model over text in several languages."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch

from lape.errors import LapeError, unknown_label
from lape.languages import NOISE


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

    def known(self, language: str) -> str:
        """Returns a language code, or raises when it was not recorded."""
        if language not in self.tokens:
            raise unknown_label(f"language in these {self.what}", language, self.tokens)
        return language
