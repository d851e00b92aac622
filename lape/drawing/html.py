"""Parts of a page that stands alone: everything from a file is escaped, nothing is fetched, no script is needed."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files


@dataclass(frozen=True)
class Table:
    """A table that can be written as HTML and as Markdown.

    Attributes:
        caption: What it shows.
        head: Names of the columns.
        rows: Cells as plain text.
        words: How many columns at the left hold words; the others hold figures and are set to the right.
        strong: Rows to set off, by place, such as a mean.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    strong: frozenset[int] = frozenset()

    def html(self) -> str:
        """The table in a region that scrolls by itself where it is too wide, by keyboard too."""
        lines = [f'<div class="wide" tabindex="0" role="region" aria-label="{escape(self.caption)}">', "<table>"]
        lines.append(f"<caption>{escape(self.caption)}</caption>")
        head = "".join(f"<th{self._side(place)} scope=col>{escape(name)}</th>" for place, name in enumerate(self.head))
        lines.append(f"<thead><tr>{head}</tr></thead>")
        lines.append("<tbody>")
        for line, row in enumerate(self.rows):
            marked = ' class="strong"' if line in self.strong else ""
            cells = [f"<th scope=row>{escape(row[0])}</th>"]
            cells += [f"<td{self._side(place)}>{_spaced(cell)}</td>" for place, cell in enumerate(row[1:], start=1)]
            lines.append(f"<tr{marked}>{''.join(cells)}</tr>")
        return "\n".join([*lines, "</tbody>", "</table>", "</div>"])

    def markdown(self) -> str:
        """The table for a README; no text can end its cell or begin markup."""
        marks = ["---" if place < self.words else "---:" for place in range(len(self.head))]
        lines = [_row(map(plain, self.head)), f"|{'|'.join(marks)}|"]
        for line, row in enumerate(self.rows):
            cells = [plain(cell) for cell in row]
            lines.append(_row([f"**{cell}**" if cell else "" for cell in cells] if line in self.strong else cells))
        return "\n".join(lines)

    def _side(self, place: int) -> str:
        return "" if place < self.words else ' class="figure"'


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{_spaced(text)}</p>"


def notice(text: str) -> str:
    """What is missing, or did not work."""
    return f'<p class="notice">{_spaced(text)}</p>'


def notices(texts: Sequence[str]) -> list[str]:
    """Several of them in one box; none when there is none."""
    if len(texts) < 2:
        return [notice(text) for text in texts]
    return ['<ul class="notice">', *(f"<li>{_spaced(text)}</li>" for text in texts), "</ul>"]


def figure(picture: str, caption: str) -> str:
    """A picture with what it shows below it."""
    return (
        f'<figure><div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">\n{picture}\n</div>\n'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def picture_html(svg: str, text: str) -> str:
    """A picture that stands alone, with text that says what it is, for a page whose style is not ours.

    As an image its own style stays within it, and it follows the reader's light or dark scheme.
    """
    data = b64encode(svg.encode()).decode()
    return (
        f'{escape(text)}<br><img alt="{escape(text)}" style="max-width: 100%" src="data:image/svg+xml;base64,{data}">'
    )


def quotes(texts: Sequence[tuple[str, str]]) -> str:
    """Texts that a model wrote, each after what it was given or how it was made, in their own direction of writing."""
    items = "".join(f'<dt dir="auto">{escape(name)}</dt><dd dir="auto">{escape(text)}</dd>' for name, text in texts)
    return f'<dl class="texts">{items}</dl>'


def details(summary: str, parts: Iterable[str]) -> str:
    """Parts that are shown when asked for."""
    return "\n".join([f"<details><summary>{escape(summary)}</summary>", *parts, "</details>"])


def section(anchor: str, heading: str, parts: Iterable[str]) -> str:
    """A part of the page with a heading."""
    opened = f'<section id="{anchor}" aria-labelledby="{anchor}-h">'
    return "\n".join([opened, f'<h2 id="{anchor}-h">{escape(heading)}</h2>', *parts, "</section>"])


def figures_css() -> str:
    """How tables, notices and pictures look, in colours that the page around them names, such as `--text`."""
    return (files("lape.drawing") / "figures.css").read_text(encoding="utf-8")


def plain(text: str) -> str:
    """Text on one line whose marks mean nothing in Markdown."""
    shown = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]<>|#~$&" else letter for letter in shown)


def _spaced(text: str) -> str:
    """Escaped text whose numbers stay with their percent signs."""
    return escape(text).replace(" %", "&nbsp;%")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")
