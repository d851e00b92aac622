"""The settings of a generation and of a switch, and what the page, the command line and the library begin with."""

from __future__ import annotations

import math
from typing import Literal

from lape.errors import LapeError

Mode = Literal["replace", "add", "scale"]
OffMode = Literal["set", "scale"]

# How a language is switched on.
MODE: Mode = "replace"
STRENGTH = 1.25

SETTINGS = ("max_new_tokens", "temperature", "top_p", "repetition_penalty", "seed")  # by name
# Greedy text of a small model repeats itself
# without a penalty.
MAX_NEW_TOKENS = 48
TEMPERATURE = 0.0
TOP_P = 0.9
REPETITION_PENALTY = 1.2
SEED = 0


def check_sampling(max_new_tokens: int, temperature: float, top_p: float, repetition_penalty: float, seed: int) -> None:
    """Refuses settings that are out of range.

    Raises:
        LapeError: Names the setting, its value and what is allowed.
    """
    if not (max_new_tokens >= 1 and max_new_tokens % 1 == 0):
        raise LapeError(f"max_new_tokens must be a whole number from 1, not {max_new_tokens}.")
    if not (math.isfinite(temperature) and temperature >= 0):
        raise LapeError(f"temperature must be 0 (greedy) or more, not {temperature}.")
    if not 0 < top_p <= 1:
        raise LapeError(f"top_p must be above 0 and at most 1, not {top_p}.")
    if not (math.isfinite(repetition_penalty) and repetition_penalty > 0):
        raise LapeError(f"repetition_penalty must be above 0, not {repetition_penalty}.")
    if not 0 <= seed < 2**63:
        raise LapeError(f"seed must be from 0 to 2**63 - 1, not {seed}.")


def layer_range(text: str, layers: int) -> range | None:
    """The layers that a text names: `5-12`, or one of them; None, which is all, of an empty text.

    Args:
        text: What somebody wrote.
        layers: How many the model has.

    Raises:
        LapeError: It names no such layers.

    Example:
        >>> layer_range("5-12", 18), layer_range("3", 18), layer_range("", 18)
        (range(5, 13), range(3, 4), None)
    """
    if not text.strip():
        return None
    first, _, last = (part.strip() for part in text.partition("-"))
    ends = [first, last or first]
    if all(end.isascii() and end.isdigit() and len(end) < 6 for end in ends):
        low, high = map(int, ends)
        if low <= high < layers:
            return range(low, high + 1)
    shown = text if len(text) <= 20 else f"{text[:20]}…"
    raise LapeError(f"Layers are written as 5-12 or 7, from 0 to {layers - 1} here, not {shown!r}.")
