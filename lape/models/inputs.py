"""What a model can be given to read: whole characters, token ids of its own, as many as its context holds."""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError


def context_length(model: PreTrainedModel) -> int | None:
    """The most tokens a model reads at once; None where its configuration sets no bound."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def embedding_rows(model: nn.Module) -> int:
    """How many token ids a model has: those below this number."""
    return len(model.get_input_embeddings().weight)  # type: ignore[operator]


def check_characters(text: str, what: str = "text") -> None:
    """Refuses half a character, which no tokenizer reads; a shell hands one over where a byte is not UTF-8.

    Args:
        text: Any text.
        what: What it is, for the error.

    Raises:
        LapeError: It holds a lone surrogate.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise LapeError(f"The {what} holds half a character (a lone surrogate); type it again.")


def check_ids(rows: int, ids: torch.Tensor, tokenizer: Tokenizer | None = None) -> None:
    """Refuses token ids that the model has no row for; on a GPU, reading one would end the process.

    Args:
        rows: How many token ids the model that is to read them has.
        ids: int64, of any shape.
        tokenizer: Spells the token in the error; None leaves the id alone.

    Raises:
        LapeError: An id is beyond the embedding; names the token.
    """
    if ids.numel() == 0 or (largest := int(ids.max())) < rows:
        return
    token = "" if tokenizer is None else f" {tokenizer.convert_ids_to_tokens(largest)!r}"
    raise LapeError(
        f"The token{token} (id {largest}) is none of the model's, which has ids 0 to {rows - 1}. Leave it out of the "
        "text, or load the model with the tokenizer it was trained with."
    )
