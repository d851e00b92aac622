"""What the sections share: how figures and languages are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lape.drawing.charts import Matrix, Measured
from lape.languages import LANGUAGES, base_language, by_family


def interval(found: Mapping[str, Any]) -> Measured:
    """A figure as evidence keeps it: value, and low and high where it has an interval."""
    return Measured(found["value"], found.get("low"), found.get("high"))


def in_percent(found: Mapping[str, Any]) -> Measured:
    """A share as evidence keeps it, in percent or percentage points, with its interval."""
    share = interval(found)
    low, high = (None if end is None else 100 * end for end in (share.low, share.high))
    return Measured(100 * share.value, low, high)


def related(matrix: Matrix) -> Matrix:
    """A matrix of languages with relatives beside each other, in its rows and in its columns."""
    return {one: {other: matrix[one][other] for other in by_family(matrix[one])} for one in by_family(matrix)}


def mean(values: Iterable[float]) -> float:
    """The arithmetic mean."""
    listed = list(values)
    return sum(listed) / len(listed)


def named(code: str) -> str:
    """A language's English name and its code or tag; a label that is not known as it is.

    Example:
        >>> named("pt-BR"), named("legal")
        ('Portuguese (pt-BR)', 'legal')
    """
    known = LANGUAGES.get(base_language(code))
    return f"{known.name} ({code})" if known else code


def floored(found: Mapping[str, Any]) -> str:
    """Says that a divisor was too small to divide by."""
    return f" (divisor taken as {found['floor_nats']:g})" if found["floored"] else ""


def percent(share: float | None) -> str:
    """A share in percent; nothing where there is none.

    Example:
        >>> percent(0.905), percent(None)
        ('90 %', '')
    """
    return "" if share is None else f"{100 * share:.0f} %"


def seconds_text(seconds: float) -> str:
    """A duration for people.

    Example:
        >>> seconds_text(42), seconds_text(3725)
        ('42 s', '1 h 2 min')
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
