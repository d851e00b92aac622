"""The Find neurons tab: text of a visitor's own in, a mask of its own out, in use in every tab of that visitor."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr
from transformers import PreTrainedModel

from lape.demo.backend import Backend
from lape.demo.downloads import Downloads
from lape.demo.find.controls import build_controls
from lape.demo.find.finding import Allowance, Counted, FindRequest, allowance, checked_find, counting
from lape.demo.find.found import progress, silent, stands_on, table, unread, zipped
from lape.demo.loaded import Loaded
from lape.demo.part import MODEL, QUIET, Outputs, Part, failures_to, visitor_of
from lape.demo.status import status
from lape.demo.stops import Stops
from lape.demo.words import word
from lape.errors import LapeError
from lape.evaluation.metrics.reliability import reliability
from lape.identify import identify
from lape.recording.sources import describe
from lape.recording.texts import Texts, taken

CHARACTERS_PER_TOKEN = 8  # no less than a language has in a tokenizer that suits it; more is read for nothing
READING_SECONDS = 60  # of a dataset
READING: dict[str, Any] = {"concurrency_id": "reading", "concurrency_limit": 4}  # the network, not the model


@dataclass(frozen=True)
class _Ready:
    """Text that is read and waits for the model."""

    asked: FindRequest
    texts: dict[str, Texts]


def build_find(backend: Backend) -> Part:
    """Adds the tab to the gradio page that is being built."""
    gr.Markdown(word("find.what"))
    controls = build_controls(backend)
    with gr.Row(elem_classes="lape-actions"):
        find = gr.Button(word("find.find"), variant="primary", min_width=200, scale=0, elem_id="lape-find-start")
        stop = gr.Button(word("find.stop"), interactive=False, min_width=100, scale=0, elem_id="lape-find-stop")
        reset = gr.Button(word("find.reset"), min_width=270, scale=0, elem_id="lape-find-reset")
        line = gr.HTML(status(_limits(allowance(backend.shared))), elem_id="lape-find-status", min_width=240)
    result = gr.HTML("", elem_id="lape-find-result")
    with gr.Row(elem_classes="lape-actions"):
        download = gr.DownloadButton(
            word("find.download"), visible=False, min_width=340, scale=0, elem_id="lape-find-download"
        )
    ready = gr.State(None)
    stops, downloads = Stops(), Downloads()

    def preparing(request: gr.Request) -> Outputs:
        stops.begin(visitor_of(request))
        return {
            line: status("Reading the text…"),
            result: "",
            download: gr.DownloadButton(value=None, visible=False),
            find: gr.Button(interactive=False),
            stop: gr.Button(interactive=True),
            ready: None,
        }

    @failures_to(line)
    def fetching(request: gr.Request, *values: Any) -> Iterator[Outputs]:
        visitor = visitor_of(request)
        backend.ready(visitor)
        asked = checked_find(**controls.named(values), shared=backend.shared)
        texts: dict[str, Texts] = {}
        end = time.monotonic() + READING_SECONDS
        for code, source in asked.sources.items():
            yield {line: status(f"Reading the text of {code}…")}
            documents = []
            for document in taken(source, asked.tokens * CHARACTERS_PER_TOKEN, code):
                documents.append(document)
                if stops.pressed(visitor):
                    yield {line: status("Stopped before anything was counted.")}
                    return
                if time.monotonic() > end:
                    raise LapeError(f"The dataset was not read within {READING_SECONDS} s; ask for fewer tokens.")
            texts[code] = Texts(tuple(documents), describe(source))
        yield {line: status("Waiting for the model…"), ready: _Ready(asked, texts)}

    @failures_to(line)
    def finding(request: gr.Request, waiting: _Ready | None) -> Iterator[Outputs]:
        if waiting is None:
            yield {line: gr.skip()}
            return
        visitor = visitor_of(request)
        model = backend.ready(visitor).model
        counted = None
        arguments = waiting.texts, waiting.asked.tokens, allowance(backend.shared).seconds
        if not stops.pressed(visitor):
            with closing(backend.run(counting, *arguments)) as states:
                for state in states:
                    if stops.pressed(visitor):
                        break
                    counted = state or counted  # nothing while it waits for the model
                    yield {line: progress(counted) if counted else gr.skip()}
        if counted is None or not counted.total_tokens:
            yield {line: status("Stopped before anything was counted.")}
            return
        yield shown(visitor, waiting, counted, model)

    def shown(visitor: str, waiting: _Ready, counted: Counted, model: PreTrainedModel) -> Outputs:
        """What came out of a model, put in place for the visitor where it can be used."""
        statistics = counted.state.statistics(waiting.texts)
        languages = list(statistics.tokens)
        said = _ended(counted, allowance(backend.shared).seconds) + unread(
            [code for code in waiting.texts if code not in languages]
        )
        mask = None
        try:
            mask = identify(statistics, waiting.asked.method, languages, **waiting.asked.settings)
        except LapeError as error:  # the counts are kept all the same
            said = f"{said} {error}"
        file = zipped(downloads.folder(visitor), statistics, mask)
        kept: Outputs = {download: gr.DownloadButton(value=str(file), visible=True)}
        if mask is None:
            return kept | {line: status(said, failed=True)}
        groups = counted.state.groups(waiting.texts)
        kept[result] = table(mask, statistics) + stands_on(statistics, reliability(mask, statistics, groups))
        said += silent(mask)
        if sum(mask.count(code) > 0 for code in mask.languages) < 2:
            text = f"{said} Fewer than two languages have neurons, so it is not put in use: the mask stays as it was."
            return kept | {line: status(f"{text} Add text, or raise the top rate.", failed=True)}

        def used(loaded: Loaded) -> Loaded:
            if loaded.model is not model:
                raise LapeError("Another model has been loaded in the meantime, so the mask is not put in use.")
            note = f"Your own mask: {waiting.asked.method} on {counted.total_tokens:,} tokens."
            return loaded.with_mask(mask, statistics, (note,))

        try:
            backend.change(visitor, used)
        except LapeError as error:
            return kept | {line: status(f"{said} {error}", failed=True)}
        neurons = sum(mask.count(code) for code in mask.languages)
        return kept | {line: status(f"{said} {neurons:,} neurons found, now in use in every tab, for you alone.")}

    def resting() -> Outputs:
        return {find: gr.Button(interactive=True), stop: gr.Button(interactive=False), ready: None}

    def halting(request: gr.Request) -> Outputs:
        stops.press(visitor_of(request))
        return {line: status("Stopping after this step…"), stop: gr.Button(interactive=False)}

    def restoring(request: gr.Request) -> Outputs:
        visitor = visitor_of(request)
        backend.leave(visitor)
        downloads.leave(visitor)
        hidden = gr.DownloadButton(value=None, visible=False)
        return {line: status("Back to the mask the page began with."), result: "", download: hidden}

    drawn = [line, result, download, find, stop, ready]
    begun = find.click(preparing, None, drawn, trigger_mode="once", **QUIET)
    quietly: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal", "show_progress_on": [line]}
    read = begun.then(fetching, controls.inputs, [line, ready], preprocess=False, **quietly, **READING)
    ran = read.then(finding, ready, [line, result, download], **quietly, **MODEL)
    ran.then(resting, None, drawn, **QUIET)
    stop.click(halting, None, [line, stop], **QUIET)
    back = reset.click(restoring, None, [line, result, download], **QUIET)
    return Part(lambda visitor: {}, [], (ran, back), leave=downloads.leave)


def _limits(allowed: Allowance) -> str:
    """What a run may use here."""
    text = f"Up to {allowed.tokens:,} tokens per language, {allowed.characters:,} characters of text"
    return text + (f" and {allowed.seconds:.0f} s of counting." if allowed.seconds else ".")


def _ended(counted: Counted, seconds: float | None) -> str:
    """How far the counting came, and whether the seconds allowed were over."""
    tokens = f"{counted.total_tokens:,} tokens in {counted.seconds:.1f} s"
    if counted.total_tokens == counted.total_of_tokens:
        return f"Counted {tokens}."
    why = f"The time of {seconds:.0f} s is over" if counted.late else "Stopped"
    return f"{why}: counted {tokens}, of {counted.total_of_tokens:,}; they are kept."
