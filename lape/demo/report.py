"""Tables and pictures of the report as HTML of the page; whoever made the figures, nothing of them is markup."""

from __future__ import annotations

from collections.abc import Sequence

from lape.demo.words import say
from lape.drawing.html import figures_css
from lape.errors import BadFile

LARGEST_HTML = 3_000_000  # characters; a browser takes long for more
REPORT_CSS = f"""
.lape-report {{ {figures_css()} }}
.lape-report {{
  --text: var(--body-text-color); --dim: var(--body-text-color-subdued); --line: var(--border-color-primary);
  --back: var(--background-fill-primary); --panel: var(--lape-plain-soft); --link: var(--lape-source);
  --more: #0b57b8; --less: #c25700;
}}
.lape-report {{ contain: inline-size; }}
.lape-report :is(table, thead, tbody, tr) {{ border: 0 !important; }}
.lape-report table :is(th, td) {{ border-width: 0 0 1px !important; }}
.dark .lape-report {{ --more: #4d94e8; --less: #d9802b; }}
.lape-report p {{ max-width: 46rem; margin: .5rem 0; overflow-wrap: anywhere; }}
.lape-report .lead {{ font-size: 1.1rem; line-height: 1.5; max-width: 62rem; }}
.lape-report h2 {{ font-size: 1.15rem; font-weight: 650; margin: 1.25rem 0 .5rem; }}
.lape-report .beside {{ display: flex; flex-wrap: wrap; gap: 0 2.5rem; }}
.lape-report .beside figure {{ max-width: 100%; flex: 0 1 24rem; }}
.lape-report .texts dt {{ color: var(--dim); font-size: .875rem; margin-top: .6rem; }}
.lape-report .texts dd {{ margin: 0; overflow-wrap: anywhere; }}
"""


def in_english(parts: Sequence[str]) -> str:
    """Parts that are in English whoever reads them: they are read from the left, and spoken as such."""
    return "\n".join(['<div lang="en" dir="ltr">', *parts, "</div>"])


def report_html(parts: Sequence[str]) -> str:
    """Parts of a report.

    Raises:
        BadFile: They are too much for a page.
    """
    text = "\n".join(parts)
    if len(text) > LARGEST_HTML:
        raise BadFile(say("said.too_many_figures"))
    return f'<div class="lape-report">{text}</div>'
