"""What a visitor takes away from a comparison: a link that opens it again, and the run as a file."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.compare.comparison import request_of
from lape.demo.compare.export import Comparison, exported
from lape.demo.compare.links import to_query
from lape.demo.part import QUIET, Outputs, failures_to, visitor_of
from lape.demo.status import status
from lape.demo.words import word
from lape.errors import LapeError

# In the browser: a query becomes a link, and a text becomes a file.
LINK = "(query) => query.startsWith('?') ? location.origin + location.pathname + query : query"
SAVE = """(text) => {
  if (!text) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  link.download = "lape-comparison.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}"""


def build_sharing(backend: Backend, inputs: dict[str, Any], seen: gr.State, line: gr.HTML) -> gr.Textbox:
    """Adds the row to the gradio page that is being built; returns where the link is shown.

    Args:
        backend: Checks what a link is made of.
        inputs: The controls by field of `CompareRequest`.
        seen: The run on show.
        line: Where mistakes are said.
    """
    with gr.Row(elem_classes="lape-actions"):
        link = gr.Button(word("compare.link"), elem_id="lape-link", min_width=160, scale=0)
        export = gr.Button(word("compare.export"), elem_id="lape-export", min_width=190, scale=0)
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

    @failures_to(line, {file: ""})
    def exporting(run: Comparison | None) -> Outputs:
        if run is None:
            raise LapeError("There is nothing to export yet: press Generate first.")
        return {file: exported(run), line: status("Exported.")}

    linked = link.click(linking, list(inputs.values()), [address, line], preprocess=False, **QUIET)
    linked.then(None, address, address, js=LINK)
    export.click(exporting, seen, [file, line], **QUIET).then(None, file, None, js=SAVE)
    return address
