"""A comparison while it runs: what each column shows."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.demo.request import CompareRequest
from lape.errors import LapeError
from lape.evaluation.metrics.difference import first_difference
from lape.evaluation.metrics.language import MIN_WIDTH, Identified, LanguageIdentifier, text_width
from lape.evaluation.metrics.repetition import LOOP_SHARE, repeated_share
from lape.generation.generate import side_by_side
from lape.generation.interventions import Intervention
from lape.generation.prompts import Prompt
from lape.generation.sampling import SETTINGS
from lape.generation.streaming import Finish, Update

UPDATE_SECONDS = 0.125  # the page redraws about 8 times a second
Variants = Mapping[str, Intervention | None]


@dataclass(frozen=True)
class Column:
    """What one column shows at a moment.

    Attributes:
        text: The model's text so far.
        language: The language it is in.
        new_tokens: Tokens so far.
        tokens_per_second: Their rate since the generation began.
        repeats: Whether the text is a loop.
        finished: Why the column ended, or None while it goes on.
        off: Neurons that are off.
        on: Neurons that are switched on.
        differs_at: The character of the text where it begins to differ from that of the column *on*, or None.
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


def generating(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    request: CompareRequest,
    prompts: Mapping[str, Prompt],
    variants: Variants,
) -> Generator[Update, None, None]:
    """The work of a comparison."""
    return side_by_side(
        model,
        tokenizer,
        prompts,
        variants,
        **{name: getattr(request, name) for name in SETTINGS},
    )


def neurons_changed(variants: Variants) -> dict[str, tuple[int, int]]:
    """How many neurons are off and on in each column."""
    return {
        name: (len(variant.off_neurons), len(variant.on_neurons)) if variant else (0, 0)
        for name, variant in variants.items()
    }


def columns_of(update: Update, changed: Mapping[str, tuple[int, int]], languages: tuple[str, ...]) -> dict[str, Column]:
    """The columns at an update.

    Args:
        update: Of the generation.
        changed: How many neurons are off and on, by column.
        languages: Those that texts may be in.
    """
    return {
        name: Column(
            text=text,
            language=identify(languages, text),
            new_tokens=update.new_tokens[name],
            tokens_per_second=update.new_tokens[name] / max(update.elapsed_seconds, 1e-6),
            repeats=repeated_share(text) > LOOP_SHARE,
            finished=update.finished[name],
            off=off,
            on=on,
            differs_at=first_difference(
                text, update.texts["on"], growing=None in (update.finished[name], update.finished["on"])
            ),
        )
        for name, (off, on) in changed.items()
        for text in [update.texts[name]]
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


def throttled(updates: Iterator[Update | None]) -> Iterator[Update | None]:
    """Leaves out updates that come too soon after another, but never the last; None, of waiting, is handed on."""
    sent, pending = -math.inf, None
    for update in updates:
        if update is None:
            yield None
            continue
        pending = update
        if time.monotonic() - sent >= UPDATE_SECONDS:
            yield update
            sent, pending = time.monotonic(), None
    if pending is not None:
        yield pending
