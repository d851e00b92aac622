"""What a file says, as Markdown that can mean nothing else.

Free text becomes a code span, in which neither HTML nor Markdown nor a bare address means anything. An id or a label
goes into a link or an example only when it looks like one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from lape.languages import LANGUAGES, base_language

HUB = "https://huggingface.co"
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}")
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # name of a mask's folder
LONGEST = 120  # characters of a text from a file


def code(text: object) -> str:
    r"""Any text as a code span that cannot end early, start a table cell or hold a line of its own.

    Example:
        >>> code("a `b` | c\n<!-- d -->")
        '``a `b` ¦ c <!-- d -->``'
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in str(text))
    shown = " ".join(shown.replace("|", "¦").split()) or "?"
    shown = shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    space = " " if "`" in (shown[0], shown[-1]) else ""
    return f"{fence}{space}{shown}{space}{fence}"


def model_link(model: str) -> str:
    """A model's name, linked where it is a Hub id."""
    return f"[{code(model)}]({HUB}/{model})" if HUB_ID.fullmatch(model) else code(model)


def language_name(label: str) -> str:
    """A label with the language's name, where it is known."""
    known = LANGUAGES.get(base_language(label))
    return f"{known.name} ({code(label)})" if known else code(label)


def language_names(labels: Iterable[str]) -> str:
    """Several of them."""
    return ", ".join(map(language_name, labels))


def value_text(value: Any) -> str:
    """A number as it is, anything else as a code span."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value) if isinstance(value, float) else code(value)
