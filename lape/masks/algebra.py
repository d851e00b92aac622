"""Masks from masks: union, intersection and difference, language by language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch

from lape.masks.columns import columns_of
from lape.masks.indices import pairs_of

Choose = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Mask(Protocol):
    """What is read of a mask here."""

    @property
    def neurons(self) -> Mapping[str, torch.Tensor]: ...

    @property
    def shape(self) -> tuple[int, int]: ...

    def flat(self, language: str) -> torch.Tensor: ...


def union(mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Flat indices of either, sorted."""
    return torch.cat([mine, theirs]).unique()


def intersection(mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Flat indices of both, in the order of the first."""
    return mine[torch.isin(mine, theirs)]


def difference(mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Flat indices of the first that are not in the second, in its order."""
    return mine[~torch.isin(mine, theirs)]


def alike(mine: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> bool:
    """Whether two columns say the same of the same languages."""
    return mine.keys() == theirs.keys() and all(torch.equal(mine[code], theirs[code]) for code in mine)


def combined(one: Mask, other: Mask, choose: Choose) -> dict[str, Any]:
    """The neurons that are chosen from two masks of one shape, and their columns, by the names of a mask's fields.

    The languages of either are kept. A column that defines a mask is kept for the languages in which both sides that
    have the language know it; where both know a neuron, the first says its number. Other columns are dropped.

    Args:
        one: A mask.
        other: Of the same shape.
        choose: Gives a language's flat indices from those of the two.
    """
    empty = torch.empty(0, dtype=torch.long)
    kept: dict[str, Any] = {name: {} for name in ("neurons", *columns_of(type(one)))}
    for code in dict.fromkeys((*one.neurons, *other.neurons)):
        sides = [mask for mask in (one, other) if code in mask.neurons]
        chosen = choose(*(mask.flat(code) if code in mask.neurons else empty for mask in (one, other)))
        kept["neurons"][code] = pairs_of(chosen, one.shape[1])
        for name, column in columns_of(type(one)).items():
            if column.defines and all(code in getattr(mask, name) for mask in sides):
                known: dict[int, float] = {}
                for mask in reversed(sides):
                    known |= dict(zip(mask.flat(code).tolist(), getattr(mask, name)[code].tolist(), strict=True))
                kept[name][code] = torch.tensor([known[index] for index in chosen.tolist()], dtype=torch.float32)
    return kept
