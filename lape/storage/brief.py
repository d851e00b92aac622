"""What values say of themselves in one line: at a prompt, in a notebook, in a log."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

import torch

NAMED = 8  # languages of a longer list that are named
CHARACTERS = 300  # of a value within another one


class _Brief(reprlib.Repr):
    """Shortens what is long; of a tensor it says what it is, not what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.maxtuple = self.maxlist = 4
        self.maxdict, self.maxstring, self.maxother = 2, 60, CHARACTERS

    def repr1(self, value: Any, level: int) -> str:
        if isinstance(value, torch.Tensor):
            return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
        return self.repr_dict(dict(value), level) if isinstance(value, Mapping) else super().repr1(value, level)


_SHORT = _Brief()


def brief(value: Any) -> str:
    """A dataclass in one line, for its `__repr__`: fields that are not what they would be by default.

    Example:
        >>> from lape.inspection.firing import Fired
        >>> Fired("été", 2, "fr", {"fr": 0.5, "es": 0.25, "de": 0.0}, {})
        Fired(text='été', tokens=2, language='fr', shares={'de': 0.0, 'es': 0.25, ...}, levels={})
    """
    now = {field.name: getattr(value, field.name) for field in fields(value)}
    told = [field.name for field in fields(value) if field.default is MISSING or now[field.name] != field.default]
    return f"{type(value).__name__}({', '.join(f'{name}={_SHORT.repr(now[name])}' for name in told)})"


def on_one_line(value: object) -> str:
    """Text of a file without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in str(value))


def listed(names: Sequence[str]) -> str:
    """Names in a row, of many the first ones.

    Example:
        >>> listed(["fr", "es"]), listed([str(place) for place in range(10)])
        ('fr, es', '0, 1, 2, 3, 4, 5, 6, 7 and 2 more')
    """
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return on_one_line(f"{', '.join(names[:NAMED])}{more}")
