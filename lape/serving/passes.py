"""What a vLLM worker's hooks do in a pass: count the activations of some requests, and edit those of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from lape.generation.edits import within
from lape.serving.batch import RunningBatch
from lape.serving.sites import ServedSites

BLOCK = "lape_block"  # the extra argument of a request that is counted: the row its active neurons are added to
PLAN = "lape"  # that of a request that is steered: the name of a plan


@dataclass(frozen=True)
class ServedCells:
    """Neurons of one layer, as one worker has them, that get the same operation.

    Attributes:
        operation: `set`, `add` or `scale`.
        columns: int64 `[n]`.
        values: `[n]`.
        ranges: float32 `[2, k, n]`: a neuron changes where its activation lies in one of k; None: everywhere.
    """

    operation: str
    columns: torch.Tensor
    values: torch.Tensor
    ranges: torch.Tensor | None

    def edit(
        self,
        output: torch.Tensor,
        up: torch.Tensor | None,
        rows: torch.Tensor,
        activation: Callable[[], torch.Tensor],
    ) -> None:
        """Does to the activation what is asked, where only its product with the up half is at hand.

        Args:
            output: `[token, neuron]`, changed in place.
            up: What the activation was multiplied by; None where it was not.
            rows: int64 `[m]`.
            activation: Computes it, `[token, neuron]`.
        """
        cells = rows[:, None], self.columns.to(output.device)
        values, before = self.values.to(output), output[cells]
        if self.operation == "scale":
            after = before * values
        else:
            change = values.expand_as(before) if up is None else values * up[cells]
            after = change if self.operation == "set" else before + change
        if self.ranges is not None:
            ranges = self.ranges[:, :, None].to(output.device)
            after = after.where(within(activation()[cells], ranges), before)
        output[cells] = after


@dataclass(frozen=True)
class ServedPlan:
    """A named intervention, as one worker has it.

    Attributes:
        positions: `all`, `prompt` or `generated`.
        layers: Layer to what is done there, in this order.
    """

    positions: str
    layers: Mapping[int, tuple[ServedCells, ...]]

    @classmethod
    def of(cls, plain: Mapping[str, Any], neurons: int, here: range) -> ServedPlan:
        """The part of a plan that concerns one worker.

        Args:
            plain: What `lape.serving.engine.plain` makes of an intervention.
            neurons: Per layer, of the whole model.
            here: Those of them that the worker has.
        """
        layers: dict[int, tuple[ServedCells, ...]] = {}
        for operation in plain["operations"]:
            flat = torch.tensor(operation["neurons"], dtype=torch.long)
            values = torch.tensor(operation["values"], dtype=torch.float32)
            ranges = None if operation["ranges"] is None else torch.tensor(operation["ranges"], dtype=torch.float32)
            columns = flat % neurons - here.start
            kept = (columns >= 0) & (columns < len(here))
            for layer in (flat[kept] // neurons).unique().tolist():
                chosen = kept & (flat // neurons == layer)
                chosen_ranges = None if ranges is None else ranges[..., chosen]
                cells = ServedCells(operation["name"], columns[chosen], values[chosen], chosen_ranges)
                layers[layer] = (*layers.get(layer, ()), cells)
        return cls(plain["positions"], layers)


class ServedCounts:
    """What has been counted on a worker since it was told to count.

    Args:
        sites: Of the worker.
        before: Tokens at the beginning of each request that are not counted.
        block: Tokens after these that are.
        rows: Of active counts, apart.
    """

    def __init__(self, sites: ServedSites, before: int, block: int, rows: int) -> None:
        self.before, self.block, self.rows = before, block, rows
        self.tokens = 0
        shape = (rows + 2, sites.neurons)  # active counts, then sum and positive sum
        self._layers = {layer: torch.zeros(shape, dtype=torch.float64) for layer in sites.modules}

    def add(self, layer: int, activation: torch.Tensor, counted: torch.Tensor) -> None:
        """Adds a pass; `counted` is float32 `[rows, token]`, 1 where a token counts for a row."""
        values = activation.float()
        positive = torch.relu(values)
        every = counted.sum(0, keepdim=True)
        sums = [every @ values, every @ positive]
        added = torch.cat([counted @ positive.sign_(), *sums]).double()
        self._layers[layer] = self._layers[layer].to(added.device).add_(added)

    def taken(self) -> torch.Tensor:
        """Float64 `[layers, rows + 2, neurons]` on the CPU: the active counts of each row, sums, positive sums."""
        return torch.stack([counted.cpu() for counted in self._layers.values()])


class Passes:
    """The hooks of a worker: what they do now, and to which rows of the pass under way.

    Args:
        sites: Where the worker has its activations.
        batch: Whose tokens it runs.
    """

    def __init__(self, sites: ServedSites, batch: RunningBatch) -> None:
        self.sites, self.batch = sites, batch
        self.counts: ServedCounts | None = None
        self.plans: dict[str, ServedPlan] = {}
        self.unknown: set[str] = set()  # names that requests gave and no plan has
        self._counted: torch.Tensor | None = None
        self._edited: list[tuple[ServedPlan, torch.Tensor]] = []

    def begin(self, _model: nn.Module, _args: tuple, kwargs: dict[str, Any]) -> None:
        """Runs before the model: which rows of this pass are counted, and which are edited by which plan."""
        positions = kwargs["positions"]
        positions = positions[0] if positions.dim() > 1 else positions  # of several kinds, for text all the same
        counts, self._counted = self.counts, None
        rows: dict[str, list[torch.Tensor]] = {}
        for request, span in self.batch.rows():
            places = positions[span]
            if counts is not None and BLOCK in request.extra:
                if self._counted is None:
                    self._counted = torch.zeros((counts.rows, len(positions)), device=positions.device)
                inside = (places >= counts.before) & (places < counts.before + counts.block)
                self._counted[request.extra[BLOCK], span] = inside.float()
            if (name := request.extra.get(PLAN)) is None:
                continue
            if name not in self.plans:
                self.unknown.add(str(name))
                continue
            chosen = torch.arange(span.start, span.stop, device=positions.device)
            if (where := self.plans[name].positions) != "all":
                chosen = chosen[(places < request.prompt_tokens) == (where == "prompt")]
            rows.setdefault(name, []).append(chosen)
        self._edited = [(self.plans[name], torch.cat(found)) for name, found in rows.items()]
        if counts is not None and self._counted is not None:
            counts.tokens += int(self._counted.sum())

    def passed(self, layer: int, module: nn.Module, given: torch.Tensor, output: torch.Tensor) -> None:
        """Runs after the activation module of a layer: counts, then edits its output in place."""
        if self.counts is not None and self._counted is not None:
            self.counts.add(layer, self.sites.activation(module, given, output), self._counted)
        up = given[..., self.sites.neurons :] if self.sites.gated else None
        activation = partial(self.sites.activation, module, given, output)
        for plan, rows in self._edited:
            for cells in plan.layers.get(layer, ()):
                cells.edit(output, up, rows, activation)
