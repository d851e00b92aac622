"""Keep generation to a language's tokens by a penalty on all others: a baseline that touches no neuron.

The idea of soft constrained decoding (arXiv 2511.09984). A hook on the model lowers the logits, so that the penalty
works in the same block and beside the same rows as interventions, before the repetition penalty and sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from lape.errors import LapeError
from lape.generation.edits import Edits, Positions, Run, check_edit
from lape.models.hooks import hooked
from lape.recording.vocabulary import TokenCounts
from lape.storage.brief import brief

MISSED = "no logits were made, so no token was penalised; call the model with its head, not the decoder alone."
STRENGTH_NATS = 5.0
LEAST = 2


@dataclass(frozen=True)
class SoftConstraint:
    """A penalty on the tokens that a language's text does not use.

    Attributes:
        counts: How often tokens occur in each language's text.
        on: Language whose tokens are kept.
        strength: Nats that the logit of every other token loses; special tokens lose none.
        least: How often a token must occur in the language's text to be one of its tokens.
        positions: After which a token is chosen: `all`, only those of the `prompt` (the first new token), or only
            those `generated` after it.

    Raises:
        UnknownLabel: The language or positions do not exist; names the near ones.
        LapeError: A number is out of range.
    """

    __repr__ = brief

    counts: TokenCounts
    _: KW_ONLY
    on: str
    strength: float = STRENGTH_NATS
    least: int = LEAST
    positions: Positions = "all"

    def __post_init__(self) -> None:
        self.counts.known(self.on)
        check_edit(self.positions, strength=self.strength)
        if self.least < 1:
            raise LapeError(f"least must be at least 1, not {self.least}.")

    @property
    def count(self) -> int:
        """How many tokens are penalised."""
        return int(self.counts.outside(self.on, self.least).sum()) if self.strength else 0


class LogitPenalty:
    """Lowers logits, as a hook on the model.

    Args:
        constraints: Each with the rows that it is for.
        run: What the decoder's current pass is.
    """

    def __init__(self, constraints: Sequence[tuple[SoftConstraint, torch.Tensor | slice]], run: Run) -> None:
        self.run = run
        self.fired = False
        self._constraints = [(each, rows, each.counts.outside(each.on, each.least)) for each, rows in constraints]
        self._placed: dict[tuple[torch.device, torch.dtype, int], list[torch.Tensor]] = {}

    def __call__(self, _model: nn.Module, _inputs: object, output: ModelOutput) -> None:
        self.fired = True
        logits = output["logits"]
        edited = logits.clone() if logits.requires_grad else logits
        place = (logits.device, logits.dtype, logits.shape[-1])
        if place not in self._placed:  # ids of the head beyond the tokenizer's are no language's tokens
            self._placed[place] = [
                each.strength * functional.pad(outside, (0, logits.shape[-1] - len(outside)), value=True).to(logits)
                for each, _, outside in self._constraints
            ]
        for (each, rows, _), penalty in zip(self._constraints, self._placed[place], strict=True):
            if each.positions in ("all", self.run.positions):
                edited[rows] = edited[rows] - penalty
        output["logits"] = edited


def logit_edits(model: PreTrainedModel, entries: Sequence[SoftConstraint | None], run: Run) -> Edits:
    """Compiles what a plan does to logits.

    Args:
        model: A causal language model.
        entries: One for all rows, or one (or None) per row, as `run` says.
        run: What the decoder's current pass is.
    """
    different = {id(entry): entry for entry in entries if entry is not None and entry.count}
    if not different:
        return Edits({}, nullcontext(), MISSED)
    rows = {key: torch.tensor([row for row, entry in enumerate(entries) if id(entry) == key]) for key in different}
    penalty = LogitPenalty(
        [(entry, slice(None) if run.rows is None else rows[key]) for key, entry in different.items()], run
    )
    # What torch.compile wraps is called by `generate`, not the wrapper.
    return Edits({0: penalty}, hooked(after={getattr(model, "_orig_mod", model): penalty}), MISSED)
