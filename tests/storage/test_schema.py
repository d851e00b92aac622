"""Forms say which place of a value does not fit, and what it must hold."""

from __future__ import annotations

from typing import Any

import pytest

from lape.storage.schema import (
    COUNT,
    FLAG,
    LABELLED,
    NUMBER,
    SHARE,
    TEXT,
    WRITTEN,
    listing,
    mapping,
    misfit,
    nullable,
    record,
)

FORM = record(
    {"name": TEXT, "figure": NUMBER, "points": listing(COUNT, least=1, most=3)},
    {"share": nullable(SHARE), "languages": mapping(record({"ok": FLAG}), LABELLED, most=2)},
)
FITS = {"name": "a", "figure": -1.5, "points": [0], "share": None, "languages": {"fr": {"ok": True}}, "newer": object()}


def test_what_fits_has_no_misfit() -> None:
    assert misfit(FITS, FORM) is None
    assert misfit({key: FITS[key] for key in ("name", "figure", "points")}, FORM) is None
    assert misfit("a\nb\u202e", WRITTEN) is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": 5}, "name as one line of text"),
        ({"name": "a\nb"}, "name as one line of text"),
        ({"name": "x" * 301}, "name as one line of text"),
        ({"name": "\u202ea"}, "name as one line of text"),
        ({"figure": True}, "figure as a number"),
        ({"figure": float("nan")}, "figure as a number"),
        ({"figure": 1e308}, "figure as a number"),
        ({"figure": 10**400}, "figure as a number"),
        ({"points": []}, "points as a list of 1 to 3"),
        ({"points": [1, 2, 3, 4]}, "points as a list of 1 to 3"),
        ({"points": [1, 2.0]}, "points.1 as a whole number"),
        ({"points": [True]}, "points.0 as a whole number"),
        ({"share": 1.01}, "share as a number from 0 to 1, or null"),
        ({"languages": {"fr": {}}}, "languages.fr.ok as true or false"),
        ({"languages": {"fr": 5}}, "languages.fr as a mapping"),
        ({"languages": {"a\nb": {"ok": True}}}, "languages as a mapping of at most 2, each key a label"),
        ({"languages": {key: {"ok": True} for key in "abc"}}, "languages as a mapping of at most 2,"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_the_place_and_its_form_are_named(changed: dict[str, Any], said: str) -> None:
    assert str(misfit({**FITS, **changed}, FORM)).startswith(said)


def test_what_is_missing_is_named() -> None:
    assert misfit({}, FORM) == "name as one line of text"
    assert misfit([], FORM) == "content as a mapping"


def test_somebody_elses_key_is_named_in_one_short_line() -> None:
    for key in ("a\nb", "\u202ecba", "x" * 10_000):
        said = str(misfit({key: 5}, mapping(TEXT, WRITTEN)))
        assert said.isprintable()
        assert said.endswith(" as one line of text")
        assert len(said) < 100
