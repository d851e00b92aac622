"""What a visitor sets for a comparison: prompt, languages, parameters."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.request import LIMITS, MODES, CompareRequest, examples_for, opening
from lape.languages import language


def build_controls(backend: Backend) -> tuple[dict[str, Any], gr.Dataset]:
    """Adds the controls to the page that is being built.

    Returns:
        The controls by field of `CompareRequest`, and the examples.
    """
    start = opening(backend.languages)
    known = titles(backend)
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
            examples = gr.Dataset(
                components=["textbox"],
                samples=[[example.prompt] for example in examples_for(backend.languages)],
                sample_labels=[language(example.source).name for example in examples_for(backend.languages)],
                type="index",
                label="Examples of openings",
                samples_per_page=12,
                visible=bool(examples_for(backend.languages)),
                elem_classes="lape-examples",
            )
        with gr.Column(scale=2, min_width=320):
            with gr.Row():
                inputs["source"] = gr.Dropdown(
                    known,
                    value=start.source if known else None,
                    label="The prompt's language",
                    info="Its neurons go off.",
                    min_width=180,
                )
                inputs["target"] = gr.Dropdown(
                    known,
                    value=start.target if known else None,
                    label="Steer to",
                    info="Its neurons go on.",
                    min_width=180,
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
                visible=has_chat(backend),
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
    return inputs, examples


def titles(backend: Backend) -> list[tuple[str, str]]:
    """The languages of the mask, as a menu shows them, and their codes."""
    return [(language(code).title, code) for code in backend.languages]


def has_chat(backend: Backend) -> bool:
    """Whether a chat template is there to send the prompt through."""
    return backend.loaded is not None and backend.loaded.chat


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
