"""A text of the visitor's, each token in the color of the language whose neurons fire most."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import gradio as gr
import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.demo.backend import Backend
from lape.demo.examples import examples_for
from lape.demo.loaded import Loaded
from lape.demo.neurons.colored import colored_text, tokens_by_language
from lape.demo.neurons.request import TEXT_TOKENS, text_to_color
from lape.demo.part import MODEL, QUIET, Outputs, Part, failures_to, visitor_of
from lape.demo.status import status
from lape.demo.words import word
from lape.errors import LapeError
from lape.inspection.activations import Activations, activations
from lape.inspection.firing import Fired, firing, mask_neurons
from lape.languages import language

NAMED = 8  # languages in the line below the text
NO_USUAL = " The mask has no statistics beside it, so the shares are compared as they are."


def build_look(backend: Backend) -> Part:
    """Adds the section to the gradio page that is being built."""
    gr.Markdown(word("neurons.look_heading"), elem_classes="lape-section")
    with gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=320):
            text = gr.Textbox(
                _opening(backend.languages()),
                label=word("neurons.text"),
                info=word("neurons.text_info"),
                lines=4,
                max_lines=10,
                elem_id="lape-look-text",
            )
            with gr.Row(elem_classes="lape-actions"):
                color = gr.Button(word("neurons.color"), variant="primary", min_width=160, scale=0, elem_id="lape-look")
                line = gr.HTML(status(""), elem_id="lape-look-status", min_width=240)
        with gr.Column(scale=3, min_width=320):
            colored = gr.HTML(
                label=word("neurons.colored"), show_label=True, container=True, elem_id="lape-look-colored"
            )
    gr.Markdown(word("neurons.colored_how"), elem_classes="lape-how")

    def busy() -> Outputs:
        return {color: gr.Button(interactive=False), line: status("Waiting for the model…")}

    @failures_to(line)
    def coloring(request: gr.Request, given: Any) -> Iterator[Outputs]:
        asked = text_to_color(given)
        loaded = backend.ready(visitor_of(request))
        neurons = known_neurons(loaded)
        yield {line: status("Reading…")}
        for seen in backend.run(seeing, (asked,), neurons):
            if seen is None:  # it waits for the model
                yield {line: gr.skip()}
        pieces = firing(seen, loaded.known_mask, loaded.statistics)
        said = summary(pieces) + ("" if loaded.statistics is not None else NO_USUAL)
        yield {colored: colored_text(pieces, loaded.known_mask.languages), line: status(said)}

    def idle() -> Outputs:
        return {color: gr.Button(interactive=True)}

    def refresh(visitor: str) -> Outputs:
        """Takes away what another mask said."""
        return {colored: "", line: status("")}

    drawn_to = [color, line, colored]
    begun = gr.on([color.click, text.submit], busy, None, drawn_to, trigger_mode="once", **QUIET)
    running = begun.then(
        coloring,
        text,
        drawn_to,
        preprocess=False,  # our own checks say it better
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=[line],
        **MODEL,
    )
    running.then(idle, None, drawn_to, **QUIET)
    return Part(refresh, [line, colored])


def seeing(
    model: PreTrainedModel, tokenizer: Tokenizer, texts: Sequence[str], neurons: torch.Tensor
) -> Generator[Activations, None, None]:
    """The work: what some neurons do in each of some texts."""
    for text in texts:
        yield activations(model, tokenizer, text, neurons, longest_tokens=TEXT_TOKENS)


def known_neurons(loaded: Loaded) -> torch.Tensor:
    """The neurons of all languages of the mask.

    Raises:
        LapeError: There is no mask, or it has no neuron.
    """
    neurons = mask_neurons(loaded.known_mask)
    if len(neurons) == 0:
        raise LapeError("The mask in use has no neuron. Choose them less strictly, or go back to the start.")
    return neurons


def summary(pieces: Sequence[Fired]) -> str:
    """How many tokens the languages have, most first; the legend has all of them."""
    tally = tokens_by_language(pieces)
    total = sum(piece.tokens for piece in pieces)
    none = total - tally.total()
    counts = [f"{language(code).name} {count:,}" for code, count in tally.most_common()]
    if len(counts) > NAMED + 1:
        counts[NAMED:] = [f"{len(counts) - NAMED} more languages"]
    counts += [f"none {none:,}"] if none else []
    return f"{total:,} token{'' if total == 1 else 's'}: {', '.join(counts)}."


def _opening(languages: Sequence[str]) -> str:
    """What the text begins with: a line in each of a few languages."""
    return "\n".join(example.prompt for example in examples_for(languages)[:4])
