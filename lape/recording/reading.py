"""What a recording reads: whether it can be read, and the batches of blocks that are not counted yet."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from reprlib import repr as shown  # numbers have up to 4,300 digits
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import CheckpointMismatch, LapeError, NotEnoughText
from lape.recording.blocks import token_blocks
from lape.recording.sources import Source, check_sources

MAX_TOKENS = 2**53  # counts are divided as float64, which is exact up to here
MAX_BATCH_TOKENS = 2**24  # a float32 count stays exact up to here
MAX_GROUPED_TOKENS = 2**30  # groups and halves are counted in int32
MAX_GROUPS = 1024  # of 46,080 neurons they have 190 MB a language; a bootstrap of more would be nearer by 1/1024


@dataclass(frozen=True)
class Batch:
    """Blocks that are read in one pass. Which blocks these are does not depend on who reads them.

    Attributes:
        number: Among those of its language, from 0.
        first: The number of its first block.
        blocks: int64 `[blocks, block]`.
        sha256: Of the token ids of the language's text up to its end.
    """

    number: int
    first: int
    blocks: torch.Tensor
    sha256: str

    @property
    def end(self) -> int:
        """The number of blocks up to its end."""
        return self.first + len(self.blocks)


@dataclass(frozen=True)
class Done:
    """What had been counted of a language when a reading of it began, by whichever process.

    Attributes:
        batches: Their numbers.
        blocks: Of these batches.
        marks: Numbers of blocks, and the SHA-256 of the token ids up to there of the text that was counted.
    """

    batches: frozenset[int] = frozenset()
    blocks: int = 0
    marks: tuple[tuple[int, str], ...] = ()


class Reader:
    """The batches of a language that are not done, in order.

    Batches that lie before the last one that is done wait until all of the text up to there has been compared, so that
    nothing is added to counts of another text.

    Args:
        tokenizer: The model's own.
        source: The documents.
        code: Of the language.
        settings: Of the recording.
        done: What need not be read again.

    Attributes:
        at: The number of the first block that is not done and was not handed out.

    Raises:
        CheckpointMismatch: At once, when the blocks already counted are not those of this text.
    """

    def __init__(
        self, tokenizer: Tokenizer, source: Source, code: str, settings: Mapping[str, Any], done: Done
    ) -> None:
        batches = _batches(token_blocks(tokenizer, source, settings["block"], code), settings)
        self._batches = itertools.chain(_compared(batches, done, code), batches)
        self._done, self._size, self._next = done.batches, settings["batch"], 0
        self._pass_over()

    @property
    def at(self) -> int:
        return self._next * self._size

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch = next(self._batches)
        self._next = batch.number + 1
        self._pass_over()
        return batch

    def _pass_over(self) -> None:
        while self._next in self._done:
            self._next += 1


def _batches(blocks: Iterator[torch.Tensor], settings: Mapping[str, Any]) -> Iterator[Batch]:
    """All batches of a text, as many blocks as are asked for."""
    hashed, asked = hashlib.sha256(), itertools.islice(blocks, settings["blocks"])
    for number in itertools.count():
        if not (pending := list(itertools.islice(asked, settings["batch"]))):
            return
        read = torch.stack(pending)
        hashed.update(read.to(torch.int32).numpy().tobytes())
        yield Batch(number, number * settings["batch"], read, hashed.hexdigest())


def _compared(batches: Iterator[Batch], done: Done, code: str) -> list[Batch]:
    """Reads as far as was read before, and gives what is not done of it: the text is the one that was counted."""
    waiting: list[Batch] = []
    at, hashed = 0, hashlib.sha256().hexdigest()
    for blocks, sha256 in sorted(done.marks):
        while at < blocks and (batch := next(batches, None)):
            at, hashed = batch.end, batch.sha256
            if batch.number not in done.batches:
                waiting.append(batch)
        if at != blocks or hashed != sha256:
            raise CheckpointMismatch(
                f"The text of {code!r} is not the one the checkpoint was made from. Restore it, or delete the "
                "checkpoint."
            )
    return waiting


def check_settings(
    corpora: Mapping[str, Source], tokens: int, block: int, batch: int, context: int | None, before: int = 0
) -> None:
    """Refuses what cannot be recorded, before anything is read; `before` counts the tokens read before each block."""
    check_sources(corpora)
    if not corpora:
        raise LapeError("There is nothing to record: name at least one language.")
    if tokens < 1 or block < 1 or batch < 1:
        given = f"tokens ({shown(tokens)}), block ({shown(block)}) and batch ({shown(batch)})"
        raise LapeError(f"{given} must be at least 1.")
    if tokens > MAX_TOKENS:
        raise LapeError(f"At most {MAX_TOKENS:,} tokens a language can be counted, not {shown(tokens)}.")
    if context is not None and before + block > context:
        whole = f"{shown(block)} tokens" + (f", with the {before} read before it," if before else "")
        raise LapeError(f"A block of {whole} is longer than the model's context of {context}.")
    if block * batch > MAX_BATCH_TOKENS:
        given = f"{shown(block)} x {shown(batch)}"
        raise LapeError(f"block x batch is {given} tokens; at most {MAX_BATCH_TOKENS} fit one pass.")


def check_groups(groups: int, tokens: int) -> None:
    """Refuses groups of blocks that cannot be kept."""
    if groups < 2 or groups % 2:
        raise LapeError(f"groups is an even number from 2 on, not {shown(groups)}: the halves are of whole groups.")
    if groups > MAX_GROUPS:
        raise LapeError(f"At most {MAX_GROUPS:,} groups can be kept, not {shown(groups)}.")
    if tokens > MAX_GROUPED_TOKENS:
        raise LapeError(f"At most {MAX_GROUPED_TOKENS:,} tokens a language can be kept in groups, not {tokens:,}.")


def check_text(tokenizer: Tokenizer, corpora: Mapping[str, Source], blocks: int, block: int, allow_short: bool) -> None:
    """Reads the text of every language first: tokenising is about a thousand times cheaper than the model.

    Raises:
        NotEnoughText: A language has fewer blocks than are asked for, or not one where that is allowed.
        LapeError: A document is not text.
    """
    for code, source in corpora.items():
        if getattr(source, "streamed", False):
            continue  # reading it twice would download it twice; its end is met while recording
        found = sum(1 for _ in itertools.islice(token_blocks(tokenizer, source, block, code), blocks))
        if found < (1 if allow_short else blocks):
            raise not_enough(code, found, blocks, block)


def not_enough(code: str, found: int, blocks: int, block: int) -> NotEnoughText:
    """The error for a language with fewer blocks than were asked for."""
    return NotEnoughText(
        f"{code!r} has text for {found * block} tokens in blocks of {block}, but {blocks * block} were asked for. "
        "Add text, ask for fewer tokens, or allow a short language (allow_short, --allow-short)."
    )
