"""Many prompts at once: each under every column of the comparison, as a table and as CSV."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import astuple, fields, replace
from functools import partial
from typing import Any

import gradio as gr
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.demo.backend import Backend
from lape.demo.checks import checked_text
from lape.demo.compare.chat import prompts_of
from lape.demo.compare.columns import title_of
from lape.demo.compare.comparison import identify, request_of, throttled, writing_progress
from lape.demo.compare.request import CompareRequest
from lape.demo.compare.sharing import FILES
from lape.demo.compare.variants import Variants, variants_of
from lape.demo.languages import name_of
from lape.demo.part import QUIET, Outputs, Part, failures_to, visitor_of
from lape.demo.report import report_html
from lape.demo.runs import build_buttons, on_start
from lape.demo.status import status
from lape.demo.uploads import take
from lape.demo.words import say, word
from lape.drawing.html import Table
from lape.errors import LapeError
from lape.evaluation.metrics.costs import WrittenTexts
from lape.evaluation.metrics.many import TextRow, batches, by_prompt, rows_of, write_batch
from lape.generation.prompts import Prompt
from lape.generation.settings import SETTINGS
from lape.storage.tables import csv_text
from lape.storage.text import some_text

PROMPTS, CHARACTERS, TEXTS = 20, 6000, 80  # how many, of all together, and prompts times columns


def build_many(backend: Backend, inputs: Mapping[str, Any]) -> Part:
    """Adds the section to the gradio page that is being built.

    Args:
        backend: Has the model.
        inputs: The controls by field of `CompareRequest`.
    """
    with gr.Accordion(word("many.title"), open=False, elem_id="lape-many"):
        gr.Markdown(word("many.about"))
        given = gr.Textbox(
            label=word("many.prompts"), info=word("many.prompts_info"), lines=5, max_lines=12, elem_id="lape-many-text"
        )
        label: Any = word("many.upload")  # gradio's type hint does not know that it translates this one
        file = gr.UploadButton(
            label, file_types=[".txt"], size="sm", min_width=160, scale=0, elem_id="lape-many-upload"
        )
        buttons = build_buttons("many", word("many.start"))
        table = gr.HTML(elem_id="lape-many-table")
        save = gr.Button(word("many.save"), visible=False, size="sm", elem_id="lape-many-save", min_width=140, scale=0)
        table_csv = gr.Textbox(visible=False)
    names = list(inputs)
    empty: Outputs = {table: "", table_csv: "", save: gr.Button(visible=False)}

    def stream(request: gr.Request, text: Any, *values: Any) -> Iterator[Outputs]:
        visitor, began = visitor_of(request), time.perf_counter()
        prompts = checked_prompts(text)
        asked = request_of(backend, dict(zip(names, values, strict=True)) | {"prompt": prompts[0]}, visitor)
        loaded = backend.ready(visitor)
        variants = variants_of(loaded, asked)
        check_texts(len(prompts), len(variants))
        told = partial(identify, loaded.known_mask.languages)
        rows: list[TextRow] = []
        with closing(backend.run(writing_many, asked, prompts, variants)) as states:
            for state in states:
                if isinstance(state, dict):
                    rows += [row for place in state for row in rows_of(prompts[place], state[place], told)]
                    yield {table: table_html(rows, asked), table_csv: csv_of(rows), save: gr.Button(visible=True)}
                elif state is None:  # it waits for the model
                    yield {buttons.line: gr.skip()}
                else:
                    yield {buttons.line: status(writing_progress(state, asked.max_new_tokens))}
        yield {buttons.line: status(say("first.done", seconds=f"{time.perf_counter() - began:.1f}"))}

    on_start(buttons, [given, *inputs.values()], stream, empty, event="many_stream")
    save.click(None, table_csv, None, js=FILES["csv"][1])

    @failures_to(buttons.line)
    def unpacking(brought: Any) -> Outputs:
        """Writes the prompts of a file into the box, where they can be read and changed before they run."""
        ((name, data),) = take([brought] if brought else None, 1)
        prompts = checked_prompts(some_text(data, name, CHARACTERS))
        return {given: "\n".join(prompts), buttons.line: status(say("many.filled", count=len(prompts)))}

    file.upload(unpacking, file, [given, buttons.line], api_name="many_upload", preprocess=False, **QUIET)

    def refresh(visitor: str) -> Outputs:
        """Takes away what another mask gave."""
        return {**empty, buttons.line: status("")}

    return Part(refresh, [*empty, buttons.line])


def writing_many(
    model: PreTrainedModel, tokenizer: Tokenizer, request: CompareRequest, prompts: list[str], variants: Variants
) -> Generator[WrittenTexts | dict[int, dict[str, Any]], None, None]:
    """The work: states of each batch of prompts, and what was written of it, see `by_prompt`."""

    def given(prompt: str, name: str) -> Prompt:
        return prompts_of(replace(request, prompt=prompt), [name], {})[name]

    settings = {name: getattr(request, name) for name in SETTINGS}
    for batch in batches(model, prompts, variants):
        with closing(write_batch(model, tokenizer, batch, variants, given, **settings)) as states:
            for written in throttled(states):
                if written is not None:
                    yield written
        assert written is not None  # nothing waits here: the work has the model
        yield by_prompt(written, batch, variants)


def checked_prompts(text: Any) -> list[str]:
    """The prompts of an untrusted text, one a line.

    Raises:
        LapeError: There is none, there are too many, or they are too long.
    """
    given = checked_text("list of prompts", "" if text is None else text, CHARACTERS)
    prompts = [line.strip() for line in given.splitlines() if line.strip()]
    if not prompts:
        raise LapeError(say("many.none"))
    if len(prompts) > PROMPTS:
        raise LapeError(say("many.too_many", count=len(prompts), most=PROMPTS))
    return prompts


def check_texts(prompts: int, columns: int) -> None:
    """Refuses more texts than a run on the page may make.

    Raises:
        LapeError: Says how many prompts fit.
    """
    if prompts * columns > TEXTS:
        raise LapeError(say("many.too_many_texts", texts=prompts * columns, columns=columns, count=TEXTS // columns))


def csv_of(rows: list[TextRow]) -> str:
    """The rows as CSV."""
    return csv_text([field.name for field in fields(TextRow)], map(astuple, rows))


def table_html(rows: list[TextRow], request: CompareRequest) -> str:
    """The rows as a table, in the language of who asks."""
    cells = [
        (
            row.prompt,
            title_of(row.variant, request),
            " ".join(row.text.split()),
            "–" if row.language is None else name_of(row.language),
            "–" if row.quality is None else say(f"quality.{row.quality}"),
            "–" if row.cost_nats is None else f"{row.cost_nats:.1f}",
        )
        for row in rows
    ]
    head = [say(f"many.{name}") for name in ("prompt", "column", "text", "language", "quality", "cost")]
    return report_html([Table(say("many.caption"), head, cells, words=5).html()])
