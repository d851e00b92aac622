"""A run that uses the model: a button that starts it, one that stops it, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr

from lape.demo.part import MODEL, QUIET, Outputs, failures_to, visitor_of
from lape.demo.status import status
from lape.demo.stops import Stops
from lape.demo.words import say, word

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


def build_buttons(name: str, label: Any, *, primary: bool = False) -> Buttons:
    """Adds them to the page that is being built.

    Args:
        name: Of the section, in ids.
        label: Of the button that starts a run.
        primary: Whether starting it is what its tab is for.
    """
    variant: Literal["primary", "secondary"] = "primary" if primary else "secondary"
    with gr.Row(elem_classes="lape-actions"):
        return Buttons(
            name,
            gr.Button(label, variant=variant, elem_id=f"lape-{name}-start", min_width=190, scale=0),
            gr.Button(word("said.stop"), interactive=False, elem_id=f"lape-{name}-stop", min_width=100, scale=0),
            gr.HTML(status(""), elem_id=f"lape-{name}-status", min_width=240),
        )


def on_start(
    buttons: Buttons,
    inputs: list[Any],
    stream: Callable[..., Iterator[Outputs]],
    empty: Outputs,
    *,
    event: str,
    stopped: str = "first.stopped",
) -> None:
    """Has the buttons start and stop a run.

    Args:
        buttons: Of the section.
        inputs: Components whose values the run takes.
        stream: A generator of what to show, given the request and the values, of any kind.
        empty: The components that it writes to beside the buttons, and what they show before there is anything.
        event: The name of the run among the page's events.
        stopped: The key of what is said when it was stopped.
    """
    start, stop, line = buttons.start, buttons.stop, buttons.line
    touched = [*buttons.parts, *empty]
    stops = Stops()

    def busy(request: gr.Request) -> Outputs:
        stops.begin(visitor_of(request))
        waiting = {line: status(say("said.waiting")), start: gr.Button(interactive=False)}
        return {**empty, **waiting, stop: gr.Button(interactive=True)}

    def idle() -> Outputs:
        return {start: gr.Button(interactive=True), stop: gr.Button(interactive=False)}

    def halt(request: gr.Request) -> Outputs:
        stops.press(visitor_of(request))
        return idle() | {line: status(say(stopped))}

    begun = start.click(busy, None, touched, trigger_mode="once", api_name=f"{buttons.name}_busy", **QUIET)
    running = begun.then(
        failures_to(line)(stops.end(stream)),
        inputs,
        touched,
        api_name=event,
        preprocess=False,  # our own checks say it better
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=[line],
        **MODEL,
    )
    running.then(idle, None, touched, api_name=f"{buttons.name}_idle", **QUIET)
    halted = stop.click(halt, None, touched, cancels=[running], api_name=f"{buttons.name}_stopped", **QUIET)
    halted.then(lambda: time.sleep(STRAGGLING_SECONDS), None, None, **QUIET).then(
        lambda: {line: status(say(stopped))}, None, touched, **QUIET
    )
