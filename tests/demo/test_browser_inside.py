"""What lies inside of the columns on show, in Chromium: the language by layer, and the tokens one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from browsing import MARKS, PATIENCE, expect

pytestmark = MARKS


def shown(page: Any, name: str) -> Any:
    """Opens a section below the columns, and has it shown."""
    page.locator(f"#lape-{name} > button").click()
    page.locator(f"#lape-{name}-show").click()
    drawn = page.locator(f"#lape-{name}-drawn")
    expect(drawn.locator("details").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator(f"#lape-{name}-show")).to_be_enabled()
    return drawn


def test_layers_and_tokens_of_the_columns_on_show(opened: Callable[..., Any]) -> None:
    page = opened()
    layers = shown(page, "layers")
    expect(layers.locator("figure:visible")).to_have_count(3)
    expect(layers.locator("figcaption").first).to_contain_text("French leads from layer")
    layers.locator("figure:visible summary").first.click()
    expect(layers.locator("figure:visible tbody").first.locator("tr")).to_have_count(30)
    tokens = shown(page, "tokens")
    expect(tokens.locator("h3")).to_have_count(3)
    expect(tokens.locator(".lape-facts").nth(1)).to_contain_text("difference 0.00 a token")
    tokens.locator(".lape-costs").last.locator("span").first.hover()
    for width in (1360, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert all(240 <= one.bounding_box()["width"] <= width for one in layers.locator("figure:visible").all())
    with page.expect_response("**/queue/join*"):
        page.locator("#lape-generate").click()
    page.locator("#lape-stop").click()
    expect(tokens.locator("h3")).to_have_count(0)  # of what was on show before
