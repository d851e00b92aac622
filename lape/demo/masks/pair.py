"""Two masks side by side: what they share in each language, and in which layers it lies."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.languages import names_listed
from lape.demo.masks.listing import QUIETLY, MaskList, chosen_of, found_mask, names_of
from lape.demo.masks.upload import MOST_LANGUAGES, MaskUpload, uploaded
from lape.demo.part import Outputs, failures_to, visitor_of
from lape.demo.status import status
from lape.demo.words import say, word
from lape.errors import LapeError
from lape.evaluation.kinds.layers import pair, pair_figure
from lape.evaluation.metrics.layers import mask_overlap
from lape.masks.collection import bundled_entries
from lape.masks.mask import NeuronMask

IN_USE, START, UPLOADED = "@in-use", "@start", "@uploaded"
Menus = list[tuple[gr.Dropdown, list[Any]]]


def comparison_menus() -> Menus:
    """The two menus, not yet on the page, each with what it offers before the names of the list."""
    texts = {IN_USE: word("masks.in_use"), START: word("masks.start"), UPLOADED: word("masks.uploaded")}
    before = [(text, name) for name, text in texts.items()]
    names = names_of(bundled_entries([]))
    return [
        (
            gr.Dropdown(
                [*before, *names], value=value, label=label, min_width=240, render=False, elem_id=f"lape-diff-{side}"
            ),
            before,
        )
        for side, value, label in (("a", IN_USE, word("masks.first")), ("b", START, word("masks.second")))
    ]


def build_comparison(backend: Backend, menus: Menus, masks: MaskList, upload: MaskUpload) -> None:
    """Adds the section to the tab that is being built."""
    with gr.Accordion(word("masks.compare"), open=False, elem_id="lape-diff"):
        gr.Markdown(word("masks.compare_about"))
        with gr.Row():
            for menu, _ in menus:
                menu.render()
        with gr.Row(elem_classes="lape-actions"):
            compare = gr.Button(
                word("masks.compare_now"), variant="primary", min_width=190, scale=0, elem_id="lape-diff-run"
            )
            line = gr.HTML(status(""), elem_id="lape-diff-status", min_width=240)
        result = gr.HTML("", visible=False, elem_id="lape-diff-result", elem_classes="lape-figures")

    @failures_to(line, {result: gr.update(visible=False)})
    def comparing(
        request: gr.Request, first: Any, second: Any, where: Any, at: Any, brought: Any, named: Any
    ) -> Outputs:
        def mask_of(name: Any) -> NeuronMask:
            visitor = visitor_of(request)
            if name == IN_USE:
                return backend.ready(visitor).known_mask
            if name == START:
                return backend.ready().known_mask
            if name == UPLOADED:
                return uploaded(backend.ready(visitor), brought, named).known_mask
            return NeuronMask.load(found_mask(backend, where, at, *chosen_of(name), statistics=False).folder)

        one, other = mask_of(first), mask_of(second)
        shown = compared(one, other)
        return {line: status(_said(one, other)), result: gr.HTML(shown, visible=True)}

    asked = [*(menu for menu, _ in menus), masks.collection, masks.revision, upload.files, upload.codes]
    compare.click(comparing, asked, [line, result], **QUIETLY)


def compared(one: NeuronMask, other: NeuronMask) -> str:
    """A table and a figure as HTML; every text in it is escaped.

    Raises:
        LapeError: The masks are of models of different shapes, or have no language in common, or too many.
    """
    overlap = mask_overlap(one, other)
    if (common := len(overlap["languages"])) > MOST_LANGUAGES:
        raise LapeError(say("masks.too_many_shared", count=common, most=MOST_LANGUAGES))
    alone = [
        f"<p>{escape(say('masks.only_in', side=side, languages=names_listed(overlap[key])))}</p>"
        for side, key in (("A", "first_only"), ("B", "second_only"))
        if overlap[key]
    ]
    return "\n".join([pair(overlap).html(), *alone, pair_figure(one, other)])


def _said(one: NeuronMask, other: NeuronMask) -> str:
    """What should be known about a comparison."""
    models = [str(mask.metadata.get("model") or say("said.unnamed_model")) for mask in (one, other)]
    if models[0] != models[1]:
        return say("masks.two_models", first=models[0], second=models[1])
    return say("masks.same") if one.neurons.keys() == other.neurons.keys() and _same(one, other) else ""


def _same(one: NeuronMask, other: NeuronMask) -> bool:
    return all(one.flat(code).equal(other.flat(code)) for code in one.languages)
