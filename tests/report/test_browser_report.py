"""The page of a report in Chromium."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from browsing import IN_CHROMIUM
from evidence_samples import EVERYTHING

from lape.report import html_of

pytestmark = IN_CHROMIUM


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 1100), ("light", 390), ("dark", 390)])
def test_the_page_fits_its_window_and_asks_for_nothing(browser: Any, tmp_path: Path, scheme: str, width: int) -> None:
    file = tmp_path / "report.html"
    file.write_text(html_of(EVERYTHING), encoding="utf-8")
    asked, said = [], []
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(file.as_uri())
    assert asked == [file.as_uri()]
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") == width  # wide tables scroll by themselves
    back, text = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
    assert (light_of(back) > light_of(text)) == (scheme == "light")
    assert contrast(back, text) >= 7
    for cell in page.query_selector_all("svg .value"):
        shown = cell.evaluate("cell => getComputedStyle(cell).fill")
        under = cell.evaluate(BLENDED)
        assert contrast(f"rgb({', '.join(map(str, under))})", shown) >= 4.5
    summary = page.locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_attribute("open") is not None
    page.close()


# The colour a cell's number stands on: the panel with the cell's colour over it.
BLENDED = """cell => {
    const [back, over] = cell.parentNode.querySelectorAll("rect");
    const parts = colour => colour.match(/[0-9.]+/g).slice(0, 3).map(Number);
    const share = Number(over.getAttribute("fill-opacity"));
    const [under, above] = [back, over].map(rect => parts(getComputedStyle(rect).fill));
    return under.map((part, place) => part * (1 - share) + above[place] * share);
}"""


def light_of(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, as WCAG defines it."""
    parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((light_of(one), light_of(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)
