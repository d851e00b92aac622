"""Whether what is on show still is what the controls say, and whether the prompt is in the language they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.checks import PROMPT_CHARACTERS
from lape.demo.compare.comparison import identify
from lape.demo.compare.export import Comparison, fingerprint
from lape.demo.compare.request import FIELDS
from lape.demo.examples import EXAMPLES
from lape.demo.languages import name_of
from lape.demo.loaded import Loaded
from lape.demo.part import QUIET, Outputs, visitor_of
from lape.demo.words import say
from lape.languages import base_language

SURE = 0.9  # confidence from which another language than the chosen one is offered


def watch(backend: Backend, inputs: Mapping[str, Any], seen: gr.State, notes: Sequence[Any], followed: Any) -> None:
    """Keeps notes about what is on show and what was set true to every change of the controls.

    Args:
        backend: Has the languages and the mask.
        inputs: The controls by field of `CompareRequest`.
        seen: The run on show.
        notes: Where it is said that the run is outdated, the button that offers another language, and what to expect
            of an example.
        followed: The last event of a run, in which something may have been changed.
    """
    old, mend, expected = notes
    asked = [inputs[name] for name in FIELDS]

    def told(request: gr.Request, run: Comparison | None, *values: Any) -> Outputs:
        visitor, given = visitor_of(request), dict(zip(FIELDS, values, strict=True))
        offered = language_offered(given["prompt"], given["source"], backend.languages(visitor))
        known = any(given["prompt"] == one.prompt for one in EXAMPLES)
        return {
            old: outdated(run, given, backend.visitors.shown(visitor).loaded),
            mend: gr.Button(say("first.mend", language=name_of(offered)) if offered else "", visible=bool(offered)),
            expected: gr.skip() if known else "",
        }

    def mending(request: gr.Request, prompt: Any, source: Any, targets: Any) -> Outputs:
        """Takes the language that the prompt is in; what was to be steered to it goes to the other one."""
        offered = language_offered(prompt, source, backend.languages(visitor_of(request)))
        if offered is None:
            return {mend: gr.Button(visible=False)}
        chosen = targets if isinstance(targets, list) else []
        instead = [source if code == offered else code for code in chosen]
        return {inputs["source"]: offered, inputs["targets"]: instead, mend: gr.Button(visible=False)}

    changes = [control.change for control in asked]
    gr.on(changes, told, [seen, *asked], [*notes], preprocess=False, trigger_mode="always_last", **QUIET)
    followed.then(told, [seen, *asked], [*notes], preprocess=False, **QUIET)
    chosen = [inputs[name] for name in ("prompt", "source", "targets")]
    mend.click(mending, chosen, [*chosen[1:], mend], preprocess=False, **QUIET)


def outdated(run: Comparison | None, values: Mapping[str, Any], loaded: Loaded | None) -> str:
    """What is said where a run is not of what the controls say; empty where it is.

    Args:
        run: On show; None where nothing is.
        values: What stands in the controls, by field of `CompareRequest`; anything may come.
        loaded: What the visitor works on.
    """
    if run is None:
        return ""
    asked = vars(run.request)
    if values.get("prompt") != asked["prompt"]:
        return _note("prompt")
    if loaded is None or loaded.mask is None or fingerprint(loaded.mask) != run.about["mask"]["sha256"]:
        return _note("mask")
    same = (_plain(values.get(name, value)) == _plain(value) for name, value in asked.items())
    return "" if all(same) else _note("settings")


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _note(of_another: str) -> str:
    return f'<p class="lape-outdated" role="status">{escape(say(f"first.outdated_{of_another}"))}</p>'


def language_offered(prompt: object, source: object, languages: Sequence[str]) -> str | None:
    """The language that a prompt surely is in, where that is not the one that was chosen for it.

    Args:
        prompt: What stands there; anything may come.
        source: The chosen language; anything may come.
        languages: Those that have neurons.
    """
    if not isinstance(prompt, str) or not isinstance(source, str) or len(prompt) > PROMPT_CHARACTERS:
        return None
    found = identify(tuple(languages), prompt)
    if found.gibberish or found.language is None or found.confidence < SURE or found.language == base_language(source):
        return None
    return next((code for code in languages if base_language(code) == found.language), None)
