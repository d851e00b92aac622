"""A comparison while it runs: its columns, streamed."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.demo.backend import Backend
from lape.demo.compare.chat import Talks, prompts_of
from lape.demo.compare.request import CompareRequest, request_for
from lape.demo.compare.variants import Variants, neurons_changed, variants_of
from lape.demo.words import say
from lape.errors import LapeError
from lape.evaluation.metrics.costs import WrittenTexts, write_and_cost
from lape.evaluation.metrics.difference import first_difference
from lape.evaluation.metrics.language import MIN_WIDTH, Identified, LanguageIdentifier, text_width
from lape.evaluation.metrics.quality import Quality, judge
from lape.evaluation.metrics.repetition import LOOP_SHARE, repeated_share
from lape.generation.prompts import Prompt
from lape.generation.settings import SETTINGS
from lape.generation.streaming import Finish

UPDATE_SECONDS = 0.125  # the page redraws about 8 times a second


@dataclass(frozen=True)
class Column:
    """What one column shows at a moment.

    Attributes:
        text: The model's text so far.
        language: The language it is in.
        new_tokens: Tokens so far.
        tokens_per_second: Their rate since the generation began.
        repeats: Whether the text is a loop.
        quality: How good the text is, told once all columns have ended; before, None or that it is broken.
        finished: Why the column ended, or None while it goes on.
        off: Neurons that are off.
        on: Neurons that are switched on.
        differs_at: The character of the text where it begins to differ from that of the column *on*, or None.
        token_ids: The tokens themselves; none of a column that was stored without.
    """

    text: str
    language: Identified
    new_tokens: int
    tokens_per_second: float
    repeats: bool
    finished: Finish | None
    off: int
    on: int
    differs_at: int | None
    quality: Quality | None = None
    token_ids: Sequence[int] = ()


def request_of(backend: Backend, values: Mapping[str, Any], visitor: str = "") -> CompareRequest:
    """Checks untrusted values for what a visitor works on.

    Raises:
        LapeError: One of them is not what it should be.
    """
    return request_for(backend.ready(visitor), values)


def compare(
    backend: Backend, request: CompareRequest, visitor: str = "", talks: Talks | None = None
) -> Generator[dict[str, Column], None, None]:
    """Runs a request and streams its columns, about 8 times a second; the last state is always sent.

    Holds the model until it ends or is closed; closing ends the generation within a token. While it waits for the
    model there are no columns.

    Args:
        backend: Has the model.
        request: What to run.
        visitor: Whose mask it runs with.
        talks: What was said before, for a chat.

    Raises:
        LapeError: The model cannot do it, such as a prompt longer than its context.
    """
    loaded = backend.ready(visitor)
    variants = variants_of(loaded, request)
    given = prompts_of(request, list(variants), talks or {})
    changed = neurons_changed(variants)
    with closing(backend.run(generating, request, given, variants)) as states:
        for written in throttled(states):
            yield {} if written is None else columns_of(written, changed, loaded.known_mask.languages)


def generating(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    request: CompareRequest,
    prompts: Mapping[str, Prompt],
    variants: Variants,
) -> Generator[WrittenTexts, None, None]:
    """The work of a comparison; the last state has what the texts cost the untouched model."""
    return write_and_cost(
        model,
        tokenizer,
        prompts,
        variants,
        **{name: getattr(request, name) for name in SETTINGS},
    )


def columns_of(
    written: WrittenTexts, changed: Mapping[str, tuple[int, int]], languages: tuple[str, ...]
) -> dict[str, Column]:
    """The columns at a moment.

    Args:
        written: Of the generation.
        changed: How many neurons are off and on, by column.
        languages: Those that texts may be in.
    """
    update, costs = written.update, written.costs_nats or {}
    return {
        name: Column(
            text=text,
            language=told,
            new_tokens=update.new_tokens[name],
            tokens_per_second=update.new_tokens[name] / max(update.elapsed_seconds, 1e-6),
            repeats=repeated_share(text) > LOOP_SHARE,
            finished=update.finished[name],
            off=off,
            on=on,
            differs_at=first_difference(
                text, update.texts["on"], growing=None in (update.finished[name], update.finished["on"])
            ),
            quality=judge(text, told, costs.get(name)),
            token_ids=update.token_ids[name],
        )
        for name, (off, on) in changed.items()
        for text in [update.texts[name]]
        for told in [identify(languages, text)]
    }


def identify(languages: tuple[str, ...], text: str) -> Identified:
    """The language of a text among some; unknown when they are labels and not languages the classifier has."""
    try:
        # While the classifiers still load, the first words need not wait: too short for them in any case.
        return identifier(languages).result().identify(text) if text_width(text) >= MIN_WIDTH else Identified(None)
    except LapeError:
        return Identified(None)


@lru_cache(maxsize=8)
def identifier(languages: tuple[str, ...]) -> Future[LanguageIdentifier]:
    """Loads the classifiers of some languages, which takes a second that nobody need wait for."""
    loading = ThreadPoolExecutor(1, thread_name_prefix="lape-language")
    found = loading.submit(LanguageIdentifier, languages)
    loading.shutdown(wait=False)
    return found


def throttled(states: Iterator[WrittenTexts | None]) -> Iterator[WrittenTexts | None]:
    """Leaves out states that come too soon after another, but never the last; None, of waiting, is handed on."""
    sent, pending = -math.inf, None
    for written in states:
        if written is None:
            yield None
            continue
        pending = written
        if time.monotonic() - sent >= UPDATE_SECONDS:
            yield written
            sent, pending = time.monotonic(), None
    if pending is not None:
        yield pending


def writing_progress(written: WrittenTexts, most: int) -> str:
    """How many of the tokens are written, of the longest text."""
    return say("strip.progress", count=max(written.update.new_tokens.values()), of=most)
