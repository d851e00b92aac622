"""Recordings of some numbers for each neuron and language, and the file that holds them.

File: per language code and number `<number>.<code>` `[layers, neurons]`, float32, or int32 of a count; among them
`sum.<code>`, the activation summed over all tokens, and `active.<code>`, the tokens at which it was above 0. One
metadata key `lape` with the keys of statistics (`lape/recording/statistics.py`) and the `kind` of recording.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch

from lape.errors import BadFile
from lape.recording.recorded import Recorded
from lape.storage.files import FORMAT_VERSION, load_tensors, save_tensors
from lape.storage.metadata import check_metadata, warn_of_newer
from lape.storage.names import INTEGERS, NUMBERS


@dataclass(frozen=True, eq=False, repr=False)
class NeuronColumns(Recorded):
    """Some numbers for each neuron of one model and each language.

    Attributes:
        columns: Name of a number to language code to `[layers, neurons]`: float64, or int64 of a count.
        tokens: Language code to number of tokens read.
        metadata: Where they come from; the keys are those of statistics.
        kind: What the file calls this kind of recording.
        numbers: The names of the numbers that are no counts.
        counts: The names of the counts.
    """

    columns: Mapping[str, Mapping[str, torch.Tensor]]
    tokens: Mapping[str, int]
    metadata: Mapping[str, Any]

    kind: ClassVar[str]
    numbers: ClassVar[tuple[str, ...]] = ("sum",)
    counts: ClassVar[tuple[str, ...]] = ("active",)

    @classmethod
    def gathered(cls, made: Mapping[str, Mapping[str, torch.Tensor]], metadata: Mapping[str, Any]) -> Self:
        """From the numbers of each language, and metadata that has the tokens."""
        names = (*cls.numbers, *cls.counts)
        return cls(
            {name: {code: of[name] for code, of in made.items()} for name in names}, metadata["tokens"], metadata
        )

    @property
    def shape(self) -> tuple[int, int]:
        """`(layers, neurons)`."""
        layers, neurons = next(iter(self.columns["sum"].values())).shape
        return layers, neurons

    def column(self, name: str, language: str) -> torch.Tensor:
        """One number of every neuron in a language: `[layers, neurons]`."""
        return self.columns[name][self.known(language)]

    def mean(self, language: str) -> torch.Tensor:
        """Mean activation over the tokens of a language: float64 `[layers, neurons]`."""
        return self.column("sum", language) / self.tokens[language]

    def probability(self, language: str) -> torch.Tensor:
        """Share of a language's tokens at which each neuron was active: float64 `[layers, neurons]`."""
        return self.column("active", language).double() / self.tokens[language]

    def of_layers(self, layers: Sequence[int]) -> Self:
        """The same of some layers, in this order; the metadata stays that of all."""
        rows = list(layers)
        if rows == list(range(self.shape[0])):
            return self
        kept = {name: {code: found[rows] for code, found in column.items()} for name, column in self.columns.items()}
        return replace(self, columns=kept)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file; the same recording gives the same bytes."""
        tensors = {
            f"{name}.{code}": found.float() if name in self.numbers else found.int()
            for name in (*self.numbers, *self.counts)
            for code, found in sorted(self.columns[name].items())
        }
        described = {"kind": self.kind, "format": FORMAT_VERSION, "tokens": dict(self.tokens)}
        save_tensors(path, tensors, {**self.metadata, **described})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a file of this kind.

        Raises:
            BadFile: It is missing or damaged, or its tensors do not fit each other.
        """
        tensors, metadata = load_tensors(path, cls.kind)
        check_metadata(metadata, str(path))
        warn_of_newer(metadata, str(path), FORMAT_VERSION)
        tokens = metadata.get("tokens")
        if not tokens or not all(tokens.values()):
            raise BadFile(f"{str(path)!r} does not say how many tokens were read.")
        shape = tensors.get(f"sum.{next(iter(tokens))}", torch.empty(0)).shape
        columns: dict[str, dict[str, torch.Tensor]] = {name: {} for name in (*cls.numbers, *cls.counts)}
        for name, of_language in columns.items():
            for code in tokens:
                if (found := tensors.get(f"{name}.{code}")) is None:
                    raise BadFile(f"{str(path)!r} lacks the tensor '{name}.{code}'.")
                whole = name in cls.counts
                if found.dtype not in (INTEGERS if whole else NUMBERS) or found.shape != shape or len(shape) != 2:
                    form = f"[layers, neurons] {'whole numbers' if whole else 'numbers'}"
                    raise BadFile(f"{str(path)!r} holds the tensor '{name}.{code}' in another form than {form}.")
                if not found.numel() or not found.isfinite().all() or (whole and found.min() < 0):
                    raise BadFile(f"{str(path)!r} holds numbers out of range in '{name}.{code}'.")
                of_language[code] = found.long() if whole else found.double()
        if any((columns["active"][code] > most).any() for code, most in tokens.items()):
            raise BadFile(f"{str(path)!r} counts a neuron active more often than there were tokens.")
        if any(layer >= shape[0] for layer in metadata.get("layers", ())):
            raise BadFile(f"{str(path)!r} names layers that it holds nothing of.")
        return cls(columns, tokens, metadata)
