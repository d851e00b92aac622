"""The whole page of a report."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

from lape.drawing.html import figures_css, section


def page(title: str, lead: str, sections: Sequence[tuple[str, str, Sequence[str]]]) -> str:
    """The page: one HTML file that needs nothing else.

    Args:
        title: Its title.
        lead: One sentence under it.
        sections: Anchor, heading and parts of each.
    """
    template = Template((files("lape.report") / "report.html").read_text(encoding="utf-8"))
    links = "\n".join(f'<li><a href="#{anchor}">{escape(heading)}</a></li>' for anchor, heading, _ in sections)
    body = "\n".join(section(*part) for part in sections)
    return template.substitute(title=escape(title), lead=escape(lead), links=links, body=body, figures=figures_css())
