"""A run of its own beside the comparison: a button that starts it, one that stops it, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lape.demo.part import MODEL, QUIET, Outputs, failures_to
from lape.demo.status import status
from lape.demo.words import say, word
from lape.evaluation.metrics.costs import WrittenTexts

STRAGGLING_SECONDS = 1.0  # in which updates that were on their way still arrive


@dataclass(frozen=True)
class Buttons:
    """What a run is started, stopped and followed by."""

    name: str
    start: gr.Button
    stop: gr.Button
    line: gr.HTML

    @property
    def parts(self) -> list[Any]:
        return [self.start, self.stop, self.line]


def build_buttons(name: str) -> Buttons:
    """Adds them to the page that is being built; `name` is that of the section, in ids and words."""
    with gr.Row(elem_classes="lape-actions"):
        return Buttons(
            name,
            gr.Button(word(f"{name}.start"), elem_id=f"lape-{name}-start", min_width=160, scale=0),
            gr.Button(word("compare.stop"), interactive=False, elem_id=f"lape-{name}-stop", min_width=100, scale=0),
            gr.HTML(status(""), elem_id=f"lape-{name}-status", min_width=240),
        )


def on_start(
    buttons: Buttons, inputs: list[Any], outputs: list[Any], stream: Callable[..., Iterator[Outputs]], empty: Outputs
) -> None:
    """Has the buttons start and stop a run.

    Args:
        buttons: Of the section.
        inputs: Components whose values the run takes.
        outputs: Components that it writes to, beside the buttons.
        stream: A generator of what to show, given the request and the values, of any kind.
        empty: What is shown before there is anything.
    """
    start, stop, line = buttons.start, buttons.stop, buttons.line
    touched = [*buttons.parts, *outputs]

    def busy() -> Outputs:
        waiting = {line: status(say("first.waiting")), start: gr.Button(interactive=False)}
        return {**empty, **waiting, stop: gr.Button(interactive=True)}

    def idle() -> Outputs:
        return {start: gr.Button(interactive=True), stop: gr.Button(interactive=False)}

    def stopped() -> Outputs:
        return idle() | {line: status(say("first.stopped"))}

    begun = start.click(busy, None, touched, trigger_mode="once", api_name=f"{buttons.name}_busy", **QUIET)
    running = begun.then(
        failures_to(line)(stream),
        inputs,
        touched,
        api_name=f"{buttons.name}_stream",
        preprocess=False,  # our own checks say it better
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=[line],
        **MODEL,
    )
    running.then(idle, None, touched, api_name=f"{buttons.name}_idle", **QUIET)
    halted = stop.click(stopped, None, touched, cancels=[running], api_name=f"{buttons.name}_stopped", **QUIET)
    halted.then(lambda: time.sleep(STRAGGLING_SECONDS), None, None, **QUIET).then(
        lambda: {line: status(say("first.stopped"))}, None, touched, **QUIET
    )


def progress(written: WrittenTexts, most: int) -> str:
    """How many of the tokens are written, of the longest text."""
    done = max(written.update.new_tokens.values())
    return status(say("strip.progress", count=done, of=most))
