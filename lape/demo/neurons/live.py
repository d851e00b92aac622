"""Identification at once: sliders choose the neurons anew, for this visitor, in every tab."""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.loaded import Loaded
from lape.demo.neurons.request import checked_languages, checked_method
from lape.demo.part import QUIET, Outputs, Part, failures_to, visitor_of
from lape.demo.sliders import SLIDERS, checked_settings, slider
from lape.demo.status import status
from lape.demo.words import word
from lape.errors import LapeError
from lape.identify import identify, method_settings, methods_reading
from lape.languages import by_family, language
from lape.masks.mask import NeuronMask
from lape.recording.statistics import ActivationStatistics

WITHOUT = "There are no statistics beside this mask, such as beside a released one, so its neurons are chosen already."


def build_live(backend: Backend) -> Part:
    """Adds the section to the gradio page that is being built."""
    # The sliders show the settings of the masks they made, and may be on the move: a refresh leaves them alone.
    made: weakref.WeakValueDictionary[int, NeuronMask] = weakref.WeakValueDictionary()
    gr.Markdown(word("neurons.live_heading"), elem_classes="lape-section")
    line = gr.HTML(_state(backend, ""), elem_id="lape-live-status")
    start = backend.loaded
    with gr.Column(visible=_statistics(start) is not None, elem_id="lape-live") as box:
        method, values = _settings(start)
        with gr.Row():
            methods = gr.Dropdown(
                methods_reading(ActivationStatistics),
                value=method,
                label=word("neurons.method"),
                info=word("neurons.method_info"),
                min_width=160,
            )
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

    @failures_to(line)
    def identifying(request: gr.Request, name: Any, codes: Any, *given: Any) -> Outputs:
        """Identifies anew and puts the mask in place for this visitor."""
        began = time.perf_counter()
        how = checked_method(name)
        settings = checked_settings(how, dict(zip(SLIDERS, given, strict=True)))

        def chosen(loaded: Loaded) -> Loaded:
            statistics = _statistics(loaded)
            if statistics is None:
                raise LapeError(WITHOUT)
            among = checked_languages(codes, statistics.languages, least=2)
            mask = identify(statistics, how, among, **settings)
            made[id(mask)] = mask
            return replace(loaded, mask=mask, notes=(), place=None)

        mask = backend.change(visitor_of(request), chosen).known_mask
        milliseconds = 1000 * (time.perf_counter() - began)
        return {line: status(f"{_counted(mask)}, chosen in {milliseconds:.0f} ms. Every tab uses them now.")}

    @failures_to(line)
    def switching(request: gr.Request, name: Any, codes: Any) -> Outputs:
        """Begins with the settings another method has of its own."""
        defaults = method_settings(checked_method(name))
        shown: Outputs = {control: gr.Slider(**slider(key, defaults.get(key))) for key, control in sliders.items()}
        return shown | identifying(request, name, codes, *(defaults.get(key) for key in sliders))

    def resetting(request: gr.Request) -> Outputs:
        visitor = visitor_of(request)
        backend.leave(visitor)
        return refresh(visitor)

    def refresh(visitor: str) -> Outputs:
        """Shows the settings of the mask in use, unless they come from here."""
        try:
            loaded = backend.ready(visitor)
        except LapeError:
            return {line: _state(backend, visitor), box: gr.Column(visible=False)}
        if loaded.mask is not None and made.get(id(loaded.mask)) is loaded.mask:
            return {box: gr.Column(visible=True)}
        method, values = _settings(loaded)
        shown: Outputs = {control: gr.Slider(**slider(name, values.get(name))) for name, control in sliders.items()}
        return shown | {
            line: _state(backend, visitor),
            box: gr.Column(visible=_statistics(loaded) is not None),
            methods: gr.Dropdown(methods_reading(ActivationStatistics), value=method),
            languages: gr.CheckboxGroup(_choices(loaded), value=[*backend.languages(visitor)]),
        }

    everything = [line, box, methods, languages, *sliders.values()]
    asked = [methods, languages, *sliders.values()]
    at_once: dict[str, Any] = {"preprocess": False, "trigger_mode": "always_last", **QUIET}
    # Only what the visitor does: a change the page makes itself must not choose again.
    moved = gr.on(
        [languages.input, *(control.input for control in sliders.values())], identifying, asked, [line], **at_once
    )
    switched = methods.input(switching, [methods, languages], [line, *sliders.values()], **at_once)
    back = reset.click(resetting, None, everything, **QUIET)
    return Part(refresh, everything, (moved, switched, back))


def _statistics(loaded: Loaded | None) -> ActivationStatistics | None:
    """What neurons can be chosen from: statistics of at least two languages."""
    statistics = None if loaded is None or loaded.mask is None else loaded.statistics
    return statistics if statistics is not None and len(statistics.languages) > 1 else None


def _settings(loaded: Loaded | None) -> tuple[str, dict[str, float]]:
    """Method and settings of the mask in use as far as there are sliders for them; else the method's own."""
    metadata = {} if loaded is None or loaded.mask is None else loaded.mask.metadata
    made_by = str(metadata.get("method"))
    method = made_by if made_by in methods_reading(ActivationStatistics) else "lape"
    used = {**method_settings(method), **metadata.get("settings", {})}
    return method, {
        name: used[name] for name in SLIDERS if name in method_settings(method) and isinstance(used[name], int | float)
    }


def _choices(loaded: Loaded | None) -> list[tuple[str, str]]:
    statistics = _statistics(loaded)
    return [] if statistics is None else [(language(code).name, code) for code in by_family(statistics.languages)]


def _counted(mask: NeuronMask) -> str:
    return f"{_total(mask, mask.languages):,} neurons of {len(mask.languages)} languages"


def _total(mask: NeuronMask, codes: Sequence[str]) -> int:
    return sum(mask.count(code) for code in codes)


def _state(backend: Backend, visitor: str) -> str:
    """What is in use, or why nothing can be chosen."""
    try:
        loaded = backend.ready(visitor)
        mask = loaded.known_mask
    except LapeError as error:
        return status(str(error), failed=True)
    if _statistics(loaded) is None:
        return status(f"{_counted(mask)} in use. {WITHOUT}")
    begun = ", as the page began" if loaded is backend.loaded else ""
    return status(f"{_counted(mask)} in use{begun}. Move a slider: the neurons change at once.")
