"""Which language the visitor's own openings are continued in, steered and otherwise."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.checks import MODES, STRENGTH
from lape.demo.languages import is_rtl, titles
from lape.demo.measure.own_text import outcomes
from lape.demo.measure.request import checked_steering, example_openings
from lape.demo.measure.running import Measurement, build_run
from lape.demo.measure.texts import begin_with
from lape.demo.part import QUIET, Outputs, Part
from lape.demo.status import status
from lape.demo.words import say, word
from lape.drawing.html import notice
from lape.evaluation.runs.own_text import own_steering
from lape.generation import settings

EXAMPLES = 4  # openings that the page begins with


def build_openings(backend: Backend) -> Part:
    """Adds it to the tab that is being built."""
    first, second, *_ = begin_with(backend.languages())
    known = titles(backend.languages())
    gr.Markdown(word("measure.openings_explanation"))
    with gr.Row():
        with gr.Column(scale=3, min_width=280):
            openings = gr.Textbox(
                "\n".join(example_openings(first or "")[:EXAMPLES]),
                label=word("measure.openings_text"),
                info=word("measure.openings_info"),
                lines=5,
                max_lines=10,
                rtl=is_rtl(first),
                elem_id="lape-openings-text",
            )
        with gr.Column(scale=2, min_width=280):
            with gr.Row():
                source = gr.Dropdown(known, value=first, label=word("measure.openings_language"), min_width=200)
                target = gr.Dropdown(known, value=second, label=word("compare.targets"), min_width=200)
            with gr.Row():
                strength = gr.Slider(
                    STRENGTH.low,
                    STRENGTH.high,
                    value=settings.STRENGTH,
                    step=STRENGTH.step,
                    label=word("compare.strength"),
                    min_width=200,
                )
                mode = gr.Dropdown([*MODES], value=settings.MODE, label=word("compare.mode"), min_width=200)
    inputs = [openings, source, target, strength, mode]

    def prepare(visitor: str, *values: Any) -> Measurement:
        loaded = backend.ready(visitor)
        mask, statistics = loaded.known_mask, loaded.statistics
        asked = checked_steering(mask.languages, *values)
        control = mask.random_like(statistics, seed=0) if statistics is not None else None
        states = backend.run(own_steering, mask, control, asked.openings, asked.source, asked.target, asked.setting)
        return Measurement(states, partial(_drawn, asked.openings, control is not None))

    line, results = build_run("openings", word("measure.measure"), inputs, prepare)

    def refresh(visitor: str) -> Outputs:
        known = titles(backend.languages(visitor))
        return {source: gr.Dropdown(known), target: gr.Dropdown(known), line: status(""), results: ""}

    def turning(code: Any, text: Any) -> Any:
        """Another language takes the examples of that language along, where nothing else was written."""
        examples = ["\n".join(example_openings(other)[:EXAMPLES]) for other in backend.languages()]
        untouched = isinstance(text, str) and (not text.strip() or text in examples)
        if untouched and isinstance(code, str) and (found := example_openings(code)):
            return gr.Textbox("\n".join(found[:EXAMPLES]), rtl=is_rtl(code))
        return gr.Textbox(rtl=is_rtl(code))

    source.input(turning, [source, openings], openings, preprocess=False, **QUIET)
    return Part(refresh, [source, target, line, results])


def _drawn(openings: tuple[str, ...], controlled: bool, results: dict[str, Any]) -> list[str]:
    return [*outcomes(results, openings), *([] if controlled else [notice(say("measured.no_control"))])]
