"""What a visitor sets for a comparison: prompt, languages, parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.checks import MODES
from lape.demo.compare.request import LIMITS, MOST_TARGETS, NEURONS, OFF_VALUES, CompareRequest, opening
from lape.demo.examples import Example, examples_for
from lape.demo.languages import is_rtl, name_of, titles
from lape.demo.loaded import OWN, Loaded
from lape.demo.methods import about_method, own_and_rivals, own_method, way_name
from lape.demo.part import QUIET, Outputs, visitor_of
from lape.demo.words import word
from lape.generation.edits import Positions
from lape.generation.residual import RESIDUAL_METHODS
from lape.languages import language


def build_prompt(backend: Backend) -> dict[str, Any]:
    """Adds the prompt to the page that is being built; gives it by field of `CompareRequest`."""
    start = opening(backend.languages())
    prompt = gr.Textbox(
        start.prompt,
        label=word("compare.prompt"),
        info=word("compare.prompt_info"),
        lines=2,
        max_lines=8,
        autofocus=True,
        elem_id="lape-prompt",
        rtl=language(start.source).rtl,
    )
    return {"prompt": prompt}


def direction(code: object) -> gr.Textbox:
    """The prompt in the direction of its language."""
    return gr.Textbox(rtl=is_rtl(code))


def build_languages(backend: Backend) -> dict[str, Any]:
    """Adds the two menus of languages; gives them by field of `CompareRequest`."""
    start, known = opening(backend.languages()), titles(backend.languages())
    source = gr.Dropdown(
        known,
        value=start.source if known else None,
        label=word("compare.source"),
        info=word("compare.source_info"),
        scale=2,
        min_width=140,
        elem_id="lape-source",
    )
    targets = gr.Dropdown(
        known,
        value=list(start.targets) if known else [],
        label=word("compare.targets"),
        info=word("compare.targets_info"),
        multiselect=True,
        max_choices=MOST_TARGETS,
        scale=3,
        min_width=140,
        elem_id="lape-targets",
    )
    return {"source": source, "targets": targets}


def build_examples(backend: Backend) -> tuple[gr.Dataset, gr.Markdown]:
    """Adds the openings; gives them, and the line that says what to expect of one."""
    known = examples_for(backend.languages())
    examples = gr.Dataset(
        components=["textbox"],
        **example_buttons(known),
        type="index",
        label=word("compare.examples"),
        samples_per_page=12,
        visible=bool(known),
        elem_classes="lape-examples",
    )
    return examples, gr.Markdown("", elem_id="lape-expected")


def example_buttons(known: Sequence[Example]) -> dict[str, Any]:
    """What the openings' buttons say."""
    return {
        "samples": [[example.prompt] for example in known],
        "sample_labels": [name_of(example.source) for example in known],
    }


def build_more(backend: Backend) -> dict[str, Any]:
    """Adds the columns that can be shown too, and the parameters; gives them by field of `CompareRequest`."""
    start = opening(backend.languages())
    inputs: dict[str, Any] = {}
    with gr.Row(equal_height=True, elem_classes="lape-more"):
        for name in ("show_random", "show_plain", "chat"):
            inputs[name] = gr.Checkbox(
                getattr(start, name),
                label=word(f"compare.{name}"),
                info=word(f"compare.{name}_info"),
                visible=name != "chat" or (backend.loaded is not None and backend.loaded.chat),
            )
    inputs["keep"] = gr.Dropdown(
        keepable(backend.languages()),
        value=start.keep,
        label=word("setting.keep"),
        info=word("setting.keep_info"),
        min_width=260,
        elem_id="lape-keep",
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
                [(word(f"setting.mode_{mode}"), mode) for mode in MODES],
                value=start.mode,
                label=word("compare.mode"),
                info=word("compare.mode_info"),
                min_width=200,
            )
            inputs["off_value"] = gr.Dropdown(
                [(word(f"setting.off_{value}"), value) for value in OFF_VALUES],
                value=start.off_value,
                label=word("setting.off_value"),
                info=word("setting.off_value_info"),
                min_width=200,
            )
        with gr.Row():
            inputs["layers"] = _line("layers", start)
            inputs["positions"] = gr.Dropdown(
                [(word(f"setting.positions_{one}"), one) for one in get_args(Positions)],
                value=start.positions,
                label=word("setting.positions"),
                info=word("setting.positions_info"),
                min_width=200,
            )
            inputs["only"] = _line("only", start)
        with gr.Row():
            inputs["max_new_tokens"] = _slider("max_new_tokens", start)
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
    return inputs


def refreshed(
    inputs: Mapping[str, Any], languages: Sequence[str], loaded: Loaded | None, start: CompareRequest, *, anew: bool
) -> Outputs:
    """The controls with the choices that a visitor has now.

    Args:
        inputs: By field of `CompareRequest`.
        languages: Those that have neurons.
        loaded: What the visitor works on.
        start: What was set, or what to begin with.
        anew: Whether that is to be set.
    """
    known = titles(languages)
    shown: Outputs = {inputs[name]: gr.Dropdown(known) for name in ("source", "targets")}
    shown[inputs["keep"]] = gr.Dropdown(keepable(languages))
    for name, menu in menus(loaded, start.method, start.switching).items():
        shown[inputs[name]] = gr.Dropdown(**menu, **({"value": getattr(start, name)} if anew else {}))
    if not anew:
        return shown
    return shown | {
        inputs["source"]: gr.Dropdown(known, value=start.source if known else None),
        inputs["targets"]: gr.Dropdown(known, value=list(start.targets) if known else [], multiselect=True),
        inputs["prompt"]: gr.Textbox(start.prompt, rtl=language(start.source).rtl),
        inputs["chat"]: gr.Checkbox(False, visible=loaded is not None and loaded.chat),
        inputs["keep"]: gr.Dropdown(keepable(languages), value=""),
        **{inputs[name]: getattr(start, name) for name in ("layers", "positions", "off_value", "only")},
    }


def keepable(languages: Sequence[str]) -> list[tuple[str, str]]:
    """The languages that an answer can be kept in, after none of them, as a menu shows them."""
    return [(word("setting.keep_none"), ""), *titles(languages)]


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
    ways = [(way_name(way), way) for way in (NEURONS, *(loaded.ways if loaded else []))]
    known = switching if switching in RESIDUAL_METHODS else NEURONS
    return {
        "method": {
            "choices": methods,
            "visible": len(methods) > 1,
            "info": about_method(own_method(loaded) if method == OWN else method),
        },
        "switching": {"choices": ways, "visible": len(ways) > 1, "info": word(f"compare.about_{known}")},
    }


def _line(name: str, start: CompareRequest) -> gr.Textbox:
    return gr.Textbox(
        getattr(start, name),
        label=word(f"setting.{name}"),
        info=word(f"setting.{name}_info"),
        placeholder=word(f"setting.{name}_all"),
        max_lines=1,
        min_width=200,
        elem_id=f"lape-{name}",
    )


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
