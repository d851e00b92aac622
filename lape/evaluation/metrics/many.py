"""Many prompts under the same variants: a row for each text."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.evaluation.metrics.cells import Cells, Task, fresh
from lape.evaluation.metrics.continuations import Decoding
from lape.evaluation.metrics.costs import WrittenTexts, write_and_cost
from lape.evaluation.metrics.language import Identified
from lape.evaluation.metrics.quality import judge
from lape.generation.interventions import Entry
from lape.generation.prompts import Prompt

Variants = Mapping[str, Entry | None]
PromptOf = Callable[[str, str], Prompt]  # what the model is given for a prompt, in a variant


@dataclass(frozen=True)
class TextRow:
    """One text of many.

    Attributes:
        prompt: What was asked.
        variant: Under which it was answered.
        text: What the model wrote.
        language: Its base language; None when it is too short to say, or in no language.
        confidence: Of the language, from 0 to 1.
        quality: `fluent`, `strained` or `broken`; None when it is too short to say.
        cost_nats: What the text costs the untouched model, per token; None without a token.
        new_tokens: Of the text.
        finished: Why it ended.
    """

    prompt: str
    variant: str
    text: str
    language: str | None
    confidence: float
    quality: str | None
    cost_nats: float | None
    new_tokens: int
    finished: str | None


def as_it_is(prompt: str, _variant: str) -> Prompt:
    """The prompt itself."""
    return prompt


def as_message(prompt: str, _variant: str) -> Prompt:
    """The prompt as what the user of a chat says."""
    return [{"role": "user", "content": prompt}]


def continue_many(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    variants: Variants,
    identify: Callable[[str], Identified],
    *,
    prompt_of: PromptOf = as_it_is,
    cells: Cells = fresh,
    **settings: Any,
) -> list[TextRow]:
    """Continues many prompts under the same variants, as many in one batch as the device takes.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompts: To continue.
        variants: Name of each to its intervention; None is the untouched model.
        identify: Tells the language of a text, such as `LanguageIdentifier(mask.languages).identify`.
        prompt_of: What the model is given for a prompt, such as chat messages.
        cells: Keeps what was written of each prompt, under keys such as `prompt 3`.
        **settings: Of `side_by_side`.

    Returns:
        Each prompt under each variant, in their order.

    Raises:
        LapeError: As `side_by_side`.
    """

    def written(batch: Mapping[int, str]) -> dict[str, Any]:
        *_, last = write_batch(model, tokenizer, batch, variants, prompt_of, **settings)
        found = by_prompt(last, batch, variants)
        return {f"prompt {place + 1}": found[place] for place in batch}

    tasks = [
        Task(tuple(f"prompt {place + 1}" for place in batch), partial(written, batch))
        for batch in batches(model, prompts, variants)
    ]
    kept = cells(tasks)
    rows = []
    for place, prompt in enumerate(prompts):
        found = kept[f"prompt {place + 1}"]
        rows += rows_of(prompt, {name: found[name] for name in variants}, identify)  # what was kept has lost the order
    return rows


def batches(model: PreTrainedModel, prompts: Sequence[str], variants: Variants) -> list[dict[int, str]]:
    """Prompts by their place, as many together as the device takes under all variants, but at least one."""
    size = max(1, Decoding().rows_on(model) // len(variants))
    return [dict(list(enumerate(prompts))[start : start + size]) for start in range(0, len(prompts), size)]


def write_batch(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    batch: Mapping[int, str],
    variants: Variants,
    prompt_of: PromptOf = as_it_is,
    **settings: Any,
) -> Generator[WrittenTexts, None, None]:
    """Continues some prompts under the same variants as one batch, see `write_and_cost`; rows by place and variant."""
    rows = {_row(place, name): entry for place in batch for name, entry in variants.items()}
    asked = {_row(place, name): prompt_of(batch[place], name) for place in batch for name in variants}
    return write_and_cost(model, tokenizer, asked, rows, **settings)


def by_prompt(written: WrittenTexts, batch: Iterable[int], variants: Iterable[str]) -> dict[int, dict[str, Any]]:
    """What was written of each prompt of a batch, as JSON holds it: by place and variant, for `rows_of`."""
    update, costs = written.update, written.costs_nats or {}
    return {
        place: {
            name: {
                "text": update.texts[row],
                "cost_nats": costs.get(row),
                "new_tokens": update.new_tokens[row],
                "finished": update.finished[row],
            }
            for name in variants
            for row in [_row(place, name)]
        }
        for place in batch
    }


def rows_of(prompt: str, written: Mapping[str, Any], identify: Callable[[str], Identified]) -> list[TextRow]:
    """The rows of a prompt, its texts judged.

    Args:
        prompt: What was asked.
        written: Of `by_prompt`.
        identify: Tells the language of a text.
    """
    rows = []
    for name, found in written.items():
        told = identify(found["text"])
        quality = judge(found["text"], told, found["cost_nats"])
        rows.append(
            TextRow(
                prompt=prompt,
                variant=name,
                language=None if told.gibberish else told.language,
                confidence=round(told.confidence, 4),
                quality=None if quality is None else quality.word,
                **found,
            )
        )
    return rows


def _row(place: int, name: str) -> str:
    return f"{place} {name}"
