"""What the sections have in common that look into the columns on show: read again, token by token, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Any

import gradio as gr
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.demo.backend import Backend, Work
from lape.demo.compare.chat import prompts_of
from lape.demo.compare.export import Comparison, about
from lape.demo.compare.variants import Variants, variants_of
from lape.demo.loaded import Loaded
from lape.demo.part import MODEL, QUIET, Outputs, failures_to, visitor_of
from lape.demo.status import status
from lape.demo.words import say, word
from lape.errors import LapeError
from lape.generation.passages import Passage
from lape.generation.prompts import Prompt, encode

Draw = Callable[[Comparison, Any], str]
Steps = Generator[tuple[int, int, Any], None, None]  # steps done, all of them, and in the end what was found


def build_inside(
    backend: Backend, seen: gr.State, name: str, work: Work, draw: Draw, more: Callable[[Loaded], tuple] = lambda _: ()
) -> Outputs:
    """Adds a section to the page that is being built: a button that reads the columns on show, and what comes of it.

    Args:
        backend: Has the model.
        seen: The run on show.
        name: The file of the section's words, with `heading`, `about` and `show`.
        work: Called with prompts, token ids and texts by column, the variants, and what `more` gives; yields steps done
            and all of them, with what is drawn at the end.
        draw: HTML of what the work found of a run.
        more: What else the work takes, of what the visitor works on.

    Returns:
        What takes away the section's findings, when there is another run.
    """
    with gr.Accordion(word(f"{name}.heading"), open=False, elem_id=f"lape-{name}"):
        gr.Markdown(word(f"{name}.about"), elem_classes="lape-how")
        with gr.Row(elem_classes="lape-actions"):
            show = gr.Button(word(f"{name}.show"), elem_id=f"lape-{name}-show", min_width=160, scale=0)
            line = gr.HTML(status(""), elem_id=f"lape-{name}-status", min_width=240)
        drawn = gr.HTML("", elem_id=f"lape-{name}-drawn")

    def busy() -> Outputs:
        return {show: gr.Button(interactive=False), line: status(say("said.waiting")), drawn: ""}

    @failures_to(line)
    def inspecting(request: gr.Request, run: Comparison | None) -> Iterator[Outputs]:
        loaded = backend.ready(visitor_of(request))
        variants = variants_on_show(run, loaded)
        assert run is not None  # or it was refused
        texts = {column: (tuple(found.token_ids), found.text) for column, found in run.columns.items()}
        prompts, found = prompts_of(run.request, list(run.columns), run.talks), None
        with closing(backend.run(work, prompts, texts, variants, *more(loaded))) as steps:
            for step in steps:
                if step is None:  # it waits for the model
                    yield {line: gr.skip()}
                    continue
                done, total, found = step
                yield {line: status(say("inside.reading", done=done, total=total))}
        yield {drawn: draw(run, found), line: status("")}

    def idle() -> Outputs:
        return {show: gr.Button(interactive=True)}

    parts = [show, line, drawn]
    begun = show.click(busy, None, parts, trigger_mode="once", api_name=f"{name}_busy", **QUIET)
    running = begun.then(
        inspecting,
        seen,
        parts,
        api_name=f"{name}_inspecting",
        preprocess=False,
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=[line],
        **MODEL,
    )
    running.then(idle, None, parts, api_name=f"{name}_idle", **QUIET)
    return {drawn: "", line: status("")}


def passages_of(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompts: Mapping[str, Prompt],
    texts: Mapping[str, tuple[tuple[int, ...], str]],
) -> dict[str, Passage]:
    """Each column's prompt and continuation as token ids: those that were generated, where they are known.

    A stored column without them is tokenised again, which gives the same unless the model spelled a word unusually.

    Raises:
        LapeError: No column has text.
    """
    found = {}
    for name, (ids, text) in texts.items():
        scored = ids or tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
        if scored:
            (context,) = encode(model, tokenizer, [prompts[name]])["input_ids"].tolist()
            found[name] = Passage(context, scored)
    if not found:
        raise LapeError(say("inside.nothing"))
    return found


def variants_on_show(run: Comparison | None, loaded: Loaded) -> Variants:
    """What was done to the model in each column.

    Raises:
        LapeError: Nothing is on show, or it was made with another model or mask.
    """
    if run is None:
        raise LapeError(say("inside.nothing"))
    made = about(loaded.by_method(run.request.method))
    if any(made[part] != run.about[part] for part in ("model", "mask")):
        raise LapeError(say("inside.outdated"))
    return variants_of(loaded, run.request)
