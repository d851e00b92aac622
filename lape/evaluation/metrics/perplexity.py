"""What switching a language's neurons off does to the perplexity of text in every language.

The untouched model reads each text once, and every condition is compared with it block by block. Costs are
differences of log-perplexity, in nats per token, which compare conditions on one text; and bits per UTF-8 byte, which
compare across tokenizers and languages too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError, NotEnoughText
from lape.evaluation.metrics.bootstrap import Figure, draws, ratio
from lape.evaluation.metrics.cells import Cells, Task, fresh
from lape.evaluation.metrics.conditions import BASELINE
from lape.evaluation.metrics.likelihood import (
    Passage,
    Scores,
    byte_counts,
    negative_log_likelihoods,
    passages,
    rows_per_pass,
)
from lape.generation.interventions import Intervention
from lape.recording.blocks import token_blocks
from lape.recording.sources import Source, check_sources


@dataclass(frozen=True)
class Matrix:
    """Scores of several texts under several conditions, over the same blocks.

    Attributes:
        untouched: Text to its scores under the untouched model.
        conditions: Condition to text to scores; of all texts, or those it was measured on.
        seed: Of the bootstrap.
    """

    baseline: Mapping[str, Scores]
    conditions: Mapping[str, Mapping[str, Scores]]
    seed: int = 0

    def values(self) -> dict[str, Any]:
        """Every figure with its interval, as JSON holds it.

        Returns:
            `texts`: text to `blocks`, `tokens`, `bytes`, `log_perplexity_nats` and `bits_per_byte` of the untouched
            model. `conditions`: condition to text to `delta_nats` per token, `bits_per_byte` and
            `delta_bits_per_byte`. Figures are `{value, low, high}`.
        """
        return {
            "texts": {text: self._text(text) for text in self.baseline},
            "conditions": {
                name: {text: self._cost(name, text) for text in texts} for name, texts in self.conditions.items()
            },
        }

    def delta_nats(self, condition: str, text: str) -> Figure:
        """Change of the log-perplexity of a text: nats per token more than the untouched model, block by block."""
        return ratio(self._delta(condition, text), self.baseline[text].tokens, self._draws(text))

    def log_perplexity(self, text: str) -> Figure:
        """Log-perplexity of a text under the untouched model, in nats per token."""
        return ratio(self.baseline[text].nll_nats, self.baseline[text].tokens, self._draws(text))

    def _text(self, text: str) -> dict[str, Any]:
        scores, drawn = self.baseline[text], self._draws(text)
        return {
            "blocks": len(scores.tokens),
            "tokens": sum(scores.tokens),
            "bytes": sum(scores.bytes),
            "log_perplexity_nats": self.log_perplexity(text).interval(),
            "bits_per_byte": _bits(scores.nll_nats, scores.bytes, drawn),
        }

    def _cost(self, condition: str, text: str) -> dict[str, Any]:
        scores, drawn = self.conditions[condition][text], self._draws(text)
        return {
            "delta_nats": self.delta_nats(condition, text).interval(),
            "bits_per_byte": _bits(scores.nll_nats, scores.bytes, drawn),
            "delta_bits_per_byte": _bits(self._delta(condition, text), scores.bytes, drawn),
        }

    def _delta(self, condition: str, text: str) -> list[float]:
        before, after = self.baseline[text].nll_nats, self.conditions[condition][text].nll_nats
        return [late - early for early, late in zip(before, after, strict=True)]

    def _draws(self, text: str) -> torch.Tensor:
        return draws(len(self.baseline[text].tokens), text, self.seed)


def text_blocks(
    tokenizer: Tokenizer, corpora: Mapping[str, Source], *, tokens: int = 2048, block: int = 128
) -> dict[str, list[torch.Tensor]]:
    """The first blocks of each text.

    Args:
        tokenizer: The model's own.
        corpora: Language code to held-out documents.
        tokens: Per language, rounded up to whole blocks.
        block: Tokens per block. Short blocks give more of them, and so truer intervals.

    Raises:
        LapeError: There would be fewer than 2 blocks.
        NotEnoughText: A language has fewer tokens than asked; says how many.
    """
    count = -(-tokens // block) if block > 0 else 0
    if count < 2:
        raise LapeError(f"{tokens} tokens in blocks of {block} are fewer than the 2 blocks an interval needs.")
    check_sources(corpora)
    blocks = {
        code: list(itertools.islice(token_blocks(tokenizer, source, block, code), count))
        for code, source in corpora.items()
    }
    for code, found in blocks.items():
        if len(found) < count:
            raise NotEnoughText(
                f"The held-out text of {code!r} has {len(found) * block} tokens in blocks of {block}, but "
                f"{count * block} were asked for. Add text, or ask for fewer."
            )
    return blocks


def matrix(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    texts: Mapping[str, Sequence[torch.Tensor]],
    conditions: Mapping[str, Intervention | None],
    *,
    only: Mapping[str, Collection[str]] | None = None,
    batch: int | None = None,
    seed: int = 0,
    cells: Cells = fresh,
) -> Matrix:
    """Scores every text under every condition, each token once.

    The untouched model reads each text once for all conditions, and none is computed for a condition that changes
    no neuron. Where a batch holds more than one text's blocks, several conditions share it, a row for each.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        texts: Language code to blocks; at least 2 each.
        conditions: Name to intervention; None is the untouched model.
        only: Name to the texts to score under it; a condition that is not named here has all.
        batch: Blocks per forward pass; None takes what fills the device.
        seed: Of the bootstrap.
        cells: Keeps results under `perplexity <condition> text=<code>`, the untouched model's as condition `on`.

    Raises:
        LapeError: A text has fewer than 2 blocks, a condition is called `baseline`, or the model cannot score a block:
            it is too long, memory is short, or a number is not finite.
    """
    if BASELINE in conditions:
        raise LapeError(f"{BASELINE!r} is the untouched model; give the condition another name.")
    for text, blocks in texts.items():
        draws(len(blocks), text)  # refuses too few before anything is computed
    changing = {name: plan for name, plan in conditions.items() if plan is not None and plan.count}
    here = {text: [name for name in conditions if only is None or text in only.get(name, texts)] for text in texts}
    tasks = []
    for text, blocks in texts.items():
        switched = {name: changing[name] for name in here[text] if name in changing}
        rows = passages(tokenizer, [block.tolist() for block in blocks])
        size = rows_per_pass(model, max(len(row.scored) for row in rows)) if batch is None else batch
        plans = list({BASELINE: None, **switched}.items())
        conditions_at_once = max(1, size // len(rows))
        for start in range(0, len(plans), conditions_at_once):
            together = {cell_key(name, text): plan for name, plan in plans[start : start + conditions_at_once]}
            tasks.append(Task(tuple(together), partial(_read, model, rows, together, size)))
    kept = cells(tasks)
    baseline: dict[str, Scores] = {}
    found: dict[str, dict[str, Scores]] = {name: {} for name in conditions}
    for text, blocks in texts.items():
        sizes = block_sizes(tokenizer, blocks)
        for name in (BASELINE, *here[text]):
            key = cell_key(name if name in changing else BASELINE, text)
            scores = Scores(tuple(kept[key]["nll_nats"]), *sizes)
            (baseline if name == BASELINE else found[name])[text] = scores
    return Matrix(baseline, found, seed)


def cell_key(condition: str, text: str) -> str:
    """Names the cell that keeps the scores of a text under a condition."""
    return f"perplexity {condition} text={text}"


def block_sizes(tokenizer: Tokenizer, blocks: Sequence[torch.Tensor]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tokens and UTF-8 bytes of each block."""
    ids = [block.tolist() for block in blocks]
    return tuple(map(len, ids)), tuple(byte_counts(tokenizer, ids))


def _read(
    model: PreTrainedModel, rows: list[Passage], plans: Mapping[str, Intervention | None], batch: int
) -> dict[str, dict[str, list[float]]]:
    """Scores one text under several conditions, which share batches; key to the sums of its blocks."""
    sums = negative_log_likelihoods(model, rows * len(plans), [p for p in plans.values() for _ in rows], batch=batch)
    places = zip(plans, range(0, len(sums), len(rows)), strict=True)
    return {key: {"nll_nats": sums[start : start + len(rows)]} for key, start in places}


def _bits(nats: Sequence[float], sizes: Sequence[int], drawn: torch.Tensor) -> dict[str, float]:
    return ratio([value / math.log(2) for value in nats], sizes, drawn).interval()
