"""The columns of a mask: numbers that each of its neurons has, declared where `NeuronMask` has their field.

A column is one field of `NeuronMask`, language code to `[n]` in the order of the neurons, annotated with a
`NeuronColumn`. Everything that handles columns asks `columns_of`: the checks, the mask's file, choosing neurons and
languages, set algebra and equality.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_type_hints

import torch

from lape.errors import BadFile
from lape.storage.names import NUMBERS, types_text

Column = Mapping[str, torch.Tensor]  # language code to [n]


@dataclass(frozen=True)
class NeuronColumn:
    """What is known of a column.

    Attributes:
        key: Its tensors in the mask's file are `<key>.<code>`.
        text: What its numbers are, for errors.
        low: The lowest number there may be; None has no bound.
        high: The highest.
        defines: Whether masks with other numbers are other masks, and whether the union of two masks still has them.
    """

    key: str
    text: str
    low: float | None = None
    high: float | None = None
    defines: bool = False

    def checked(self, given: Column, order: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The numbers as float32, in the order of the neurons.

        Args:
            given: Language code to `[n]`; languages may be missing.
            order: Language code to the int64 `[n]` places of its neurons.

        Raises:
            BadFile: A language is unknown, or has another number of them, or they are not finite or out of range.
        """
        if extra := set(given) - set(order):
            raise BadFile(f"The mask has {self.text} but no neurons for {', '.join(sorted(extra))}.")
        numbers = {}
        for code, read in given.items():
            if read.dtype not in NUMBERS:
                wrong = f"{types_text(read.dtype)}, not numbers in one of {types_text(*NUMBERS)}"
                raise BadFile(f"The mask has {self.text} for {code!r} as {wrong}.")
            if read.dim() != 1:
                raise BadFile(f"The mask has {self.text} for {code!r} as {list(read.shape)}, not as a list.")
            if len(read) != len(order[code]):
                raise BadFile(f"There are {len(order[code])} neurons for {code!r} but {len(read)} {self.text}.")
            numbers[code] = values = read.float()
            if not values.isfinite().all():
                raise BadFile(f"The mask has {self.text} for {code!r} that are not finite numbers in float32.")
            below = self.low is not None and bool((values < self.low).any())
            if below or (self.high is not None and bool((values > self.high).any())):
                raise BadFile(f"The mask has {self.text} for {code!r} that are not {self._range()}.")
        return {code: values[order[code]] for code, values in numbers.items()}

    def _range(self) -> str:
        if self.low is None:
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high is None else f"from {self.low:g} to {self.high:g}"


def columns_of(mask: type) -> dict[str, NeuronColumn]:
    """The columns by the names of their fields."""
    told = {name: getattr(hint, "__metadata__", ()) for name, hint in get_type_hints(mask, include_extras=True).items()}
    return {name: each for name, about in told.items() for each in about if isinstance(each, NeuronColumn)}
