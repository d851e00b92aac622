"""What finished texts cost the untouched model: one more pass over them, after the generation that wrote them."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.evaluation.metrics.continuations import continuation
from lape.evaluation.metrics.likelihood import Passage, negative_log_likelihoods
from lape.generation.generate import side_by_side
from lape.generation.interventions import Entry
from lape.generation.prompts import Prompt, encode
from lape.generation.streaming import Update
from lape.models.inputs import context_length


@dataclass(frozen=True)
class WrittenTexts:
    """What variants have written so far, and in the end what it costs.

    Attributes:
        update: The texts; see `side_by_side`.
        costs_nats: Variant to the cost of its text per token, None where there is no text; None until all have ended.
    """

    update: Update
    costs_nats: Mapping[str, float | None] | None = None


def write_and_cost(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompt: Prompt | Mapping[str, Prompt],
    variants: Mapping[str, Entry | None],
    **settings: Any,
) -> Generator[WrittenTexts, None, None]:
    """Generates a prompt under several variants, and measures what each text costs the untouched model.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompt: Text to continue, or chat messages; a mapping has one for each variant, by its name.
        variants: Name of each variant to its intervention; None is the untouched model.
        **settings: Of `side_by_side`.

    Returns:
        A generator of what is written; the last one has the costs.

    Raises:
        LapeError: As `side_by_side`.
    """
    updates = side_by_side(model, tokenizer, prompt, variants, **settings)

    def by_variant() -> Generator[WrittenTexts, None, None]:
        with closing(updates):
            for update in updates:
                yield WrittenTexts(update)
        prompts = [prompt[name] if isinstance(prompt, Mapping) else prompt for name in variants]
        found = text_costs(model, tokenizer, prompts, [update.texts[name] for name in variants])
        yield WrittenTexts(update, dict(zip(variants, found, strict=True)))

    return by_variant()


def text_costs(
    model: PreTrainedModel, tokenizer: Tokenizer, prompts: Sequence[Prompt], texts: Sequence[str]
) -> list[float | None]:
    """Nats per token of texts, each read by the untouched model after its prompt; None of one without a token.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompts: Texts or chat messages, one for each text.
        texts: What was written after them.

    Raises:
        LapeError: The model cannot read one of them.
    """
    passages = [_passage(model, tokenizer, *pair) for pair in zip(prompts, texts, strict=True)]
    written = [passage for passage in passages if passage.scored]
    sums = iter(negative_log_likelihoods(model, written) if written else ())
    return [next(sums) / len(passage.scored) if passage.scored else None for passage in passages]


def _passage(model: PreTrainedModel, tokenizer: Tokenizer, prompt: Prompt, text: str) -> Passage:
    """A text after its prompt, as far as the model's context goes: read again it may be of more tokens than written."""
    if isinstance(prompt, str):
        passage = continuation(tokenizer, prompt, text)
    else:
        asked = encode(model, tokenizer, [prompt])["input_ids"][0].tolist()
        passage = Passage(asked, tokenizer(text, add_special_tokens=False)["input_ids"])
    context = context_length(model)
    return (
        passage if context is None else Passage(passage.context, passage.scored[: context + 1 - len(passage.context)])
    )
