"""Checks of what visitors send, for every tab.

Nothing that arrives is trusted: the raw API can send any JSON value in any place.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from lape.demo.words import say
from lape.errors import LapeError
from lape.generation.settings import Mode
from lape.models.inputs import check_characters

PROMPT_CHARACTERS = 2000
LINE_CHARACTERS = 300  # of a name, an id or a path
MODES: tuple[str, ...] = get_args(Mode)


@dataclass(frozen=True)
class Limit:
    """The range of a number, the step of its slider, and its name for people."""

    label: str
    low: float
    high: float
    step: float
    whole: bool = False


STRENGTH = Limit("Strength", 0, 5, 0.05)


def checked_text(what: str, text: object, most: int) -> str:
    """A text of at most so many characters, which may be empty.

    Raises:
        LapeError: It is not that.
    """
    if not isinstance(text, str):
        raise LapeError(say("checks.not_text", what=_called(what), value=shown_value(text)))
    if len(text) > most:
        raise LapeError(say("checks.too_long", what=_called(what), count=len(text), most=most))
    check_characters(text, what)
    return text


def checked_name(what: str, name: object, names: Sequence[str]) -> str:
    """One of some names, such as the codes of languages.

    Raises:
        LapeError: It is none of them.
    """
    if not isinstance(name, str) or name not in names:
        raise _not_one_of(what, names, name)
    return name


def checked_languages(codes: object, known: Sequence[str], *, least: int) -> list[str]:
    """Some of the languages there are, in their order.

    Raises:
        LapeError: They are not a list of known codes, or too few.
    """
    if not isinstance(codes, list) or not all(isinstance(code, str) and code in known for code in codes):
        raise LapeError(say("checks.some_of", names=", ".join(known), value=shown_value(codes)))
    found = [code for code in known if code in codes]
    if len(found) < least:
        raise LapeError(say("checks.at_least", least=least))
    return found


def checked_number(limit: Limit, value: Any) -> float:
    """A number within its range.

    Raises:
        LapeError: It is no number, or outside.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not limit.low <= value or not value <= limit.high or (limit.whole and value != math.floor(value)):
        given = {"what": _called(limit.label), "low": limit.low, "high": limit.high, "value": shown_value(value)}
        raise LapeError(say("checks.whole_number" if limit.whole else "checks.number", **given))
    return int(value) if limit.whole else float(value)


def checked_mode(mode: object) -> Mode:
    """How neurons are switched on.

    Raises:
        LapeError: There is no such mode.
    """
    if not isinstance(mode, str) or mode not in MODES:
        raise _not_one_of("mode", MODES, mode)
    return cast(Mode, mode)


def checked_line(value: Any, what: str) -> str:
    """A short line of text without spaces around it; None is the empty line.

    Raises:
        LapeError: It is not that.
    """
    text = "" if value is None else value
    if not isinstance(text, str) or len(text) > LINE_CHARACTERS or not text.strip().isprintable():
        raise LapeError(say("checks.one_line", what=_called(what), most=LINE_CHARACTERS))
    return text.strip()


def shown_value(value: object) -> str:
    """A value of any kind and size as a short piece of a sentence."""
    return say("checks.empty") if value is None else reprlib.repr(value)


def _not_one_of(what: str, names: Sequence[str], value: object) -> LapeError:
    return LapeError(say("checks.one_of", what=_called(what), names=", ".join(names), value=shown_value(value)))


def _called(what: str) -> str:
    """What was checked, in the language of who asks."""
    name = re.sub(r"\W+", "_", what.lower())
    return say(f"checks.what_{name}")
