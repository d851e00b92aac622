"""How good a finished text is, in a word: fluent, strained or broken.

Three signs are looked at: how much of it repeats itself, how much of it is words, and what it costs the untouched
model. The language of a text says nothing of that: a classifier told `[10]०४६][103]५८९]` to be Hindi with 99 %. The
limits were chosen on texts of Gemma 3 270M that were judged by hand; see docs/measuring.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lape.evaluation.metrics.language import MIN_WIDTH, Identified, text_width
from lape.evaluation.metrics.repetition import repeated_share

Word = Literal["fluent", "strained", "broken"]
Reason = Literal["no_language", "repeats", "no_words", "costly"]
FLUENT: Word = "fluent"
STRAINED: Word = "strained"
BROKEN: Word = "broken"
SHORTEST_COLUMNS = 10  # of a text that can be seen to be broken; nothing else is said of one under MIN_WIDTH
# The first limit of a sign is that of a strained text, the second of a broken one.
REPEATED_SHARES = (0.2, 0.3)
TAG = re.compile(r"<[^<>\n]{1,40}>")
OTHER_SHARES = (0.25, 0.6)  # of what is in no word
COSTS_NATS = (3.2, 5.5)


@dataclass(frozen=True)
class Quality:
    """How good a text is.

    Attributes:
        word: `fluent`, `strained` or `broken`: the worst that a sign says.
        reasons: The signs that say so; none of a fluent text.
        repeated_share: Share of its character 8-grams that occurred before in it.
        word_share: Share of its characters, spaces aside, that are in words.
        cost_nats: What it costs the untouched model, per token; None where that was not measured.
    """

    word: Word
    reasons: tuple[Reason, ...]
    repeated_share: float
    word_share: float
    cost_nats: float | None = None


def judge(text: str, told: Identified, cost_nats: float | None = None) -> Quality | None:
    """Judges a text.

    Args:
        text: As a model wrote it.
        told: What an identifier says of it.
        cost_nats: What it costs the untouched model, per token; None while that is not known, when no text is fluent
            yet.

    Returns:
        Its quality; None of a text that is too short to say, or where only the cost could tell.

    Example:
        >>> judge("[10]०४६][103]५८९][12]०४", Identified("hi", 0.99)).word
        'broken'
    """
    if (width := text_width(text.strip())) < SHORTEST_COLUMNS:
        return None
    unsaid = cost_nats is None or width < MIN_WIDTH
    repeated, words = repeated_share(text), word_share(text)
    levels: Mapping[Reason, int] = {
        "no_language": 2 * told.gibberish,
        "repeats": _level(repeated, REPEATED_SHARES),
        "no_words": _level(1 - words, OTHER_SHARES),
        "costly": 0 if unsaid or cost_nats is None else _level(cost_nats, COSTS_NATS),
    }
    worst = max(levels.values())
    if unsaid and worst < 2:
        return None
    word = (FLUENT, STRAINED, BROKEN)[worst]
    reasons = tuple(reason for reason, level in levels.items() if level == worst > 0)
    return Quality(word, reasons, repeated, words, cost_nats)


def word_share(text: str) -> float:
    """Share of a text's characters, spaces aside, that are in words: two letters or more, or an ideograph.

    Markup is no words.

    Example:
        >>> word_share("A cat is x of 3")  # cat, is and of, of 10 characters
        0.7
    """
    kinds = "".join(map(_kind, TAG.sub(lambda tag: "-" * len(tag[0]), text)))
    shown = len(kinds) - kinds.count(" ")
    return sum(len(found) for found in re.findall("[lm]{2,}|w[wlm]*", kinds)) / shown if shown else 0.0


def _kind(character: str) -> str:
    """`w` of a wide letter, `l` of another, `m` of a mark or joiner, a space, or `-` of all else."""
    category = unicodedata.category(character)
    if category[0] == "L":
        return "w" if unicodedata.east_asian_width(character) in "WF" else "l"
    if category[0] == "M" or category == "Cf":
        return "m"
    return " " if character.isspace() else "-"


def _level(value: float, limits: tuple[float, float]) -> int:
    """How many limits a value is over."""
    return sum(value > limit for limit in limits)
