"""Texts that are composed for who asks: in its language, with its plurals and names of languages."""

from __future__ import annotations

from typing import Any

import pytest

from lape.demo import words
from lape.demo.languages import name_of, titles
from lape.demo.words import isolated, say, speaking, tongue

TEXTS: dict[str, dict[str, Any]] = {
    "en": {"x.tokens": {"one": "{count} token", "other": "{count} tokens"}, "x.done": "Done in {seconds} s."},
    "fr": {"x.tokens": {"one": "{count} jeton", "other": "{count} jetons"}, "x.done": "Fini en {seconds} s."},
    "ar": {"x.tokens": {"one": "a{count}", "two": "b{count}", "few": "c{count}", "other": "d{count}"}, "x.done": ""},
}


@pytest.fixture(autouse=True)
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "texts", lambda: TEXTS)


def test_counts_have_their_plural_and_their_grouping() -> None:
    assert [say("x.tokens", count=count) for count in (0, 1, 1200)] == ["0 tokens", "1 token", "1,200 tokens"]
    with speaking("fr-CA,en;q=0.8"):
        assert [say("x.tokens", count=count) for count in (0, 1200)] == ["0 jeton", "1\u202f200 jetons"]
    with speaking("ar"):
        assert [say("x.tokens", count=count) for count in (1, 2, 5)] == ["a1", "b2", "c5"]


@pytest.mark.parametrize("accepted", [None, "", "xx", "de,fr;q=0.9", "*", "\x00", "fr" * 1000])
def test_only_the_first_language_counts_and_any_other_is_english(accepted: str | None) -> None:
    with speaking(accepted):
        assert tongue() == "en"
        assert say("x.done", seconds="1.5") == "Done in 1.5 s."


def test_a_block_ends_with_the_language_of_before() -> None:
    with speaking("fr"):
        with speaking("EN-gb;q=0.3"):
            assert tongue() == "en"
        assert tongue() == "fr"
    assert tongue() == "en"


def test_a_forgotten_field_or_key_is_a_mistake() -> None:
    for key in ("x.nothing", "x.done"):
        with pytest.raises(KeyError):
            say(key)


def test_figures_keep_their_direction_in_text_from_the_right() -> None:
    assert isolated("1.5 [1.2, 1.8]") == "1.5 [1.2, 1.8]"
    with speaking("ar"):
        assert isolated("1.5 [1.2, 1.8]") == "\u20681.5 [1.2, 1.8]\u2069"


def test_languages_have_the_names_of_who_asks() -> None:
    assert [name_of(code) for code in ("fr", "pt-BR", "legal")] == ["French", "Portuguese (Brazil)", "legal"]
    with speaking("fr"):
        assert [name_of(code) for code in ("fr", "pt-BR", "zh_Hant", "arb_Arab", "legal")] == [
            "français",
            "portugais (Brésil)",
            "chinois (traditionnel)",
            "arabe",
            "legal",
        ]
        assert titles(["es", "fr"]) == [("espagnol · Español · es", "es"), ("français · fr", "fr")]
    with speaking("ar"):
        assert name_of("ja") == "اليابانية"
