"""Generate several rows in one batch, each under its own intervention, and stream all of them together.

Variants of one prompt are rows of one batch: three columns cost about one generation, start together and
cannot leak into each other. With sampling all rows share one noise vector per step, so that rows differ
only because of their neurons.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteriaList
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.generation import settings
from lape.generation.interventions import Entry, Plan
from lape.generation.prompts import Prompt, encode, padding
from lape.generation.sampling import Stop, processors
from lape.generation.settings import check_sampling
from lape.generation.streaming import CONTEXT_TOKENS, Row, Update, stream
from lape.models.architectures import input_device
from lape.models.cpu_forms import form_of
from lape.models.inputs import context_length


def side_by_side(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompt: Prompt | Mapping[str, Prompt],
    variants: Mapping[str, Entry | None],
    **settings: Any,
) -> Generator[Update, None, None]:
    """Generates a prompt under several variants, as rows of one batch.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompt: Text to continue, or chat messages; a mapping has one for each variant, by its name.
        variants: Name of each variant to its intervention; None is the untouched model.
        **settings: The settings of `generate_rows`, by name: `max_new_tokens`, `temperature`, `top_p`,
            `repetition_penalty`, `seed`, `stop`.

    Returns:
        A generator of updates with dicts keyed by variant; the last one is always sent.

    Raises:
        LapeError: A setting is out of range, or a variant has no prompt, before any work.

    Example:
        >>> for update in side_by_side(model, tokenizer, "Bonjour", {"on": None, "off": off}):  # doctest: +SKIP
        ...     print(update.texts["off"])
    """
    if not variants:
        raise LapeError("There is no variant to generate; name at least one.")
    names = list(variants)
    if isinstance(prompt, Mapping) and (missing := [name for name in names if name not in prompt]):
        raise LapeError(f"There is no prompt for {', '.join(missing)}; give one for each variant.")
    prompts = [prompt[name] for name in names] if isinstance(prompt, Mapping) else [prompt] * len(names)
    rows = generate_rows(model, tokenizer, prompts, list(variants.values()), **settings)

    def by_variant() -> Generator[Update, None, None]:
        with closing(rows):
            for update in rows:
                yield update.named(names)

    return by_variant()


def generate_rows(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    plan: Plan | None = None,
    *,
    max_new_tokens: int = settings.MAX_NEW_TOKENS,
    temperature: float = settings.TEMPERATURE,
    top_p: float = settings.TOP_P,
    repetition_penalty: float = settings.REPETITION_PENALTY,
    seed: int = settings.SEED,
    stop: threading.Event | None = None,
) -> Generator[Update, None, None]:
    """Generates one row per prompt in one left-padded batch and streams all rows together.

    Runs `model.generate` in a thread. Closing the generator ends that thread within a token.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompts: Texts to continue, or lists of chat messages.
        plan: One intervention for all rows, or one (or None) per row; None leaves all untouched.
        max_new_tokens: At most so many new tokens per row.
        temperature: 0 is greedy.
        top_p: Share of probability to sample from, in (0, 1].
        repetition_penalty: 1 is none; counts prompt and new tokens, not padding.
        seed: The same seed gives the same text.
        stop: Ends the generation within a token when set.

    Returns:
        A generator of updates keyed by row index. Tokens that arrive while the reader is busy are sent together;
        the last update is always sent.

    Raises:
        LapeError: A setting is out of range, a prompt is empty, too long or holds a token that the model does not
            have, or the plan does not fit; before any work.
    """
    check_sampling(max_new_tokens, temperature, top_p, repetition_penalty, seed)
    if not isinstance(plan, Entry) and plan is not None and len(plan) != len(prompts):
        raise LapeError(
            f"The plan has {len(plan)} rows but there are {len(prompts)} prompts; give one entry per prompt."
        )
    encoded = encode(model, tokenizer, prompts)
    device = input_device(model)
    spare = 0 if form_of(model) != "float32" else _spare_rows(len(prompts), device)
    if not isinstance(plan, Entry) and plan is not None:
        plan = [*plan, *[None] * spare]
    inputs = {name: torch.cat([values, values[:1].expand(spare, -1)]).to(device) for name, values in encoded.items()}
    _check_context(model, inputs["input_ids"].shape[1], max_new_tokens)
    closed = threading.Event()
    config = _generation_config(model, tokenizer, max_new_tokens)
    arguments = {
        **inputs,
        "generation_config": config,
        "logits_processor": processors(inputs["attention_mask"], temperature, top_p, repetition_penalty, seed),
        "stopping_criteria": StoppingCriteriaList(
            [Stop([closed] if stop is None else [closed, stop], rows=len(prompts))]
        ),
    }
    rows = [Row(tokenizer, ids[-CONTEXT_TOKENS:], config.eos_token_id) for ids in inputs["input_ids"].tolist()]
    return stream(model, arguments, plan, rows[: len(prompts)], closed)


def _spare_rows(rows: int, device: torch.device) -> int:
    """Rows to add to a batch because they make it faster; they end at their first token and are not shown.

    MKL multiplies a matrix by 2 or 3 rows one row at a time, and by 4 at once, in less time than by 3.
    """
    at_once = 4
    return at_once - rows if device.type == "cpu" and torch.backends.mkl.is_available() and 1 < rows < at_once else 0


def _generation_config(model: PreTrainedModel, tokenizer: Tokenizer, max_new_tokens: int) -> GenerationConfig:
    """Greedy and nothing else; our processors do the rest."""
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        use_cache=True,
        eos_token_id=_ends(model, tokenizer),
        pad_token_id=padding(model, tokenizer),
    )


def _ends(model: PreTrainedModel, tokenizer: Tokenizer) -> list[int]:
    """The tokens that end a row: the tokenizer's and the model's own, for either may lack one that the other names.

    A chat model's tokenizer may know the end of a document only, its generation settings the end of a turn too.
    """
    listed = model.generation_config.eos_token_id
    named = {tokenizer.eos_token_id, *(listed if isinstance(listed, list) else [listed])}
    return sorted(token for token in named if token is not None)


def _check_context(model: PreTrainedModel, prompt_tokens: int, max_new_tokens: int) -> None:
    context = context_length(model)
    if context is not None and prompt_tokens + max_new_tokens > context:
        raise LapeError(
            f"{prompt_tokens} prompt tokens and {max_new_tokens} new ones exceed the model's context of {context}. "
            "Shorten the prompt or ask for fewer."
        )
