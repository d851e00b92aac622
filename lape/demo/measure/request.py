"""What a visitor asks to be measured, checked: nothing that arrives is trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lape.demo.checks import STRENGTH, checked_mode, checked_name, checked_number, checked_text
from lape.demo.languages import name_of
from lape.demo.words import say
from lape.errors import LapeError, UnknownLabel
from lape.evaluation.metrics.conditions import Setting
from lape.evaluation.metrics.openings import openings

TEXTS = 4  # languages at a time
TEXT_CHARACTERS = 4000  # of each; of its tokens, `own_costs` reads the first
OPENINGS, OPENING_CHARACTERS = 10, 300  # how many, and of each on average


@dataclass(frozen=True)
class SteeringRequest:
    """Openings of one language to be steered to another.

    Attributes:
        openings: At least one.
        source: Their language.
        target: Another one.
        setting: How.
    """

    openings: tuple[str, ...]
    source: str
    target: str
    setting: Setting


def checked_texts(languages: Sequence[str], rows: Sequence[tuple[Any, Any]]) -> dict[str, str]:
    """Texts by language, from untrusted pairs of language and text; those without text are left out.

    Raises:
        LapeError: There is none, one is too long, or two are of one language.
    """
    found: dict[str, str] = {}
    for code, given in rows:
        text = checked_text("text", "" if given is None else given, TEXT_CHARACTERS)
        if not text.strip():
            continue
        code = checked_name("language of a text", code, languages)
        if code in found:
            raise LapeError(say("measured.twice", language=name_of(code)))
        found[code] = text
    if not found:
        raise LapeError(say("measured.no_text"))
    return found


def checked_steering(
    languages: Sequence[str], given: Any, source: Any, target: Any, strength: Any, mode: Any
) -> SteeringRequest:
    """What to steer, from untrusted values.

    Raises:
        LapeError: One of them is not what it should be.
    """
    text = checked_text("openings", "" if given is None else given, OPENINGS * OPENING_CHARACTERS)
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        raise LapeError(say("measured.no_opening"))
    if len(lines) > OPENINGS:
        raise LapeError(say("measured.too_many", openings=len(lines), most=OPENINGS))
    source = checked_name("language of the openings", source, languages)
    target = checked_name("language to steer to", target, languages)
    if source == target:
        raise LapeError(say("measured.same", language=name_of(source)))
    setting = Setting(checked_mode(mode), checked_number(STRENGTH, strength))
    return SteeringRequest(lines, source, target, setting)


def example_openings(code: str) -> list[str]:
    """The project's own openings in a language; none where there are none."""
    try:
        return openings(code)
    except UnknownLabel:
        return []
