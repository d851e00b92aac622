"""The model bar: what is loaded, and the menu that loads another."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.loaded import Loaded
from lape.demo.part import MODEL, QUIET, Outputs, Part, failures_to
from lape.demo.space import on_zero_gpu
from lape.demo.status import beside, facts, status
from lape.demo.words import LANGUAGES, number, say, tongue, word
from lape.errors import LapeError
from lape.models.identity import identity
from lape.models.placement import QUANTIZATIONS
from lape.models.presets import PRESETS, Preset, resolve_name

LONGEST = 300  # characters of an id or a path
WEIGHTS = ("auto", "full", *(name for name in QUANTIZATIONS if name != "auto"))


def build_models(backend: Backend) -> Part:
    """Adds the bar to the gradio page that is being built."""
    with gr.Accordion(_title(backend.loaded), open=backend.loaded is None, elem_id="lape-models") as bar:
        shown = gr.HTML(_shown(backend.loaded, backend.failure), elem_id="lape-loaded")
        with gr.Row(equal_height=True, visible=not on_zero_gpu()):
            menu = gr.Dropdown(
                _choices(),
                value=backend.loaded.name if backend.loaded else resolve_name(None),
                label=word("models.model"),
                info=word("models.of_the_menu") if backend.shared else word("models.any"),
                allow_custom_value=not backend.shared,
                scale=3,
                min_width=260,
            )
            weights = gr.Dropdown(
                [*WEIGHTS],
                value="auto",
                label=word("models.weights"),
                info=word("models.weights_info"),
                min_width=150,
            )
        with gr.Row(elem_classes="lape-actions", visible=not on_zero_gpu()):
            load = gr.Button(word("models.load"), variant="primary", min_width=100, scale=0, elem_id="lape-load")
            unload = gr.Button(
                word("models.unload"), visible=not backend.shared, min_width=100, scale=0, elem_id="lape-unload"
            )
            line = gr.HTML(status(_hint(backend)), elem_id="lape-model-status", min_width=240)

    def busy() -> Outputs:
        return {line: status(say("said.waiting")), load: gr.Button(interactive=False)}

    @failures_to(line)
    def loading(model: Any, kind: Any, progress: gr.Progress = gr.Progress(track_tqdm=True)) -> Iterator[Outputs]:  # noqa: B008
        began = time.perf_counter()
        _check_may_change()
        if not isinstance(model, str) or not model.strip() or len(model) > LONGEST or not model.isprintable():
            raise LapeError(say("models.choose", most=LONGEST))
        if kind not in WEIGHTS:
            raise LapeError(f"Weights must be one of {', '.join(WEIGHTS)}.")
        yield {line: status(say("models.loading", model=model.strip()))}
        loaded = backend.load(model.strip(), None if kind == "full" else kind)
        took = number(time.perf_counter() - began, 1)
        yield {line: status(say("models.loaded", model=loaded.name, seconds=took))}

    @failures_to(line)
    def unloading() -> Outputs:
        _check_may_change()
        backend.unload()
        return {line: status(say("models.unloaded"))}

    def refresh(visitor: str) -> Outputs:
        loaded = backend.visitors.shown(visitor).loaded
        return {
            bar: gr.Accordion(label=_title(loaded)),
            shown: _shown(loaded, backend.failure),
            load: gr.Button(interactive=True),
        }

    def arrive(request: gr.Request) -> Outputs:
        return {} if tongue() == LANGUAGES[0] else {menu: gr.Dropdown(_choices()), line: status(_hint(backend))}

    everything = [bar, shown, line, load]
    begun = load.click(busy, None, everything, trigger_mode="once", **QUIET)
    loads = begun.then(
        loading,
        [menu, weights],
        everything,
        preprocess=False,
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=[line],
        **MODEL,
    )
    unloads = unload.click(unloading, None, everything, **(QUIET | {"queue": True}), **MODEL)
    return Part(refresh, [*everything, menu], (loads, unloads), arrive=arrive)


def _check_may_change() -> None:
    """The buttons are hidden on ZeroGPU, but what they call can be called all the same."""
    if on_zero_gpu():
        raise LapeError(say("models.keeps_its_one"))


def _choices() -> list[tuple[str, str]]:
    """The models of the menu, as it names them, and their ids."""
    return [(_label(preset), preset.model) for preset in PRESETS]


def _label(preset: Preset) -> str:
    full, small = (number(preset.memory_gb(bits), 1) for bits in (16, 4))
    terms = [say("models.gated")] if preset.gated else []
    notes = map(_noted, preset.note.split("; "))
    return beside(say("models.size", name=preset.name, full=full, small=small), *notes, *terms)


def _noted(note: str) -> str:
    """What is known of a preset, such as `35 languages`, in the language of who asks."""
    if counted := re.fullmatch(r"(\d+) languages", note):
        return say("said.languages", count=int(counted[1]))
    name = re.sub(r"\W+", "_", note.lower())
    return say(f"models.note_{name}")


def _hint(backend: Backend) -> str:
    return say("models.takes_place") if backend.loaded else say("said.no_model")


def _title(loaded: Loaded | None) -> str:
    """What is loaded, in one line."""
    if loaded is None:
        return say("models.nothing")
    made = identity(loaded.model)
    texts = [loaded.name.rpartition("/")[2], made.quantization or made.dtype]
    if loaded.mask is not None:
        layers, width = loaded.mask.shape
        experts = loaded.mask.experts
        sizes = {"layers": layers, "experts": experts, "neurons": width // experts}
        texts.append(say("models.shape_with_experts" if experts > 1 else "models.shape", **sizes))
        texts.append(say("said.languages", count=len(loaded.mask.languages)))
    return beside(*texts)


def _shown(loaded: Loaded | None, why: str) -> str:
    """What should be known about what is loaded; else why nothing is."""
    if loaded is None:
        return facts(say("models.nothing")) + (status(why, failed=True) if why else "")
    return "".join(facts(say("said.note", note=note)) for note in loaded.notes)
