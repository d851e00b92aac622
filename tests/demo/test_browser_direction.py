"""The page in Chromium in Arabic: from right to left, every tab, on a phone too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browsing import IN_CHROMIUM, expect, open_tab, serve
from tiny_page import tiny_loaded

from lape.demo.backend import Backend
from lape.demo.words import texts

pytestmark = [*IN_CHROMIUM, pytest.mark.slow]
TABS = ("compare", "neurons", "measure", "find", "masks", "about")


@pytest.fixture(scope="module")
def url(tokenizer: Any) -> Iterator[str]:
    with serve(Backend(tiny_loaded(tokenizer))) as (_, address):
        yield address


@pytest.mark.parametrize("width", [1366, 390])
def test_the_page_in_arabic(opened: Any, width: int) -> None:
    page = opened(locale="ar", viewport={"width": width, "height": 844})
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.locator("html")).to_have_attribute("lang", "ar")
    expect(page.locator("#lape-prompt textarea")).to_have_attribute("dir", "ltr")  # French keeps its direction
    for name in TABS:
        open_tab(page, texts()["ar"][f"page.{name}"])
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
    assert page.locator(".katex").first.evaluate("math => getComputedStyle(math).direction") == "ltr"


def test_a_language_that_is_not_offered_reads_english_from_left_to_right(opened: Any) -> None:
    page = opened(locale="he")
    expect(page.locator("html")).to_have_attribute("dir", "ltr")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.get_by_role("tab", name="Compare", exact=True)).to_be_visible()
