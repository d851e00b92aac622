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
from lape.demo.controls import build_controls, has_chat, titles
from lape.demo.loaded import Loaded
from lape.demo.part import MODEL, QUIET, Outputs, Part, visitor_of
from lape.demo.request import CompareRequest, examples_for, opening
from lape.demo.words import word
from lape.errors import LapeError
from lape.languages import language

logger = logging.getLogger(__name__)

EMPTY = "Press Generate"
STRAGGLING_SECONDS = 1.0
OUTDATED = "Another model or mask is loaded now; the menus show its languages. Press Generate again."
FIELDS = [field.name for field in fields(CompareRequest)]


@dataclass(frozen=True)
class _Place:
    """Where a column is on the page."""

    box: gr.Column
    head: gr.HTML
    text: gr.Textbox
    badges: gr.HTML


def build_compare(backend: Backend) -> Part:
    """Adds the tab to the gradio page that is being built."""
    start = opening(backend.languages())
    inputs, examples = build_controls(backend)
    with gr.Row(elem_classes="lape-actions"):
        generate = gr.Button(
            word("compare.generate"), variant="primary", elem_id="lape-generate", min_width=160, scale=0
        )
        stop = gr.Button(word("compare.stop"), interactive=False, elem_id="lape-stop", min_width=100, scale=0)
        line = gr.HTML(_hint(backend, ""), elem_id="lape-status", min_width=240)
    seen = gr.State(None)  # the request and columns on show, for Stop
    version = gr.State(backend.version())  # of what this page shows

    places: dict[str, _Place] = {}
    variants = _variants(backend, start)
    with gr.Row(elem_classes="lape-columns", equal_height=True):
        for name in COLUMNS:
            with gr.Column(min_width=250, visible=name in variants, elem_classes="lape-column") as box:
                title = gr.HTML(head(name, variants[name], start) if name in variants else "")
                text = gr.Textbox(
                    label=f"{TITLES[name]}: the model's text",
                    show_label=False,
                    container=False,
                    placeholder=word("compare.empty"),
                    interactive=False,
                    lines=7,
                    max_lines=16,
                    buttons=["copy"],
                    elem_id=f"lape-text-{name}",
                    elem_classes="lape-text",
                )
                places[name] = _Place(box, title, text, gr.HTML(badges(None, start), elem_id=f"lape-badges-{name}"))
    control = gr.Markdown(_control(backend, ""))

    def heads(request: CompareRequest, visitor: str) -> Outputs:
        variants = backend.ready(visitor).variants(request)
        shown = {places[name].head: head(name, variant, request) for name, variant in variants.items()}
        return shown | {place.box: gr.Column(visible=name in variants) for name, place in places.items()}

    def refresh(visitor: str) -> Outputs:
        """Makes the page true to what its visitor works on."""
        languages = backend.languages(visitor)
        start = opening(languages)
        known = titles(languages)
        chosen = {"source": start.source, "target": start.target}
        shown: Outputs = {
            inputs[name]: gr.Dropdown(known, value=code if known else None) for name, code in chosen.items()
        }
        openings = examples_for(languages)
        shown |= {place.text: gr.Textbox("", placeholder=word("compare.empty")) for place in places.values()}
        shown |= {place.badges: badges(None, start) for place in places.values()}
        if known:
            shown |= heads(replace(start, prompt="-"), visitor)
        else:
            shown |= {place.box: gr.Column(visible=False) for place in places.values()}
        return shown | {
            inputs["prompt"]: gr.Textbox(start.prompt, rtl=language(start.source).rtl),
            inputs["chat"]: gr.Checkbox(False, visible=has_chat(backend)),
            examples: gr.Dataset(
                samples=[[example.prompt] for example in openings],
                sample_labels=[language(example.source).name for example in openings],
                visible=bool(openings),
            ),
            control: _control(backend, visitor),
            line: _hint(backend, visitor),
            seen: None,
            version: backend.version(visitor),
        }

    def example(request: gr.Request, index: Any) -> Outputs:
        openings = examples_for(backend.languages(visitor_of(request)))
        if type(index) is not int or not 0 <= index < len(openings):  # those of another mask
            return {inputs["prompt"]: gr.skip()}
        chosen = openings[index]
        return {
            inputs["prompt"]: gr.Textbox(chosen.prompt, rtl=language(chosen.source).rtl),
            inputs["source"]: chosen.source,
            inputs["target"]: chosen.target,
        }

    def preview(request: gr.Request, columns: Any, *values: Any) -> Outputs:
        """Keeps the titles true to the menus as long as nothing has been generated."""
        if columns is not None:
            return {line: gr.skip()}
        try:
            visitor = visitor_of(request)
            asked = backend.request(dict(zip(FIELDS, values, strict=True)) | {"prompt": "-"}, visitor)
            return heads(asked, visitor) | {line: status(EMPTY)}
        except LapeError as error:
            return {line: status(str(error), failed=True)}

    def busy() -> Outputs:
        cleared: Outputs = {place.text: gr.Textbox("", placeholder="…") for place in places.values()}
        cleared |= {place.badges: badges(None, start) for place in places.values()}
        waiting = {line: status("Waiting for the model…"), seen: None}
        return cleared | waiting | {generate: gr.Button(interactive=False), stop: gr.Button(interactive=True)}

    def stream(request: gr.Request, shown_version: int, *values: Any) -> Iterator[Outputs]:
        visitor = visitor_of(request)
        if shown_version != backend.version(visitor):
            yield {line: status(OUTDATED, failed=True)}
            return
        try:
            asked = backend.request(dict(zip(FIELDS, values, strict=True)), visitor)
            began = time.perf_counter()
            yield heads(asked, visitor) | {line: status("Generating…")}
            with closing(backend.compare(asked, visitor)) as states:
                for columns in states:
                    yield drawn(asked, columns)
            unsteered = _unsteered(backend.ready(visitor), asked)
            yield {line: status(f"Done in {time.perf_counter() - began:.1f} s.{unsteered}")}
        except LapeError as error:
            yield {line: status(str(error), failed=True)}
        except Exception as error:
            logger.exception("The comparison failed.")
            text = f"The model failed ({type(error).__name__}). The log of the server says more; try again."
            yield {line: status(text, failed=True)}

    def follow(request: gr.Request, shown_version: int) -> Outputs:
        """Makes a page true again that was out of date when it asked."""
        visitor = visitor_of(request)
        if shown_version == backend.version(visitor):
            return {version: shown_version}
        return refresh(visitor) | {line: status(OUTDATED, failed=True)}

    def drawn(request: CompareRequest, columns: dict[str, Column]) -> Outputs:
        shown: Outputs = {seen: (request, columns)}
        for name, column in columns.items():
            expected = request.target if name == "steered" else request.source
            code = column.language.language or expected
            shown[places[name].text] = gr.Textbox(column.text.lstrip(), rtl=language(code).rtl)
            shown[places[name].badges] = badges(column, request)
        return shown

    def stopped(shown: tuple[CompareRequest, dict[str, Column]] | None) -> Outputs:
        return idle() | {line: status("Stopped.")} | ended(shown)

    def ended(shown: tuple[CompareRequest, dict[str, Column]] | None) -> Outputs:
        """Marks the columns as stopped, over updates that were still on their way to the browser."""
        if shown is None:
            return {seen: None}
        request, columns = shown
        halted = {name: replace(column, finished=column.finished or "stopped") for name, column in columns.items()}
        return {places[name].badges: badges(column, request) for name, column in halted.items()}

    def idle() -> Outputs:
        return {
            generate: gr.Button(interactive=True),
            stop: gr.Button(interactive=False),
            **{place.text: gr.Textbox(placeholder=word("compare.empty")) for place in places.values()},
        }

    asked = [inputs[name] for name in FIELDS]
    drawings = [part for place in places.values() for part in (place.box, place.head, place.text, place.badges)]
    drawn_to = [*drawings, line, seen, generate, stop]
    # Apart, because whatever an event may write to, the browser draws anew at every update.
    everything = [*drawn_to, version, control, examples, *asked]

    for name in ("source", "target", "show_random"):
        inputs[name].change(preview, [seen, *asked], drawn_to, preprocess=False, **QUIET)
    inputs["source"].change(_direction, inputs["source"], inputs["prompt"], preprocess=False, **QUIET)

    begun = gr.on([generate.click, inputs["prompt"].submit], busy, None, drawn_to, trigger_mode="once", **QUIET)
    running = begun.then(
        stream,
        [version, *asked],
        drawn_to,
        preprocess=False,  # our own checks say it better
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=[line],
        **MODEL,
    )
    running.then(idle, None, drawn_to, **QUIET).then(follow, version, everything, **QUIET)
    halted = stop.click(stopped, seen, drawn_to, cancels=[running], **QUIET)
    halted.then(lambda: time.sleep(STRAGGLING_SECONDS), None, None, **QUIET).then(ended, seen, drawn_to, **QUIET)
    examples.click(example, examples, [inputs[name] for name in ("prompt", "source", "target")], **QUIET)
    gr.api(endpoint(backend), api_name="compare", **MODEL)
    return Part(refresh, everything)


def _variants(backend: Backend, request: CompareRequest) -> dict[str, Any]:
    """The columns the page begins with; none without a model and a mask."""
    loaded = backend.loaded
    return loaded.variants(request) if loaded is not None and loaded.mask is not None else {}


def _hint(backend: Backend, visitor: str) -> str:
    """What to do first."""
    try:
        backend.ready(visitor).known_mask  # noqa: B018
    except LapeError as error:
        return status(str(error), failed=True)
    return status(EMPTY)


def _control(backend: Backend, visitor: str) -> str:
    if not backend.languages(visitor) or backend.ready(visitor).statistics is not None:
        return ""
    return "This mask has no statistics beside it, so the random control only switches neurons off."


def _unsteered(loaded: Loaded, request: CompareRequest) -> str:
    """Why there is no steered column, if there is none."""
    if loaded.steers_to(request.target, request.mode):
        return ""
    name = language(request.target).name
    return f" The mask has no means for {name}, so nothing was steered to it: calibrate it in the tab Masks."


def _direction(code: object) -> Any:
    return gr.Textbox(rtl=isinstance(code, str) and language(code).rtl)
