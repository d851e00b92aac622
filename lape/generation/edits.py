"""What an intervention does in each layer: which cells of its activation are changed, and when.

A cell is a neuron in a row of the batch. A plan is compiled once into one edit per edited layer; the hook on the
decoder tells the others how many rows the current pass has, and whether it reads the prompt. In a mixture of experts
a cell is changed at the tokens of its row that were routed to its expert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal, NamedTuple, Protocol, get_args

import torch
from torch import nn

from lape.errors import LapeError, unknown_label
from lape.models.sites import ActivationSites, Routed

Positions = Literal["all", "prompt", "generated"]


class Operation(NamedTuple):
    """One thing that is done to some neurons.

    Attributes:
        name: `set`, `add` or `scale`.
        neurons: Flat indices, int64 `[n]`.
        values: What they are set to, what is added to them or what they are multiplied by, `[n]`.
        ranges: float32 `[2, k, n]`, the lower and upper ends of k ranges of activations. At a token where its
            activation is in none of them a neuron is left alone; None leaves none alone.
    """

    name: str
    neurons: torch.Tensor
    values: torch.Tensor
    ranges: torch.Tensor | None = None


def within(activation: torch.Tensor, ranges: torch.Tensor) -> torch.Tensor:
    """Where activations lie in one of k ranges, ends included: bool, of their shape.

    Args:
        activation: In any dtype; it is compared in float32 at least.
        ranges: float32 `[2, k, ...]`, each of the k broadcast to the activation.
    """
    inside = ((activation >= low) & (activation <= high) for low, high in zip(*ranges, strict=True))
    return reduce(torch.logical_or, inside)


def check_edit(positions: str, **numbers: float) -> None:
    """Refuses positions that do not exist, and numbers (by name, such as `strength`) that are not float32.

    Raises:
        UnknownLabel: There are no such positions.
        LapeError: Names the number.
    """
    if positions not in get_args(Positions):
        raise unknown_label("positions", positions, get_args(Positions))
    for name, number in numbers.items():
        if not abs(number) <= torch.finfo(torch.float32).max:
            raise LapeError(f"{name} must be a finite number of float32, not {number}.")


def check_layers(layers: range | None, count: int) -> None:
    """Refuses layers that a model of so many does not have; None is all of them."""
    if layers is not None and not set(layers) <= set(range(count)):
        raise LapeError(f"{layers} names layers the model does not have; its layers are 0 to {count - 1}.")


class Run:
    """What the decoder's current pass is: how many rows, and whether it reads the prompt.

    Args:
        rows: Rows that the batch must have; None takes any.
        needs_cache: Whether the prompt must be told from what is generated after it.
    """

    def __init__(self, rows: int | None, needs_cache: bool) -> None:
        self.rows = rows
        self.needs_cache = needs_cache
        self.batch = 0  # before any pass
        self.positions: Positions = "prompt"
        self.passes = 0

    def begin(self, _decoder: nn.Module, args: tuple, kwargs: dict) -> None:
        """Runs before the decoder; refuses a batch the plan does not fit."""
        given = (kwargs.get("input_ids"), kwargs.get("inputs_embeds"), *args)
        self.batch = next(tensor for tensor in given if tensor is not None).shape[0]
        if self.rows is not None and self.batch != self.rows:
            raise LapeError(
                f"The plan has {self.rows} rows but the batch has {self.batch}. Give one entry per row; beams and "
                "several return sequences multiply rows and cannot be used with a plan per row."
            )
        cache = kwargs.get("past_key_values")
        if self.needs_cache and cache is None and not kwargs.get("use_cache"):
            raise LapeError("positions 'prompt' and 'generated' need the key-value cache: pass use_cache=True.")
        self.positions = "generated" if cache is not None and cache.get_seq_length() > 0 else "prompt"
        self.passes += 1


class Edit(Protocol):
    """What is done at one place; it says whether the model has passed there."""

    fired: bool


@dataclass(frozen=True)
class Edits:
    """What a plan does in places of one kind.

    Attributes:
        places: Each edit, by the number of its place, such as a layer.
        watching: Has them on the model for as long as it is open.
        missed: What it means that the model did not pass some of the places, which `{}` stands for.
    """

    places: Mapping[int, Edit]
    watching: AbstractContextManager[None]
    missed: str

    @property
    def silent(self) -> list[int]:
        """The places that the model has not passed."""
        return sorted(place for place, edit in self.places.items() if not edit.fired)


@dataclass(frozen=True)
class Cells:
    """Neurons of one expert that get the same operation at the same positions; a dense layer is one expert.

    Attributes:
        operation: `set`, `add` or `scale`.
        positions: Passes it applies to.
        rows: int64 `[n]`, or a full slice when every row is edited.
        columns: int64 `[n]`.
        values: `[n, 1]`, one per cell for all positions.
        ranges: float32 `[2, k, n, 1]`: a cell changes where its activation lies in one of k; None: everywhere.
    """

    operation: str
    positions: Positions
    rows: torch.Tensor | slice
    columns: torch.Tensor
    values: torch.Tensor
    ranges: torch.Tensor | None

    def like(self, activation: torch.Tensor) -> Cells:
        """The same cells on the device and in the dtype of an activation; ranges are not rounded to it."""
        device = activation.device
        rows = self.rows if isinstance(self.rows, slice) else self.rows.to(device)
        ranges = None if self.ranges is None else self.ranges.to(device)
        values = self.values.to(activation)
        return replace(self, rows=rows, columns=self.columns.to(device), values=values, ranges=ranges)

    def edit(self, activation: torch.Tensor) -> None:
        """Changes an activation `[batch, neuron, position]` in place."""
        self._apply(activation, (self.rows, self.columns), self.values, self.ranges)

    def edit_routed(self, activation: torch.Tensor, rows: torch.Tensor) -> None:
        """Changes an activation `[token, neuron]` in place, whose tokens are of these rows `[token]`."""
        if isinstance(self.rows, slice):
            ranges = None if self.ranges is None else self.ranges.mT
            self._apply(activation, (self.rows, self.columns), self.values.T, ranges)
        else:
            token, cell = (rows[:, None] == self.rows).nonzero(as_tuple=True)
            ranges = None if self.ranges is None else self.ranges[:, :, cell, 0]
            self._apply(activation, (token, self.columns[cell]), self.values[cell, 0], ranges)

    def _apply(
        self,
        activation: torch.Tensor,
        index: tuple[torch.Tensor | slice, ...],
        values: torch.Tensor,
        ranges: torch.Tensor | None,
    ) -> None:
        if self.operation == "set" and ranges is None:
            activation[index] = values
            return
        before = activation[index]
        if self.operation == "add":
            after = before + values
        elif self.operation == "scale":
            after = before * values
        else:
            after = values
        activation[index] = after if ranges is None else after.where(within(before, ranges), before)


class LayerEdit:
    """What is done in one edited layer, as `ActivationSites.watch` calls it.

    Args:
        cells: Expert to its cells; those of a dense layer are expert 0's.
        run: What the decoder's current pass is.
    """

    def __init__(self, cells: Mapping[int, list[Cells]], run: Run) -> None:
        self.cells = cells
        self.run = run
        self.fired = False
        self._placed: dict[tuple[torch.device, torch.dtype, int], list[Cells]] = {}

    def __call__(self, output: torch.Tensor, routed: Routed | None) -> torch.Tensor:
        self.fired = True
        expert = 0 if routed is None else routed.expert
        if expert not in self.cells:
            return output
        edited = output.clone() if output.requires_grad else output
        place = (edited.device, edited.dtype, expert)
        if place not in self._placed:
            self._placed[place] = [cells.like(edited) for cells in self.cells[expert]]
        now = [cells for cells in self._placed[place] if cells.positions in ("all", self.run.positions)]
        if routed is not None:
            rows = routed.tokens // (routed.total // self.run.batch)
            for cells in now:
                cells.edit_routed(edited, rows)
            return edited
        # OPT flattens its activations to [batch * position, neuron].
        by_row = edited if edited.dim() == 3 else edited.view(self.run.batch, -1, edited.shape[-1])
        for cells in now:
            cells.edit(by_row.transpose(1, 2))
        return edited


def layer_edits(
    entries: Sequence[tuple[Sequence[Operation], Positions] | None], sites: ActivationSites, run: Run
) -> dict[int, LayerEdit]:
    """Compiles a plan into one edit per edited layer.

    Args:
        entries: What is done at which positions: one entry for all rows, or one (or None) per row, as `run` says.
        sites: Where the model's activations are.
        run: What the decoder's current pass is.
    """
    parts: dict[tuple[str, Positions, int], list[tuple[int, Operation]]] = {}
    for row, entry in enumerate(entries):
        if entry is None:
            continue
        operations, positions = entry
        for operation in operations:
            gates = 0 if operation.ranges is None else operation.ranges.shape[1]
            parts.setdefault((operation.name, positions, gates), []).append((row, operation))
    cells: dict[int, dict[int, list[Cells]]] = {}
    for (name, positions, _), found in parts.items():
        rows = torch.cat([torch.full_like(operation.neurons, row) for row, operation in found])
        flat = torch.cat([operation.neurons for _, operation in found])
        values = torch.cat([operation.values for _, operation in found])
        all_ranges = [operation.ranges for _, operation in found if operation.ranges is not None]
        ranges = torch.cat(all_ranges, dim=-1) if all_ranges else None
        experts = flat // sites.width  # counted through all layers
        for number in experts.unique().tolist():
            here = experts == number
            edited_rows = slice(None) if run.rows is None else rows[here]
            columns, column_values = flat[here] % sites.width, values[here][:, None]
            column_ranges = None if ranges is None else ranges[..., here, None]
            layer, expert = divmod(number, sites.experts)
            of_expert = cells.setdefault(layer, {}).setdefault(expert, [])
            of_expert.append(Cells(name, positions, edited_rows, columns, column_values, column_ranges))
    return {layer: LayerEdit(cells[layer], run) for layer in sorted(cells)}
