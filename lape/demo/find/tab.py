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
from lape.demo.languages import name_of
from lape.demo.loaded import Loaded
from lape.demo.part import MODEL, QUIET, Outputs, Part, failures_to, visitor_of
from lape.demo.status import sentences, status
from lape.demo.stops import Stops
from lape.demo.words import LANGUAGES, number, say, tongue, word
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
        stop = gr.Button(word("said.stop"), interactive=False, min_width=100, scale=0, elem_id="lape-find-stop")
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
            line: status(say("finding.reading")),
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
            yield {line: status(say("finding.reading_of", language=name_of(code)))}
            documents = []
            for document in taken(source, asked.tokens * CHARACTERS_PER_TOKEN, code):
                documents.append(document)
                if stops.pressed(visitor):
                    yield {line: status(say("finding.stopped_early"))}
                    return
                if time.monotonic() > end:
                    raise LapeError(say("finding.too_slow", seconds=READING_SECONDS))
            texts[code] = Texts(tuple(documents), describe(source))
        yield {line: status(say("said.waiting")), ready: _Ready(asked, texts)}

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
            yield {line: status(say("finding.stopped_early"))}
            return
        yield shown(visitor, waiting, counted, model)

    def shown(visitor: str, waiting: _Ready, counted: Counted, model: PreTrainedModel) -> Outputs:
        """What came out of a model, put in place for the visitor where it can be used."""
        statistics = counted.state.statistics(waiting.texts)
        languages = list(statistics.tokens)
        missed = [code for code in waiting.texts if code not in languages]
        said = sentences(_ended(counted, allowance(backend.shared).seconds), unread(missed))
        mask = None
        try:
            mask = identify(statistics, waiting.asked.method, languages, **waiting.asked.settings)
        except LapeError as error:  # the counts are kept all the same
            said = sentences(said, str(error))
        file = zipped(downloads.folder(visitor), statistics, mask)
        kept: Outputs = {download: gr.DownloadButton(value=str(file), visible=True)}
        if mask is None:
            return kept | {line: status(said, failed=True)}
        groups = counted.state.groups(waiting.texts)
        kept[result] = table(mask, statistics) + stands_on(statistics, reliability(mask, statistics, groups))
        said = sentences(said, silent(mask))
        if sum(mask.count(code) > 0 for code in mask.languages) < 2:
            return kept | {line: status(sentences(said, say("finding.fewer_than_two")), failed=True)}

        def used(loaded: Loaded) -> Loaded:
            if loaded.model is not model:
                raise LapeError(say("finding.model_changed"))
            name = say(f"methods.name_{waiting.asked.method}")
            note = say("finding.note", method=name, count=counted.total_tokens)
            return loaded.with_mask(mask, statistics, (note,))

        try:
            backend.change(visitor, used)
        except LapeError as error:
            return kept | {line: status(sentences(said, str(error)), failed=True)}
        neurons = sum(mask.count(code) for code in mask.languages)
        return kept | {line: status(sentences(said, say("finding.in_use", count=neurons)))}

    def resting() -> Outputs:
        return {find: gr.Button(interactive=True), stop: gr.Button(interactive=False), ready: None}

    def halting(request: gr.Request) -> Outputs:
        stops.press(visitor_of(request))
        return {line: status(say("finding.stopping")), stop: gr.Button(interactive=False)}

    def restoring(request: gr.Request) -> Outputs:
        visitor = visitor_of(request)
        backend.leave(visitor)
        downloads.leave(visitor)
        hidden = gr.DownloadButton(value=None, visible=False)
        return {line: status(say("finding.back")), result: "", download: hidden}

    def arrive(request: gr.Request) -> Outputs:
        if tongue() == LANGUAGES[0]:
            return {}
        return {line: status(_limits(allowance(backend.shared))), **controls.menus()}

    drawn = [line, result, download, find, stop, ready]
    begun = find.click(preparing, None, drawn, trigger_mode="once", **QUIET)
    quietly: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal", "show_progress_on": [line]}
    read = begun.then(fetching, controls.inputs, [line, ready], preprocess=False, **quietly, **READING)
    ran = read.then(finding, ready, [line, result, download], **quietly, **MODEL)
    ran.then(resting, None, drawn, **QUIET)
    stop.click(halting, None, [line, stop], **QUIET)
    back = reset.click(restoring, None, [line, result, download], **QUIET)
    told = [line, *controls.labels, controls.languages]
    return Part(lambda visitor: {}, told, (ran, back), leave=downloads.leave, arrive=arrive)


def _limits(allowed: Allowance) -> str:
    """What a run may use here."""
    most: dict[str, Any] = {"tokens": allowed.tokens, "characters": allowed.characters}
    if allowed.seconds is None:
        return say("finding.limits", **most)
    return say("finding.limits_in_time", **most, seconds=round(allowed.seconds))


def _ended(counted: Counted, seconds: float | None) -> str:
    """How far the counting came, and whether the seconds allowed were over."""
    took = number(counted.seconds, 1)
    if counted.total_tokens == counted.total_of_tokens:
        return say("finding.counted", count=counted.total_tokens, seconds=took)
    done: dict[str, Any] = {"tokens": counted.total_tokens, "seconds": took, "total": counted.total_of_tokens}
    if counted.late and seconds is not None:
        return say("finding.late", allowed=round(seconds), **done)
    return say("finding.stopped", **done)
