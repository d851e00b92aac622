"""How good a text is, in a word: by hand, and against texts that were judged by reading them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lape.evaluation.metrics.language import Identified
from lape.evaluation.metrics.quality import judge, word_share

TOLD = Identified("fr", 0.99)
FRENCH = "Il vivait dans une petite maison au bord de la mer avec ses enfants."
NOISE = "[10]�०४६][103�५८९]"  # which a classifier told to be Hindi, with 99 %
JUDGED = json.loads((Path(__file__).parent / "judged_texts.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("text", "cost", "word", "reasons"),
    [
        (FRENCH, 2.0, "fluent", ()),
        (FRENCH, 3.3, "strained", ("costly",)),
        (FRENCH, 5.6, "broken", ("costly",)),
        (NOISE, 4.0, "broken", ("no_words",)),
        (NOISE, None, "broken", ("no_words",)),  # needs no model
        ("oui, " * 20, 0.5, "broken", ("repeats",)),
        ("<b>Le</b> <i>petit</i> <b><i>chat</i></b> dort ici ce soir.", 2.0, "strained", ("no_words",)),
        ("12 7, 5 8 1 (3) 44 7 9 0 1 2", 9.0, "broken", ("no_words", "costly")),
        ("很久很久以前，有一个小女孩住在海边。", 2.0, "fluent", ()),
        ("अच्छा दिन था और हम सब बाज़ार गए थे।", 2.0, "fluent", ()),
    ],
)
def test_a_text_is_what_the_worst_sign_says(text: str, cost: float | None, word: str, reasons: tuple) -> None:
    found = judge(text, TOLD, cost)
    assert found is not None
    assert (found.word, found.reasons, found.cost_nats) == (word, reasons, cost)


def test_what_no_classifier_finds_a_language_in_is_broken() -> None:
    found = judge(FRENCH, Identified("fr", 0.9, gibberish=True), 2.0)
    assert found is not None
    assert (found.word, found.reasons) == ("broken", ("no_language",))


@pytest.mark.parametrize(("text", "cost"), [("", 1.0), ("Bonjour", 9.0), ("Il vivait dans la", 9.0), (FRENCH, None)])
def test_nothing_is_said_of_what_is_short_or_not_measured(text: str, cost: float | None) -> None:
    assert judge(text, TOLD, cost) is None


def test_markup_digits_and_lone_letters_are_no_words() -> None:
    assert word_share("ab <b>c</b> 12") == pytest.approx(2 / 12)
    assert word_share(" \n") == 0
    assert word_share("나는 집") == 1  # a syllable of Korean is a word


def test_the_limits_agree_with_readers_as_docs_say() -> None:
    """The limits were chosen on every other text; what they are worth is said of the rest."""
    told = [judge(row["text"], Identified("fr", 1.0, row["gibberish"]), row["cost_nats"]) for row in JUDGED]
    words = ["short" if found is None else found.word for found in told]
    pairs = [(row["judged"], word) for row, word in zip(JUDGED, words, strict=True)]
    chosen_on, held_out = pairs[::2], pairs[1::2]
    assert (sum(a == b for a, b in chosen_on), len(chosen_on)) == (66, 72)
    assert (sum(a == b for a, b in held_out), len(held_out)) == (53, 72)
    assert sum((a == "broken") == (b == "broken") for a, b in held_out) == 66
    assert not {("broken", "fluent"), ("fluent", "broken")} & {*pairs}
