"""What a plan does to the residual stream after each layer: rows of the batch moved, the others untouched."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedModel

from lape.generation.edits import Edits, Positions, Run
from lape.generation.residual import ResidualIntervention, StreamEdit
from lape.models.residual import residual_stream

MISSED = "the outputs of layers {} did not pass their hooks, so the residual stream was not moved there."


@dataclass(frozen=True)
class MovedRows:
    """Rows whose stream gets edits of one kind at the same positions.

    Attributes:
        positions: Passes it applies to.
        rows: int64 `[n]`, or a full slice when every row is edited.
        shift: `[n, 1, dimensions]`.
        kept: bool `[n, 1, dimensions]`; None keeps all.
        restores_norm: Whether tokens have the norm afterwards that they had before.
    """

    positions: Positions
    rows: torch.Tensor | slice
    shift: torch.Tensor
    kept: torch.Tensor | None
    restores_norm: bool

    def like(self, stream: torch.Tensor) -> MovedRows:
        """The same rows on the device and in the dtype of a stream."""
        device = stream.device
        rows = self.rows if isinstance(self.rows, slice) else self.rows.to(device)
        kept = None if self.kept is None else self.kept.to(device)
        return replace(self, rows=rows, shift=self.shift.to(stream), kept=kept)

    def edit(self, stream: torch.Tensor) -> None:
        """Changes a stream `[batch, position, dimension]` in place."""
        before = stream[self.rows]
        moved = (before if self.kept is None else before.where(self.kept, 0)) + self.shift
        if self.restores_norm:
            norms = (each.float().norm(dim=-1, keepdim=True) for each in (before, moved))
            length, now = norms
            moved = moved * (length / now.clamp_min(torch.finfo(torch.float32).tiny)).to(moved)
        stream[self.rows] = moved


class LayerMove:
    """What is done after one edited layer, as `ResidualStream.watch` calls it.

    Args:
        moves: Rows that are moved.
        run: What the decoder's current pass is.
    """

    def __init__(self, moves: Sequence[MovedRows], run: Run) -> None:
        self.moves = moves
        self.run = run
        self.fired = False
        self._placed: dict[tuple[torch.device, torch.dtype], list[MovedRows]] = {}

    def __call__(self, stream: torch.Tensor) -> torch.Tensor:
        self.fired = True
        edited = stream.clone() if stream.requires_grad else stream
        place = (edited.device, edited.dtype)
        if place not in self._placed:
            self._placed[place] = [moved.like(edited) for moved in self.moves]
        for moved in self._placed[place]:
            if moved.positions in ("all", self.run.positions):
                moved.edit(edited)
        return edited


def stream_edits(model: PreTrainedModel, entries: Sequence[ResidualIntervention | None], run: Run) -> Edits:
    """Compiles what a plan does to the residual stream.

    Args:
        model: Whose stream it is.
        entries: One for all rows, or one (or None) per row, as `run` says.
        run: What the decoder's current pass is.
    """
    if not any(entries):
        return Edits({}, nullcontext(), MISSED)
    stream = residual_stream(model)
    for means in {id(entry.means): entry.means for entry in entries if entry is not None}.values():
        means.check(model)
    different = {id(entry): entry.edits() for entry in entries if entry is not None}  # a row each, often the same
    parts: dict[int, dict[tuple[Positions, bool, bool], list[tuple[int, StreamEdit]]]] = {}
    for row, entry in enumerate(entries):
        if entry is None:
            continue
        for layer, edit in different[id(entry)].items():
            alike = (entry.positions, edit.kept is None, edit.restores_norm)
            parts.setdefault(layer, {}).setdefault(alike, []).append((row, edit))
    moves = {
        layer: LayerMove([_moved(found, *alike, run) for alike, found in parts[layer].items()], run)
        for layer in sorted(parts)
    }
    return Edits(moves, stream.watch(moves), MISSED)


def _moved(
    found: Sequence[tuple[int, StreamEdit]], positions: Positions, keeps_all: bool, restores_norm: bool, run: Run
) -> MovedRows:
    rows, edits = zip(*found, strict=True)
    shift = torch.stack([edit.shift for edit in edits])[:, None]
    kept = None if keeps_all else torch.stack([edit.kept for edit in edits])[:, None]
    return MovedRows(positions, slice(None) if run.rows is None else torch.tensor(rows), shift, kept, restores_norm)
