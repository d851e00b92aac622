"""The words of the page in four languages; gradio picks by the browser's language, English where it has no other.

The texts are in `lape/data/words/<tab>.json`: name to text by language. `word("compare.stop")` is what to give to a
component; gradio translates it in the browser. It is plain text, as gradio's own object is not JSON: in an update, that
breaks the answers of the raw API. Tried in Chromium with gradio 6.31:

- translated: `label`, `info`, `placeholder` of every component, the value of `Button`, `DownloadButton`,
  `UploadButton`, `Markdown` and `HTML`, labels of `Tab`, `Accordion` and `Dataset`, the shown names of choices of
  `Dropdown`, `Radio` and `CheckboxGroup`; in updates as well;
- one word within a longer text, such as `f"## {word(...)}"`: the first of them only;
- not translated: `sample_labels` of `Dataset`, headers of `Dataframe`.

A name without its tab before the dot would be mixed up with gradio's own.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

import gradio as gr

LANGUAGES = ("en", "fr", "es", "zh")


def word(key: str) -> str:
    """The words of a key, `<tab>.<name>`, for a component.

    Raises:
        KeyError: There is no such key; a mistake of the code that builds the page.
    """
    if key not in texts()["en"]:
        raise KeyError(key)
    return str(translations()(key))


@cache
def translations() -> gr.I18n:
    """All words, as `launch` takes them."""
    return gr.I18n(**texts())


@cache
def texts() -> dict[str, dict[str, str]]:
    """All words: language to key to text."""
    found: dict[str, dict[str, str]] = {code: {} for code in LANGUAGES}
    for file in sorted((files("lape.demo") / "translations").iterdir(), key=lambda file: file.name):
        for name, by_language in json.loads(file.read_text("utf-8")).items():
            for code in LANGUAGES:
                found[code][f"{file.name.removesuffix('.json')}.{name}"] = by_language[code]
    return found
