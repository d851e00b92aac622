"""The Masks tab: the mask in use, and where others come from: a list, a file, a calibration; compare and share them."""

from __future__ import annotations

from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.loaded import Loaded
from lape.demo.masks.listing import build_list, counts_text, listed_here
from lape.demo.masks.pair import build_comparison, comparison_menus
from lape.demo.masks.share import account_of, build_calibration, build_sharing
from lape.demo.masks.upload import build_upload
from lape.demo.part import QUIET, Outputs, Part, failures_to, visitor_of
from lape.demo.status import beside, status
from lape.demo.words import LANGUAGES, number, say, tongue, word
from lape.identify import METHODS
from lape.masks.mask import NeuronMask

FACTS = ("mask", "settings", "tokens", "origin", "counts")
SHOWN_CHARACTERS = 2_000  # of a fact: a file may say anything of itself


def build_masks(backend: Backend) -> Part:
    """Adds the tab to the gradio page that is being built."""
    gr.Markdown(word("masks.explanation"))
    start = facts_of(backend.loaded)
    shown: dict[str, gr.Textbox] = {}
    with gr.Group(elem_id="lape-mask-in-use"):
        with gr.Row():
            for name in FACTS[:-1]:
                shown[name] = _fact(name, start)
        shown["counts"] = _fact("counts", start)
    with gr.Row(elem_classes="lape-actions"):
        reset = gr.Button(word("masks.reset"), min_width=230, scale=0, elem_id="lape-masks-reset")
        line = gr.HTML(status(""), elem_id="lape-masks-in-use-status", min_width=240)
    menus = comparison_menus()
    masks = build_list(backend, menus)
    upload = build_upload(backend)
    build_comparison(backend, menus, masks, upload)
    calibrated = build_calibration(backend)
    account = build_sharing(backend, masks)

    @failures_to(line)
    def starting_over(request: gr.Request) -> Outputs:
        backend.leave(visitor_of(request))
        backend.ready().known_mask  # noqa: B018  # says so when there is none
        return {line: status(say("masks.started_over"))}

    def refresh(visitor: str) -> Outputs:
        facts = facts_of(backend.visitors.shown(visitor).loaded)
        return {shown[name]: facts[name] for name in FACTS}

    def arrive(request: gr.Request) -> Outputs:
        if tongue() == LANGUAGES[0]:
            return {}
        return {masks.listed: listed_here(), account: status(account_of(backend.shared))}

    back = reset.click(starting_over, None, line, **QUIET)
    outputs = [*shown.values(), line, masks.listed, account]
    return Part(refresh, outputs, (masks.used, upload.used, calibrated, back), arrive=arrive)


def facts_of(loaded: Loaded | None) -> dict[str, str]:
    """What is known about the mask in use, by the names of `FACTS`."""
    if loaded is None or loaded.mask is None:
        return dict.fromkeys(FACTS, "") | {"mask": say("masks.no_mask")}
    mask, about = loaded.mask, loaded.mask.metadata
    settings = ", ".join(f"{name} {value}" for name, value in sorted(about.get("settings", {}).items()))
    facts = {
        "mask": say("masks.of_model", method=_method(about), model=about.get("model") or say("said.unnamed_model")),
        "settings": settings or say("masks.unknown"),
        "tokens": _tokens(mask),
        "origin": _origin(about),
        "counts": counts_text({code: mask.count(code) for code in mask.languages}),
    }
    return {
        name: text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…" for name, text in facts.items()
    }


def _fact(name: str, facts: dict[str, str]) -> gr.Textbox:
    return gr.Textbox(
        facts[name],
        label=word(f"masks.fact_{name}"),
        interactive=False,
        lines=1,
        max_lines=8,
        min_width=220,
        elem_id=f"lape-mask-{name}",
    )


def _tokens(mask: NeuronMask) -> str:
    """How much text the neurons, or the means of a calibration, come from."""
    counted = mask.metadata.get("tokens") or {}
    later = (mask.metadata.get("calibration") or {}).get("tokens") or {}
    texts = [say("masks.per_language", tokens=_range(counted)) if counted else say("masks.unknown")]
    texts += [say("masks.means_from", tokens=_range(later))] if later else []
    texts += [say("masks.no_means")] if not mask.means else []
    return beside(*texts)


def _range(tokens: dict[str, int]) -> str:
    low, high = min(tokens.values()), max(tokens.values())
    return number(low) if low == high else say("masks.range", low=low, high=high)


def _method(about: Any) -> str:
    """How a mask's neurons were chosen, by the name for people where it is a method that is known."""
    method = about.get("method")
    if isinstance(method, str) and method in METHODS:
        return say(f"methods.name_{method}")
    return str(method or say("masks.unnamed"))


def _origin(about: Any) -> str:
    """Where a mask is from."""
    if about.get("uploaded"):
        return say("masks.from_upload", file=about["uploaded"])
    if about.get("collection"):
        commit = str(about.get("commit", ""))[:12]
        return say("masks.from_collection", collection=about["collection"], commit=commit)
    return say("masks.from_here")
