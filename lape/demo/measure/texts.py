"""What switching languages off costs the visitor's own texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.examples import examples_for
from lape.demo.languages import is_rtl, titles
from lape.demo.measure.own_text import costs
from lape.demo.measure.request import TEXTS, checked_texts, example_openings
from lape.demo.measure.running import Measurement, build_run
from lape.demo.part import QUIET, Outputs, Part
from lape.demo.status import status
from lape.demo.words import word
from lape.evaluation.runs.own_text import own_costs

SHOWN = 2  # texts that the page begins with


def build_texts(backend: Backend) -> Part:
    """Adds it to the tab that is being built."""
    start = begin_with(backend.languages())
    gr.Markdown(word("measure.texts_explanation"))
    rows, codes, texts = [], [], []
    for place in range(TEXTS):
        with gr.Row(visible=place < SHOWN) as row:
            codes.append(
                gr.Dropdown(
                    titles(backend.languages()),
                    value=start[place],
                    label=word("measure.language"),
                    scale=1,
                    min_width=180,
                    elem_id=f"lape-texts-language-{place}",
                )
            )
            texts.append(
                gr.Textbox(
                    label=word("measure.text"),
                    placeholder=word("measure.text_placeholder"),
                    lines=3,
                    max_lines=8,
                    scale=3,
                    min_width=280,
                    rtl=is_rtl(start[place]),
                    elem_id=f"lape-texts-text-{place}",
                )
            )
        rows.append(row)
    with gr.Row(elem_classes="lape-actions"):
        more = gr.Button(word("measure.more"), size="sm", min_width=160, scale=0, elem_id="lape-texts-more")
        fill = gr.Button(word("measure.fill"), size="sm", min_width=160, scale=0, elem_id="lape-texts-fill")
    count = gr.State(SHOWN)
    inputs = [*codes, *texts]

    def prepare(visitor: str, *values: Any) -> Measurement:
        mask = backend.ready(visitor).known_mask
        asked = checked_texts(mask.languages, list(zip(values[:TEXTS], values[TEXTS:], strict=True)))
        return Measurement(backend.run(own_costs, mask, asked), costs)

    line, results = build_run("texts", word("measure.measure"), inputs, prepare)

    def adding(shown: int) -> Outputs:
        visible = min(TEXTS, shown + 1)
        return {count: visible, rows[visible - 1]: gr.Row(visible=True), more: gr.Button(visible=visible < TEXTS)}

    def filling(shown: int, *values: Any) -> Outputs:
        found: Outputs = {}
        for place in range(shown):
            code, text = values[place], values[TEXTS + place]
            if isinstance(code, str) and not (isinstance(text, str) and text.strip()):
                found[texts[place]] = "\n".join(example_openings(code))
        return found or {texts[0]: gr.skip()}

    def refresh(visitor: str) -> Outputs:
        """What was typed and chosen stays; a language that the new mask lacks is refused when it is measured."""
        known = titles(backend.languages(visitor))
        return {code: gr.Dropdown(known) for code in codes} | {line: status(""), results: ""}

    more.click(adding, count, [count, more, *rows], **QUIET)
    fill.click(filling, [count, *inputs], texts, preprocess=False, **QUIET)
    for code, text in zip(codes, texts, strict=True):
        code.change(lambda code: gr.Textbox(rtl=is_rtl(code)), code, text, preprocess=False, **QUIET)
    return Part(refresh, [*codes, line, results])


def begin_with(languages: Sequence[str]) -> list[str | None]:
    """The languages of the boxes: those the page opens with first, None where there are too few."""
    example = next(iter(examples_for(languages)), None) if len(languages) > 1 else None
    first = [example.source, example.target] if example is not None else []
    chosen = [*first, *(code for code in languages if code not in first)]
    return [chosen[place] if place < len(chosen) else None for place in range(TEXTS)]
