"""The Compare tab: one prompt and its columns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.choice import from_values
from lape.demo.compare.api import endpoint
from lape.demo.compare.beside import build_beside
from lape.demo.compare.chat import Talks, continued
from lape.demo.compare.comparison import compare, identifier, request_of
from lape.demo.compare.controls import (
    build_examples,
    build_languages,
    build_more,
    build_prompt,
    direction,
    example_buttons,
    refreshed,
)
from lape.demo.compare.export import Comparison, about, fingerprint
from lape.demo.compare.freshness import outdated, watch
from lape.demo.compare.links import from_query, is_link
from lape.demo.compare.notes import as_tried, control_note, hint, unsteered
from lape.demo.compare.places import Places
from lape.demo.compare.request import FIELDS, CompareRequest, opening
from lape.demo.compare.sharing import build_sharing
from lape.demo.compare.stored import stored
from lape.demo.compare.variants import variants_of
from lape.demo.examples import examples_for
from lape.demo.part import MODEL, QUIET, Outputs, Part, failures_to, visitor_of
from lape.demo.runs import STRAGGLING_SECONDS
from lape.demo.status import status
from lape.demo.stops import Stops
from lape.demo.words import say, word
from lape.errors import LapeError
from lape.languages import language


def build_compare(backend: Backend) -> Part:
    """Adds the tab to the gradio page that is being built."""
    start = opening(backend.languages())
    if backend.languages():
        identifier(backend.languages())  # begins to load it
    first = stored(backend.loaded)
    with gr.Row(elem_classes="lape-controls", equal_height=False):
        with gr.Column(min_width=320):
            inputs = build_prompt(backend)
        with gr.Column(min_width=320):
            with gr.Row(elem_classes="lape-languages"):
                inputs |= build_languages(backend)
            with gr.Row(elem_classes="lape-actions lape-run"):
                generate = gr.Button(
                    word("compare.generate"), variant="primary", elem_id="lape-generate", min_width=160, scale=0
                )
                stop = gr.Button(word("said.stop"), interactive=False, elem_id="lape-stop", min_width=100, scale=0)
                clear = gr.Button(word("compare.clear"), visible=False, elem_id="lape-clear", min_width=100, scale=0)
                mend = gr.Button(visible=False, elem_id="lape-mend", min_width=200, scale=0)
    line = gr.HTML(hint(backend, "", first), elem_id="lape-status", min_width=240)
    old = gr.HTML("", elem_id="lape-old")
    seen = gr.State(first)  # the run on show, for Stop and the export
    talks = gr.State({})  # what was said before, by column
    version = gr.State(backend.version())  # of what this page shows
    places = Places(_variants(backend, "", start), start, first.columns if first else {})
    with gr.Row(elem_classes="lape-actions") as below:
        pass
    examples, expected = build_examples(backend)
    inputs |= build_more(backend)
    with below:
        address = build_sharing(backend, inputs, seen, line)
    beside, inside = build_beside(backend, inputs, seen)
    control = gr.Markdown(control_note(backend, ""))
    stops = Stops()

    def heads(asked: CompareRequest, visitor: str) -> Outputs:
        return places.heads(variants_of(backend.ready(visitor), asked), asked)

    def refresh(visitor: str, run: Comparison | None = None, *values: Any) -> Outputs:
        """Makes the page true to what its visitor works on; what was set or made stays where it can be done."""
        languages = backend.languages(visitor)
        if languages:
            identifier(languages)  # begins to load that of another mask
        loaded = backend.visitors.shown(visitor).loaded
        try:
            kept = request_of(backend, dict(zip(FIELDS, values, strict=True)) | {"prompt": "-"}, visitor)
        except (LapeError, ValueError):
            kept = None
        start = kept or opening(languages)
        openings = examples_for(languages)
        return {
            **shown(visitor, run if kept else None, start, kept is not None),
            **refreshed(inputs, languages, loaded, start, anew=kept is None),
            **beside.refresh(visitor),
            examples: gr.Dataset(**example_buttons(openings), visible=bool(openings)),
            expected: "",
            control: control_note(backend, visitor),
            clear: gr.Button(visible=start.chat),
            mend: gr.Button(visible=False),
            address: gr.Textbox("", visible=False),
            version: backend.version(visitor),
        }

    def shown(visitor: str, run: Comparison | None, start: CompareRequest, kept: bool) -> Outputs:
        """The columns for what a visitor works on: the run on show where it is of this model, else the stored one."""
        loaded = backend.visitors.shown(visitor).loaded
        if run is None and not kept:
            run = stored(loaded)
        if run is None or loaded is None or loaded.mask is None or run.about["model"]["model"] != loaded.public_name:
            return {
                **places.cleared(chat=start.chat),
                **(heads(replace(start, prompt="-"), visitor) if backend.languages(visitor) else places.hidden()),
                **{seen: None, talks: {}, old: "", line: hint(backend, visitor, None)},
            }
        if fingerprint(loaded.mask) != run.about["mask"]["sha256"]:
            return {seen: run, old: outdated(run, vars(run.request), loaded), line: status("")}
        return {
            **heads(run.request, visitor),
            **places.drawn(run.request, run.columns, run.talks),
            **{seen: run, old: "", line: hint(backend, visitor, run)},
        }

    def enter(request: gr.Request) -> None:
        """Puts the neurons of a link in place for its visitor; what is wrong with them is said when it is opened."""
        visitor, query = visitor_of(request), dict(request.query_params or {})
        with suppress(LapeError):
            if is_link(query) and (chosen := from_values(query, backend.ready(visitor))) is not None:
                backend.change(visitor, lambda _: chosen)

    @failures_to(line)
    def arrive(request: gr.Request) -> Outputs:
        """Opens the comparison of a link, if the page was opened with one."""
        visitor = visitor_of(request)
        query = dict(request.query_params or {})
        if not is_link(query):
            return {}
        asked, sentence = from_query(query, backend.ready(visitor))
        return {
            **{inputs[name]: getattr(asked, name) for name in FIELDS},
            inputs["targets"]: list(asked.targets),
            inputs["prompt"]: gr.Textbox(asked.prompt, rtl=language(asked.source).rtl),
            clear: gr.Button(visible=asked.chat),
            **places.cleared(chat=asked.chat),
            **heads(asked, visitor),
            **{seen: None, old: "", line: status(sentence)},
        }

    def example(request: gr.Request, index: Any, run: Comparison | None, *values: Any) -> Outputs:
        visitor = visitor_of(request)
        openings = examples_for(backend.languages(visitor))
        if type(index) is not int or not 0 <= index < len(openings):  # those of another mask
            return {inputs["prompt"]: gr.skip()}
        chosen = openings[index]
        given = dict(zip(FIELDS, values, strict=True)) | {"source": chosen.source, "targets": [chosen.target]}
        return {
            **preview(request, run, *given.values()),
            inputs["prompt"]: gr.Textbox(chosen.prompt, rtl=language(chosen.source).rtl),
            inputs["source"]: chosen.source,
            inputs["targets"]: [chosen.target],
            expected: chosen.expected if as_tried(backend, visitor) else "",
        }

    @failures_to(line)
    def preview(request: gr.Request, run: Comparison | None, *values: Any) -> Outputs:
        """Keeps the titles true to the menus as long as nothing has been generated."""
        if run is not None:
            return {line: gr.skip()}
        visitor = visitor_of(request)
        asked = request_of(backend, dict(zip(FIELDS, values, strict=True)) | {"prompt": "-"}, visitor)
        return heads(asked, visitor) | {line: status("")}

    def emptied(chat: Any) -> Outputs:
        """Begins anew: a chat, or without one."""
        chat = chat is True
        cleared: Outputs = {clear: gr.Button(visible=chat), seen: None, talks: {}, line: status(""), old: ""}
        return places.cleared(chat=chat) | cleared | inside

    def busy(request: gr.Request, run: Comparison | None, before: Talks, chat: Any, *values: Any) -> Outputs:
        """Clears the columns that there will be; what is wrong with the values is said by `stream`."""
        stops.begin(visitor_of(request))
        chat = chat is True
        if chat and run is not None and run.request.chat:
            before = continued(run.talks, run.request, {name: column.text for name, column in run.columns.items()})
        return {
            **preview(request, None, *values),
            **places.cleared(chat=chat, talks=before, waiting=True),
            **{line: status(say("said.waiting")), seen: None, talks: before, old: ""},
            **{generate: gr.Button(interactive=False), stop: gr.Button(interactive=True)},
            **{address: gr.Textbox("", visible=False), **inside},  # of other settings
        }

    @failures_to(line)
    @stops.end
    def stream(request: gr.Request, shown_version: int, before: Talks, *values: Any) -> Iterator[Outputs]:
        visitor = visitor_of(request)
        if shown_version != backend.version(visitor):
            yield {line: status(say("first.moved_on"), failed=True)}
            return
        try:
            asked = request_of(backend, dict(zip(FIELDS, values, strict=True)), visitor)
            loaded = backend.ready(visitor).by_method(asked.method)
            made_with, began = about(loaded), time.perf_counter()
            yield {line: status(say("first.generating"))}
            with closing(compare(backend, asked, visitor, before)) as states:
                for columns in states:
                    if columns:
                        shown = Comparison(asked, columns, before, made_with)
                        yield {seen: shown, **places.drawn(asked, columns, before)}
                    else:
                        yield {line: gr.skip()}
            done = say("first.done", seconds=f"{time.perf_counter() - began:.1f}")
            yield {line: status(f"{done} {unsteered(loaded, asked)}".strip())}
        except LapeError as error:
            yield {line: status(f"{error} {say('first.or_clear') if before else ''}".strip(), failed=True)}

    def follow(request: gr.Request, shown_version: int, run: Comparison | None, *values: Any) -> Outputs:
        """Makes a page true again that was out of date when it asked."""
        visitor = visitor_of(request)
        if shown_version == backend.version(visitor):
            return {version: shown_version}
        return refresh(visitor, run, *values) | {line: status(say("first.moved_on"), failed=True)}

    def stopped(request: gr.Request, run: Comparison | None) -> Outputs:
        stops.press(visitor_of(request))
        return idle(run, {}, False) | {line: status(say("first.stopped"))} | ended(run)

    def ended(run: Comparison | None) -> Outputs:
        """Marks the columns as stopped, over updates that were still on their way to the browser."""
        if run is None:
            return {seen: None}
        halted = {name: replace(column, finished=column.finished or "stopped") for name, column in run.columns.items()}
        return {seen: replace(run, columns=halted), **places.badged(run.request, halted)}

    def idle(run: Comparison | None, before: Talks, chat: Any) -> Outputs:
        """Waits for a first text again, where there is none."""
        buttons = {generate: gr.Button(interactive=True), stop: gr.Button(interactive=False)}
        return (places.cleared(chat=chat is True, talks=before) if run is None else {}) | buttons

    asked = [inputs[name] for name in FIELDS]
    drawn_to = [*places.parts, line, seen, generate, stop]
    # Apart, because whatever an event may write to, the browser draws anew at every update.
    around = [talks, clear, mend, old, address, version, control, examples, expected]
    everything = [*drawn_to, *around, *beside.outputs, *asked]

    for name in ("source", "targets", "show_random", "show_plain", "method", "switching", "keep", "layers", "only"):
        inputs[name].input(preview, [seen, *asked], drawn_to, preprocess=False, **QUIET)
    inputs["source"].change(direction, inputs["source"], inputs["prompt"], preprocess=False, **QUIET)
    anew = [*drawn_to, talks, clear, old, *inside]
    inputs["chat"].input(emptied, inputs["chat"], anew, preprocess=False, **QUIET)
    clear.click(emptied, inputs["chat"], anew, preprocess=False, **QUIET)

    begun = gr.on(
        [generate.click, inputs["prompt"].submit],
        busy,
        [seen, talks, inputs["chat"], *asked],
        [*drawn_to, talks, address, old, *inside],
        api_name="compare_busy",
        trigger_mode="once",
        preprocess=False,
        **QUIET,
    )
    running = begun.then(
        stream,
        [version, talks, *asked],
        [*places.written, line, seen],  # no more: the browser looks at each of them at every update
        preprocess=False,  # our own checks say it better
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=[line],
        **MODEL,
    )
    now = [seen, *asked]
    ended_well = running.then(idle, [seen, talks, inputs["chat"]], drawn_to, preprocess=False, **QUIET)
    followed = ended_well.then(follow, [version, *now], everything, preprocess=False, **QUIET)
    watch(backend, inputs, seen, [old, mend, expected], followed)
    halted = stop.click(stopped, seen, drawn_to, cancels=[running], **QUIET)
    halted.then(lambda: time.sleep(STRAGGLING_SECONDS), None, None, **QUIET).then(ended, seen, drawn_to, **QUIET)
    chosen = [inputs[name] for name in ("prompt", "source", "targets")]
    examples.click(example, [examples, seen, *asked], [*drawn_to, expected, *chosen], preprocess=False, **QUIET)
    gr.api(endpoint(backend), api_name="compare", **MODEL)
    return Part(refresh, everything, enter=enter, arrive=arrive, inputs=(seen, *asked))


def _variants(backend: Backend, visitor: str, request: CompareRequest) -> dict[str, Any]:
    """The columns the page begins with; none without a model and a mask."""
    return variants_of(backend.ready(visitor), request) if backend.languages(visitor) else {}
