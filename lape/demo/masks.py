"""The Masks tab: what is on this machine and in collections on the Hub; use one, calibrate it, share it."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.bundled import bundled_folder
from lape.calibration import calibrate
from lape.collection import README_NAME, MaskEntry, bundled_entries, collections, find_mask, list_masks
from lape.corpora import read_corpora
from lape.demo.backend import Backend
from lape.demo.columns import status
from lape.demo.part import MODEL, Outputs, Part, failure, visitor_of
from lape.demo.space import offers_login, on_space, on_zero_gpu
from lape.errors import LapeError
from lape.hub import LOGIN, token_place
from lape.languages import language
from lape.masks import NeuronMask
from lape.publish import push
from lape.statistics import ActivationStatistics

HERE = "on this machine"
WIKIPEDIA = "hf:wikimedia/wikipedia:20231101.{language}"
CALIBRATION_TOKENS = 4096
CARD_CHARACTERS = 50_000
TEXT_CHARACTERS = 300  # of a name or a path
QUIETLY: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal", "preprocess": False}
EXPLANATION = """A *mask* says which neurons belong to which language. A *collection* is a repository of masks on the
Hugging Face Hub. Masks need the very model they were made for."""


def build_masks(backend: Backend) -> Part:
    """Adds the tab to the gradio page that is being built."""
    gr.Markdown(EXPLANATION)
    with gr.Row(equal_height=True):
        places = [HERE, *collections()]
        collection = gr.Dropdown(
            places,
            value=HERE,
            label="Collection",
            info="Where to look." if on_space() else "Where to look: this machine, or owner/name on the Hub.",
            allow_custom_value=not on_space(),
            min_width=240,
        )
        revision = gr.Textbox(label="Revision", info="Branch, tag or commit; empty is the newest.", min_width=200)
    with gr.Row(elem_classes="lape-actions"):
        show = gr.Button("Show masks", min_width=190, scale=0, elem_id="lape-masks-show")
        line = gr.HTML(status(""), elem_id="lape-masks-status", min_width=240)
    listed = gr.HTML(_listed(bundled_entries()), elem_id="lape-masks-listed")
    with gr.Row(elem_classes="lape-actions"):
        names = _names(bundled_entries())
        chosen = gr.Dropdown(names, value=names[0] if names else None, label="Mask", scale=2, min_width=260)
        use = gr.Button("Use this mask", variant="primary", min_width=190, scale=0, elem_id="lape-masks-use")
        read = gr.Button("Show its card", min_width=190, scale=0, elem_id="lape-masks-card")
    card = gr.Code(language="markdown", label="Card", visible=False, interactive=False, wrap_lines=True)

    with gr.Accordion("Calibrate", open=False, visible=not on_zero_gpu()):
        gr.Markdown(
            "A released mask says which neurons, not how strongly they fire. It can switch off at once, and steer "
            f"after {CALIBRATION_TOKENS:,} tokens of text per language. `lape calibrate` keeps the result."
        )
        with gr.Row(elem_classes="lape-actions"):
            source = gr.Textbox(
                WIKIPEDIA,
                label="Text",
                info="Wikipedia, streamed from the Hub."
                if on_space()
                else "A dataset on the Hub, or a folder of files.",
                interactive=not on_space(),
                scale=2,
                min_width=240,
            )
            measure = gr.Button("Calibrate", min_width=190, scale=0, elem_id="lape-calibrate")

    with gr.Accordion("Share", open=False, visible=not on_space() or offers_login()):
        gr.Markdown(_sharing())
        if offers_login():
            gr.LoginButton()
        with gr.Row(elem_classes="lape-actions"):
            repo = gr.Textbox(label="Push to", placeholder="owner/collection", scale=2, min_width=240)
            tag = gr.Textbox(label="Tag", placeholder="none", min_width=120)
            private = gr.Checkbox(False, label="Private", info="When it is made anew.", min_width=140)
            proposed = gr.Checkbox(False, label="Pull request", info="Propose it to its owner.", min_width=140)
            share = gr.Button("Push this mask", min_width=190, scale=0, elem_id="lape-push")

    def showing(where: Any, at: Any) -> Outputs:
        try:
            entries = _entries(where, at)
        except Exception as error:
            return {line: failure(error)}
        names = _names(entries)
        found = f"{len(entries)} mask{'' if len(entries) == 1 else 's'}."
        if entries and entries[0].commit:
            found = f"{found.removesuffix('.')} at commit {entries[0].commit[:12]}."
        return {
            line: status(found),
            listed: _listed(entries),
            chosen: gr.Dropdown(names, value=names[0] if names else None),
            card: gr.Code(visible=False),
        }

    def using(request: gr.Request, where: Any, at: Any, name: Any) -> Outputs:
        try:
            visitor = visitor_of(request)
            model, method = _chosen(name)
            if model != (loaded := backend.ready(visitor)).name:
                raise LapeError(f"This mask was made for {model}, but {loaded.name} is loaded. Load {model} first.")
            folder = _find(where, at, model, method, statistics=True)
            backend.change(visitor, lambda loaded: loaded.with_mask(folder))
        except Exception as error:
            return {line: failure(error)}
        return {line: status(f"In use: {name}.")}

    def reading(where: Any, at: Any, name: Any) -> Outputs:
        try:
            text = _card(_find(where, at, *_chosen(name), statistics=False))
        except Exception as error:
            return {line: failure(error)}
        return {line: status(""), card: gr.Code(text, visible=True)}

    def calibrating(request: gr.Request, text: Any, progress: gr.Progress = gr.Progress(track_tqdm=True)) -> Outputs:  # noqa: B008
        try:
            if on_zero_gpu():
                raise LapeError("This page cannot calibrate. Use `lape calibrate` on your own machine.")
            text = WIKIPEDIA if on_space() else _text(text, "name of the text") or WIKIPEDIA
            visitor = visitor_of(request)
            (made,) = backend.run(calibrated_on, backend.ready(visitor).known_mask, text)
            mask, statistics = made
            backend.change(visitor, lambda loaded: replace(loaded, mask=mask, statistics=statistics, notes=()))
        except Exception as error:
            return {line: failure(error)}
        tokens = sum(mask.metadata["calibration"]["tokens"].values())
        return {line: status(f"Calibrated on {tokens:,} tokens; it steers now, until another mask is chosen.")}

    def sharing(
        where: Any, name: Any, to: Any, label: Any, hidden: Any, propose: Any, login: gr.OAuthToken | None
    ) -> Outputs:
        try:
            if where != HERE:
                raise LapeError(f"Only masks {HERE} are pushed; choose that collection above.")
            if on_space() and (login is None or not login.token):  # without one, it would be the Space's own
                raise LapeError("Log in first: a mask is pushed with your own account.")
            pushed = push(
                bundled_folder(*_chosen(name)),
                _text(to, "collection"),
                private=hidden is True or None,
                create_pr=propose is True,
                tag=_text(label, "tag") or None,
                token=login.token if login is not None else None,
            )
        except Exception as error:
            return {line: failure(error)}
        files = f"{len(pushed.changed)} file{'' if len(pushed.changed) == 1 else 's'}"
        done = f"Pushed {files}: {pushed.url}"
        if not pushed.changed:
            done = f"Nothing to push: the same is there already: {pushed.url}"
        elif pushed.pull_request:
            done = f"Proposed {files}: {pushed.pull_request}"
        return {line: status(done)}

    everything = [line, listed, chosen, card]
    asked = [collection, revision, chosen]
    gr.on([show.click, collection.input], showing, [collection, revision], everything, **QUIETLY)
    read.click(reading, asked, everything, **QUIETLY)
    used = use.click(using, asked, everything, **QUIETLY, **MODEL)
    calibrated = measure.click(calibrating, source, everything, show_progress_on=[line], **QUIETLY, **MODEL)
    share.click(sharing, [collection, chosen, repo, tag, private, proposed], everything, **QUIETLY)
    return Part(lambda visitor: {}, [], (used, calibrated))


def _text(value: Any, what: str) -> str:
    """A short line of text; nothing is the empty one."""
    text = "" if value is None else value
    if not isinstance(text, str) or len(text) > TEXT_CHARACTERS or not text.strip().isprintable():
        raise LapeError(f"The {what} must be one line of text, of at most {TEXT_CHARACTERS} characters.")
    return text.strip()


def _place(where: Any) -> str | None:
    """The collection that was chosen; None for this machine."""
    name = _text(where, "collection")
    if on_space() and name not in (HERE, *collections()):
        raise LapeError(f"On this public page only these collections are open: {', '.join((HERE, *collections()))}.")
    return None if name in ("", HERE) else name


def _entries(where: Any, at: Any) -> list[MaskEntry]:
    collection = _place(where)
    return bundled_entries() if collection is None else list_masks(collection, _text(at, "revision") or None)


def _find(where: Any, at: Any, model: str, method: str, *, statistics: bool) -> Path:
    """The folder of a mask, downloaded when it must be."""
    if (collection := _place(where)) is None:
        return bundled_folder(model, method)
    revision = _text(at, "revision") or None
    return find_mask(model, method, collection=collection, revision=revision, statistics=statistics).folder


def _card(folder: Path) -> str:
    """The beginning of a mask's README, which is long enough for a page."""
    if not (folder / README_NAME).is_file():
        return "It has no card."
    with (folder / README_NAME).open(encoding="utf-8", errors="replace") as file:
        return file.read(CARD_CHARACTERS)


