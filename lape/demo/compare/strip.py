"""The strength strip: the prompt at many strengths in one batch, drawn, each text a click away."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.compare.chat import prompts_of
from lape.demo.compare.columns import badges, percent
from lape.demo.compare.comparison import Column, generating, identify, request_of, throttled, writing_progress
from lape.demo.compare.request import CompareRequest
from lape.demo.compare.variants import STEERED, variants_of
from lape.demo.languages import name_of
from lape.demo.loaded import Loaded
from lape.demo.part import QUIET, Outputs, Part, visitor_of
from lape.demo.report import report_html
from lape.demo.runs import build_buttons, on_start
from lape.demo.status import status
from lape.demo.words import say, word
from lape.drawing.html import figure
from lape.drawing.strip import SIGNS, Strength, Titles, legend, strip
from lape.errors import LapeError
from lape.evaluation.metrics.repetition import LOOP_SHARE, repeated_share
from lape.evaluation.metrics.strengths import StrengthStep, StrengthSweep, at_strengths, swept
from lape.generation.interventions import Entry

HINT_CHARACTERS = 120  # of a text that is pointed at
# In the browser: a press on the picture moves the slider below it, as the arrow keys do.
PRESS = """element.addEventListener("click", (event) => {
  const step = event.target.closest("[data-step]")?.dataset.step;
  const slider = document.querySelector("#lape-strip-steps input[type=range]");
  if (step === undefined || !slider) return;
  slider.value = Number(slider.min) + step * Number(slider.step);
  slider.dispatchEvent(new Event("input", { bubbles: true }));
});"""


@dataclass(frozen=True)
class Swept:
    """A sweep on show, and what was asked for it."""

    request: CompareRequest
    found: StrengthSweep


def build_strip(backend: Backend, inputs: Mapping[str, Any]) -> Part:
    """Adds the section to the gradio page that is being built.

    Args:
        backend: Has the model.
        inputs: The controls by field of `CompareRequest`.
    """
    with gr.Accordion(word("strip.title"), open=False, elem_id="lape-strip"):
        gr.Markdown(word("strip.about"))
        buttons = build_buttons("strip", word("strip.start"))
        chart = gr.HTML(elem_id="lape-strip-chart", js_on_load=PRESS)
        steps = gr.Slider(
            label=word("strip.step"), visible=False, buttons=[], min_width=240, elem_id="lape-strip-steps"
        )
        text = gr.HTML(elem_id="lape-strip-text")
        seen = gr.State(None)
    names = list(inputs)
    empty: Outputs = {chart: "", steps: gr.Slider(visible=False), text: "", seen: None}

    def stream(request: gr.Request, *values: Any) -> Iterator[Outputs]:
        visitor, began = visitor_of(request), time.perf_counter()
        asked = request_of(backend, dict(zip(names, values, strict=True)), visitor)
        loaded = backend.ready(visitor)
        rows = rows_of(loaded, asked)
        given = prompts_of(asked, list(rows), {})
        with closing(backend.run(generating, asked, given, rows)) as states:
            for written in throttled(states):
                if written is None:  # it waits for the model
                    yield {buttons.line: gr.skip()}
                    continue
                yield {buttons.line: status(writing_progress(written, asked.max_new_tokens))}
        assert written is not None  # the last state is always sent
        found = swept(written, rows, partial(identify, loaded.known_mask.languages))
        run, chosen = Swept(asked, found), opened(found, asked.strength)
        done = say("first.done", seconds=f"{time.perf_counter() - began:.1f}")
        first, second, *_, last = (step.strength for step in found.steps)
        range_of: dict[str, Any] = {"minimum": first, "maximum": last, "step": second - first}
        yield {
            **shown(run, chosen),
            **{seen: run, steps: gr.Slider(value=found.steps[chosen].strength, **range_of, visible=True)},
            buttons.line: status(f"{outcome(found)} {done}"),
        }

    def shown(run: Swept, chosen: int) -> Outputs:
        return {chart: drawn(run.found, chosen), text: step_html(run.found.steps[chosen], run)}

    def choose(run: Swept | None, strength: Any) -> Outputs:
        if run is None or type(strength) not in (int, float) or not math.isfinite(strength):
            return {text: gr.skip()}
        return shown(run, nearest(run.found, strength))

    on_start(buttons, list(inputs.values()), stream, empty, event="strip_stream")
    steps.input(choose, [seen, steps], [chart, text], preprocess=False, **QUIET)

    def refresh(visitor: str) -> Outputs:
        """Takes away what another mask gave."""
        return {**empty, buttons.line: status("")}

    return Part(refresh, [*empty, buttons.line])


def rows_of(loaded: Loaded, request: CompareRequest) -> dict[str, Entry]:
    """What the first steered column does, at many strengths.

    Raises:
        LapeError: The mask cannot steer to the first target.
    """
    target = request.targets[0]
    steered = variants_of(loaded, request).get(f"{STEERED}{target}")
    if steered is None:
        raise LapeError(say("strip.no_means", language=name_of(target)))
    return at_strengths(steered)


def opened(found: StrengthSweep, strength: float) -> int:
    """The step whose text is shown first: where the language flips, else that nearest to a strength."""
    return nearest(found, strength if found.flip is None else found.flip)


def nearest(found: StrengthSweep, strength: float) -> int:
    """The step whose strength is nearest to one."""
    return min(range(len(found.steps)), key=lambda place: abs(found.steps[place].strength - strength))


def outcome(found: StrengthSweep) -> str:
    """Where the language flips and where the text breaks, in a sentence or two."""
    target = name_of(found.target)
    if found.flip is None:
        said = [say("strip.no_flip", language=target)]
    else:
        said = [say("strip.flips", language=target, strength=f"{found.flip:g}")]
    if found.breaks is not None:
        said.append(say("strip.breaks", strength=f"{found.breaks:g}"))
    return " ".join(said)


def drawn(found: StrengthSweep, chosen: int) -> str:
    """The picture of a sweep, with a step set off."""
    target = name_of(found.target)
    titles = Titles(
        label=f"{say('strip.share', language=target)}, {say('strip.cost')}. {outcome(found)}",
        share=say("strip.share", language=target),
        cost=say("strip.cost"),
        strength=say("strip.strength"),
        words={name: say(f"quality.{name}") for name in SIGNS},
    )
    marks = {found.breaks: say("strip.mark_breaks"), found.flip: say("strip.mark_flip")}
    steps = [
        Strength(
            name=f"{step.strength:g}",
            share=step.target_share,
            cost=step.cost_nats,
            word=None if step.quality is None else step.quality.word,
            told=_told(step, target),
            mark=marks.get(step.strength, ""),
        )
        for step in found.steps
    ]
    return report_html([figure(strip(steps, titles, chosen=chosen), f"{legend(titles)}. {say('strip.how')}")])


def step_html(step: StrengthStep, run: Swept) -> str:
    """The text of a step after its prompt, with its badges, as HTML in which every variable is escaped."""
    column = Column(
        text=step.text,
        language=step.language,
        new_tokens=step.new_tokens,
        tokens_per_second=0.0,
        repeats=repeated_share(step.text) > LOOP_SHARE,
        finished=step.finished,
        off=0,
        on=0,
        differs_at=None,
        quality=step.quality,
    )
    strength = escape(f"{say('strip.strength')} {step.strength:g}")
    return (
        f'<p class="lape-facts">{strength}</p>{badges(column, run.request)}'
        f'<p class="lape-said" dir="auto"><span class="lape-facts">{escape(run.request.prompt)}</span>'
        f"{escape(step.text)}</p>"
    )


def _told(step: StrengthStep, target: str) -> str:
    """A step in a few words, for who points at it."""
    said = [f"{say('strip.strength')} {step.strength:g}"]
    if step.target_share is not None:
        said.append(say("strip.told_share", language=target, percent=percent(step.target_share)))
    if step.quality is not None:
        said.append(say(f"quality.{step.quality.word}"))
    if step.cost_nats is not None:
        said.append(say("strip.told_cost", nats=f"{step.cost_nats:.1f}"))
    return f"{' · '.join(said)}\n{' '.join(step.text.split())[:HINT_CHARACTERS]}"
