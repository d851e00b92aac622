"""What a visitor gives the Find neurons tab: texts in rows or a dataset, how many tokens, which method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.find.finding import DATASET, LEAST_TOKENS, MOST_LANGUAGES, OWN, WIKIPEDIA, allowance
from lape.demo.languages import is_rtl, titles
from lape.demo.methods import about_method, named
from lape.demo.part import QUIET, Outputs, failures_to
from lape.demo.sliders import SLIDERS, slider
from lape.demo.status import status
from lape.demo.uploads import take
from lape.demo.words import say, word
from lape.errors import LapeError
from lape.evaluation.metrics.openings import openings
from lape.identify import method_settings, methods_reading
from lape.languages import LANGUAGES
from lape.recording.statistics import ActivationStatistics
from lape.storage.names import LABEL
from lape.storage.text import some_text

FIRST = ("en", "fr")  # labels of the rows that are open at first
EXAMPLE = ("en", "fr", "zh")
TOKENS = 4096  # per language, at first


@dataclass(frozen=True)
class FindControls:
    """The inputs of the tab, in the order in which its event gets their values."""

    kind: Any
    dataset: Any
    languages: Any
    tokens: Any
    method: Any
    rates: dict[str, Any]
    labels: list[Any]
    texts: list[Any]

    def menus(self) -> dict[Any, Any]:
        """The menus of languages, with the names that who asks has for them."""
        return {menu: gr.Dropdown(titles(LANGUAGES)) for menu in (self.languages, *self.labels)}

    @property
    def inputs(self) -> list[Any]:
        """All of them, in order."""
        single = [self.kind, self.dataset, self.languages, self.tokens, self.method]
        return [*single, *self.rates.values(), *self.labels, *self.texts]

    def named(self, values: Sequence[Any]) -> dict[str, Any]:
        """Their values by the names `checked_find` knows."""
        kind, dataset, languages, tokens, method, *rest = values
        rates, rows = rest[: len(self.rates)], rest[len(self.rates) :]
        return {
            "kind": kind,
            "dataset": dataset,
            "languages": languages,
            "tokens": tokens,
            "method": method,
            "rates": dict(zip(self.rates, rates, strict=True)),
            "labels": rows[:MOST_LANGUAGES],
            "texts": rows[MOST_LANGUAGES:],
        }


def build_controls(backend: Backend) -> FindControls:
    """Adds the controls and their own events to the page that is being built."""
    choices = [(word("find.own"), OWN), (word("find.dataset"), DATASET)]
    kind = gr.Radio(choices, value=OWN, label=word("find.kind"), elem_id="lape-find-kind")
    with gr.Column() as own:
        rows, labels, texts = _rows()
        with gr.Row(elem_classes="lape-actions"):
            more = gr.Button(word("find.more"), min_width=180, scale=0, elem_id="lape-find-more")
            said: Any = word("find.upload")  # gradio's type hint does not know that it translates this one
            upload = gr.UploadButton(
                said, file_count="multiple", file_types=[".txt"], min_width=270, scale=0, elem_id="lape-find-upload"
            )
            example = gr.Button(word("find.example"), min_width=180, scale=0, elem_id="lape-find-example")
            line = gr.HTML(status(""), elem_id="lape-find-texts", min_width=240)
    with gr.Row(visible=False) as hub:
        dataset = gr.Textbox(
            WIKIPEDIA,
            label=word("find.name"),
            info=word("find.name_space") if backend.shared else word("find.name_info"),
            interactive=not backend.shared,
            min_width=260,
        )
        languages = gr.Dropdown(
            titles(LANGUAGES),
            value=list(EXAMPLE),
            multiselect=True,
            allow_custom_value=True,
            max_choices=MOST_LANGUAGES,
            label=word("find.languages"),
            info=word("find.languages_info"),
            min_width=260,
        )
    tokens, method, about, rates = _settings(allowance(backend.shared).tokens)

    def opened(label_values: list[str | None], text_values: list[str | None]) -> Outputs:
        """The rows with these labels and texts; those that are empty at the end are closed."""
        used = [at for at, pair in enumerate(zip(label_values, text_values, strict=True)) if any(pair)]
        last = max(used, default=0)
        found: Outputs = {}
        for at, (label, text) in enumerate(zip(label_values, text_values, strict=True)):
            found[rows[at]] = gr.Row(visible=at <= max(last, len(FIRST) - 1))
            found[labels[at]] = label
            found[texts[at]] = gr.Textbox(text or "", rtl=is_rtl(label))
        return found

    def opening(*label_values: Any) -> Outputs:
        """Opens the first row that is closed: its label stands for nothing yet."""
        labelled = [bool(label) for label in label_values]
        at = min(max(sum(labelled), len(FIRST)), MOST_LANGUAGES - 1)
        used = [code for code in label_values if isinstance(code, str)]
        following = next((code for code in backend.languages() if code not in used), None)
        return {rows[at]: gr.Row(visible=True), labels[at]: gr.skip() if label_values[at] else following}

    @failures_to(line)
    def unpacking(files: Any, *values: Any) -> Outputs:
        label_values, text_values = _filled(
            values[:MOST_LANGUAGES], values[MOST_LANGUAGES:], files, allowance(backend.shared).characters
        )
        languages = sum(bool(text) for text in text_values)
        return opened(label_values, text_values) | {line: status(say("finding.filled", count=languages))}

    def exemplified() -> Outputs:
        closed = [None] * (MOST_LANGUAGES - len(EXAMPLE))
        samples = ["\n".join(openings(code)) for code in EXAMPLE]
        return opened([*EXAMPLE, *closed], [*samples, *closed]) | {line: status(say("finding.examples"))}

    filled = [*rows, *labels, *texts, line]
    kind.change(
        lambda chosen: {own: gr.Column(visible=chosen != DATASET), hub: gr.Row(visible=chosen == DATASET)},
        kind,
        [own, hub],
        preprocess=False,
        **QUIET,
    )
    more.click(opening, labels, [*rows, *labels], preprocess=False, **QUIET)
    upload.upload(unpacking, [upload, *labels, *texts], filled, preprocess=False, **QUIET)
    example.click(exemplified, None, filled, **QUIET)
    for label, text in zip(labels, texts, strict=True):
        label.change(lambda code: gr.Textbox(rtl=is_rtl(code)), label, text, preprocess=False, **QUIET)
    method.change(_applied, method, [about, *rates.values()], preprocess=False, **QUIET)
    return FindControls(kind, dataset, languages, tokens, method, rates, labels, texts)


def _rows() -> tuple[list[Any], list[Any], list[Any]]:
    """The rows of texts, most of them closed: boxes, labels, texts."""
    rows, labels, texts = [], [], []
    for at in range(MOST_LANGUAGES):
        with gr.Row(visible=at < len(FIRST), equal_height=False, elem_classes="lape-find-row") as row:
            labels.append(
                gr.Dropdown(
                    titles(LANGUAGES),
                    value=FIRST[at] if at < len(FIRST) else None,
                    allow_custom_value=True,
                    label=word("find.label"),
                    info=word("find.label_info") if at == 0 else None,
                    scale=1,
                    min_width=200,
                )
            )
            texts.append(
                gr.Textbox(
                    label=word("find.text"),
                    info=word("find.text_info") if at == 0 else None,
                    lines=3,
                    max_lines=8,
                    scale=4,
                    min_width=260,
                )
            )
        rows.append(row)
    return rows, labels, texts


def _settings(most: int) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Tokens, at most so many; the menu of methods, a line about the chosen one, and sliders for its settings."""
    with gr.Row(equal_height=True):
        tokens = gr.Slider(
            LEAST_TOKENS,
            most,
            value=min(TOKENS, most),
            step=1,
            label=word("find.tokens"),
            info=word("find.tokens_info"),
            min_width=260,
        )
        method = gr.Dropdown(
            named(methods_reading(ActivationStatistics)),
            value="lape",
            label=word("find.method"),
            info=word("find.method_info"),
            min_width=260,
        )
    about = gr.Markdown(about_method("lape"), elem_id="lape-find-about")
    rates = {}
    with gr.Accordion(word("find.settings"), open=False), gr.Row():
        for name in SLIDERS:
            rates[name] = gr.Slider(
                **slider(name, method_settings("lape").get(name)),
                label=word(f"find.{name}"),
                info=word(f"find.{name}_info"),
                buttons=["reset"],
                min_width=220,
            )
    return tokens, method, about, rates


