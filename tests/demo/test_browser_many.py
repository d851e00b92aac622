"""The page in Chromium with a mask of 33 languages, on a tiny random model: menus, colors, figures, on a phone too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import IN_CHROMIUM, expect, open_tab, serve
from many_languages import LANGUAGES, many_loaded

import lape.demo.examples
from lape.demo.backend import Backend
from lape.demo.examples import EXAMPLES, Example
from lape.languages import by_family, language

pytestmark = [*IN_CHROMIUM, pytest.mark.slow]
TEXT = "Il était une fois una niña. 夜になると彼女は海を見ていました。\nКогда наступила ночь <b>"
TABS = ("Compare", "Neurons", "Measure", "Find neurons", "Masks", "About")


@pytest.fixture(scope="module")
def url(tokenizer: Any) -> Iterator[str]:
    """The page, with an example in every language."""
    with pytest.MonkeyPatch.context() as patched:
        others = [Example(f"In {code}", code, "es") for code in LANGUAGES if code not in {e.source for e in EXAMPLES}]
        patched.setattr(lape.demo.examples, "EXAMPLES", (*EXAMPLES, *others))
        with serve(Backend(many_loaded(tokenizer))) as (_, address):
            yield address


def options(page: Any) -> list[str]:
    """The choices of the menu that is open."""
    page.get_by_role("option").first.wait_for()
    return [option.strip().removeprefix("✓").strip() for option in page.get_by_role("option").all_inner_texts()]


def test_the_search_of_a_menu_finds_name_endonym_and_code(opened: Any) -> None:
    page = opened()
    for menu in ("The prompt's language", "Steer to"):
        field = page.get_by_label(menu).first
        for asked in ("Français", "français", "French", "fr"):
            field.click()
            expect(page.get_by_role("option").nth(len(LANGUAGES) - 2)).to_be_visible()
            field.press_sequentially(asked)
            expect(page.get_by_role("option")).to_have_count(1)
            assert options(page) == ["French (Français) · fr"]
            field.press("Escape")
            field.blur()
    field = page.get_by_label("The prompt's language").first
    field.click()
    field.press_sequentially("中文")
    field.press("Enter")
    expect(field).to_have_value("Chinese (中文) · zh")


def test_the_second_page_of_examples_opens_its_own(opened: Any) -> None:
    page = opened()
    examples = page.locator(".lape-examples")
    expect(examples.get_by_role("button", name="Arabic")).to_have_count(1)
    urdu = next(example.prompt for example in EXAMPLES if example.source == "ur")
    expect(examples.get_by_role("button", name="Urdu")).to_have_count(0)
    examples.get_by_role("button", name="3", exact=True).click()
    examples.get_by_role("button", name="Urdu").click()
    expect(page.locator("#lape-prompt textarea")).to_have_value(urdu)
    expect(page.get_by_label("The prompt's language").first).to_have_value("Urdu (اردو) · ur")
    expect(page.locator("#lape-prompt textarea")).to_have_attribute("dir", "rtl")


def color(page: Any) -> None:
    page.locator("#lape-look-text textarea").fill(TEXT)
    page.locator("#lape-look").click()
    expect(page.locator("#lape-look-status")).to_contain_text("tokens: ")


def test_a_text_is_colored_by_family(opened: Any) -> None:
    page = opened()
    open_tab(page, "Neurons")
    color(page)
    shown = page.locator("#lape-look-colored .lape-colored")
    assert shown.text_content() == TEXT
    legend = page.locator("#lape-look-colored .lape-legend li")
    assert 2 < legend.count() <= 18
    token = shown.locator("span").first
    token.hover()
    tip = page.locator("#lape-look-colored .lape-tip")
    expect(tip).to_have_text(token.get_attribute("data-tip"))
    assert re.search(r": ([^\d]+) -?[\d.]+ · ", tip.inner_text())[1] in {language(code).name for code in LANGUAGES}


def test_all_boxes_at_once(opened: Any) -> None:
    page = opened()
    open_tab(page, "Neurons")
    boxes = page.locator("#lape-live-languages")
    names = [name.strip() for name in boxes.locator(".wrap label").all_inner_texts()]
    assert names == [language(code).name for code in by_family(LANGUAGES)]
    line = page.locator("#lape-live-status")
    expect(line).to_contain_text("as the page began")
    boxes.get_by_text("French").click()
    expect(line).to_contain_text(f"of {len(LANGUAGES) - 1} languages. Chosen in")
    every = boxes.locator("input[type=checkbox]").first
    every.check()
    expect(line).to_contain_text(f"of {len(LANGUAGES)} languages. Chosen in")
    every.uncheck()
    expect(line).to_contain_text("Choose at least 2 languages")


@pytest.mark.parametrize(("width", "theme"), [(1360, "light"), (390, "dark")])
def test_every_tab_fits(opened: Any, width: int, theme: str) -> None:
    page = opened(f"/?__theme={theme}", viewport={"width": width, "height": 844})
    for tab in TABS:
        open_tab(page, tab)
        if tab == "Neurons":
            color(page)
            page.locator("#lape-neurons-table [data-index='1'] [role=gridcell]").nth(2).click()
            expect(page.locator("#lape-neuron-figure caption")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        blocks = "[...document.querySelectorAll('main .block:not(.lape-columns *)')]"  # columns are swiped
        widest = f"Math.max(...{blocks}.map(e => e.getBoundingClientRect().right))"
        assert page.evaluate(widest) <= width, tab
    open_tab(page, "Neurons")
    scrolled = page.locator("#lape-neurons-overlap .lape-scroll")
    hidden = scrolled.evaluate("(table) => table.scrollWidth - table.clientWidth")
    assert (hidden > 0) == (width == 390)  # it scrolls in its place, and its names stay
    scrolled.evaluate("(table) => table.scrollLeft = 200")
    name = scrolled.locator("tbody th").first
    assert name.bounding_box()["x"] >= scrolled.bounding_box()["x"]
