"""A pytest plugin for the tests in Chromium: one server with SmolLM2, one browser, for all of them."""

from __future__ import annotations

import shutil
import socket
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lape.models.embedded import SMOLLM2

try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    expect = sync_playwright = None  # type: ignore[assignment]
else:
    expect.set_options(timeout=30_000)  # ms; five seconds are short for a machine that does something else too

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
IN_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(sync_playwright is None, reason="playwright is not installed: make test installs it"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install your system's chromium package"),
]
MARKS = [
    *IN_CHROMIUM,
    pytest.mark.slow,
    pytest.mark.skipif(not SMOLLM2.files(), reason="SmolLM2 is not installed: make app installs it"),
]
PATIENCE = 400_000  # ms; a CPU that does something else at the same time is slow


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last: Playwright keeps an event loop running in this thread, which others may not expect.

    Workers take whole files, so a file with browser tests has no others.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.fixture(scope="session")
def backend() -> Any:
    """What the page serves; shared, so leave the model loaded."""
    from lape.demo.backend import Backend
    from lape.demo.loaded import Loaded

    return Backend(Loaded.load(SMOLLM2.model))


@contextmanager
def serve(backend: Any) -> Iterator[tuple[Any, str]]:
    """Serves the page of a backend on a free port; gives the page and its address."""
    from lape.demo.page import build_page, launch

    page = build_page(backend)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield page, launch(page, port)
    page.close(verbose=False)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser that nobody sees."""
    with sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def url(backend: Any) -> Iterator[str]:
    with serve(backend) as (_, address):
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def spare() -> defaultdict[str, list[Any]]:
    """Pages in the browser that no test uses, by what their contexts were made with.

    Opened there, the page costs the browser 1.4 s of CPU; in a new context, where nothing is compiled yet, 3.5 s.
    """
    return defaultdict(list)


@pytest.fixture
def opened(browser: Any, url: str, spare: defaultdict[str, list[Any]]) -> Iterator[Callable[..., Any]]:
    """Opens the page; in the end, nothing outside was asked for and nothing went wrong in the console."""
    outside: list[str] = []
    wrong: list[str] = []
    taken: list[tuple[Any, list[Any]]] = []

    def asked(request: Any) -> None:
        if is_outside(request.url):
            outside.append(request.url)

    def heard(message: Any) -> None:
        # Gradio's own manifest and favicon are not there, which harms nothing.
        if message.type == "error" and "404" not in message.text:
            wrong.append(message.text)

    def failed(error: Any) -> None:
        wrong.append(str(error))

    listeners = {"request": asked, "console": heard, "pageerror": failed}

    def open_page(query: str = "", viewport: Any = None, **context: Any) -> Any:
        like_it = spare[repr(context)]
        page = like_it.pop() if like_it else browser.new_context(**context).new_page()
        taken.append((page, like_it))
        page.set_viewport_size(viewport or {"width": 1360, "height": 900})
        page.set_default_timeout(60_000)
        for event, listener in listeners.items():
            page.on(event, listener)
        with page.expect_response("**/run/predict*"):  # what is done before it comes could be put back by it
            page.goto(url + query)
        page.locator("#lape-generate").wait_for(state="attached")  # another tab may be open
        # Until all parts are in place gradio can put back what one began with, over what has come for it since.
        page.evaluate("() => new Promise(settled => requestIdleCallback(settled))")
        return page

    yield open_page
    for page, like_it in taken:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        page.evaluate("() => { localStorage.clear(); sessionStorage.clear() }")
        page.context.clear_cookies()
        page.goto("about:blank")  # the visitor leaves
        like_it.append(page)
    assert outside == []
    assert wrong == []


def text_of(page: Any, place: str) -> str:
    """The text that a column of the tab Compare shows; empty while it has none."""
    box = page.locator(f"#lape-text-{place} .lape-text")
    return "" if "lape-empty" in box.get_attribute("class") else box.inner_text()


def open_tab(page: Any, name: str) -> None:
    """Opens a tab; a narrow page keeps the last ones in a menu."""
    if (tab := page.get_by_role("tab", name=name, exact=True)).count():
        tab.click()
    else:
        menu = page.locator(".overflow-menu").first  # a tab with tabs of its own may have one too
        menu.locator("> button").click()
        menu.locator(".overflow-dropdown").get_by_role("button", name=name, exact=True).click()


def is_outside(address: str) -> bool:
    return not address.startswith(("http://127.0.0.1:", "http://localhost:", "data:", "blob:"))
