"""How long the page keeps somebody waiting, in Chromium: `python -m benchmarks.page [--model smollm2]`.

Seconds on the machine that runs it, the median of a few times; a machine that does something else beside gives larger
ones. What the page weighs is what the browser was sent until it was idle, compressed as it was sent.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lape.demo.backend import Backend
from lape.demo.loaded import Loaded

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
from browsing import chromium, expect, open_tab, serve

SIZE = {"width": 1366, "height": 768}
PATIENCE = 120_000  # ms


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="Hub id, folder or preset (default: the embedded one)")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    backend = Backend(Loaded.load(options.model))
    print("| what | here |\n|---|---|")
    with serve(backend) as (_, url), chromium() as browser:
        requests, weight = weighed(browser, url)
        print(f"| a first visit | {requests} requests, {weight / 2**20:.2f} MiB |", flush=True)
        for name, measure in MEASURES.items():
            taken = [measure(browser, url) for _ in range(options.repeats)]
            print(f"| {name} | {statistics.median(taken):.2f} s |", flush=True)


def weighed(browser: Any, url: str) -> tuple[int, int]:
    """Requests of a first visit, and the bytes that came."""
    with opened(browser, url, wait=False) as page:
        client = page.context.new_cdp_session(page)
        client.send("Network.enable")
        sizes: list[float] = []
        client.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        page.goto(url)
        page.locator("#lape-generate").wait_for()
        page.wait_for_timeout(3000)
        return len(sizes), int(sum(sizes))


@contextmanager
def opened(browser: Any, url: str, *, wait: bool = True) -> Iterator[Any]:
    """A page of its own, with nothing in its cache."""
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    if wait:
        page.goto(url)
        page.locator("#lape-generate").wait_for()
        page.wait_for_timeout(2000)
    yield page
    context.close()


def first_sight(browser: Any, url: str) -> float:
    """From the address to the finished comparison that is stored."""
    with opened(browser, url, wait=False) as page:
        began = time.perf_counter()
        page.goto(url)
        page.locator("#lape-text-off mark").wait_for()
        return time.perf_counter() - began


def first_token(browser: Any, url: str) -> float:
    """From the click on Generate to the first text of a column."""
    with opened(browser, url) as page:
        page.locator("#lape-prompt textarea").fill("Il était une fois un roi qui")
        began = time.perf_counter()
        page.locator("#lape-generate").click()
        page.locator("#lape-text-on .lape-empty").wait_for(timeout=PATIENCE)
        page.locator("#lape-text-on .lape-text:not(.lape-empty)").wait_for(timeout=PATIENCE)
        took = time.perf_counter() - began
        expect(page.locator("#lape-stop")).to_be_disabled(timeout=PATIENCE)
        return took


def slider_to_color(browser: Any, url: str) -> float:
    """From the key on a slider to the text in other colors."""
    with opened(browser, url) as page:
        open_tab(page, "Neurons")
        page.locator("#lape-look").click()
        colored = page.locator("#lape-look-colored .lape-colored")
        colored.wait_for(timeout=PATIENCE)
        before = colored.inner_html()
        slider = page.locator("#lape-live input[type=range]").first
        began = time.perf_counter()
        for _ in range(20):
            slider.press("ArrowLeft")
        page.wait_for_function(
            "before => document.querySelector('#lape-look-colored .lape-colored')?.innerHTML !== before",
            arg=before,
            timeout=PATIENCE,
        )
        took = time.perf_counter() - began
        page.locator("#lape-live-reset").click()
        return took


def neuron(browser: Any, url: str) -> float:
    """From a neuron's address to what it writes."""
    with opened(browser, url, wait=False) as page:
        began = time.perf_counter()
        page.goto(f"{url}/?neuron=3.7")
        page.locator("#lape-neuron-written .lape-note").wait_for(timeout=PATIENCE)
        return time.perf_counter() - began


def strip(browser: Any, url: str) -> float:
    """From the button of the strength strip to its picture."""
    with opened(browser, url) as page:
        page.locator("#lape-strip > button").click()
        began = time.perf_counter()
        page.locator("#lape-strip-start").click()
        page.locator("#lape-strip-chart svg").wait_for(timeout=PATIENCE)
        return time.perf_counter() - began


MEASURES: dict[str, Callable[[Any, str], float]] = {
    "address to finished comparison": first_sight,
    "Generate to first text": first_token,
    "slider to recolored text": slider_to_color,
    "address of a neuron to what it writes": neuron,
    "button to strength strip (17 texts)": strip,
}

if __name__ == "__main__":
    main()
