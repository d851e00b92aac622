"""What a visitor sets for a comparison: prompt, languages, parameters."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.checks import MODES
from lape.demo.compare.request import LIMITS, MOST_TARGETS, NEURONS, CompareRequest, opening
from lape.demo.examples import examples_for
from lape.demo.languages import titles
from lape.demo.loaded import OWN, Loaded
from lape.demo.methods import about_method, own_and_rivals, own_method
from lape.demo.part import QUIET, visitor_of
from lape.demo.words import word
from lape.generation.residual import RESIDUAL_METHODS
from lape.languages import language


def build_controls(backend: Backend) -> tuple[dict[str, Any], gr.Dataset, gr.Markdown]:
    """Adds the controls to the page that is being built.

    Returns:
        The controls by field of `CompareRequest`, the examples, and the line that says what to expect of one.
    """
    start = opening(backend.languages())
    known = titles(backend.languages())
    inputs: dict[str, Any] = {}
    with gr.Row(elem_classes="lape-controls", equal_height=False):
        with gr.Column(min_width=320):
            inputs["prompt"] = gr.Textbox(
                start.prompt,
                label=word("compare.prompt"),
                info=word("compare.prompt_info"),
                lines=3,
                max_lines=8,
                autofocus=True,
                elem_id="lape-prompt",
                rtl=language(start.source).rtl,
            )
            examples = gr.Dataset(
                components=["textbox"],
                samples=[[example.prompt] for example in examples_for(backend.languages())],
                sample_labels=[language(example.source).name for example in examples_for(backend.languages())],
                type="index",
                label=word("compare.examples"),
                samples_per_page=12,
                visible=bool(examples_for(backend.languages())),
                elem_classes="lape-examples",
            )
            expected = gr.Markdown("", elem_id="lape-expected")
        with gr.Column(min_width=320), gr.Row():
            inputs["source"] = gr.Dropdown(
                known,
                value=start.source if known else None,
                label=word("compare.source"),
                info=word("compare.source_info"),
                scale=2,
                min_width=180,
            )
            inputs["targets"] = gr.Dropdown(
                known,
                value=list(start.targets) if known else [],
                label=word("compare.targets"),
                info=word("compare.targets_info"),
                multiselect=True,
                max_choices=MOST_TARGETS,
                scale=3,
                min_width=180,
                elem_id="lape-targets",
            )
    with gr.Row(equal_height=True, elem_classes="lape-more"):
        for name in ("show_random", "show_plain", "chat"):
            inputs[name] = gr.Checkbox(
                getattr(start, name),
                label=word(f"compare.{name}"),
                info=word(f"compare.{name}_info"),
                visible=name != "chat" or (backend.loaded is not None and backend.loaded.chat),
            )
    with gr.Accordion(word("compare.parameters"), open=False, elem_classes="lape-parameters"):
        with gr.Row():
            for name, menu in menus(backend.loaded, start.method, start.switching).items():
                inputs[name] = gr.Dropdown(
                    **menu,
                    value=getattr(start, name),
                    label=word(f"compare.{name}"),
                    min_width=260,
                    elem_id=f"lape-{name}",
                )
        with gr.Row():
            inputs["strength"] = _slider("strength", start)
            inputs["mode"] = gr.Dropdown(
                [*MODES],
                value=start.mode,
                label=word("compare.mode"),
                info=word("compare.mode_info"),
                min_width=200,
            )
            inputs["max_new_tokens"] = _slider("max_new_tokens", start)
        with gr.Row():
            inputs["temperature"] = _slider("temperature", start)
            inputs["top_p"] = _slider("top_p", start)
            inputs["repetition_penalty"] = _slider("repetition_penalty", start)
            inputs["seed"] = gr.Number(
                start.seed,
                label=word("compare.seed"),
                info=word("compare.seed_info"),
                precision=0,
                min_width=150,
            )

    def told(request: gr.Request, method: Any, switching: Any) -> list[gr.Dropdown]:
        loaded = backend.visitors.shown(visitor_of(request)).loaded
        return [gr.Dropdown(info=menu["info"]) for menu in menus(loaded, str(method), str(switching)).values()]

    chosen = [inputs["method"], inputs["switching"]]
    changes = [menu.change for menu in chosen]  # a link makes both at once
    gr.on(changes, told, chosen, chosen, preprocess=False, trigger_mode="always_last", **QUIET)
    return inputs, examples, expected


def menus(loaded: Loaded | None, method: str, switching: str) -> dict[str, dict[str, Any]]:
    """The menus of what was recorded: what chose the neurons, and how they are switched; hidden without a choice.

    Args:
        loaded: With the mask itself.
        method: The chosen one, or anything.
        switching: The same.

    Returns:
        By field of `CompareRequest`, what a menu has beside its value: choices, whether it is seen, a line about the
        chosen one.
    """
    methods = own_and_rivals(loaded)
    ways = [(word("compare.switching_neurons"), NEURONS)]
    ways += [(f"{word('compare.switching_stream')} · {way}", way) for way in (loaded.ways if loaded else [])]
    known = switching if switching in RESIDUAL_METHODS else NEURONS
    return {
        "method": {
            "choices": methods,
            "visible": len(methods) > 1,
            "info": about_method(own_method(loaded) if method == OWN else method),
        },
        "switching": {"choices": ways, "visible": len(ways) > 1, "info": word(f"compare.about_{known}")},
    }


def _slider(name: str, start: CompareRequest) -> gr.Slider:
    limit = LIMITS[name]
    return gr.Slider(
        limit.low,
        limit.high,
        value=getattr(start, name),
        step=limit.step,
        label=word(f"compare.{name}"),
        info=word(f"compare.{name}_info"),
        buttons=["reset"],
        min_width=200,
    )
