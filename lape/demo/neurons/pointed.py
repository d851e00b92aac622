"""HTML whose cells tell more when one points at them or goes through them with the arrow keys, and lead on by a click.

A cell has `data-tip`, the line that is shown for it, and may have `data-go`, the JSON that a click hands to the page.
Of all cells one is in the tab order; arrow keys go on from it, up and down where `data-columns` says how many there
are in a row.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

import gradio as gr

from lape.errors import LapeError

POINTED = """
const cells = () => [...element.querySelectorAll("[data-tip]")];
const tell = ({ target }) => {
  const cell = target.closest("[data-tip]"), line = element.querySelector(".lape-tip");
  if (cell && line) line.textContent = cell.dataset.tip;
};
element.addEventListener("mouseover", tell);
element.addEventListener("focusin", tell);
element.addEventListener("keydown", (event) => {
  const cell = event.target.closest("[data-tip]");
  if (!cell) return;
  if (event.key === "Enter") return cell.click();
  const row = Number(cell.closest("[data-columns]")?.dataset.columns ?? 0);
  const ahead = getComputedStyle(cell).direction === "rtl" ? -1 : 1;
  const step = { ArrowRight: ahead, ArrowLeft: -ahead, ArrowDown: row, ArrowUp: -row }[event.key];
  const all = cells(), next = step && all[all.indexOf(cell) + step];
  if (!next) return;
  event.preventDefault();
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});
element.addEventListener("click", (event) => {
  const cell = event.target.closest("[data-go]");
  if (!cell || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  trigger("click", JSON.parse(cell.dataset.go));
});
"""


def pointed(tip: str, *, first: bool = False, **go: Any) -> str:
    """The attributes of a cell, from a blank on.

    Args:
        tip: What is shown for it.
        first: Whether it is the one in the tab order.
        **go: What a click hands to the page; nothing leads nowhere.
    """
    leads = f' data-go="{escape(json.dumps(go))}"' if go else ""
    return f' data-tip="{escape(tip)}" tabindex="{0 if first else -1}"{leads}'


def tip_line(text: str) -> str:
    """Where tips are shown, and what stands there before."""
    return f'<p class="lape-tip" aria-live="polite">{escape(text)}</p>'


def clicked(event: gr.EventData, name: str) -> Any:
    """What a click handed to the page under a name.

    Raises:
        LapeError: It was something else; the raw API can send any JSON.
    """
    data = event._data
    if not isinstance(data, dict) or name not in data:
        raise LapeError("Choose what is shown on the page.")
    return data[name]