def _applied(method: Any) -> list[Any]:
    """The line about a method, and the sliders of its settings at its defaults."""
    if not isinstance(method, str) or method not in methods_reading(ActivationStatistics):
        return [gr.skip() for _ in (method, *SLIDERS)]
    settings = method_settings(method)
    sliders = [gr.Slider(**slider(name, settings.get(name))) for name in SLIDERS]
    return [about_method(method), *sliders]


def _filled(
    labels: Sequence[Any], texts: Sequence[Any], files: Any, characters: int
) -> tuple[list[str | None], list[str | None]]:
    """The rows with the texts of files in them, each of at most so many characters; a file's name says its label."""
    rows = {
        label: text
        for label, text in zip(labels, texts, strict=True)
        if isinstance(label, str) and isinstance(text, str) and text.strip()
    }
    for name, data in take(files, MOST_LANGUAGES):
        code, _, suffix = name.partition(".")
        if suffix.lower() != "txt" or not LABEL.fullmatch(code):
            raise LapeError(say("finding.file_name", name=_short(name)))
        rows[code] = some_text(data, name, characters)
    if len(rows) > MOST_LANGUAGES:
        raise LapeError(say("finding.too_many_files", most=MOST_LANGUAGES, count=len(rows)))
    closed = [None] * (MOST_LANGUAGES - len(rows))
    return [*rows, *closed], [*rows.values(), *closed]


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:59]}…")
