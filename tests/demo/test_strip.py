"""The strength strip and many prompts on the page, without a browser; on a tiny random model."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from tiny_page import tiny_loaded

from lape import LapeError
from lape.demo.backend import Backend
from lape.demo.compare import many, strip
from lape.demo.compare.columns import badges
from lape.demo.compare.comparison import Column, compare
from lape.demo.compare.export import plain
from lape.demo.compare.request import DEFAULTS
from lape.demo.page import build_page
from lape.demo.words import speaking
from lape.evaluation.metrics.language import Identified
from lape.evaluation.metrics.many import TextRow
from lape.evaluation.metrics.quality import Quality
from lape.evaluation.metrics.strengths import StrengthStep, StrengthSweep

SHORT = replace(DEFAULTS, prompt="Bonjour", max_new_tokens=3)
HTML = "<img src=x onerror=alert(1)>"
COLUMN = Column("", Identified("hi", 0.992), 5, 1.0, False, "length", 0, 0, None)
GOOD = Quality("fluent", (), 0.0, 1.0, 1.9)


@pytest.fixture(scope="module")
def backend(tokenizer: Any) -> Backend:
    return Backend(tiny_loaded(tokenizer))


def events(backend: Backend, module: Any) -> dict[str, Any]:
    """The events of a section by name, with the components they take and write to."""
    page = build_page(backend)
    found = [one for one in page.fns.values() if one.fn is not None and one.fn.__module__ == module.__name__]
    return {one.fn.__name__: one for one in found}


def values(**changed: Any) -> list[Any]:
    return list((vars(SHORT) | {"targets": ["es"]} | changed).values())


# The badge


def test_a_badge_never_certifies_noise() -> None:
    broken = replace(COLUMN, quality=Quality("broken", ("no_words",), 0.0, 0.2, 4.0))
    shown = badges(broken, SHORT)
    assert "broken, nearest to Hindi" in shown
    assert "80 % of its characters are in no word." in shown
    assert "99" not in shown
    assert "99" not in badges(COLUMN, SHORT)  # not before it was judged
    assert "Hindi 99 %, fluent" in badges(replace(COLUMN, quality=GOOD), SHORT)
    strained = Quality("strained", ("costly",), 0.0, 1.0, 4.2)
    assert "costs the untouched model 4.2 nats per token" in badges(replace(COLUMN, quality=strained), SHORT)
    with speaking("fr"):
        assert "hindi 99\u00a0%, fluide" in badges(replace(COLUMN, quality=GOOD), SHORT)


def test_columns_are_judged_when_all_have_ended(backend: Backend) -> None:
    *_, last = [state for state in compare(backend, replace(SHORT, max_new_tokens=30, targets=("es",))) if state]
    assert all(column.finished and column.quality for column in last.values())
    found = plain(last["off"])
    assert found["quality"] in ("fluent", "strained", "broken")
    assert found["cost_nats"] > 0
    assert isinstance(found["quality_because"], list)


# The strip


def test_a_strip_is_drawn_and_each_text_is_a_choice_away(backend: Backend) -> None:
    found = events(backend, strip)
    request = gr.Request(session_hash="ann")
    *_, last = found["stream"].fn(request, *values())
    shown = " ".join(str(value) for value in last.values() if isinstance(value, str))
    assert shown.count("data-step=") == 17
    assert "Done in" in shown
    (run,) = [value for value in last.values() if isinstance(value, strip.Swept)]
    chosen = found["choose"].fn(run, 4)
    assert any("Strength 4" in value or "strength 4" in value for value in chosen.values())
    assert found["choose"].fn(run, 1e9) == chosen  # the nearest there is
    for wrong in (None, float("nan"), float("inf"), "3", [], True):
        assert all("data-step" not in str(value) for value in found["choose"].fn(run, wrong).values())


def test_a_strip_that_cannot_be_made_says_why(backend: Backend) -> None:
    stream = events(backend, strip)["stream"].fn
    (failed,) = stream(gr.Request(session_hash="ann"), *values(source="es"))
    assert "choose two different ones" in str(failed)


def test_what_a_strip_shows_is_escaped_and_marked() -> None:
    steps = [
        StrengthStep(place / 4, HTML, Identified(code, 1.0), place / 2, quality, 3, "length")
        for place, (code, quality) in enumerate(
            [("fr", GOOD), ("es", GOOD), ("es", Quality("broken", ("repeats",), 0.9, 1.0, 0.3))]
        )
    ]
    found = StrengthSweep("es", tuple(steps))
    run = strip.Swept(replace(SHORT, prompt=HTML), found)
    picture = strip.drawn(found, strip.opened(found, 1.25))
    for shown in (picture, strip.step_html(steps[2], run)):
        assert "<img" not in shown
        assert "&lt;img" in shown
    assert strip.opened(found, 1.25) == 1
    assert strip.outcome(found) == "The language flips to Spanish at strength 0.25. From 0.5 on every text is broken."
    assert re.findall(r'class="mid (\w+)"', picture) == ["fluent", "fluent", "broken"]
    assert ">flips<" in picture
    assert ">broken<" in picture
    none = StrengthSweep("es", (replace(steps[0], target_share=None, quality=None),))
    assert "does not flip" in strip.drawn(none, 0)
    assert strip.opened(none, 3.0) == 0


# Many prompts


def test_many_prompts_become_a_table_and_a_file(backend: Backend) -> None:
    stream = events(backend, many)["stream"].fn
    *_, table, last = stream(gr.Request(session_hash="ann"), f" Bonjour \n\n{HTML}\n", *values(prompt=""))
    shown = next(value for value in table.values() if str(value).startswith("<div"))
    assert shown.count("<tr>") == 7
    assert "<img" not in shown
    file = next(value for value in table.values() if str(value).startswith("prompt,"))
    assert file.count("\r\n") >= 7
    assert "Done in" in str(last)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There is no prompt"),
        (None, "There is no prompt"),
        ("x\n" * 21, "There are 21 prompts, and at most 20"),
        ("x" * 6001, "6,001 characters"),
        (["x"], "must be text"),
        ("\ud800", "half a character"),
    ],
)
def test_bad_prompts_are_refused(text: Any, said: str) -> None:
    with pytest.raises(LapeError, match=said):
        many.checked_prompts(text)


def test_prompts_of_a_file_come_into_the_box(backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    unpacking = events(backend, many)["unpacking"].fn

    def said(content: str) -> list[str]:
        (tmp_path / "mine.txt").write_text(content, encoding="utf-8")
        return list(unpacking({"path": str(tmp_path / "mine.txt"), "orig_name": "mine.txt"}).values())

    box, line = said(f" Bonjour \n\n{HTML}\n")
    assert box == f"Bonjour\n{HTML}"
    assert "2 prompts" in line
    assert "mine.txt is empty" in said("\n")[0]
    assert "There are 21 prompts, and at most 20" in said("x\n" * 21)[0]
    assert "at most 6,000 are allowed" in said("x" * 6001)[0]
    (nothing,) = unpacking(None).values()
    assert "No file was uploaded" in nothing


def test_too_many_texts_are_refused() -> None:
    many.check_texts(20, 4)
    with pytest.raises(LapeError, match="With 5 columns that are 100 texts; at most 16 prompts fit"):
        many.check_texts(20, 5)


def test_a_table_of_texts_names_what_was_told() -> None:
    row = TextRow("x", "steered:es", "a\nb", "es", 1.0, "fluent", 1.234, 3, "length")
    shown = many.table_html([row, replace(row, language=None, quality=None, cost_nats=None)], SHORT)
    for cell in ("Steered: Spanish", "a b", "Spanish", "fluent", "1.2"):
        assert f">{cell}<" in shown
    assert shown.count(">–<") == 3
    assert many.csv_of([row]).splitlines()[1:] == ['x,steered:es,"a', 'b",es,1.0,fluent,1.234,3,length']
