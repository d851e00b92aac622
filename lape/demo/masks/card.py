"""The card of a mask, rendered: anybody may have written it, so nothing in it is markup of its own or is fetched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from lape.demo.words import say
from lape.drawing.html import picture_html
from lape.masks.mask import NeuronMask
from lape.masks.picture import mask_svg
from lape.storage.names import PICTURE_NAME, README_NAME

CARD_CHARACTERS = 50_000
HEADER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)  # what the Hub reads of a card
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
WEB = re.compile(r"https?://", re.IGNORECASE)


def mask_card(folder: Path) -> str:
    """The beginning of a mask's README as HTML, with the picture of the mask that lies beside it.

    HTML in it is shown as the text it is, of other pictures what they show, of links those that lead to the web.
    """
    if not (folder / README_NAME).is_file():
        return f"<p>{escape(say('masks.no_card'))}</p>"
    with (folder / README_NAME).open(encoding="utf-8", errors="replace") as file:
        text = file.read(CARD_CHARACTERS)
    svg = mask_svg(NeuronMask.load(folder)) if PICTURE_NAME in text else None
    shown = _rendered(HEADER.sub("", text), svg)
    label = escape(say("masks.card"))
    return f'<div class="lape-card prose" tabindex="0" role="region" aria-label="{label}">{shown}</div>'


def _rendered(text: str, svg: str | None) -> str:
    """Markdown as HTML; the picture of a mask is drawn anew."""
    markdown = MarkdownIt("commonmark").enable("table")

    def html(renderer: Any, tokens: Any, place: int, *_: Any) -> str:
        return escape(COMMENT.sub("", tokens[place].content))

    def image(renderer: Any, tokens: Any, place: int, options: Any, env: Any) -> str:
        said = renderer.renderInlineAsText(tokens[place].children or [], options, env)
        own = svg is not None and tokens[place].attrs["src"] == PICTURE_NAME
        return picture_html(svg, said) if own and svg else escape(said)

    for name, rule in (("html_block", html), ("html_inline", html), ("image", image)):
        markdown.add_render_rule(name, rule)
    tokens = markdown.parse(text)
    for token in tokens:
        _mark_links(token.children or [])
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def _mark_links(tokens: Sequence[Token]) -> None:
    """Links to the web open beside the page and are not told of it; what leads to a file beside the card is no link."""
    tag = ""
    for token in tokens:
        if token.type == "link_open":
            web = WEB.match(address := str(token.attrs["href"]))
            tag = "a" if web else "span"
            token.attrs = {"href": address, "target": "_blank", "rel": "noopener noreferrer"} if web else {}
        if token.type in ("link_open", "link_close"):
            token.tag = tag
