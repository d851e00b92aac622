"""Short lines that every tab has, as HTML in which every variable is escaped."""

from __future__ import annotations

from html import escape

from lape.demo.words import isolated, tongue


def status(text: str, *, failed: bool = False) -> str:
    """The line under the buttons: what is going on, or what was wrong."""
    if failed:
        return f'<p class="lape-status lape-failed" role="alert">{escape(text)}</p>'
    return f'<p class="lape-status" role="status">{escape(text)}</p>'


def sentences(*texts: str) -> str:
    """Sentences one after the other, those that are empty left out; Chinese and Japanese have no space between them."""
    return ("" if tongue() in ("zh", "ja") else " ").join(filter(None, texts))


def beside(*texts: str) -> str:
    """Short texts in one line, each in its own direction."""
    return " · ".join(map(isolated, texts))


def facts(*texts: str) -> str:
    """A row of small facts about the model."""
    return f'<p class="lape-model">{"".join(f"<span>{escape(text)}</span>" for text in texts)}</p>'
