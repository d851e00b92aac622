"""What the parts of the page have in common: how their events run, and how they follow what is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Outputs = dict[Any, Any]
QUIET: dict[str, Any] = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}  # one use of the model at a time


@dataclass(frozen=True)
class Part:
    """A part of the page that shows what is loaded.

    Attributes:
        refresh: Gives its components their state for what is loaded now.
        outputs: The components it may change.
        changes: Events after which something else may be loaded.
    """

    refresh: Callable[[], Outputs]
    outputs: list[Any]
    changes: tuple[Any, ...] = ()
