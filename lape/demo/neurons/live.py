"""Identification at once: sliders choose the neurons anew, for this visitor, in every tab."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.checks import checked_name
from lape.demo.choice import choose
from lape.demo.languages import name_of
from lape.demo.loaded import Loaded
from lape.demo.methods import about_method, named
from lape.demo.part import QUIET, Outputs, Part, failures_to, visitor_of
from lape.demo.sliders import SLIDERS, slider
from lape.demo.status import status
from lape.demo.words import say, word
from lape.errors import LapeError
from lape.identify import method_settings
from lape.languages import by_family
from lape.masks.mask import NeuronMask


def build_live(backend: Backend, look: Part) -> Part:
    """Adds the section to the gradio page that is being built.

    Args:
        backend: Has the model.
        look: What is made true in the same breath; every other part of the page follows.
    """
    gr.Markdown(word("neurons.live_heading"), elem_classes="lape-section")
    line = gr.HTML(_state(backend, ""), elem_id="lape-live-status")
    start = backend.loaded
    with gr.Column(visible=_methods(start) != [], elem_id="lape-live") as box:
        method, values = _settings(start)
        with gr.Row(elem_classes="lape-more"):
            methods = gr.Dropdown(
                named(_methods(start) or [method]),
                value=method,
                label=word("neurons.method"),
                info=about_method(method),
                min_width=260,
                elem_id="lape-live-method",
            )
            equal = gr.Checkbox(
                False,
                label=word("neurons.equal"),
                info=word("neurons.equal_info"),
                min_width=260,
                elem_id="lape-live-equal",
            )
        with gr.Row():
            sliders = {
                name: gr.Slider(
                    **slider(name, values.get(name)),
                    label=word(f"neurons.{name}"),
                    info=word(f"neurons.{name}_info"),
                    min_width=200,
                )
                for name in SLIDERS
            }
        languages = gr.CheckboxGroup(
            _choices(start),
            value=[*backend.languages()],
            label=word("neurons.languages"),
            show_select_all=True,
            elem_id="lape-live-languages",
        )
        reset = gr.Button(word("neurons.reset"), min_width=160, scale=0, elem_id="lape-live-reset")

    def drawn(method: str, equally: bool, values: Mapping[str, Any]) -> Outputs:
        """The sliders of a method's settings, those of its cut only where that says how many neurons there are."""
        used = method_settings(method, ranked=equally)
        return {
            control: gr.Slider(**{**slider(name, values.get(name)), "visible": name in used})
            for name, control in sliders.items()
        }

    @failures_to(line)
    def identifying(request: gr.Request, name: Any, equally: Any, codes: Any, *given: Any) -> Outputs:
        """Identifies anew, puts the mask in place for this visitor, and shows it in the text."""
        began, visitor = time.perf_counter(), visitor_of(request)

        def chosen(loaded: Loaded) -> Loaded:
            values = dict(zip(SLIDERS, given, strict=False))
            return choose(loaded, _checked_method(name, loaded), codes, values, equally=equally is True)

        mask = backend.change(visitor, chosen).known_mask
        milliseconds = 1000 * (time.perf_counter() - began)
        said = status(f"{_counted(mask)} {say('neuron.chosen_in', milliseconds=f'{milliseconds:.0f}')}")
        return {line: said, **look.refresh(visitor, *given[len(SLIDERS) :])}

    @failures_to(line)
    def switching(request: gr.Request, name: Any, equally: Any, codes: Any, *seen: Any) -> Outputs:
        """Begins with the settings another method has of its own."""
        how = _checked_method(name, backend.ready(visitor_of(request)))
        defaults = method_settings(how)
        shown = drawn(how, equally is True, defaults) | {methods: gr.Dropdown(info=about_method(how))}
        return shown | identifying(request, how, equally, codes, *(defaults.get(key) for key in sliders), *seen)

    @failures_to(line)
    def counting(request: gr.Request, name: Any, equally: Any, codes: Any, *given: Any) -> Outputs:
        """Shows the method's cut, or hides it where the mask says how many neurons there are."""
        how = _checked_method(name, backend.ready(visitor_of(request)))
        used = method_settings(how, ranked=equally is True)
        shown: Outputs = {control: gr.Slider(visible=key in used) for key, control in sliders.items()}
        return shown | identifying(request, how, equally, codes, *given)

    def resetting(request: gr.Request) -> Outputs:
        visitor = visitor_of(request)
        backend.leave(visitor)
        return refresh(visitor)

    def refresh(visitor: str) -> Outputs:
        """Shows the settings of the mask in use.

        Not where they come from here: the sliders show them, and may be on the move.
        """
        try:
            loaded = backend.ready(visitor)
        except LapeError:
            return {line: _state(backend, visitor), box: gr.Column(visible=False)}
        if loaded.made_from is not None:
            return {box: gr.Column(visible=True)}
        return shown(loaded, visitor)

    def shown(loaded: Loaded, visitor: str) -> Outputs:
        """The controls as the mask in use was chosen."""
        method, values = _settings(loaded)
        equally = loaded.made_from is not None and "per_language" in loaded.known_mask.metadata["settings"]
        return drawn(method, equally, values) | {
            line: _state(backend, visitor),
            box: gr.Column(visible=loaded.methods != []),
            methods: gr.Dropdown(named(loaded.methods or [method]), value=method, info=about_method(method)),
            equal: equally,
            languages: gr.CheckboxGroup(_choices(loaded), value=[*backend.languages(visitor)]),
        }

    def arrive(request: gr.Request) -> Outputs:
        """Shows how the neurons of a link were chosen: they were put in place before the page was there."""
        loaded = backend.visitors.shown(visitor := visitor_of(request)).loaded
        return {} if loaded is None or loaded.made_from is None else shown(loaded, visitor)

    everything = [line, box, methods, equal, languages, *sliders.values()]
    choice, seen = [methods, equal, languages], [*look.inputs]
    asked, told = [*choice, *sliders.values(), *seen], [line, *look.outputs]
    at_once: dict[str, Any] = {"preprocess": False, "trigger_mode": "always_last", **QUIET}
    # Only what the visitor does: a change the page makes itself must not choose again.
    moved = gr.on(
        [languages.input, *(control.input for control in sliders.values())], identifying, asked, told, **at_once
    )
    switched = methods.input(switching, [*choice, *seen], [*told, methods, *sliders.values()], **at_once)
    counted = equal.input(counting, asked, [*told, *sliders.values()], **at_once)
    back = reset.click(resetting, None, everything, **QUIET)
    return Part(refresh, everything, (moved, switched, counted, back), arrive=arrive)


