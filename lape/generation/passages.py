"""Passages of text that a model reads under interventions: many in one pass, each a row with tokens to predict.

Every token to predict is predicted once, from all that comes before it in its row; what a row begins with is only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from lape.errors import LapeError
from lape.generation.interventions import Entry, Plan, intervene
from lape.models.architectures import decoder_layers, input_device
from lape.models.inputs import check_ids, context_length, embedding_rows


@dataclass(frozen=True)
class Passage:
    """One row: token ids.

    Attributes:
        context: Read before, not scored; at least one.
        scored: At least one.
    """

    context: Sequence[int]
    scored: Sequence[int]

    @property
    def read(self) -> list[int]:
        """What the model is given: the last token is predicted only."""
        return [*self.context, *self.scored[:-1]]


def check_passages(model: PreTrainedModel, rows: Sequence[Passage], plan: Plan | None) -> None:
    """Refuses what cannot be read, before any work.

    Raises:
        LapeError: There is no row, one is empty or too long, a token is none of the model's, or the plan does not fit.
    """
    if not rows or not all(row.context and row.scored for row in rows):
        raise LapeError("There is nothing to score, or a row has no token to read or none to score.")
    if plan is not None and not isinstance(plan, Entry) and len(plan) != len(rows):
        raise LapeError(f"The plan has {len(plan)} rows but there are {len(rows)} to score; give one entry for each.")
    check_ids(embedding_rows(model), torch.tensor([token for row in rows for token in (*row.context, *row.scored)]))
    context, longest = context_length(model), max(len(row.read) for row in rows)
    if context is not None and longest > context:
        raise LapeError(f"A row of {longest} tokens is longer than the model's context of {context}.")


class PassageBatch:
    """Rows that are read in one pass, padded on the right, where a causal model does not look.

    Args:
        rows: As `check_passages` lets them pass.

    Attributes:
        targets: int64 `[tokens]`, the tokens to predict of all rows, one row after the other.
        sizes: How many of them each row has.
    """

    def __init__(self, rows: Sequence[Passage]) -> None:
        width = max(len(row.read) for row in rows)
        self._inputs = torch.zeros((len(rows), width), dtype=torch.long)
        positions = []  # that predict a scored token, in the flattened batch
        for index, row in enumerate(rows):
            self._inputs[index, : len(row.read)] = torch.tensor(row.read)
            positions.append(torch.arange(len(row.context) - 1, len(row.read)) + index * width)
        self._positions = torch.cat(positions)
        self.targets = torch.tensor([token for row in rows for token in row.scored])
        self.sizes = [len(row.scored) for row in rows]

    def decode(
        self,
        model: PreTrainedModel,
        plan: Sequence[Entry | None],
        watching: AbstractContextManager[object] | None = None,
    ) -> Any:
        """Runs the decoder over the rows.

        Args:
            model: A causal language model.
            plan: An intervention or None for each row.
            watching: Is open during the pass, inside of the interventions: its hooks see what those made.

        Returns:
            What the decoder gives, with its `last_hidden_state`.
        """
        edits: Plan = plan
        if (first := plan[0]) is not None and all(edit is first for edit in plan):
            edits = first  # one for all rows edits whole columns, which is faster
        with torch.no_grad(), intervene(model, edits), watching or nullcontext():
            return decoder_layers(model)[0](input_ids=self._inputs.to(input_device(model)), use_cache=False)

    def predicting(self, hidden: torch.Tensor) -> torch.Tensor:
        """The states `[tokens, width]` that predict each target, of states `[rows, positions, width]` of the pass."""
        return hidden.flatten(0, 1)[self._positions.to(hidden.device)]
