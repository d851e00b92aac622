"""Measurements that a visitor starts and stops: progress after every cell, and what is done stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lape.demo.part import Outputs, visitor_of
from lape.demo.report import report_html
from lape.demo.runs import build_buttons, on_start
from lape.demo.status import status
from lape.demo.words import number, say
from lape.evaluation.runs.own_text import PartialResults


@dataclass(frozen=True)
class Measurement:
    """A measurement that has been asked for and checked.

    Attributes:
        states: How far it is, from `Backend.run`.
        draw: Gives the parts of a report from the results.
    """

    states: Generator[PartialResults, None, None]
    draw: Callable[[dict[str, Any]], list[str]]


def build_run(name: str, label: Any, inputs: list[Any], prepare: Callable[..., Measurement]) -> list[Any]:
    """Adds the buttons, the line that says how far it is, and the place for the results.

    Args:
        name: Of the measurement, in ids.
        label: Of the button.
        inputs: Components whose values `prepare` takes.
        prepare: Checks the visitor and the values, of any kind, and gives what to run; may raise a LapeError.

    Returns:
        The line and the results.
    """
    buttons = build_buttons(name, label, primary=True)
    results = gr.HTML(elem_id=f"lape-{name}-results")
    line = buttons.line

    def stream(request: gr.Request, *values: Any) -> Iterator[Outputs]:
        run, drawn = prepare(visitor_of(request), *values), 0
        began = time.perf_counter()
        with closing(run.states) as states:
            for progress in states:
                if progress is None:  # it waits for the model
                    yield {line: gr.skip()}
                    continue
                seconds = time.perf_counter() - began
                update: Outputs = {line: status(progress_text(progress, seconds))}
                if progress.done > drawn:
                    update[results], drawn = report_html(run.draw(progress.results)), progress.done
                yield update
        yield {line: status(say("first.done", seconds=number(time.perf_counter() - began, 1)))}

    on_start(buttons, inputs, stream, {results: ""}, event=f"measure_{name}", stopped="measured.stopped")
    return [line, results]


def progress_text(progress: PartialResults, seconds: float) -> str:
    """How far a measurement is, and how long it will still take.

    Example:
        >>> progress_text(PartialResults(3, 9, {}), 6)
        '3 of 9 measured in 6 s, about 12 s to go'
    """
    so_far = {"done": progress.done, "cells": progress.cells, "seconds": number(seconds)}
    if not progress.done:
        return say("measured.progress", **so_far)
    left = seconds / progress.done * (progress.cells - progress.done)
    return say("measured.progress_left", **so_far, left=number(left))
