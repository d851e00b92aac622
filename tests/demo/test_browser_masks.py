"""The Masks and About tabs in Chromium: a mask is brought, compared, and given back; formulas are drawn."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browsing import MARKS, expect, open_tab

from lape import ActivationStatistics, identify
from lape.demo.words import texts
from lape.masks.bundled import bundled_folder
from lape.models.embedded import SMOLLM2
from lape.storage.names import STATISTICS_NAME

pytestmark = MARKS


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mask of the embedded model for two languages of its bundled statistics."""
    folder = tmp_path_factory.mktemp("own")
    statistics = ActivationStatistics.load(bundled_folder(SMOLLM2.model) / STATISTICS_NAME)
    identify(statistics, languages=["fr", "vi"], top_rate=0.01).save(folder)
    return folder / "mask.safetensors"


def open_masks(page: Any, name: str = "Masks") -> None:
    open_tab(page, name)
    page.locator("#lape-masks-show").wait_for()


def bring(page: Any, file: Path) -> None:
    page.locator("#lape-upload > button").first.click()
    page.locator("#lape-upload-files input[type=file]").set_input_files(file)
    expect(page.locator("#lape-upload-files")).to_contain_text(file.stem)
    page.locator("#lape-upload-use").click()


def languages(page: Any) -> Any:
    return page.locator("#lape-mask-counts textarea")


def test_a_visitor_brings_a_mask_and_gives_it_back(opened: Callable[..., Any], own: Path) -> None:
    page, other = opened(), opened()
    open_masks(page)
    whole = languages(page).input_value()
    assert whole.startswith("German 924 · English 473")
    bring(page, own)
    expect(page.locator("#lape-upload-status")).to_contain_text("In use: mask.safetensors, 2 languages")
    expect(languages(page)).to_have_value(re.compile(r"^French \d+ · Vietnamese \d+$"))
    expect(page.locator("#lape-mask-origin textarea")).to_have_value("uploaded: mask.safetensors")
    open_tab(page, "Compare")
    expect(page.get_by_text("French neurons off").first).to_be_visible()  # what Compare begins with
    open_masks(other)
    assert languages(other).input_value() == whole
    open_masks(page)
    page.locator("#lape-masks-reset").click()
    expect(languages(page)).to_have_value(whole)


def test_two_masks_are_compared_on_a_phone_too(opened: Callable[..., Any], own: Path) -> None:
    page = opened(viewport={"width": 390, "height": 844}, locale="fr-FR")
    open_masks(page, "Masques")
    bring(page, own)
    expect(page.locator("#lape-upload-status")).to_contain_text("Utilisé")
    page.locator("#lape-masks-show").click()
    expect(page.locator("#lape-masks-status")).to_contain_text("2 masques.")
    page.locator("#lape-diff > button").first.click()
    for side, said in (("a", "Le masque utilisé"), ("b", "Le masque de départ")):
        expect(page.locator(f"#lape-diff-{side} input")).to_have_value(said)
    page.locator("#lape-diff-run").click()
    result = page.locator("#lape-diff-result")
    expect(result.locator("tbody tr")).to_have_count(3)
    expect(result.locator("tbody th").first).to_have_text("French (fr)")
    assert result.locator("svg rect").count() > 10
    assert page.locator("main").bounding_box()["width"] <= 390


def test_what_is_no_mask_is_refused_on_the_page(opened: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mask.pth").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    page = opened()
    open_masks(page)
    bring(page, tmp_path / "mask.pth")
    expect(page.locator("#lape-upload-status [role=alert]")).to_have_text(
        "'mask.pth' is damaged or was not written by torch.save."
    )


@pytest.mark.parametrize(("locale", "heading"), [("en-US", "The method"), ("zh-CN", "方法")])
def test_formulas_are_drawn(opened: Callable[..., Any], locale: str, heading: str) -> None:
    page = opened(viewport={"width": 390, "height": 844}, locale=locale)
    open_tab(page, texts()[locale[:2]]["page.about"])
    expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
    expect(page.locator(".katex:visible").first).to_be_visible()
    assert page.locator(".katex:visible").count() > 15
    assert page.locator(".katex-error").count() == 0
    assert "$" not in page.locator(".tabitem:visible").inner_text()
    assert page.locator("main").bounding_box()["width"] <= 390
