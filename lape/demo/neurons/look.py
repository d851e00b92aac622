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
from lape.demo.languages import name_of
from lape.demo.loaded import Loaded
from lape.demo.neurons.colored import colored_text, tokens_by_language
from lape.demo.neurons.pointed import POINTED
from lape.demo.neurons.request import TEXT_TOKENS, text_to_color
from lape.demo.neurons.tips import tips
from lape.demo.part import MODEL, QUIET, Outputs, Part, failures_to, visitor_of
from lape.demo.status import status
from lape.demo.words import say, word
from lape.errors import LapeError
from lape.inspection.activations import Activations, ActiveNeurons, activations, active_neurons
from lape.inspection.firing import Fired, firing, mask_neurons

NAMED = 8  # languages in the line below the text


def build_look(backend: Backend) -> tuple[Part, gr.HTML, gr.State]:
    """Adds the section to the gradio page that is being built.

    Returns:
        The part; the colored text, of which a click on a token leads to a neuron; and what the neurons do in it.
    """
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
                label=word("neurons.colored"),
                show_label=True,
                container=True,
                js_on_load=POINTED,
                elem_id="lape-look-colored",
            )
    gr.Markdown(word("neurons.colored_how"), elem_classes="lape-how")
    kept = gr.State(None)  # all active neurons of the text on show, and the model's name

    def busy() -> Outputs:
        return {color: gr.Button(interactive=False), line: status(say("said.waiting"))}

    def drawn(loaded: Loaded, active: ActiveNeurons) -> Outputs:
        """A text in the colors of the mask in use."""
        seen = active.of(known_neurons(loaded))
        mask, statistics = loaded.known_mask, loaded.statistics
        pieces = firing(seen, mask, statistics)
        said = summary(pieces) + ("" if statistics is not None else f" {say('neuron.no_usual')}")
        told = tips(pieces, seen, mask, statistics)
        return {colored: colored_text(pieces, told, mask.languages), line: status(said)}

    @failures_to(line)
    def coloring(request: gr.Request, given: Any) -> Iterator[Outputs]:
        asked = text_to_color(given)
        loaded = backend.ready(visitor_of(request))
        known_neurons(loaded)
        yield {line: status(say("neuron.reading"))}
        for active in backend.run(reading, asked):
            if active is None:  # it waits for the model
                yield {line: gr.skip()}
        yield {kept: (loaded.name, active), **drawn(loaded, active)}

    def idle() -> Outputs:
        return {color: gr.Button(interactive=True)}

    @failures_to(line, {colored: ""})
    def refresh(visitor: str, read: Any = None) -> Outputs:
        """Colors the text on show anew, from what was read of it; takes away what another model said."""
        if read is not None and backend.languages(visitor) and (loaded := backend.ready(visitor)).name == read[0]:
            return drawn(loaded, read[1])
        return {colored: "", line: status(""), kept: None}

    drawn_to = [color, line, colored, kept]
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
    return Part(refresh, [line, colored, kept], inputs=(kept,)), colored, kept


def reading(model: PreTrainedModel, tokenizer: Tokenizer, text: str) -> Generator[ActiveNeurons, None, None]:
    """The work: which neurons are active at each token of a text, of all neurons."""
    yield active_neurons(model, tokenizer, text, longest_tokens=TEXT_TOKENS)


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
        raise LapeError(say("neuron.empty_mask"))
    return neurons


def summary(pieces: Sequence[Fired]) -> str:
    """How many tokens the languages have, most first; the legend has all of them."""
    tally = tokens_by_language(pieces)
    total = sum(piece.tokens for piece in pieces)
    none = total - tally.total()
    counts = [f"{name_of(code)} {count:,}" for code, count in tally.most_common()]
    if len(counts) > NAMED + 1:
        counts[NAMED:] = [say("neuron.more_languages", count=len(counts) - NAMED)]
    counts += [say("neuron.none", number=none)] if none else []
    return say("neuron.tokens", count=total, languages=", ".join(counts))


def _opening(languages: Sequence[str]) -> str:
    """What the text begins with: a line in each of a few languages."""
    return "\n".join(example.prompt for example in examples_for(languages)[:4])
