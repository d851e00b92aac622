"""The strength strip and many prompts in Chromium, on a tiny random model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import IN_CHROMIUM, PATIENCE, expect, serve
from tiny_page import tiny_loaded

from lape.demo.backend import Backend

pytestmark = [*IN_CHROMIUM, pytest.mark.slow]


@pytest.fixture(scope="module")
def url(tokenizer: Any) -> Iterator[str]:
    with serve(Backend(tiny_loaded(tokenizer))) as (_, address):
        yield address


def test_the_strip_is_drawn_and_read_by_mouse_and_keyboard(opened: Callable[..., Any]) -> None:
    page = opened("/?lape=1&prompt=Bonjour&source=fr&targets=es&max_new_tokens=4")
    expect(page.locator("#lape-prompt textarea")).to_have_value("Bonjour")
    page.get_by_role("button", name="Strength: where the language flips").click()
    page.locator("#lape-strip-start").click()
    hits = page.locator("#lape-strip-chart [data-step]")
    expect(hits).to_have_count(17, timeout=PATIENCE)
    expect(page.locator("#lape-strip-status")).to_contain_text("Done in")
    text = page.locator("#lape-strip-text")
    hits.nth(16).click()
    expect(text).to_contain_text("strength 4")
    slider = page.locator("#lape-strip-steps input[type=range]")
    expect(slider).to_have_value("4")
    slider.press("ArrowLeft")
    expect(text).to_contain_text("strength 3.75")
    expect(text).to_contain_text("Bonjour")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1360


def test_many_prompts_are_a_table_and_a_file(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened("/?lape=1&prompt=Bonjour&source=fr&targets=es&max_new_tokens=4")
    page.get_by_role("button", name="Many prompts").click()
    (tmp_path / "mine.txt").write_text("Bonjour\n\n Salut \n", encoding="utf-8")
    page.locator("#lape-many input[type=file]").set_input_files(tmp_path / "mine.txt")
    expect(page.locator("#lape-many-status")).to_contain_text("2 prompts are in the box")
    expect(page.locator("#lape-many-text textarea")).to_have_value("Bonjour\nSalut")
    page.locator("#lape-many-start").click()
    expect(page.locator("#lape-many-table tbody tr")).to_have_count(6, timeout=PATIENCE)
    with page.expect_download() as download:
        page.locator("#lape-many-save").click()
    download.value.save_as(tmp_path / "many.csv")
    text = (tmp_path / "many.csv").read_text("utf-8")
    assert text.startswith("prompt,variant,text,")
    assert len(re.findall(r"^(?:Bonjour|Salut),", text, re.MULTILINE)) == 6
