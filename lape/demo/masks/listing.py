"""The list of masks: what is on this machine and in collections on the Hub; use one, read its card."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.checks import checked_line
from lape.demo.languages import name_of
from lape.demo.loaded import read_mask
from lape.demo.masks.card import mask_card
from lape.demo.part import Outputs, failures_to, visitor_of
from lape.demo.status import beside, sentences, status
from lape.demo.words import number, say, word
from lape.errors import LapeError
from lape.masks.bundled import bundled_folder
from lape.masks.collection import FoundMask, bundled_entries, collections, find_mask, list_masks
from lape.masks.summaries import MaskEntry

HERE = "on this machine"
LISTED = 500  # masks a page shows of one collection
QUIETLY: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal", "preprocess": False}


@dataclass(frozen=True)
class MaskList:
    """The components other sections of the tab read from.

    Attributes:
        collection: Where it was looked.
        revision: At which revision.
        listed: The list itself.
        chosen: The name of the chosen mask, see `chosen_of`.
        used: The event after which another mask may be in use.
    """

    collection: gr.Dropdown
    revision: gr.Textbox
    listed: gr.HTML
    chosen: gr.Dropdown
    used: Any


def build_list(backend: Backend, menus: Sequence[tuple[gr.Dropdown, list[Any]]]) -> MaskList:
    """Adds the list to the tab that is being built.

    Args:
        backend: The one of the page.
        menus: Other menus that offer the names of the list, and what they offer before these.
    """
    left_out: list[str] = []
    entries = bundled_entries(left_out)
    with gr.Row(equal_height=True):
        collection = gr.Dropdown(
            [(word("masks.here"), HERE), *collections()],
            value=HERE,
            label=word("masks.collection"),
            info=word("masks.where_offered") if backend.shared else word("masks.where"),
            allow_custom_value=not backend.shared,
            min_width=240,
        )
        revision = gr.Textbox(label=word("masks.revision"), info=word("masks.revision_info"), min_width=200)
    with gr.Row(elem_classes="lape-actions"):
        show = gr.Button(word("masks.show"), min_width=230, scale=0, elem_id="lape-masks-show")
        line = gr.HTML(status(_left_out(left_out)), elem_id="lape-masks-status", min_width=240)
    listed = gr.HTML(_listed(entries), elem_id="lape-masks-listed")
    with gr.Row(elem_classes="lape-actions"):
        names = names_of(entries)
        chosen = gr.Dropdown(names, value=_fitting(names, backend), label=word("masks.mask"), scale=2, min_width=260)
        use = gr.Button(word("masks.use"), variant="primary", min_width=230, scale=0, elem_id="lape-masks-use")
        read = gr.Button(word("masks.card_show"), min_width=230, scale=0, elem_id="lape-masks-card")
    card = gr.HTML("", visible=False, elem_id="lape-mask-card")

    @failures_to(line)
    def showing(where: Any, at: Any) -> Outputs:
        left_out: list[str] = []
        entries = _entries(_place(where, backend.shared), at, left_out)
        names = names_of(entries)
        found = say("masks.found", count=len(entries))
        if entries and entries[0].commit:
            found = say("masks.found_at", count=len(entries), commit=entries[0].commit[:12])
        offered = {menu: gr.Dropdown([*before, *names]) for menu, before in menus}
        return offered | {
            line: status(sentences(found, _left_out(left_out))),
            listed: _listed(entries),
            chosen: gr.Dropdown(names, value=_fitting(names, backend)),
            card: gr.HTML(visible=False),
        }

    @failures_to(line)
    def using(request: gr.Request, where: Any, at: Any, name: Any) -> Outputs:
        visitor = visitor_of(request)
        model, method = chosen_of(name)
        if model != (loaded := backend.ready(visitor)).name:
            raise LapeError(say("masks.other_model", model=model, loaded=loaded.name))
        found = found_mask(backend, where, at, model, method, statistics=True)
        mask, statistics = read_mask(found.folder)
        mask = replace(mask, metadata={**mask.metadata, **found.origin})
        backend.change(visitor, lambda loaded: loaded.with_mask(mask, statistics, place=found.folder))
        return {line: status(say("masks.used", name=name))}

    @failures_to(line)
    def reading(where: Any, at: Any, name: Any) -> Outputs:
        shown = mask_card(found_mask(backend, where, at, *chosen_of(name), statistics=False).folder)
        return {line: status(""), card: gr.HTML(shown, visible=True)}

    everything = [line, listed, chosen, card, *(menu for menu, _ in menus)]
    asked = [collection, revision, chosen]
    gr.on([show.click, collection.input], showing, [collection, revision], everything, **QUIETLY)
    read.click(reading, asked, [line, card], **QUIETLY)
    used = use.click(using, asked, line, **QUIETLY)
    return MaskList(collection, revision, listed, chosen, used)


def listed_here() -> str:
    """The masks of this machine as HTML."""
    return _listed(bundled_entries([]))


def found_mask(backend: Backend, where: Any, at: Any, model: str, method: str, *, statistics: bool) -> FoundMask:
    """A mask of a place that may be looked at, downloaded when it must be.

    Raises:
        LapeError: It is not there, or the place is not open to visitors.
    """
    if (collection := _place(where, backend.shared)) is None:
        return FoundMask(bundled_folder(model, method))
    revision = checked_line(at, "revision") or None
    return find_mask(model, method, collection=collection, revision=revision, statistics=statistics)


def names_of(entries: Sequence[MaskEntry]) -> list[str]:
    """Masks as the menus name them."""
    return [f"{entry.model} {entry.method}" for entry in entries[:LISTED]]


def _fitting(names: Sequence[str], backend: Backend) -> str | None:
    """The first mask for the model that is loaded, else the first."""
    mine = [name for name in names if backend.loaded and name.rpartition(" ")[0] == backend.loaded.name]
    return next(iter([*mine, *names]), None)


def chosen_of(name: Any) -> tuple[str, str]:
    """Model and method of a name from the menu.

    Raises:
        LapeError: It is no such name.
    """
    model, _, method = checked_line(name, "mask").rpartition(" ")
    if not model or not re.fullmatch(r"[\w.-]+", method) or method.startswith("."):
        raise LapeError(say("masks.choose"))
    return model, method


def _place(where: Any, shared: bool) -> str | None:
    """The collection that was chosen; None for this machine. On a shared page only the owner's are open."""
    name = checked_line(where, "collection")
    if shared and name not in (HERE, *collections()):
        raise LapeError(say("masks.only_these", collections=", ".join((say("masks.here"), *collections()))))
    return None if name in ("", HERE) else name


