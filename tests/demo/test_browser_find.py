"""The Find neurons tab in Chromium, with the embedded model: own text in, a mask in use in Compare, and back."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import MARKS, PATIENCE, expect, open_tab

from lape.evaluation.metrics.openings import openings

pytestmark = MARKS


def find_tab(page: Any) -> None:
    open_tab(page, "Find neurons")
    expect(page.locator("#lape-find-start")).to_be_visible()


def prompt_languages(page: Any) -> list[str]:
    """What the menu of Compare offers."""
    open_tab(page, "Compare")
    page.get_by_role("combobox", name="The prompt's language").click()
    return page.get_by_role("option").all_inner_texts()


def test_own_text_becomes_the_mask_in_use(opened: Callable[..., Any]) -> None:
    page, other = opened(), opened()
    find_tab(page)
    for place, code in enumerate(("en", "fr")):
        page.get_by_label("Text in this language").nth(place).fill("\n".join(openings(code)))
    page.locator("#lape-find-start").click()
    expect(page.locator("#lape-find-status")).to_contain_text("neurons found", timeout=PATIENCE)
    expect(page.locator("#lape-find-result")).to_contain_text("Only 1")
    expect(page.locator("#lape-models")).to_contain_text(re.compile(r"\b2 languages"))  # not 12
    with page.expect_download() as download:
        page.locator("#lape-find-download").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert "HuggingFaceTB--SmolLM2-135M-Instruct/lape/mask.safetensors" in archive.namelist()
    offered = [option.strip("✓ \n") for option in prompt_languages(page)]
    assert offered == ["English · en", "French (Français) · fr"]
    expect(other.locator("#lape-models")).to_contain_text("12 languages")
    assert len(prompt_languages(other)) == 12
    find_tab(page)
    page.locator("#lape-find-reset").click()
    expect(page.locator("#lape-models")).to_contain_text("12 languages", timeout=PATIENCE)
    expect(page.locator("#lape-find-download")).to_be_hidden()


def test_stop_keeps_what_was_counted(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lape.demo.find.finding.PASS_TOKENS", {"cpu": 128})
    page = opened()
    find_tab(page)
    for place, code in enumerate(("en", "fr")):
        page.get_by_label("Text in this language").nth(place).fill("\n".join(openings(code)) * 12)
    page.locator("#lape-find-start").click()
    expect(page.locator("#lape-find-status")).to_contain_text("left", timeout=PATIENCE)
    page.locator("#lape-find-stop").click()
    expect(page.locator("#lape-find-status")).to_contain_text("Stopped: counted", timeout=PATIENCE)
    expect(page.locator("#lape-find-start")).to_be_enabled()
    expect(page.locator("#lape-find-download")).to_be_visible()


@pytest.mark.parametrize(("width", "theme"), [(1360, "light"), (390, "dark")])
def test_uploads_fill_the_rows_and_it_fits(width: int, theme: str, opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(f"/?__theme={theme}", viewport={"width": width, "height": 844})
    find_tab(page)
    files = {"ar": "مرحبا بالعالم. " * 30, "fr": "Bonjour tout le monde. " * 30}
    for code, text in files.items():
        (tmp_path / f"{code}.txt").write_text(text, encoding="utf-8")
    page.locator("#lape-find-upload input[type=file], input[type=file]").first.set_input_files(
        [tmp_path / f"{code}.txt" for code in files]
    )
    box = page.get_by_label("Text in this language")
    expect(box.nth(0)).to_have_value(files["ar"])
    expect(box.nth(0)).to_have_attribute("dir", "rtl")
    expect(box.nth(1)).to_have_value(files["fr"])
    expect(box.nth(1)).not_to_have_attribute("dir", "rtl")
    page.locator("#lape-find-start").click()
    expect(page.locator("#lape-find-status")).to_contain_text("neurons found", timeout=PATIENCE)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    right = page.locator("#lape-find-result table").bounding_box()
    assert right["x"] + right["width"] <= width
