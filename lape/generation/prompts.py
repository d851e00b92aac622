"""Prompts in, one left-padded batch of tokens out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jinja2 import TemplateError
from transformers import BatchEncoding, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.models.inputs import check_characters, check_ids, embedding_rows
from lape.recording.beginnings import prefix_of

NO_PROMPT = "The prompt is empty; write something for the model to continue."
Prompt = str | Sequence[Mapping[str, str]]  # text to continue, or chat messages


def encode(model: PreTrainedModel, tokenizer: Tokenizer, prompts: Sequence[Prompt]) -> BatchEncoding:
    """Tokenises prompts into one left-padded batch; chat messages go through the model's chat template.

    Raises:
        LapeError: There is no prompt, one is empty, holds half a character or a token that the model does not have,
            or the model has no chat template or one that refuses it.
    """
    if isinstance(prompts, str):
        raise LapeError("Give the prompts as a list, one for each row.")
    if not prompts:
        raise LapeError("There is no prompt.")
    rows = [_encode(tokenizer, prompt) for prompt in prompts]
    missing = [max(map(len, rows)) - len(ids) for ids in rows]
    padded = [[padding(model, tokenizer)] * count + ids for count, ids in zip(missing, rows, strict=True)]
    mask = [[0] * count + [1] * len(ids) for count, ids in zip(missing, rows, strict=True)]
    inputs = torch.tensor(padded)
    check_ids(embedding_rows(model), inputs, tokenizer)
    return BatchEncoding({"input_ids": inputs, "attention_mask": torch.tensor(mask)})


def prompt_ids(tokenizer: Tokenizer, text: str) -> list[int]:
    """A text to continue as token ids: after what the tokenizer puts before text, without what it puts at its end."""
    return prefix_of(tokenizer) + tokenizer(text, add_special_tokens=False)["input_ids"]


def _encode(tokenizer: Tokenizer, prompt: Prompt) -> list[int]:
    if not prompt:
        ids = []
    elif isinstance(prompt, str):
        check_characters(prompt, "prompt")
        ids = prompt_ids(tokenizer, prompt)
    elif tokenizer.chat_template is None:
        raise LapeError("This model has no chat template; give the prompt as text instead of messages.")
    else:
        try:
            # enable_thinking is read by templates of reasoning models and ignored by the others.
            messages = [dict(message) for message in prompt]
            text = str(
                tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
                )
            )
        except (TemplateError, ValueError) as error:
            raise LapeError(f"The model's chat template refuses these messages: {error}") from error
        check_characters(text, "prompt")
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise LapeError(NO_PROMPT)
    return ids


def padding(model: PreTrainedModel, tokenizer: Tokenizer) -> int:
    """The token to pad with: the tokenizer's own, or another where the model does not have that one.

    The attention mask hides it, so that any token of the model will do.
    """
    rows = embedding_rows(model)
    return next(
        token for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if token is not None and token < rows
    )
