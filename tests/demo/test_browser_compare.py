"""The Compare tab in Chromium: links, exports, several targets, a plain prompt, chats, what differs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from browsing import MARKS, PATIENCE, expect, text_of
from PIL import Image

from lape.demo.compare.request import DEFAULTS
from lape.demo.examples import EXAMPLES
from lape.demo.words import texts
from lape.models.embedded import SMOLLM2

pytestmark = MARKS
HTML = "<img src=x onerror='window.ran=1'>"


def link(**values: Any) -> str:
    """The query of a link with few tokens."""
    return "/?" + urlencode({"lape": 1, "max_new_tokens": 8, "prompt": DEFAULTS.prompt, **values})


def generate(page: Any) -> None:
    page.locator("#lape-generate").click()
    expect(page.locator("#lape-stop")).to_be_enabled()
    expect(page.locator("#lape-stop")).to_be_disabled(timeout=PATIENCE)
    expect(page.locator("#lape-status")).to_contain_text("Done")


def test_a_link_opens_the_same_comparison_and_gives_the_same_texts(opened: Callable[..., Any], tmp_path: Path) -> None:
    page = opened(link(targets="es,zh", show_plain=1, strength=1.5, method="difference"))
    expect(page.locator("#lape-status")).to_contain_text("Opened from a link")
    page.get_by_role("button", name="Parameters").click()
    expect(page.locator("#lape-method input")).to_have_value(texts()["en"]["methods.name_difference"])
    expect(page.locator("#lape-method")).to_contain_text(texts()["en"]["methods.about_difference"])
    expect(page.locator("#lape-switching")).to_be_hidden()  # nothing was recorded of the residual stream
    generate(page)
    page.locator("#lape-link").click()
    address = page.locator("#lape-address textarea, #lape-address input")
    expect(address).to_have_value(re.compile("^http"))
    again = opened(address.input_value().removeprefix(page.url.partition("?")[0].rstrip("/")))
    expect(again.locator("#lape-status")).to_contain_text("Opened from a link")
    generate(again)
    for place in ("on", "off", "steered", "steered-2", "plain"):
        text = text_of(page, place)
        assert text
        assert text_of(again, place) == text
    generate(page)
    expect(address).to_be_hidden()  # what it links to may be something else by now
    expect(again.locator("#lape-text-steered-3")).to_be_hidden()
    expect(again.get_by_role("heading", name="Steered: Chinese")).to_be_visible()
    expect(again.locator("#lape-text-off mark.lape-differs")).to_have_attribute("title", re.compile("^Differs from"))
    saved = {kind: downloaded(again, kind) for kind in ("json", "csv", "png")}
    found = json.loads(saved["json"])
    rows = list(csv.DictReader(io.StringIO(saved["csv"].decode(), newline="")))
    assert [row["text"] for row in rows] == [column["text"] for column in found["columns"].values()]
    with Image.open(io.BytesIO(saved["png"])) as picture:
        assert picture.width == 1200
        assert len(set(picture.convert("L").tobytes())) > 20  # something is written on it
    assert found["settings"]["targets"] == ["es", "zh"]
    assert found["settings"]["method"] == found["mask"]["method"] == "difference"
    assert found["columns"]["on"]["text"].strip() == text_of(again, "on").strip()


def downloaded(page: Any, kind: str) -> bytes:
    with page.expect_download() as saving:
        page.locator(f"#lape-export-{kind}").click()
    assert saving.value.suggested_filename == f"lape-comparison.{kind}"
    return Path(saving.value.path()).read_bytes()


@pytest.mark.parametrize(("query", "said"), [(link(lape=9), "is of version '9'"), (link(source="xx"), "not 'xx'")])
def test_a_link_that_cannot_be_opened_says_so(opened: Callable[..., Any], query: str, said: str) -> None:
    page = opened(query)
    expect(page.get_by_role("alert").filter(has_text=said)).to_be_visible()
    expect(page.locator("#lape-prompt textarea")).to_have_value(DEFAULTS.prompt)


def test_nothing_to_export_is_said(opened: Callable[..., Any]) -> None:
    page = opened(link())
    expect(page.locator("#lape-status")).to_contain_text("Opened from a link")
    page.locator("#lape-export-json").click()
    expect(page.get_by_role("alert")).to_contain_text("There is nothing to export yet")


def test_an_example_says_what_to_expect(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lape.demo.compare.notes.TRIED_ON", SMOLLM2.model)  # the server's, in this very process
    page = opened()
    page.get_by_role("button", name="Japanese", exact=True).click()
    (japanese,) = (example for example in EXAMPLES if example.source == "ja")
    expect(page.locator("#lape-expected")).to_contain_text(japanese.expected)
    page.locator("#lape-prompt textarea").press_sequentially("x")
    expect(page.locator("#lape-expected")).to_have_text("")


def test_a_chat_keeps_a_conversation_in_each_column(opened: Callable[..., Any]) -> None:
    page = opened(link(chat=1))
    on, steered = page.locator("#lape-text-on .lape-talk"), page.locator("#lape-text-steered .lape-talk")
    expect(on).to_be_visible()
    page.locator("#lape-prompt textarea").fill(f"Bonjour {HTML}")
    generate(page)
    expect(on.locator(".lape-user")).to_have_text([f"Bonjour {HTML}"])
    answers = [talk.locator(".lape-assistant").inner_text() for talk in (on, steered)]
    page.locator("#lape-prompt textarea").fill("Et toi ?")
    generate(page)
    for talk, answer in zip((on, steered), answers, strict=True):
        expect(talk.locator(".lape-user")).to_have_text([f"Bonjour {HTML}", "Et toi ?"])
        assert talk.locator(".lape-assistant").first.inner_text() == answer
        expect(talk.locator(".lape-assistant")).to_have_count(2)
    assert page.evaluate("window.ran === undefined")
    for width in (1360, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#lape-clear").click()
    expect(on.locator(".lape-user")).to_have_count(0)
    page.get_by_label("Chat", exact=True).uncheck()
    expect(page.locator("#lape-text-on .lape-empty")).to_be_visible()
    expect(page.locator("#lape-clear")).to_be_hidden()
