"""The Measure tab in Chromium, with the embedded model: evidence, a run that ends, a run that is stopped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import evidence_samples
import pytest
from browsing import MARKS, PATIENCE, expect, open_tab

from lape.demo.backend import Backend
from lape.demo.loaded import Loaded
from lape.evaluation.runs.own_text import own_steering

pytestmark = MARKS
HTML = "<img src=x onerror='window.ran=1'>${window.ran=1}{{value}}"


def measure_tab(page: Any, name: str) -> None:
    open_tab(page, "Measure")
    open_tab(page, name)


@pytest.fixture
def made(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Evidence that is known, with a summary that would be markup; pages that are opened look for it anew."""
    found = {"perplexity": evidence_samples.perplexity(), "steering": evidence_samples.steering()}
    for evidence in found.values():
        evidence["summary"] = HTML
    monkeypatch.setattr(Loaded, "evidence", lambda self, left_out: found)
    backend.visitors.share(backend.loaded)
    yield
    backend.visitors.share(backend.loaded)


@pytest.mark.parametrize(("theme", "width"), [("light", 1360), ("dark", 390)])
def test_evidence_is_shown_on_hover_and_without(opened: Callable[..., Any], made: None, theme: str, width: int) -> None:
    page = opened(f"/?__theme={theme}", viewport={"width": width, "height": 844})
    measure_tab(page, "Evidence")
    expect(page.locator("#lape-evidence-lead")).to_contain_text("Switching a language off costs its own text 0.5 nats")
    chart, one = page.locator("#lape-evidence-chart"), page.locator("#lape-evidence-one")
    expect(chart.locator("[data-code]")).to_have_count(2)
    assert page.locator("main").bounding_box()["height"] < (1400 if width > 1000 else 1700)  # the rest is closed
    chart.locator("[data-code=fr]").click()
    expect(one.locator("figcaption")).to_contain_text("With French off")
    expect(one.locator("svg title").first).to_have_text("Text in French: 0.40 [0.40, 0.40] nats per token")
    for name in ("All main figures, and how they were measured", "Every language switched off, on every text"):
        page.get_by_role("button", name=name).click()
    expect(page.locator("#lape-evidence")).to_contain_text("Cost of switching a language off to its own text")
    matrix = page.locator("#lape-evidence-matrix")
    expect(matrix.locator("svg title").first).to_have_text("fr, fr: 0.400 [0.399, 0.401]")
    matrix.get_by_text("Every cell with its interval").press("Enter")  # by keyboard
    expect(matrix.get_by_role("cell", name="0.600 [0.599, 0.601]")).to_be_visible()
    page.get_by_label("bits per byte").check()
    expect(matrix.locator("figcaption")).to_contain_text("lape: Change in bits per byte")
    page.get_by_role("combobox", name="Neurons").click()
    page.get_by_role("option", name="random 1").click()
    expect(matrix.locator("figcaption")).to_contain_text("random 1: Change in bits per byte")
    rest = page.locator("#lape-evidence-rest")
    expect(rest.get_by_text("Means over 2 ordered pairs of languages")).not_to_be_visible()
    rest.get_by_text("Switched on: the language of the output").press("Enter")  # the panel unfolds
    expect(rest.get_by_text("Means over 2 ordered pairs of languages")).to_be_visible()
    expect(page.get_by_text(HTML).first).to_be_visible()
    assert page.evaluate("window.ran === undefined")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    inside = page.locator("#lape-evidence .wide").evaluate_all("all => all.every((e) => e.clientWidth <= innerWidth)")
    assert inside, "a table is wider than the page instead of scrolling in its place"


def test_own_text_is_measured_cell_by_cell_and_stopped(opened: Callable[..., Any], backend: Backend) -> None:
    page = opened()
    measure_tab(page, "Your text")
    start, line = page.locator("#lape-texts-start"), page.locator("#lape-texts-status")
    start.click()
    expect(line).to_contain_text("There is no text")
    page.locator("#lape-texts-text-0 textarea").fill("Il était une fois une petite fille qui vivait dans un village.")
    start.click()
    expect(start).to_be_disabled()
    expect(line).to_contain_text("Done", timeout=PATIENCE)
    expect(start).to_be_enabled()
    assert page.locator("#lape-texts-results svg title").count() == 2  # own neurons and random ones
    page.locator("#lape-texts-fill").click()
    expect(page.locator("#lape-texts-text-1 textarea")).not_to_have_value("")
    page.locator("#lape-texts-more").click()
    expect(page.locator("#lape-texts-text-2 textarea")).to_be_visible()
    start.click()
    # Two texts, each untouched, with two languages off, and with as many random neurons off; before there were 3 cells.
    expect(line).to_contain_text(re.compile(r"[1-9]\d* of 10 measured"), timeout=PATIENCE)
    page.locator("#lape-texts-stop").click()
    expect(line).to_contain_text("Stopped. What was measured until then stays.")
    assert backend.lock.acquire(timeout=30), "the model is still busy"
    backend.lock.release()
    page.wait_for_timeout(2000)  # updates that were on their way have arrived
    expect(line).to_contain_text("Stopped. What was measured until then stays.")
    assert 0 < page.locator("#lape-texts-results svg title").count() < 8
    expect(start).to_be_enabled()


def test_stop_holds_for_a_run_that_is_still_to_be_asked_for(opened: Callable[..., Any], backend: Backend) -> None:
    page = opened()
    measure_tab(page, "Your text")
    line, held = page.locator("#lape-texts-status"), []
    page.locator("#lape-texts-text-0 textarea").fill("Il était une fois une petite fille qui vivait dans un village.")
    page.route("**/queue/join?*", lambda route: held.append(route))
    # Gradio asks to cancel and to reset a run that has no name yet, which its server refuses.
    page.route(re.compile("/(cancel|reset)$"), lambda route: route.fulfill(json={}))
    page.locator("#lape-texts-start").click()
    page.locator("#lape-texts-stop").click()
    expect(line).to_contain_text("Stopped.")
    assert len(held) == 1, "the run was asked for before Stop was pressed"
    with page.expect_response("**/queue/join?*"):
        held[0].continue_()
    page.unroute_all()
    page.wait_for_timeout(2000)  # time enough to measure a cell
    assert not backend.lock.locked(), "the model is at work all the same"
    expect(line).to_contain_text("Stopped.")
    assert page.locator("#lape-texts-results svg title").count() == 0


def test_own_openings_are_measured(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lape.demo.measure.openings.own_steering", partial(own_steering, max_new_tokens=8))
    page = opened("/?__theme=dark", viewport={"width": 390, "height": 844})
    measure_tab(page, "Your openings")
    page.locator("#lape-openings-text textarea").fill("Le vieux gardien du phare\n" + HTML)
    page.locator("#lape-openings-start").click()
    expect(page.locator("#lape-openings-status")).to_contain_text("Done", timeout=PATIENCE)
    results = page.locator("#lape-openings-results")
    expect(results).to_contain_text("The language of the continuations of 2 openings")
    for name in ("steered", "random neurons", "an instruction in English", "untouched"):
        expect(results.get_by_role("rowheader", name=name)).to_be_visible()
    results.get_by_text("What was written: steered").click()
    expect(results.get_by_text(HTML).first).to_be_visible()
    assert page.evaluate("window.ran === undefined")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
