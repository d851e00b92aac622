"""Generate several rows in one batch, each under its own intervention, and stream all of them together.

Variants of one prompt are rows of one batch: three columns cost about one generation, start together and
cannot leak into each other. With sampling all rows share one noise vector per step, so that rows differ
only because of their neurons.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteriaList
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.generation.streamers import BaseStreamer

from lape.errors import LapeError
from lape.generation import sampling
from lape.generation.interventions import Intervention, Plan, intervene
from lape.generation.prompts import Prompt, encode, padding
from lape.generation.sampling import Stop, check_sampling, processors
from lape.models.architectures import input_device

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
    """

    texts: Mapping[Any, str]
    new_tokens: Mapping[Any, int]
    finished: Mapping[Any, Finish | None]
    elapsed_seconds: float

    def named(self, names: Sequence[str]) -> Update:
        """The same update keyed by the names of the rows."""

        def keyed(by_row: Mapping[Any, Any]) -> dict[str, Any]:
            return {name: by_row[row] for row, name in enumerate(names)}

        return Update(keyed(self.texts), keyed(self.new_tokens), keyed(self.finished), self.elapsed_seconds)


def side_by_side(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompt: Prompt | Mapping[str, Prompt],
    variants: Mapping[str, Intervention | None],
    **settings: Any,
) -> Generator[Update, None, None]:
    """Generates a prompt under several variants, as rows of one batch.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompt: Text to continue, or chat messages; a mapping has one for each variant, by its name.
        variants: Name of each variant to its intervention; None is the untouched model.
        **settings: The keyword-only arguments of `generate_rows`, such as `max_new_tokens`.

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
    max_new_tokens: int = sampling.MAX_NEW_TOKENS,
    temperature: float = sampling.TEMPERATURE,
    top_p: float = sampling.TOP_P,
    repetition_penalty: float = sampling.REPETITION_PENALTY,
    seed: int = sampling.SEED,
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
        LapeError: A setting is out of range, a prompt is empty or too long, or the plan does not fit, before any work.
    """
    check_sampling(max_new_tokens, temperature, top_p, repetition_penalty, seed)
    if not isinstance(plan, Intervention) and plan is not None and len(plan) != len(prompts):
        raise LapeError(
            f"The plan has {len(plan)} rows but there are {len(prompts)} prompts; give one entry per prompt."
        )
    encoded = encode(tokenizer, prompts)
    device = input_device(model)
    spare = _spare_rows(len(prompts), device)
    if not isinstance(plan, Intervention) and plan is not None:
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
    rows = [_Row(tokenizer, ids[-CONTEXT_TOKENS:], config.eos_token_id) for ids in inputs["input_ids"].tolist()]
    return _stream(model, arguments, plan, rows[: len(prompts)], closed)


def _spare_rows(rows: int, device: torch.device) -> int:
    """Rows to add to a batch because they make it faster; they end at their first token and are not shown.

    MKL multiplies a matrix by 2 or 3 rows one row at a time, and by 4 at once, in less time than by 3.
    """
    at_once = 4
    return at_once - rows if device.type == "cpu" and torch.backends.mkl.is_available() and 1 < rows < at_once else 0


def _stream(
    model: PreTrainedModel, arguments: dict[str, Any], plan: Plan | None, rows: list[_Row], closed: threading.Event
) -> Generator[Update, None, None]:
    steps: queue.SimpleQueue[list[int] | BaseException | None] = queue.SimpleQueue()
    config = arguments["generation_config"]

    def work() -> None:
        try:
            with _settings(model, config), intervene(model, plan) if plan is not None else nullcontext():
                model.generate(**arguments, streamer=_Steps(steps))  # type: ignore[operator]
            steps.put(None)
        except BaseException as error:
            steps.put(error)

    thread = threading.Thread(target=work, name="lape-generate", daemon=True)
    began = time.perf_counter()
    thread.start()
    try:
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
            )
    finally:
        closed.set()
        thread.join()


class _Row:
    """The new tokens of one row, decoded as they come."""

    def __init__(self, tokenizer: Tokenizer, context: list[int], eos: list[int]) -> None:
        self.finished: Finish | None = None
        self.ids: list[int] = []
        self._tokenizer = tokenizer
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
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


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


def _generation_config(model: PreTrainedModel, tokenizer: Tokenizer, max_new_tokens: int) -> GenerationConfig:
    """Greedy and nothing else; our processors do the rest."""
    eos = model.generation_config.eos_token_id
    eos = tokenizer.eos_token_id if eos is None else eos
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        use_cache=True,
        eos_token_id=eos if isinstance(eos, list) else [eos] if eos is not None else [],
        pad_token_id=padding(tokenizer),
    )


def _check_context(model: PreTrainedModel, prompt_tokens: int, max_new_tokens: int) -> None:
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if context is not None and prompt_tokens + max_new_tokens > context:
        raise LapeError(
            f"{prompt_tokens} prompt tokens and {max_new_tokens} new ones exceed the model's context of {context}. "
            "Shorten the prompt or ask for fewer."
        )
