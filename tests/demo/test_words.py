"""The words of the page: all eight languages for every key, every key used, none unknown, and none left in English."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import Any

import gradio as gr
import pytest
from babel import Locale
from many_languages import many_loaded

import lape.demo.words
from lape.demo.backend import Backend
from lape.demo.page import build_page
from lape.demo.words import LANGUAGES, Text, speaking, texts, translations, word
from lape.models.presets import PRESETS

DEMO = Path(lape.demo.words.__file__).parent
CJK = "\u3040-\u30ff\u4e00-\u9fff"
NO_PROSE = re.compile(r"(?<=\])\([^)]*\)|`[^`]*`|\$[^$]*\$|\{[a-z_]+\}")  # addresses, code, formulas, fields


def used() -> set[str]:
    """Keys in the calls of `word` and `say`; a part that is put in at run time is `*`."""
    found = set()
    for file in DEMO.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("word", "say"):
                key = node.args[0]
                for one in [key.body, key.orelse] if isinstance(key, ast.IfExp) else [key]:
                    parts = one.values if isinstance(one, ast.JoinedStr) else [one]
                    found.add("".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in parts))
    return found


def matching(pattern: str) -> set[str]:
    return {key for key in texts()["en"] if re.fullmatch(re.escape(pattern).replace(r"\*", r"\w+"), key)}


def forms(text: Text) -> list[str]:
    return [text] if isinstance(text, str) else list(text.values())


def fields(text: Text) -> set[str]:
    found = (field for form in forms(text) for _, field, _, _ in Formatter().parse(form))
    return {field for field in found if field}


def test_every_key_has_all_languages() -> None:
    everything = texts()
    assert list(everything) == list(LANGUAGES)
    for code in LANGUAGES:
        assert list(everything[code]) == list(everything["en"])
        assert all(form.strip() for text in everything[code].values() for form in forms(text))
        assert translations().translations_dict[code].items() <= everything[code].items()


def test_words_are_translated() -> None:
    """A text with words in a row is not the English one in another language."""
    everything = texts()
    for code in LANGUAGES[1:]:
        for key, text in everything["en"].items():
            prose = [NO_PROSE.sub("", form) for form in forms(text)]
            if any(re.search(r"[a-z]{3,} [a-z]{3,}", form) for form in prose):
                assert everything[code][key] != text, (code, key)


def test_a_count_has_every_plural_of_its_language() -> None:
    """None and, in French and Spanish, whole millions may be written as other numbers are."""
    for code in LANGUAGES:
        every = Locale.parse(code).plural_form.tags | {"other"}
        rare = {"many"} if code in ("fr", "es") else {"zero"}
        for key, text in texts()[code].items():
            assert isinstance(text, str) or every - rare <= text.keys() <= every, (code, key)


def test_the_fields_of_a_text_are_the_same_in_every_language() -> None:
    for key, text in texts()["en"].items():
        if "$" in "".join(forms(text)):
            continue  # formulas have braces of their own, and nothing to fill in
        for code in LANGUAGES:
            # A form for one or two may say the number in words.
            assert fields(texts()[code][key]) == fields(text), (code, key)


def test_punctuation_is_that_of_the_script() -> None:
    for code, wrong in {
        "zh": f"[{CJK}][,;:?!()]|[,;:?!()][{CJK}]",
        "ja": f"[{CJK}][,;:?!()]|[,;:?!()][{CJK}]",
        "ar": "[\u0621-\u064a][,;?]",
    }.items():
        for key, text in texts()[code].items():
            for form in forms(text):
                assert not re.search(wrong, NO_PROSE.sub("", form)), (code, key, form)


def test_readers_are_addressed_in_one_way() -> None:
    for code, wrong in {"fr": r"\b(tu|ton|tes|toi)\b", "es": r"\b(tú|tus|te)\b", "zh": "[你您]", "hi": r"\bतुम"}.items():
        for key, text in texts()[code].items():
            for form in forms(text):
                assert not re.search(wrong, form), (code, key, form)


def test_every_key_that_is_used_exists_and_the_other_way_round() -> None:
    patterns = used() - {"*"}
    assert len(patterns) > 20
    assert [pattern for pattern in patterns if not matching(pattern)] == []
    assert set(texts()["en"]) - set().union(*map(matching, patterns)) == set()


def test_what_is_checked_and_what_is_known_of_a_model_has_words() -> None:
    """These keys are made of texts of the code."""
    called = set()
    for file in DEMO.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                at = {"checked_text": 0, "checked_name": 0, "checked_line": 1, "Limit": 0}.get(node.func.id)
                if at is not None and isinstance(node.args[at], ast.Constant):
                    called.add(f"checks.what_{re.sub(r'[^a-z0-9]+', '_', node.args[at].value.lower())}")
    notes = {note for preset in PRESETS for note in preset.note.split("; ") if not re.match(r"\d+ languages$", note)}
    called |= {f"models.note_{re.sub(r'[^a-z0-9]+', '_', note.lower())}" for note in notes}
    assert called - texts()["en"].keys() == set()


def test_an_unknown_key_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        word("compare.nothing")
    assert word("said.stop") == str(translations()("said.stop"))


@pytest.fixture(scope="module")
def arrive(tokenizer: Any) -> Any:
    """What a page that was just opened shows, in a language: the values that its components get."""
    backend = Backend(many_loaded(tokenizer))
    page = build_page(backend)
    event = next(one for one in page.fns.values() if getattr(one.fn, "__name__", "") == "arrive")
    values = [getattr(component, "value", None) for component in event.inputs]

    def arriving(code: str) -> dict[Any, Any]:
        with speaking(code):
            return event.fn(gr.Request(query_params={}, session_hash="ann"), *values)

    return arriving


def said(value: Any) -> Iterator[str]:
    """The texts of an update that are written here, not by gradio in the browser; of HTML, what is read."""
    if isinstance(value, str) and "__i18n__" not in value:
        yield re.sub(r"<style.*?</style>|<[^>]*>", "\n", value, flags=re.S)
    elif isinstance(value, dict):
        yield from (text for name in ("value", "label", "info", "choices") for text in said(value.get(name)))
    elif isinstance(value, list | tuple):
        yield from (text for one in value for text in said(one))
    elif isinstance(value, gr.components.Component):
        yield from said(value.constructor_args)


@pytest.mark.parametrize("code", ["ar", "hi"])
def test_a_page_that_is_opened_says_nothing_in_english(code: str, arrive: Any) -> None:
    lines = [line for value in arrive(code).values() for text in said(value) for line in text.splitlines()]
    assert len(lines) > 100
    plain = [
        re.sub("(lape|hf) [a-z]+( [a-z]+)?", "", line) for line in lines
    ]  # commands are the same in every language
    assert [line for line in plain if re.search(r"\b[A-Za-z]?[a-z]{2,} [a-z]{2,} [a-z]{2,}", line)] == []


def test_french_marks_stay_on_the_line_of_their_word() -> None:
    for key, text in texts()["fr"].items():
        for form in forms(text):
            prose = NO_PROSE.sub("…", form)
            assert not re.search(r"« |\S [:;!?»%](?:\W|$)", prose), (key, prose)
