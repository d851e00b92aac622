"""Forms of values that were read from a file, which may be anybody's: what each place must hold, in words.

A form says whether a value fits, and which parts of it have forms of their own. `misfit` names the first place that
does not fit:

    >>> form = record({"name": TEXT, "points": listing(COUNT)})
    >>> misfit({"name": "a", "points": [1, -1]}, form)
    'points.1 as a whole number'
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lape.storage.names import LABEL

LONGEST = 300  # characters of a text
MOST = 100_000  # of a list or a mapping
LARGEST = 10**15  # of a number

_MISSING = object()
Part = tuple[str, Any, "Form"]


def _no_parts(value: Any) -> Iterable[Part]:
    return ()


@dataclass(frozen=True)
class Form:
    """A form of values.

    Attributes:
        text: What it is, in words.
        fits: Whether a value has it, its parts aside.
        parts: Names, values and forms of the parts of a value that fits.
    """

    text: str
    fits: Callable[[Any], bool]
    parts: Callable[[Any], Iterable[Part]] = _no_parts


def misfit(value: Any, form: Form) -> str | None:
    """The first place at which a value has not its form, and that form, in words; None where all fits."""
    found = _misfit(value, form)
    if found is None:
        return None
    names, expected = found
    return f"{'.'.join(reversed(names)) or 'content'} as {expected.text}"


def _misfit(value: Any, form: Form) -> tuple[list[str], Form] | None:
    if not form.fits(value):
        return [], form
    for name, part, expected in form.parts(value):
        if found := _misfit(part, expected):
            found[0].append(shown(name))
            return found
    return None


def shown(name: str) -> str:
    """A name of somebody else's in one short printable line, escaped where it is not one."""
    return name if len(name) <= 40 and name.isprintable() else reprlib.repr(name)


def is_text(value: Any, longest: int = LONGEST) -> bool:
    """Whether this is one line of text that can be shown."""
    return isinstance(value, str) and len(value) <= longest and value.isprintable()


def is_count(value: Any) -> bool:
    """Whether this is a whole number from 0 that a computer can hold."""
    return type(value) is int and 0 <= value <= LARGEST


def is_label(value: Any) -> bool:
    """Whether this can be the label of a language."""
    return isinstance(value, str) and LABEL.fullmatch(value) is not None


def is_number(value: Any) -> bool:
    """Whether this is a finite number; no larger than figures are."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def nullable(form: Form) -> Form:
    """The form, or null."""
    return Form(
        f"{form.text}, or null",
        lambda value: value is None or form.fits(value),
        lambda value: () if value is None else form.parts(value),
    )


def record(required: Mapping[str, Form], optional: Mapping[str, Form] | None = None) -> Form:
    """A mapping with these keys; others may hold anything."""

    def parts(value: Mapping[str, Any]) -> Iterable[Part]:
        for key, form in required.items():
            yield key, value.get(key, _MISSING), form
        for key, form in (optional or {}).items():
            if key in value:
                yield key, value[key], form

    return Form("a mapping", lambda value: isinstance(value, dict), parts)


def mapping(of: Form, key: Form | None = None, *, least: int = 0, most: int = MOST) -> Form:
    """A mapping of as many values as there are.

    Args:
        of: Form of the values.
        key: Form of the keys; None is one line of text.
        least: How many there must be.
        most: How many there may be.
    """
    named = key or TEXT
    size = f" of {least} to {most:,}" if least else f" of at most {most:,}" if most < MOST else ""
    return Form(
        f"a mapping{size}, each key {named.text}",
        lambda value: isinstance(value, dict) and least <= len(value) <= most and all(map(named.fits, value)),
        lambda value: ((name, each, of) for name, each in value.items()),
    )


def listing(of: Form, *, least: int = 0, most: int = MOST) -> Form:
    """A list of values of one form."""
    size = f"{least} to {most:,}" if least else f"at most {most:,}"
    return Form(
        f"a list of {size}",
        lambda value: isinstance(value, list) and least <= len(value) <= most,
        lambda value: ((str(place), each, of) for place, each in enumerate(value)),
    )


TEXT = Form("one line of text", is_text)
LONG_TEXT = Form("one line of text", lambda value: is_text(value, 20_000))
WRITTEN = Form("text of at most 20,000 characters", lambda value: isinstance(value, str) and len(value) <= 20_000)
COUNT = Form("a whole number", is_count)
NUMBER = Form("a number", is_number)
SHARE = Form("a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)
FLAG = Form("true or false", lambda value: isinstance(value, bool))
LABELLED = Form("a label, 1 to 32 of A-Z, a-z, 0-9, _ and -", is_label)
ANYTHING = Form("anything", lambda value: value is not _MISSING)
