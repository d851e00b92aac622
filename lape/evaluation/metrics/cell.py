"""A cell: one value of a measurement, under a key that names it, so that a run can keep it and go on after a stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Compute = Callable[[], Any]
Cell = Callable[[str, Compute], Any]


def fresh(key: str, compute: Compute) -> Any:
    """Computes a cell and keeps nothing: the default of functions that take a `cell`."""
    return compute()
