"""Stream what a model generates: it runs in a thread, and the reader gets the text of all rows as it grows."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import torch
from transformers import GenerationConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.generation.streamers import BaseStreamer

from lape.generation.interventions import Plan, intervene
from lape.models.cpu_forms import small_weights

Finish = Literal["eos", "length", "stopped"]

CONTEXT_TOKENS = 8  # prompt tokens decoded together with the new ones, so that spaces between them are right
CHARACTER_BYTES = 4  # of the longest character in UTF-8; a tokenizer may give each byte a token of its own
REPLACEMENT = "\ufffd"  # what a decoder shows for an incomplete multi-byte character


@dataclass(frozen=True)
class Update:
    """The state of every row so far; each dict is keyed by row index, or by variant in `side_by_side`.

    Attributes:
        texts: New text of each row, the prompt not included, whole characters only.
        new_tokens: Tokens generated in each row.
        finished: Why a row ended: `eos`, `length`, `stopped`; None while it goes on.
        elapsed_seconds: Time since the generation began.
        token_ids: The ids of these tokens.
    """

    texts: Mapping[Any, str]
    new_tokens: Mapping[Any, int]
    finished: Mapping[Any, Finish | None]
    elapsed_seconds: float
    token_ids: Mapping[Any, tuple[int, ...]]

    def named(self, names: Sequence[str]) -> Update:
        """The same update keyed by the names of the rows."""

        def keyed(by_row: Mapping[Any, Any]) -> dict[str, Any]:
            return {name: by_row[row] for row, name in enumerate(names)}

        counted, ids = keyed(self.new_tokens), keyed(self.token_ids)
        return Update(keyed(self.texts), counted, keyed(self.finished), self.elapsed_seconds, ids)


class Row:
    """The new tokens of one row, decoded as they come.

    Args:
        tokenizer: The model's tokenizer.
        context: The last tokens of the prompt, decoded together with the new ones.
        eos: Ids that end the row.
    """

    def __init__(self, tokenizer: Tokenizer, context: list[int], eos: list[int]) -> None:
        self.finished: Finish | None = None
        self.ids: list[int] = []
        self._tokenizer = tokenizer
        self._bytes = _byte_tokens(tokenizer)
        self._context = context
        self._context_text = self._decode(context)
        self._eos = eos

    @property
    def new_tokens(self) -> int:
        return len(self.ids)

    def add(self, token: int) -> None:
        if self.finished is None:
            self.ids.append(token)
            if token in self._eos:
                self.finished = "eos"

    def text(self) -> str:
        """Text of the new tokens, without a last character whose bytes have not all come."""
        whole = ""
        for missing in range(CHARACTER_BYTES):
            ids = self.ids[: max(len(self.ids) - missing, 0)]
            text = self._decode(self._context + ids)[len(self._context_text) :]
            whole = max(whole, text.rstrip(REPLACEMENT), key=len)
            if not text.endswith(REPLACEMENT):
                break
        return whole

    def _decode(self, ids: list[int]) -> str:
        ids = _whole_characters(ids, self._bytes)
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _byte_tokens(tokenizer: Tokenizer) -> dict[int, int]:
    """The tokens `<0x00>` to `<0xFF>` of a tokenizer that falls back to bytes, as Gemma's does, to their bytes."""
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    ids: list[int] = tokenizer.convert_tokens_to_ids(pieces)  # type: ignore[assignment]
    known = None not in ids and tokenizer.convert_ids_to_tokens(ids) == pieces
    return {token: byte for byte, token in enumerate(ids)} if known else {}


def _whole_characters(ids: list[int], byte_of: Mapping[int, int]) -> list[int]:
    """Puts the bytes of a replacement character in the place of those that are no character.

    Decoders give up a whole run of byte tokens over one wrong byte; so the finished characters beside it stay.
    """
    if not byte_of:
        return ids
    tokens, whole = list(byte_of), []  # the tokens by their bytes
    for are_bytes, run in groupby(ids, byte_of.__contains__):
        if are_bytes:
            text = bytes(map(byte_of.__getitem__, run)).decode(errors="replace")
            whole += [tokens[byte] for byte in text.encode()]
        else:
            whole += run
    return whole


def stream(
    model: PreTrainedModel, arguments: dict[str, Any], plan: Plan | None, rows: list[Row], closed: threading.Event
) -> Generator[Update, None, None]:
    """Runs `model.generate` in a thread, and gives the rows as they grow.

    Args:
        model: A causal language model; its own generation settings are put aside meanwhile.
        arguments: Of `model.generate`; `generation_config` among them.
        plan: One intervention for all rows, or one (or None) per row of the batch; None leaves all untouched.
        rows: The rows to give, first in the batch; those of the batch beyond are dropped.
        closed: Set when the reader has gone; `arguments` hold a stopping criterion that looks at it.
    """
    steps: queue.SimpleQueue[list[int] | BaseException | None] = queue.SimpleQueue()
    config = arguments["generation_config"]

    def work() -> None:
        try:
            with (
                _settings(model, config),
                small_weights(model),
                intervene(model, plan) if plan is not None else nullcontext(),
            ):
                model.generate(**arguments, streamer=_Steps(steps))  # type: ignore[operator]
            steps.put(None)
        except BaseException as error:
            steps.put(error)

    thread = threading.Thread(target=work, name="lape-generate", daemon=True)
    began = time.perf_counter()
    try:
        thread.start()
        ended = False
        while not ended:
            arrived = [steps.get()]
            while not steps.empty():
                arrived.append(steps.get())
            for step in arrived:
                if isinstance(step, BaseException):
                    raise step
                ended = step is None
                for row, token in zip(rows, step or (), strict=False):  # spare rows come last
                    row.add(token)
            if ended:
                for row in rows:
                    row.finished = row.finished or ("length" if row.new_tokens >= config.max_new_tokens else "stopped")
            yield Update(
                {index: row.text() for index, row in enumerate(rows)},
                {index: row.new_tokens for index, row in enumerate(rows)},
                {index: row.finished for index, row in enumerate(rows)},
                time.perf_counter() - began,
                {index: tuple(row.ids) for index, row in enumerate(rows)},
            )
    finally:
        closed.set()
        if thread.is_alive():  # not when a Ctrl-C came before it started
            thread.join()


class _Steps(BaseStreamer):
    """Hands each step's token ids, one per row, to the reader."""

    def __init__(self, steps: queue.SimpleQueue) -> None:
        self._steps = steps

    def put(self, value: torch.Tensor) -> None:
        if value.dim() == 1:  # the first value is the prompt, [rows, positions]
            self._steps.put(value.tolist())

    def end(self) -> None:
        """The worker says itself when it has ended, after the hooks are off."""


@contextmanager
def _settings(model: PreTrainedModel, config: GenerationConfig) -> Iterator[None]:
    """Puts the model's own generation settings aside; transformers would fill the gaps of ours from them."""
    theirs, model.generation_config = model.generation_config, config
    try:
        yield
    finally:
        model.generation_config = theirs