def _names(entries: list[MaskEntry]) -> list[str]:
    return [f"{entry.model} {entry.method}" for entry in entries]


def _chosen(name: Any) -> tuple[str, str]:
    """Model and method of a name from the menu."""
    model, _, method = _text(name, "mask").rpartition(" ")
    if not model or not re.fullmatch(r"[\w.-]+", method) or method.startswith("."):
        raise LapeError("Choose a mask of the list first.")
    return model, method


def _listed(entries: list[MaskEntry]) -> str:
    """The masks as HTML; what a collection says of itself is escaped."""
    if not entries:
        return "<p>There are none.</p>"
    items = []
    for entry in entries:
        counts = ", ".join(f"{language(code).name} {count:,}" for code, count in entry.counts.items())
        items.append(f"<li><strong>{escape(entry.model)}</strong> {escape(entry.method)}<br>{escape(counts)}</li>")
    return f'<ul class="lape-masks" aria-label="Masks">{"".join(items)}</ul>'


def calibrated_on(
    model: PreTrainedModel, tokenizer: Tokenizer, mask: NeuronMask, text: str
) -> Generator[tuple[NeuronMask, ActivationStatistics], None, None]:
    """The work of a calibration."""
    corpora = read_corpora(text, mask.languages)
    yield calibrate(mask, model, tokenizer, corpora, tokens=CALIBRATION_TOKENS)


def _sharing() -> str:
    text = "Pushes the chosen mask, its statistics and its card to a collection on the Hub, in one commit."
    if on_space():
        return f"{text} Log in with your own account first."
    return f"{text} It uses the token of {token_place()}." if token_place() else f"{text} It needs a token: {LOGIN}."
