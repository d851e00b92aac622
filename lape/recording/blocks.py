"""Documents in, blocks of tokens out: packed in the model's own tokens, divided by its document end, not padded."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.recording.pieces import LONGEST_PIECE, Piece
from lape.recording.sources import Source, TokenSource, open_pieces

DOCUMENTS_AT_ONCE = 64  # that the tokenizer is given, or fewer that together are as long as a piece
# What ends a document in training data, under the names that model families give it. The order decides only where a
# tokenizer has several of them and its eos is none: Phi-3 keeps Llama's `</s>` but ends documents with
# `<|endoftext|>`, and Gemma's `</s>` is a tag of HTML.
DOCUMENT_ENDS = (
    "<|endoftext|>",  # GPT-2, Falcon, OLMo, Phi, Qwen, SmolLM2, StableLM
    "<|end_of_text|>",  # Llama 3, SmolLM3, Granite
    "<｜end▁of▁sentence｜>",  # DeepSeek
    "<eos>",  # Gemma
    "<EOS_TOKEN>",  # Cohere
    "[EOS]",
    "</s>",  # Llama 2, Mistral, BLOOM, OPT
)


def document_end(tokenizer: Tokenizer) -> int | None:
    """The id of the token that ends a document in training data, or None when the tokenizer has none.

    It is the eos token where that is known to end documents. The eos of a chat tokenizer ends a turn instead, as
    SmolLM2's `<|im_end|>` does; then the document end is looked for among the added tokens. An eos that is all there
    is will do.

    Only the tokenizer is asked, although a model's config names an eos too: the same text must give the same blocks
    wherever they are made, also where no model is at hand, and the configs of chat models name the ends of turns.
    """
    added = tokenizer.get_added_vocab()
    if tokenizer.eos_token not in DOCUMENT_ENDS:
        for token in DOCUMENT_ENDS:
            if token in added:
                return added[token]
    return tokenizer.eos_token_id


def special_ids(tokenizer: Tokenizer) -> set[int]:
    """The ids of tokens that are no text, the document end among them."""
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    end = document_end(tokenizer)
    return special | set(tokenizer.all_special_ids) | (set() if end is None else {end})


def token_blocks(
    tokenizer: Tokenizer, source: Source, block: int, language: str | None = None
) -> Iterator[torch.Tensor]:
    """Packs documents into blocks of exactly `block` tokens.

    Every document is followed by the tokenizer's document end; no padding, and no BOS token: what is read before a
    block is no part of it (see `lape.recording.beginnings`). The tokens after the last full block are dropped. Long
    documents are tokenised in pieces, and no more is read than is taken. A source of tokens gives blocks of its own.

    Args:
        tokenizer: The model's own tokenizer.
        source: A list of documents, or a function that opens them.
        block: Tokens per block.
        language: Whose text it is, for errors.

    Yields:
        int64 tensors `[block]`.

    Raises:
        LapeError: The source cannot be read, or a document is not text.
    """
    if isinstance(source, TokenSource):
        yield from source.blocks(block)
        return
    end = document_end(tokenizer)
    pending: list[int] = []
    pieces = open_pieces(source, language)
    while some := _at_once(pieces):
        encoded = tokenizer(some, add_special_tokens=False, verbose=False)["input_ids"]
        for piece, ids in zip(some, encoded, strict=True):
            pending.extend(ids)
            if end is not None and not isinstance(piece, Piece):
                pending.append(end)
        full = len(pending) // block * block
        yield from torch.tensor(pending[:full], dtype=torch.long).view(-1, block)
        pending = pending[full:]


def _at_once(pieces: Iterator[str]) -> list[str]:
    """The next pieces, as many as the tokenizer is given at once."""
    some: list[str] = []
    characters = 0
    while len(some) < DOCUMENTS_AT_ONCE and characters < LONGEST_PIECE and (piece := next(pieces, None)) is not None:
        some.append(piece)
        characters += len(piece)
    return some
