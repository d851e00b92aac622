"""The first ten seconds in Chromium, and what happens to what is on show when something else is asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from browsing import MARKS, PATIENCE, expect, open_tab, text_of

from lape.demo.compare.request import DEFAULTS

pytestmark = MARKS
SPANISH = "Había una vez un viejo pescador que vivía cerca del mar"


def above_the_fold(page: Any, *places: str) -> None:
    """Each begins, and has room to be read, in what is seen without scrolling."""
    height = page.viewport_size["height"]
    for place in places:
        box = page.locator(place).bounding_box()
        assert box["y"] >= 0, place
        assert min(box["y"] + box["height"], height) - box["y"] >= min(box["height"], 100), place


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (390, 844)])
def test_a_finished_comparison_is_there_before_any_click(opened: Callable[..., Any], width: int, height: int) -> None:
    page = opened(viewport={"width": width, "height": height})
    expect(page.locator("#lape-status")).to_contain_text("made beforehand with the page's own settings")
    assert len({text_of(page, place) for place in ("on", "off", "steered")} - {""}) == 3
    above_the_fold(page, "#lape-prompt", "#lape-generate", "#lape-badges-on", "#lape-text-on")
    if width == 390:
        page.mouse.wheel(0, 900)
        page.wait_for_timeout(300)
        above_the_fold(page, "#lape-generate")  # it stays
        page.mouse.wheel(0, -900)
        row = page.locator(".lape-columns")
        row.evaluate("row => row.scrollTo({left: row.scrollWidth, behavior: 'instant'})")  # as a finger does
        expect(page.locator("#lape-text-steered")).to_be_in_viewport(ratio=0.5)
    else:
        above_the_fold(page, "#lape-text-off", "#lape-text-steered")
    expect(page.locator("#lape-text-off mark.lape-differs")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_is_on_show_is_dimmed_by_another_prompt_or_setting(opened: Callable[..., Any]) -> None:
    page = opened()
    old, shown = page.locator("#lape-old"), text_of(page, "off")
    columns = page.locator(".lape-columns")
    prompt = page.locator("#lape-prompt textarea")
    prompt.fill(SPANISH)
    expect(old).to_contain_text("of another prompt")
    expect(columns).to_have_css("opacity", "0.5")
    assert text_of(page, "off") == shown
    page.get_by_role("button", name="The prompt looks Spanish").click()
    expect(page.locator("#lape-source input")).to_have_value(re.compile("Spanish"))
    expect(page.locator("#lape-targets")).to_contain_text("French")
    expect(page.locator("#lape-mend")).to_be_hidden()
    prompt.fill(DEFAULTS.prompt)
    expect(old).to_contain_text("of other settings")
    page.get_by_role("button", name="The prompt looks French").click()
    expect(old).to_be_hidden()
    expect(columns).to_have_css("opacity", "1")


def test_what_is_on_show_is_dimmed_by_other_neurons_and_made_anew(opened: Callable[..., Any]) -> None:
    page = opened()
    shown = text_of(page, "off")
    open_tab(page, "Neurons")
    slider = page.locator("#lape-live input[type=range]").first
    slider.focus()
    slider.press("ArrowRight")
    expect(page.locator("#lape-live-status")).to_contain_text("Every tab uses them now", timeout=PATIENCE)
    moved = slider.input_value()
    open_tab(page, "Compare")
    expect(page.locator("#lape-old")).to_contain_text("with other neurons")
    assert text_of(page, "off") == shown
    page.locator("#lape-link").click()
    address = page.locator("#lape-address textarea, #lape-address input")
    expect(address).to_have_value(re.compile("chosen_by=lape.*top_rate="))
    again = opened(address.input_value().removeprefix(page.url.partition("?")[0].rstrip("/")))
    expect(again.locator("#lape-status")).to_have_text("Opened from a link. Press Generate.")  # of this very mask
    open_tab(again, "Neurons")
    expect(again.locator("#lape-live input[type=range]").first).to_have_value(moved)
    open_tab(page, "Neurons")
    page.locator("#lape-live-reset").click()
    open_tab(page, "Compare")
    expect(page.locator("#lape-old")).to_be_hidden()


def test_an_answer_is_kept_in_a_language_and_columns_stay_readable(opened: Callable[..., Any]) -> None:
    asked = {"lape": 1, "targets": "es,de,it,pt", "show_plain": 1, "show_random": 1, "keep": "fr", "layers": "20-29"}
    page = opened("/?" + urlencode({**asked, "prompt": DEFAULTS.prompt, "max_new_tokens": 8}))
    expect(page.locator("#lape-status")).to_contain_text("Opened from a link")
    page.locator("#lape-generate").click()
    expect(page.locator("#lape-status")).to_contain_text("Done", timeout=PATIENCE)
    expect(page.get_by_role("heading", name="Kept: French")).to_be_visible()
    expect(page.get_by_text("neurons of other languages off").first).to_contain_text("layers 20-29")
    places = ("on", "off", "steered", "steered-2", "steered-3", "steered-4", "kept", "plain", "random")
    for place in places:
        assert page.locator(f"#lape-text-{place}").bounding_box()["width"] > 170, place
        assert text_of(page, place)
