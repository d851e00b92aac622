"""Takes the screenshots in docs/: the real page with the embedded model, in Chromium.

`make screenshots` runs it. Chinese, Japanese and Korean are drawn only where a font for them is installed, such as
Debian's `fonts-noto-cjk`; without one they are empty boxes.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from browsing import PATIENCE, chromium, expect, open_tab, serve
from PIL import Image

from lape.demo.backend import Backend
from lape.demo.compare.request import DEFAULTS
from lape.demo.loaded import Loaded

FOLDER = Path(__file__).resolve().parents[2] / "docs"
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
MOST_HEIGHT = 1500  # px; the rest of a long page is cut off
MARGIN = 8
COLORS = 128
TEXT = "Il était une fois una niña que vivía cerca del mar. 夜になると彼女は海を見ていました。 Then the story went on."


def compare(page: Any) -> None:
    """A finished run with two targets."""
    page.goto(
        page.url + "&" + urlencode({"lape": 1, "prompt": DEFAULTS.prompt, "targets": "es,ar", "max_new_tokens": 48})
    )
    expect(page.locator("#lape-status")).to_contain_text("Opened from a link")
    page.locator("#lape-generate").click()
    expect(page.locator("#lape-status")).to_contain_text("Done", timeout=PATIENCE)


def neurons(page: Any) -> None:
    """A text whose tokens are colored, and the layers."""
    open_tab(page, "Neurons")
    page.locator("#lape-look-text textarea").fill(TEXT)
    page.locator("#lape-look").click()
    expect(page.locator("#lape-look-status")).to_contain_text("tokens: ", timeout=PATIENCE)


def measure(page: Any) -> None:
    """The evidence of the bundled mask."""
    open_tab(page, "Measure")
    page.locator("#lape-evidence-chart svg").first.wait_for()


def find(page: Any) -> None:
    """A run on the example's texts."""
    open_tab(page, "Find neurons")
    page.locator("#lape-find-example").click()
    expect(page.locator("#lape-find-texts")).to_contain_text("Twenty")
    page.locator("#lape-find-start").click()
    expect(page.locator("#lape-find-status")).to_contain_text("now in use", timeout=PATIENCE)
    page.locator("#lape-find-result table").first.wait_for()


def masks(page: Any) -> None:
    """The masks that are here."""
    open_tab(page, "Masks")
    expect(page.locator("#lape-masks-listed")).to_contain_text("French")


def about(page: Any) -> None:
    """What it is."""
    open_tab(page, "About")
    page.locator("#lape-running").wait_for()


TABS: dict[str, Callable[[Any], None]] = {
    "compare": compare,
    "neurons": neurons,
    "measure": measure,
    "find": find,
    "masks": masks,
    "about": about,
}
TOP = "[role=tablist]"
START = {  # where pictures begin, by file name or tab; else at the top of the page
    **{"neurons": TOP, "measure": TOP},
    **{"find": "#lape-find-more", "masks": TOP, "about": TOP},
}
LOOKS = [
    *((name, "light", WIDE) for name in TABS),
    *(
        (name, theme, size)
        for name in ("compare", "neurons", "measure")
        for theme, size in (("dark", WIDE), ("light", NARROW))
    ),
]


def file_name(tab: str, theme: str, size: dict[str, int]) -> str:
    """`compare`, `compare-dark`, `compare-phone`."""
    return f"{tab}{'-dark' if theme == 'dark' else ''}{'-phone' if size is NARROW else ''}"


def small(picture: bytes) -> bytes:
    """A PNG with a palette, which suits a page."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image = image.quantize(COLORS, dither=Image.Dither.NONE)
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True)
    return written.getvalue()


def take(browser: Any, url: str, tab: str, theme: str, size: dict[str, int]) -> bytes:
    """One tab in one look, from the top of the page to its end or to the greatest height."""
    context = browser.new_context(viewport=size, locale="en-US", reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{url}/?__theme={theme}")
    page.locator("#lape-generate").wait_for()
    TABS[tab](page)
    page.mouse.move(0, 0)
    page.evaluate("() => { document.activeElement?.blur(); scrollTo(0, 0); }")
    page.wait_for_timeout(1500)  # toasts and transitions are over
    height = page.evaluate("document.querySelector('main').getBoundingClientRect().bottom")
    start = START.get(file_name(tab, theme, size), START.get(tab))
    top = page.locator(start).first.bounding_box()["y"] - MARGIN if start else 0
    clip = {"x": 0, "y": top, "width": size["width"], "height": min(height - top, MOST_HEIGHT)}
    picture = page.screenshot(full_page=True, clip=clip)
    context.close()
    return small(picture)


def main(wanted: list[str]) -> None:
    """Takes all of them, or those of the tabs that are named."""
    FOLDER.mkdir(exist_ok=True)
    with serve(Backend(Loaded.load(None))) as (_, url), chromium() as browser:
        for tab, theme, size in LOOKS:
            if wanted and tab not in wanted:
                continue
            file = FOLDER / f"{file_name(tab, theme, size)}.png"
            file.write_bytes(take(browser, url, tab, theme, size))
            print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
