"""axe-core on every tab, in light and dark: nothing that keeps people out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from browsing import MARKS

axe = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
pytestmark = MARKS

# The scheme changes colors alone.
RULES = {
    "light": {"type": "tag", "values": ["wcag2a", "wcag2aa"]},
    "dark": {"type": "rule", "values": ["color-contrast"]},
}
KEPT_OUT = ("serious", "critical")


def findings(page: Any, scheme: str) -> list[str]:
    """What axe finds, a line each: rule, impact, where, and why."""
    page.evaluate(axe.AXE_SCRIPT)
    options = {"runOnly": RULES[scheme], "resultTypes": ["violations"]}
    found = page.evaluate("(options) => axe.run(document, options)", options)
    return [
        f"{rule['id']} ({rule['impact']}): {node['target'][0]}: {node['failureSummary'].splitlines()[1].strip()}"
        for rule in found["violations"]
        if rule["impact"] in KEPT_OUT
        for node in rule["nodes"]
    ]


def open_everything(page: Any) -> None:
    """Opens what is folded on the tab on show, so that axe sees it."""
    for _ in range(20):
        folded = page.locator("button.label-wrap:not(.open):visible")
        if not folded.count():
            return
        folded.first.click()
        page.wait_for_timeout(150)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened: Callable[..., Any], scheme: str) -> None:
    page = opened(f"?__theme={scheme}", reduced_motion="reduce")
    names = page.get_by_role("tab").all_inner_texts()
    assert len(names) > 2
    found = []
    for place, name in enumerate(names):
        page.get_by_role("tab").nth(place).click()
        page.wait_for_timeout(400)
        open_everything(page)
        if page.locator("#lape-diff-run:visible").count():
            page.locator("#lape-diff-run").click()
            page.locator("#lape-diff-result table").wait_for()
            page.wait_for_timeout(600)  # it fades in
        found += [f"{name}: {line}" for line in findings(page, scheme)]
    assert not found, "\n".join(sorted(set(found)))
