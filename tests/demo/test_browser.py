"""The page in Chromium, with the embedded model and its bundled mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from browsing import MARKS, PATIENCE, expect, open_tab, text_of

from lape.demo.backend import Backend
from lape.demo.compare.request import DEFAULTS
from lape.demo.examples import EXAMPLES
from lape.demo.words import texts as texts_of_page
from lape.languages import language

pytestmark = MARKS
NAMES = ("on", "off", "steered")
TOO_LONG = "x" * 2001


# Watches from inside the page: Playwright's own questions take longer than an update when the machine is busy.
WATCH = """(names) => {
  window.seen = [];
  setInterval(() => window.seen.push(
    names.map((name) => document.querySelector(`#lape-text-${name} .lape-text:not(.lape-empty)`)?.innerText ?? "")
  ), 30);
}"""


def texts(page: Any) -> list[str]:
    return [text_of(page, name) for name in NAMES]


def expect_texts(page: Any) -> None:
    for name in NAMES:
        expect(page.locator(f"#lape-text-{name} .lape-text:not(.lape-empty)")).to_be_visible(timeout=30_000)


def generate(page: Any) -> None:
    page.get_by_role("button", name="Generate").click()


def wait_until_done(page: Any) -> None:
    expect(page.locator("#lape-status")).to_contain_text("Done", timeout=PATIENCE)
    expect(page.get_by_role("button", name="Generate")).to_be_enabled()
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()


def set_tokens(page: Any, tokens: int) -> None:
    page.get_by_role("button", name="Parameters").click()
    box = page.get_by_role("spinbutton", name="New tokens")
    box.fill(str(tokens))
    box.press("Tab")


def test_three_columns_fill_while_streaming(opened: Callable[..., Any]) -> None:
    page = opened()
    set_tokens(page, 32)
    page.get_by_role("button", name="French", exact=True).click()
    expect(page.locator("#lape-prompt textarea")).to_have_value(DEFAULTS.prompt)
    generate(page)
    expect(page.get_by_role("button", name="Generate")).to_be_disabled()
    page.evaluate(WATCH, NAMES)
    wait_until_done(page)
    seen = page.evaluate("window.seen")
    for column, final in enumerate(texts(page)):
        lengths = [len(state[column]) for state in seen]
        assert len(set(lengths)) > 5, "it did not stream"
        assert lengths == sorted(lengths)
        assert len(final) > 50
    together = [state for state in seen if all(state)]
    assert any(len(state[2]) < len(texts(page)[2]) / 2 for state in together), "they did not stream together"
    expect(page.locator("#lape-badges-on")).to_contain_text("French")
    expect(page.locator("#lape-badges-on")).to_contain_text("tokens/s")
    expect(page.get_by_text("French neurons off").first).to_be_visible()
    assert len(set(texts(page))) == 3


def test_stop_keeps_the_text_and_frees_the_model(opened: Callable[..., Any], backend: Backend) -> None:
    page = opened()
    set_tokens(page, 256)
    generate(page)
    expect(page.locator("#lape-status")).to_contain_text("Generating", timeout=PATIENCE)
    expect(page.locator("#lape-text-on .lape-text:not(.lape-empty)")).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#lape-status")).to_contain_text("Stopped")
    expect(page.locator("#lape-badges-on")).to_contain_text("stopped", timeout=30_000)
    assert backend.lock.acquire(timeout=30), "the model is still busy"
    backend.lock.release()
    kept = texts(page)
    assert all(kept)
    page.wait_for_timeout(1000)
    assert texts(page) == kept
    set_tokens_again = page.get_by_role("spinbutton", name="New tokens")
    set_tokens_again.fill("4")
    set_tokens_again.press("Tab")
    generate(page)
    wait_until_done(page)
    expect(page.locator("#lape-badges-on")).to_contain_text("4 tokens")


def test_who_waits_sees_the_place_in_the_queue(opened: Callable[..., Any], backend: Backend) -> None:
    pages = [opened(), opened(viewport={"width": 390, "height": 900}), opened()]
    with backend.lock:  # whoever is first now waits for the model, the others for their turn
        for page in pages:
            with page.expect_response("**/queue/join*"):  # what says that it waits comes before it is in the queue
                page.locator("#lape-generate").click()
            expect(page.locator("#lape-status")).to_contain_text("Waiting for the model")
        for number, page in enumerate(pages[1:], start=1):
            place = page.locator("#lape-status .progress-text")
            expect(place).to_contain_text(f"queue: {number}/")
            expect(place).to_be_visible()
            assert page.locator("#lape-status .html-container").evaluate("one => getComputedStyle(one).opacity") == "1"
        for page in reversed(pages):
            page.locator("#lape-stop").click()
    for page in pages:
        expect(page.locator("#lape-generate")).to_be_enabled()


def test_mistakes_get_a_sentence(opened: Callable[..., Any]) -> None:
    page = opened()
    prompt = page.locator("#lape-prompt textarea")
    for text, said in ((TOO_LONG, "2,001 characters"), ("  ", "The prompt is empty")):
        prompt.fill(text)
        generate(page)
        expect(page.get_by_role("alert").filter(has_text=said)).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_role("button", name="Generate")).to_be_enabled()


def test_text_is_never_run_as_html(opened: Callable[..., Any]) -> None:
    page = opened()
    set_tokens(page, 4)
    page.locator("#lape-prompt textarea").fill("<img src=x onerror='window.ran=1'><script>window.ran=1</script>")
    generate(page)
    wait_until_done(page)
    assert page.evaluate("window.ran === undefined")


def test_an_example_sets_the_languages(opened: Callable[..., Any]) -> None:
    page = opened()
    page.get_by_role("button", name="Chinese", exact=True).click()
    expect(page.locator("#lape-prompt textarea")).to_have_value(EXAMPLES[2].prompt)
    expect(page.get_by_role("combobox", name="The prompt's language")).to_have_value(f"{language('zh').title} · zh")
    expect(page.locator("#lape-old")).to_contain_text("of another prompt")


def test_the_random_control_is_a_fourth_column(opened: Callable[..., Any]) -> None:
    page = opened()
    set_tokens(page, 12)
    expect(page.locator("#lape-text-random")).to_be_hidden()
    page.get_by_label("Show a random control").check()
    generate(page)
    expect(page.locator("#lape-text-random")).to_be_visible()
    wait_until_done(page)
    assert text_of(page, "random")


def test_the_keyboard_is_enough(opened: Callable[..., Any]) -> None:
    page = opened()
    set_tokens(page, 4)
    page.locator("#lape-prompt textarea").press("Control+Enter")
    wait_until_done(page)
    names = page.evaluate(
        """() => [...document.querySelectorAll("main input, main textarea, main button")]
             .filter((part) => part.offsetParent && !part.disabled && part.tabIndex < 0)
             .map((part) => part.id || part.textContent)"""
    )
    tabs = page.get_by_role("tab").all_inner_texts()
    assert set(names) <= set(tabs)  # gradio measures the width of the tabs on buttons nobody sees
    page.get_by_role("tab", name="Masks").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#lape-masks-listed")).to_be_visible()


@pytest.mark.parametrize(("width", "theme"), [(1360, "light"), (390, "dark")])
def test_it_fits(opened: Callable[..., Any], theme: str, width: int) -> None:
    page = opened(f"/?__theme={theme}", viewport={"width": width, "height": 844})
    set_tokens(page, 8)
    generate(page)
    wait_until_done(page)
    assert page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [page.locator(f"#lape-text-{name}").bounding_box() for name in NAMES]
    assert max(box["y"] for box in boxes) - min(box["y"] for box in boxes) < 80  # side by side
    assert (boxes[-1]["x"] > width) == (width == 390)  # to be swiped to on a phone


def test_the_model_is_unloaded_and_loaded_again_for_everybody(opened: Callable[..., Any], backend: Backend) -> None:
    page, other = opened(), opened()
    page.locator("#lape-models button.label-wrap").click()
    page.get_by_role("button", name="Unload", exact=True).click()
    expect(page.locator("#lape-model-status")).to_contain_text("Unloaded", timeout=PATIENCE)
    expect(page.locator("#lape-models")).to_contain_text("No model is loaded")
    expect(page.locator("#lape-status")).to_contain_text("No model is loaded")
    assert backend.loaded is None
    generate(other)  # this page does not know yet
    expect(other.locator("#lape-status")).to_contain_text("Another model or mask is loaded now", timeout=PATIENCE)
    page.get_by_role("button", name="Load", exact=True).click()
    expect(page.locator("#lape-model-status")).to_contain_text("Loaded", timeout=PATIENCE)
    expect(page.locator("#lape-models")).to_contain_text("12 languages")
    set_tokens(page, 4)
    generate(page)
    wait_until_done(page)
    expect_texts(page)


@pytest.mark.parametrize("width", [1360, 390])
def test_the_masks_tab_fits(opened: Callable[..., Any], width: int) -> None:
    page = opened(viewport={"width": width, "height": 844})
    open_tab(page, "Masks")
    expect(page.locator("#lape-masks-listed")).to_contain_text("French 935")
    page.get_by_role("button", name="Use this mask").click()
    expect(page.locator("#lape-masks-status")).to_contain_text("In use", timeout=PATIENCE)
    page.get_by_role("button", name="Show its card").click()
    expect(page.get_by_text("SmolLM2-135M-Instruct").last).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("locale", "code"), [("fr-CA", "fr"), ("es-MX", "es"), ("zh-CN", "zh"), ("de-DE", "en")])
def test_the_page_speaks_the_visitors_language(opened: Callable[..., Any], locale: str, code: str) -> None:
    page = opened(locale=locale)
    words = texts_of_page()[code]
    expect(page.get_by_role("button", name=words["compare.generate"], exact=True)).to_be_visible()
    expect(page.get_by_role("combobox", name=words["compare.source"])).to_be_visible()
    expect(page.locator("#lape-targets")).to_contain_text(words["compare.targets"])
    expect(page.get_by_text(words["compare.prompt_info"])).to_be_visible()
    expect(page.get_by_role("tab", name=words["page.masks"])).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text(words["page.introduction"].splitlines()[0].strip("# "))
    expect(page.get_by_role("heading", name=words["column.off"], exact=True)).to_be_visible()
    expect(page.locator("#lape-status")).to_contain_text(str(words["first.stored"]).partition("{")[0])
    assert "i18n" not in page.locator("main").inner_text()