def _entries(collection: str | None, at: Any, left_out: list[str]) -> list[MaskEntry]:
    if collection is None:
        return bundled_entries(left_out)
    return list_masks(collection, checked_line(at, "revision") or None, left_out=left_out)


def _left_out(reasons: Sequence[str]) -> str:
    """What is said of masks that are damaged; nothing when none is."""
    if not reasons:
        return ""
    if len(reasons) == 1:
        return say("said.left_out", reason=reasons[0])
    return say("masks.left_out_more", more=len(reasons) - 1, reason=reasons[0])


def _listed(entries: Sequence[MaskEntry]) -> str:
    """The masks as HTML; what a collection says of itself is escaped."""
    if not entries:
        return f"<p>{escape(say('masks.none'))}</p>"
    items = []
    for entry in entries[:LISTED]:
        counts = counts_text(entry.counts)
        items.append(f"<li><strong>{escape(entry.model)}</strong> {escape(entry.method)}<br>{escape(counts)}</li>")
    return f'<ul class="lape-masks" aria-label="{escape(say("masks.listed"))}">{"".join(items)}</ul>'


def counts_text(counts: Mapping[str, int]) -> str:
    """Neurons of each language in one line."""
    return beside(*(f"{name_of(code)} {number(count)}" for code, count in counts.items()))
