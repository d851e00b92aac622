"""The words of the page: all four languages for every key, every key used, none unknown."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import lape.demo.words
from lape.demo.words import LANGUAGES, texts, translations, word

DEMO = Path(lape.demo.words.__file__).parent


def used() -> set[str]:
    """Keys in the calls of `word`; a part that is put in at run time is `*`."""
    found = set()
    for file in DEMO.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "word":
                (argument,) = node.args
                parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
                found.add("".join(part.value if isinstance(part, ast.Constant) else "*" for part in parts))
    return found


def matching(pattern: str) -> set[str]:
    return {key for key in texts()["en"] if re.fullmatch(re.escape(pattern).replace(r"\*", r"\w+"), key)}


def test_every_key_has_all_languages() -> None:
    everything = texts()
    assert list(everything) == list(LANGUAGES)
    for code in LANGUAGES:
        assert list(everything[code]) == list(everything["en"])
        assert all(isinstance(text, str) and text.strip() for text in everything[code].values())
    assert translations().translations_dict == everything


def test_words_are_translated() -> None:
    """A text of several words is not the English one in another language."""
    everything = texts()
    for code in LANGUAGES[1:]:
        same = [key for key, text in everything[code].items() if text == everything["en"][key] and " " in text]
        assert same == []


def test_every_key_that_is_used_exists_and_the_other_way_round() -> None:
    patterns = used()
    assert len(patterns) > 20
    assert [pattern for pattern in patterns if not matching(pattern)] == []
    assert set(texts()["en"]) - set().union(*map(matching, patterns)) == set()


def test_an_unknown_key_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        word("compare.nothing")
    assert word("compare.stop") == str(translations()("compare.stop"))