def _methods(loaded: Loaded | None) -> list[str]:
    return [] if loaded is None else loaded.methods


def _checked_method(name: object, loaded: Loaded) -> str:
    """The name of a method whose recording is here.

    Raises:
        LapeError: There is none of that name, or none at all.
    """
    if not loaded.methods:
        raise LapeError(say("neuron.chosen_already"))
    return checked_name("method", name, loaded.methods)


def _settings(loaded: Loaded | None) -> tuple[str, dict[str, float]]:
    """Method and settings of the mask in use as far as there are sliders for them; else the method's own."""
    metadata = {} if loaded is None or loaded.mask is None else loaded.mask.metadata
    made_by = str(metadata.get("method"))
    offered = _methods(loaded)
    method = made_by if made_by in offered else next(iter(offered), "lape")
    used = {**method_settings(method), **metadata.get("settings", {})}
    return method, {
        name: used[name] for name in SLIDERS if name in method_settings(method) and isinstance(used[name], int | float)
    }


def _choices(loaded: Loaded | None) -> list[tuple[str, str]]:
    if loaded is None or not loaded.methods:
        return []
    recorded = loaded.known_mask if loaded.statistics is None else loaded.statistics
    return [(name_of(code), code) for code in by_family(recorded.languages)]


def _counted(mask: NeuronMask) -> str:
    total = sum(mask.count(code) for code in mask.languages)
    return say("neuron.counted", count=total, languages=say("neuron.languages", count=len(mask.languages)))


def _state(backend: Backend, visitor: str) -> str:
    """What is in use, or why nothing can be chosen."""
    try:
        loaded = backend.ready(visitor)
        mask = loaded.known_mask
    except LapeError as error:
        return status(str(error), failed=True)
    if not loaded.methods:
        return status(f"{_counted(mask)} {say('neuron.chosen_already')}")
    begun = say("neuron.as_begun") if loaded is backend.loaded else say("neuron.changed")
    return status(f"{_counted(mask)} {begun}")
