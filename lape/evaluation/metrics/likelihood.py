"""How likely a model finds text: negative log-likelihoods in nats, and the bytes that the tokens stand for.

Every scored token is predicted once, from all that comes before it in its row; what a row begins with is only read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers.pre_tokenizers import ByteLevel
from torch.nn import functional
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.generation.interventions import Entry, Plan
from lape.generation.passages import Passage, PassageBatch, check_passages
from lape.models.architectures import decoder_layers, input_device
from lape.models.head import head_of, states_per_slice
from lape.recording.beginnings import beginning_of
from lape.recording.blocks import special_ids

PASS_TOKENS_CPU, PASS_TOKENS_GPU = 1024, 16_384  # read by one forward pass; fewer leave the machine waiting

BYTE_ALPHABET = frozenset(ByteLevel.alphabet())  # how tokenizers of bytes write the 256 bytes
SPACE_MARK = "\u2581"  # how the others write a space
BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")  # how they write a byte of a character that is no token


@dataclass(frozen=True)
class Scores:
    """What a model finds of blocks of text, an entry per block.

    Attributes:
        nll_nats: Negative log-likelihood, summed over the block's tokens in float64.
        tokens: Scored tokens; all of them, document ends included.
        bytes: Of the text that the block decodes to, in UTF-8; document ends have none.
    """

    nll_nats: tuple[float, ...]
    tokens: tuple[int, ...]
    bytes: tuple[int, ...]


def score(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    blocks: Sequence[torch.Tensor],
    plan: Plan | None = None,
    *,
    batch: int | None = None,
) -> Scores:
    """Scores every token of every block once.

    Each block is a row of its own, after what the tokenizer puts before text, else after a document end. That is not
    scored: the first token of a block is predicted from it alone.

    Args:
        model: A causal language model; quantised and dispatched ones too.
        tokenizer: Its tokenizer.
        blocks: int64 token ids, each `[tokens]`; the same block may come several times, under several interventions.
        plan: One intervention for all blocks, or one (or None) per block; None leaves all untouched.
        batch: Blocks per forward pass; None takes what fills the device.

    Raises:
        LapeError: The tokenizer has neither, a block is empty or too long, the plan does not fit, memory is
            short, or a number is not finite.
    """
    ids = [block.tolist() for block in blocks]
    sums = negative_log_likelihoods(model, passages(tokenizer, ids), plan, batch=batch)
    return Scores(tuple(sums), tuple(map(len, ids)), tuple(byte_counts(tokenizer, ids)))


def passages(tokenizer: Tokenizer, blocks: Sequence[Sequence[int]]) -> list[Passage]:
    """Blocks as rows to score, each after what the tokenizer puts before text, else after a document end.

    Raises:
        LapeError: The tokenizer has neither.
    """
    before = beginning_of(tokenizer)
    if not before:
        raise LapeError(
            "The tokenizer puts nothing before text and has no token that ends a document, so a block's first token "
            "cannot be scored."
        )
    return [Passage(before, ids) for ids in blocks]


def negative_log_likelihoods(
    model: PreTrainedModel, rows: Sequence[Passage], plan: Plan | None = None, *, batch: int | None = None
) -> list[float]:
    """Sums the negative log-likelihood of each row's scored tokens.

    The log-softmax is float32 and the sums are float64. Rows are padded on the right, where a causal model does not
    look. The language-model head runs on slices of the scored positions, so its output over the whole batch never
    exists, and one small tensor per batch is copied to the CPU.

    Args:
        model: A causal language model; quantised and dispatched ones too.
        rows: What to read and what to score.
        plan: One intervention for all rows, or one (or None) per row; None leaves all untouched.
        batch: Rows per forward pass; None takes what fills the device.

    Returns:
        Nats, one number per row.

    Raises:
        LapeError: A row is empty or too long, the plan does not fit, memory is short, or a number is not finite.
    """
    if batch is not None and batch < 1:
        raise LapeError(f"batch must be at least 1, not {batch}.")
    check_passages(model, rows, plan)
    longest = max(len(row.read) for row in rows)
    batch = batch or rows_per_pass(model, longest)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row].read))  # less padding
    sums = [0.0] * len(rows)
    for start in range(0, len(rows), batch):
        part = order[start : start + batch]
        edits = [plan if plan is None or isinstance(plan, Entry) else plan[row] for row in part]
        try:
            found = _sums(model, [rows[row] for row in part], edits)
        except torch.OutOfMemoryError as error:
            raise LapeError(
                f"Out of memory with {len(part)} rows of up to {longest} tokens at once; give a smaller batch."
            ) from error
        for row, total in zip(part, found, strict=True):
            sums[row] = total
    if not all(map(math.isfinite, sums)):
        raise LapeError("The model's logits are not finite; load it in another dtype (float32 or bfloat16).")
    return sums


def rows_per_pass(model: PreTrainedModel, tokens: int) -> int:
    """How many rows of so many tokens fill the device."""
    on_cpu = input_device(model).type == "cpu"
    return max(1, (PASS_TOKENS_CPU if on_cpu else PASS_TOKENS_GPU) // tokens)


def byte_counts(tokenizer: Tokenizer, blocks: Sequence[Sequence[int]]) -> list[int]:
    """UTF-8 bytes of the text that each block decodes to, exact where a character is cut between blocks.

    Counted token by token from how the tokenizer spells it, so that blocks add up to the whole. Special tokens
    are no text. A space that the tokenizer puts before a document is one byte, as it is in the decoded text.
    """
    ids = sorted({token for block in blocks for token in block})
    backend = getattr(tokenizer, "backend_tokenizer", None)
    spells_bytes = backend is not None and b'"ByteLevel"' in backend.decoder.__getstate__()
    special = special_ids(tokenizer)
    spelled = tokenizer.convert_ids_to_tokens(ids)
    sizes = {
        token: 0 if token in special else _bytes(text, spells_bytes) for token, text in zip(ids, spelled, strict=True)
    }
    return [sum(sizes[token] for token in block) for block in blocks]


def _bytes(token: str, spells_bytes: bool) -> int:
    if spells_bytes:  # a token with other characters is one that was added, and stands for itself
        return len(token) if BYTE_ALPHABET.issuperset(token) else len(token.encode())
    return 1 if BYTE_TOKEN.fullmatch(token) else len(token.replace(SPACE_MARK, " ").encode())


def _sums(model: PreTrainedModel, rows: Sequence[Passage], edits: Sequence[Entry | None]) -> list[float]:
    """The sums of one forward pass, with an intervention or None for each row."""
    batch = PassageBatch(rows)
    decoded = batch.decode(model, edits)
    hidden = batch.predicting(decoded.last_hidden_state)
    targets = batch.targets.to(hidden.device)
    size = states_per_slice(model)
    with torch.no_grad(), head_of(model, decoder_layers(model)[0], decoded) as logits_of:
        losses = [
            functional.cross_entropy(logits_of(some).float(), wanted, reduction="none")
            for some, wanted in zip(hidden.split(size), targets.split(size), strict=True)
        ]
    return [float(part.sum()) for part in torch.cat(losses).cpu().double().split(batch.sizes)]
