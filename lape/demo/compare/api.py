"""The comparison as an API endpoint: plain dictionaries instead of a page."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from contextlib import closing

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.compare import comparison
from lape.demo.compare.export import plain
from lape.demo.compare.request import DEFAULTS
from lape.demo.compare.variants import STEERED
from lape.demo.part import visitor_of
from lape.errors import LapeError


def endpoint(backend: Backend) -> Callable[..., Iterator[dict]]:
    """The function behind `/compare`; its signature and docstring are the API page."""

    def compare(
        request: gr.Request,
        prompt: str,
        source: str = DEFAULTS.source,
        target: str | list[str] = DEFAULTS.targets[0],
        strength: float = DEFAULTS.strength,
        mode: str = DEFAULTS.mode,
        max_new_tokens: int = DEFAULTS.max_new_tokens,
        temperature: float = DEFAULTS.temperature,
        top_p: float = DEFAULTS.top_p,
        repetition_penalty: float = DEFAULTS.repetition_penalty,
        seed: int = DEFAULTS.seed,
        show_random: bool = DEFAULTS.show_random,
        chat: bool = DEFAULTS.chat,
        show_plain: bool = DEFAULTS.show_plain,
        method: str = DEFAULTS.method,
        switching: str = DEFAULTS.switching,
        layers: str = DEFAULTS.layers,
        positions: str = DEFAULTS.positions,
        off_value: str = DEFAULTS.off_value,
        only: str = DEFAULTS.only,
        keep: str = DEFAULTS.keep,
    ) -> Iterator[dict]:
        """Continues a prompt with a language's neurons on, off, and steered to another language.

        Streams one dictionary per update, keyed by column: `on` (the untouched model), `off`, `steered` (for a list of
        targets one `steered:<code>` each), and `kept`, `residual`, `plain` and `random` when asked for. Each holds the
        text, its language with a confidence from 0 to 1 (or null when too short to say), tokens and their rate, whether
        the text repeats itself, why it ended (`eos`, `length` or null), how many neurons are off and on, and the
        character where it begins to differ from `on` (or null). Once all have ended there are `quality`, which is
        `fluent`, `strained` or `broken`, by what it is told (`quality_because`), and `cost_nats`, what the text costs
        the untouched model per token.

        Args:
            request: Who asks, which gradio fills in.
            prompt: Text to continue, at most 2,000 characters.
            source: Code of the prompt's language, whose neurons go off.
            target: Code of the language to steer to, whose neurons go on; or a list of 1 to 4 codes.
            strength: Factor of the mode, from 0 to 5.
            mode: `replace` sets strength x mean activation, `add` adds it, `scale` multiplies by strength.
            max_new_tokens: Tokens per column, at most 256.
            temperature: 0 is greedy.
            top_p: Share of probability to sample from.
            repetition_penalty: 1 is none.
            seed: The same seed gives the same texts.
            show_random: Whether to add as many random neurons as a control.
            chat: Whether to send the prompt through the model's chat template.
            show_plain: Whether to add the untouched model, asked in words for the first target.
            method: What chose the neurons: `own` is the mask as it is; another, such as `margin`, finds as many.
            switching: `neurons`, or the way of moving the residual stream to the first target in a column more:
                `diffmean`, `dimensions`, `recover` or `lda`, where its means lie beside the mask.
            layers: Those whose neurons are switched, such as `5-12`; empty is all of them.
            positions: `all`, those of the `prompt`, or those `generated` after it.
            off_value: `0`, or `mean`: what a neuron that is off does is its mean over other languages.
            only: Names of neurons, such as `17.476, 12.3`, in the place of the languages' own.
            keep: Code of a language that a column more is kept in: its neurons on, those of all others off.
        """
        given = {name: value for name, value in locals().items() if name in vars(DEFAULTS)} | {"targets": target}
        try:
            one = f"{STEERED}{target}"  # one target has the name it had when there could be no other
            visitor = visitor_of(request)
            asked = comparison.request_of(backend, given, visitor)
            with closing(comparison.compare(backend, asked, visitor)) as states:
                for columns in states:
                    shown = {name: plain(column) for name, column in columns.items()}
                    yield {"steered" if name == one else name: column for name, column in shown.items()}
        except LapeError as error:
            # Gradio may show the message as HTML.
            raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from error

    return compare
