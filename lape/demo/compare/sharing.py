"""What a visitor takes away from a comparison: a link that opens it again, and the run as a file."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.compare.comparison import request_of
from lape.demo.compare.export import Comparison, card, exported, table
from lape.demo.compare.links import to_query
from lape.demo.part import QUIET, Outputs, failures_to, visitor_of
from lape.demo.status import status
from lape.demo.words import say, word
from lape.errors import LapeError

# In the browser: a query becomes a link, and a text becomes a file.
LINK = "(query) => query.startsWith('?') ? location.origin + location.pathname + query : query"
SAVE = """(text) => {
  if (!text) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "%s"}));
  link.download = "lape-comparison.%s";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""
CARD = (files("lape.demo.compare") / "card.js").read_text("utf-8")
FILES: dict[str, tuple[Callable[[Comparison], str], str]] = {
    "json": (exported, SAVE % ("application/json", "json")),
    "csv": (table, SAVE % ("text/csv;charset=utf-8", "csv")),
    "png": (card, CARD),
}


def build_sharing(backend: Backend, inputs: dict[str, Any], seen: gr.State, line: gr.HTML) -> gr.Textbox:
    """Adds what is in the row to the gradio page that is being built; returns where the link is shown.

    Args:
        backend: Checks what a link is made of.
        inputs: The controls by field of `CompareRequest`.
        seen: The run on show.
        line: Where mistakes are said.
    """
    link = gr.Button(word("compare.link"), size="sm", elem_id="lape-link", min_width=120, scale=0)
    exports = {
        kind: gr.Button(word(f"sharing.{kind}"), size="sm", elem_id=f"lape-export-{kind}", min_width=80, scale=0)
        for kind in FILES
    }
    address = gr.Textbox(
        label=word("compare.address"),
        visible=False,
        interactive=False,
        max_lines=1,
        buttons=["copy"],
        min_width=240,
        elem_id="lape-address",
    )
    file = gr.Textbox(visible=False)

    @failures_to(line)
    def linking(request: gr.Request, *values: Any) -> Outputs:
        visitor = visitor_of(request)
        asked = request_of(backend, dict(zip(inputs, values, strict=True)), visitor)
        return {address: gr.Textbox(to_query(asked, backend.ready(visitor)), visible=True)}

    def exporting(kind: str) -> Callable[..., Outputs]:
        @failures_to(line, {file: ""})
        def export(run: Comparison | None) -> Outputs:
            if run is None:
                raise LapeError(say("sharing.nothing"))
            return {file: FILES[kind][0](run), line: status(say("sharing.exported"))}

        return export

    linked = link.click(linking, list(inputs.values()), [address, line], preprocess=False, **QUIET)
    linked.then(None, address, address, js=LINK)
    for kind, button in exports.items():
        button.click(exporting(kind), seen, [file, line], **QUIET).then(None, file, None, js=FILES[kind][1])
    return address
