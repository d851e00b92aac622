"""Where two texts begin to differ."""

from __future__ import annotations

import random

import pytest

from lape.evaluation.metrics.difference import first_difference


@pytest.mark.parametrize(
    ("text", "other", "at"),
    [
        ("", "", None),
        ("the same", "the same", None),
        ("a cat", "a dog", 2),
        ("un petit chat", "un petite fille", 3),  # the word it is in
        ("en la cima", "en légète", 3),
        ("Привет мир", "Привет мор", 7),
        ("很久以前", "很久以后", 3),  # no spaces, so the character
        ("むかしむかし", "むかしばなし", 3),
        ("서울에서", "서울에는", 3),
        ("สวัสดีครับ", "สวัสดีค่ะ", 6),
        ("किताब है", "किताबें है", 0),
        ("cafe\u0301 noir", "cafe\u0300 noir", 0),
        ("12 345", "12 367", 4),
        ("one two", "one", 3),  # the other one ends
        ("one", "one two", 3),  # this one does
        ("one", "onerous", 0),
        ("", "text", 0),
        ("text", "", 0),
    ],
)
def test_the_first_difference(text: str, other: str, at: int | None) -> None:
    assert first_difference(text, other) == at


def test_texts_that_grow_do_not_differ_where_one_has_not_come_yet() -> None:
    assert first_difference("one two", "one", growing=True) is None
    assert first_difference("one two", "one ten", growing=True) == 4


def test_what_is_before_it_is_the_same_and_what_is_from_it_is_not() -> None:
    generator = random.Random(0)
    for _ in range(2000):
        text, other = ("".join(generator.choices("ab ñ很\u0301ก", k=generator.randrange(8))) for _ in range(2))
        at = first_difference(text, other)
        if text == other:
            assert at is None
        else:
            assert at is not None
            assert text[:at] == other[:at]
            assert text[at:] != other[at:]
