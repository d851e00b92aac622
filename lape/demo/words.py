"""The words of the page in eight languages; English where a browser asks for another.

The texts are in `lape/demo/translations/<file>.json`: name to text by language. There are two ways to show one:

- `word("said.stop")` is what to give to a component; gradio translates it in the browser. It is plain text, as
  gradio's own object is not JSON: in an update, that breaks the answers of the raw API.
- `say("compare.done", seconds="3.2")` is the text itself, in the language of who asks, for all that is composed here:
  status lines, counts, HTML.

Tried in Chromium with gradio 6.31, of `word`:

- translated: `label`, `info`, `placeholder` of every component, the value of `Button`, `DownloadButton`,
  `UploadButton`, `Markdown` and `HTML`, labels of `Tab`, `Accordion` and `Dataset`, the shown names of choices of
  `Dropdown`, `Radio` and `CheckboxGroup`; in updates as well;
- one word within a longer text, such as `f"## {word(...)}"`: the first of them only;
- not translated: `sample_labels` of `Dataset`, headers of `Dataframe`.

A name without its file before the dot would be mixed up with gradio's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.resources import files
from typing import Any

import gradio as gr
from babel import Locale
from babel.numbers import format_decimal

LANGUAGES = ("en", "fr", "es", "zh", "ar", "hi", "ko", "ja")
Text = str | Mapping[str, str]  # by plural category, as CLDR names them, where a text has a count
_ASKED_IN: ContextVar[str] = ContextVar("asked_in", default=LANGUAGES[0])


def word(key: str) -> str:
    """The words of a key, `<file>.<name>`, for a component.

    Raises:
        KeyError: There is no such key; a mistake of the code that builds the page.
    """
    if key not in texts()["en"]:
        raise KeyError(key)
    return str(translations()(key))


def say(key: str, **values: Any) -> str:
    """The text of a key in the language of who asks, with its fields filled in.

    Args:
        key: `<file>.<name>`.
        **values: For the fields of the text. Whole numbers are grouped as the language does; `count` chooses among the
            plural forms of a text that has some.

    Raises:
        KeyError: There is no such key, or a field has no value; a mistake of the code that builds the page.

    Example:
        >>> say("compare.tokens", count=1200)
        '1,200 tokens'
    """
    code = tongue()
    text = texts()[code][key]
    if not isinstance(text, str):
        text = text.get(_locale(code).plural_form(values["count"]), text["other"])
    return text.format(**{name: _written(value, code) for name, value in values.items()})


def number(value: float, digits: int = 0) -> str:
    """A number with so many decimals, as the language of who asks writes it.

    Example:
        >>> number(1234.56, 1)
        '1,234.6'
    """
    whole, _, _ = _locale(tongue()).decimal_formats[None].pattern.partition(".")
    return str(format_decimal(value, f"{whole}.{'0' * digits}".rstrip("."), locale=_locale(tongue())))


def isolated(text: str) -> str:
    """A text for the midst of another: where that is written from right to left, it keeps its own direction.

    So does a figure with its interval, which else would be read as the second number, the first one, and the figure.
    """
    if _locale(tongue()).text_direction == "rtl":
        return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}"
    return text


def tongue() -> str:
    """The language of who asks, one of `LANGUAGES`; English outside of a request."""
    return _ASKED_IN.get()


@contextmanager
def speaking(accepted: str | None) -> Iterator[None]:
    """Answers in the language of a request for as long as the block runs.

    Args:
        accepted: The header Accept-Language. Only its first language counts, as for gradio in the browser.
    """
    first = (accepted or "").split(",")[0].split(";")[0].strip().lower().partition("-")[0]
    before = _ASKED_IN.set(first if first in LANGUAGES else LANGUAGES[0])
    try:
        yield
    finally:
        _ASKED_IN.reset(before)


@cache
def translations() -> gr.I18n:
    """All words without plural forms, as `launch` takes them; braces may be those of a formula."""
    return gr.I18n(
        **{
            code: {key: text for key, text in by_key.items() if isinstance(text, str)}
            for code, by_key in texts().items()
        }
    )


@cache
def texts() -> dict[str, dict[str, Text]]:
    """All words: language to key to text."""
    found: dict[str, dict[str, Text]] = {code: {} for code in LANGUAGES}
    for file in sorted((files("lape.demo") / "translations").iterdir(), key=lambda file: file.name):
        for name, by_language in json.loads(file.read_text("utf-8")).items():
            for code in LANGUAGES:
                found[code][f"{file.name.removesuffix('.json')}.{name}"] = by_language[code]
    return found


@cache
def _locale(code: str) -> Locale:
    return Locale.parse(code)


def _written(value: Any, code: str) -> Any:
    return str(format_decimal(value, locale=_locale(code))) if type(value) is int else value
