"""The Compare tab: one prompt and its columns."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, fields, replace
from typing import Any

import gradio as gr

from lape.demo.api import endpoint
from lape.demo.backend import COLUMNS, Backend, Column
from lape.demo.columns import TITLES, badges, head, status
from lape.demo.request import LIMITS, MODES, CompareRequest, examples_for, opening
from lape.errors import LapeError
from lape.languages import language

logger = logging.getLogger(__name__)

EMPTY = "Press Generate"
FIELDS = [field.name for field in fields(CompareRequest)]
QUIET: dict[str, Any] = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}  # one comparison at a time

Outputs = dict[Any, Any]


@dataclass(frozen=True)
class _Place:
    """Where a column is on the page."""

    box: gr.Column
    head: gr.HTML
    text: gr.Textbox
    badges: gr.HTML


def build_compare(backend: Backend) -> None:
    """Adds the tab to the gradio page that is being built."""
    start = opening(backend.languages)
    titles = [(language(code).title, code) for code in backend.languages]
    inputs: dict[str, Any] = {}

    with gr.Row(elem_classes="lape-controls", equal_height=False):
        with gr.Column(scale=3, min_width=320):
            inputs["prompt"] = gr.Textbox(
                start.prompt,
                label="Prompt",
                info="The beginning of a text; the model goes on.",
                lines=3,
                max_lines=8,
                autofocus=True,
                elem_id="lape-prompt",
                rtl=language(start.source).rtl,
            )
            examples_at = gr.Column(elem_classes="lape-examples")
        with gr.Column(scale=2, min_width=320):
            with gr.Row():
                inputs["source"] = gr.Dropdown(
                    titles, value=start.source, label="The prompt's language", info="Its neurons go off.", min_width=180
                )
                inputs["target"] = gr.Dropdown(
                    titles, value=start.target, label="Steer to", info="Its neurons go on.", min_width=180
                )
            inputs["show_random"] = gr.Checkbox(
                start.show_random,
                label="Show a random control",
                info="A fourth column that changes as many random neurons: is it language, or just damage?",
            )
            inputs["chat"] = gr.Checkbox(
                start.chat,
                label="Chat",
                info="Send the prompt as a message, through the model's chat template.",
                visible=backend.chat,
            )
    with gr.Accordion("Parameters", open=False, elem_classes="lape-parameters"):
        with gr.Row():
            inputs["strength"] = _slider("strength", start, "Factor on the neurons that go on.")
            inputs["mode"] = gr.Dropdown(
                [*MODES],
                value=start.mode,
                label="Mode",
                info="Set to, add, or multiply by: strength × mean.",
                min_width=200,
            )
            inputs["max_new_tokens"] = _slider("max_new_tokens", start, "Per column.")
        with gr.Row():
            inputs["temperature"] = _slider("temperature", start, "0 always takes the likeliest token.")
            inputs["top_p"] = _slider("top_p", start, "Share of probability to draw from.")
            inputs["repetition_penalty"] = _slider("repetition_penalty", start, "1 is none.")
            inputs["seed"] = gr.Number(
                start.seed,
                label=LIMITS["seed"].label,
                info="The same seed gives the same texts.",
                precision=0,
                min_width=150,
            )
    with gr.Row(elem_classes="lape-actions"):
        generate = gr.Button("Generate", variant="primary", elem_id="lape-generate", min_width=160, scale=0)
        stop = gr.Button("Stop", interactive=False, elem_id="lape-stop", min_width=100, scale=0)
        line = gr.HTML(status(EMPTY), elem_id="lape-status", min_width=240)
    seen = gr.State(None)  # the request and columns on show, for Stop

    places: dict[str, _Place] = {}
    variants = backend.variants(replace(start, show_random=False))
    with gr.Row(elem_classes="lape-columns", equal_height=True):
        for name in COLUMNS:
            with gr.Column(min_width=250, visible=name in variants, elem_classes="lape-column") as box:
                title = gr.HTML(head(name, variants[name], start) if name in variants else "")
                text = gr.Textbox(
                    label=f"{TITLES[name]}: the model's text",
                    show_label=False,
                    container=False,
                    placeholder=EMPTY,
                    interactive=False,
                    lines=7,
                    max_lines=16,
                    buttons=["copy"],
                    elem_id=f"lape-text-{name}",
                    elem_classes="lape-text",
                )
                places[name] = _Place(box, title, text, gr.HTML(badges(None, start), elem_id=f"lape-badges-{name}"))
    if backend.statistics is None:
        gr.Markdown("This mask has no statistics beside it, so the random control only switches neurons off.")

    def heads(request: CompareRequest) -> Outputs:
        variants = backend.variants(request)
        shown = {places[name].head: head(name, variant, request) for name, variant in variants.items()}
        return shown | {place.box: gr.Column(visible=name in variants) for name, place in places.items()}

    def preview(columns: Any, *values: Any) -> Outputs:
        """Keeps the titles true to the menus as long as nothing has been generated."""
        if columns is not None:
            return {line: gr.skip()}
        try:
            request = backend.request(dict(zip(FIELDS, values, strict=True)) | {"prompt": "-"})
            return heads(request) | {line: status(EMPTY)}
        except LapeError as error:
            return {line: status(str(error), failed=True)}

    def busy() -> Outputs:
        cleared: Outputs = {place.text: gr.Textbox("", placeholder="…") for place in places.values()}
        cleared |= {place.badges: badges(None, start) for place in places.values()}
        waiting = {line: status("Waiting for the model…"), seen: None}
        return cleared | waiting | {generate: gr.Button(interactive=False), stop: gr.Button(interactive=True)}

    def stream(*values: Any) -> Iterator[Outputs]:
        try:
            request = backend.request(dict(zip(FIELDS, values, strict=True)))
            began = time.perf_counter()
            yield heads(request) | {line: status("Generating…")}
            with closing(backend.compare(request)) as states:
                for columns in states:
                    yield drawn(request, columns)
            yield {line: status(f"Done in {time.perf_counter() - began:.1f} s.")}
        except LapeError as error:
            yield {line: status(str(error), failed=True)}
        except Exception as error:
            logger.exception("The comparison failed.")
            text = f"The model failed ({type(error).__name__}). The log of the server says more; try again."
            yield {line: status(text, failed=True)}

    def drawn(request: CompareRequest, columns: dict[str, Column]) -> Outputs:
        shown: Outputs = {seen: (request, columns)}
        for name, column in columns.items():
            expected = request.target if name == "steered" else request.source
            code = column.language.language or expected
            shown[places[name].text] = gr.Textbox(column.text.lstrip(), rtl=language(code).rtl)
            shown[places[name].badges] = badges(column, request)
        return shown

    def stopped(shown: tuple[CompareRequest, dict[str, Column]] | None) -> Outputs:
        outputs = idle() | {line: status("Stopped.")}
        if shown is not None:
            request, columns = shown
            ended = {name: replace(column, finished=column.finished or "stopped") for name, column in columns.items()}
            outputs |= {places[name].badges: badges(column, request) for name, column in ended.items()}
        return outputs

    def idle() -> Outputs:
        return {
            generate: gr.Button(interactive=True),
            stop: gr.Button(interactive=False),
            **{place.text: gr.Textbox(placeholder=EMPTY) for place in places.values()},
        }

    asked = [inputs[name] for name in FIELDS]
    drawings = [part for place in places.values() for part in (place.box, place.head, place.text, place.badges)]
    everything = [*drawings, line, seen, generate, stop]

    with examples_at:
        examples = examples_for(backend.languages)
        if examples:
            gr.Examples(
                [[example.prompt, example.source, example.target] for example in examples],
                [inputs["prompt"], inputs["source"], inputs["target"]],
                example_labels=[language(example.source).name for example in examples],
                label="Examples of openings",
                examples_per_page=12,
                api_visibility="private",
            )

    for name in ("source", "target", "show_random"):
        inputs[name].change(preview, [seen, *asked], everything, preprocess=False, **QUIET)
    inputs["source"].change(_direction, inputs["source"], inputs["prompt"], preprocess=False, **QUIET)

    begun = gr.on([generate.click, inputs["prompt"].submit], busy, None, everything, trigger_mode="once", **QUIET)
    running = begun.then(
        stream,
        asked,
        everything,
        preprocess=False,  # our own checks say it better
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=[line],
        **MODEL,
    )
    running.then(idle, None, everything, **QUIET)
    stop.click(stopped, seen, everything, cancels=[running], **QUIET)
    gr.api(endpoint(backend), api_name="compare", **MODEL)


def _slider(name: str, start: CompareRequest, info: str) -> gr.Slider:
    limit = LIMITS[name]
    return gr.Slider(
        limit.low,
        limit.high,
        value=getattr(start, name),
        step=limit.step,
        label=limit.label,
        info=info,
        buttons=["reset"],
        min_width=200,
    )


def _direction(code: object) -> Any:
    return gr.Textbox(rtl=isinstance(code, str) and language(code).rtl)
