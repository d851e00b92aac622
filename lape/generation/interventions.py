"""Switch neurons during a forward pass: off, replaced, added to, or scaled.

Hooks sit on the activation module of each edited layer of the unmodified model and come off when the
block ends. One plan serves a whole batch, or every row has its own, so that the untouched model and its
variants run side by side in one pass.

Hooks belong to the model, not to a thread: do not run two plans on one model at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal, get_args

import torch
from torch import nn
from transformers import PreTrainedModel

from lape.errors import HookNotFired, LapeError, MeansMissing, unknown_label
from lape.masks.mask import NeuronMask
from lape.models.architectures import activation_sites

Mode = Literal["replace", "add", "scale"]
Positions = Literal["all", "prompt", "generated"]

# How the page, the command line and the library switch a language on where nothing else is said.
MODE: Mode = "replace"
STRENGTH = 2.0


@dataclass(frozen=True)
class Intervention:
    """What is done to activations, for some languages of a mask: first off, then on.

    Neurons shared by an off language and the on language stay the on language's.

    Attributes:
        mask: Where the languages' neurons and means are.
        off: Language or languages whose neurons are set to `off_value`.
        on: Language whose neurons are switched on, or None.
        mode: How: `replace` sets strength x mean, `add` adds strength x mean, `scale` multiplies by strength.
        strength: Factor of the mode; the default is that of the page and of `lape generate`, and suits `replace`.
        off_value: Activation of a neuron that is off.
        layers: Layers to edit; None is all of them.
        positions: `all`, only those of the `prompt` (the pass that begins with an empty key-value cache),
            or only those `generated` after it.

    Raises:
        UnknownLabel: A language, mode or position does not exist; names the near ones.
        MeansMissing: `replace` or `add` with a mask that has no means for the language.
    """

    mask: NeuronMask
    _: KW_ONLY
    off: str | Sequence[str] = ()
    on: str | None = None
    mode: Mode = MODE
    strength: float = STRENGTH
    off_value: float = 0.0
    layers: range | None = None
    positions: Positions = "all"

    def __post_init__(self) -> None:
        off = (self.off,) if isinstance(self.off, str) else tuple(self.off)
        object.__setattr__(self, "off", off)
        for code in (*off, *([self.on] if self.on is not None else [])):
            self.mask.known(code)
        if self.mode not in get_args(Mode):
            raise unknown_label("mode", self.mode, get_args(Mode))
        if self.positions not in get_args(Positions):
            raise unknown_label("positions", self.positions, get_args(Positions))
        for name in ("strength", "off_value"):
            if not abs(getattr(self, name)) < float("inf"):
                raise LapeError(f"{name} must be a finite number, not {getattr(self, name)}.")
        if self.on is not None and self.mode != "scale" and self.on not in self.mask.means:
            raise MeansMissing(
                f"The mask has no mean activations for {self.on!r}, so {self.mode!r} cannot switch it on. "
                "Make them with `lape calibrate`, or use mode 'scale'."
            )

    @property
    def off_neurons(self) -> torch.Tensor:
        """Sorted flat indices of the neurons that are set to `off_value`."""
        if not self.off:
            return torch.empty(0, dtype=torch.long)
        off = torch.cat([self.mask.flat(code) for code in self.off]).unique()
        return off[self._edited(off)] if self.on is None else off[self._edited(off) & ~torch.isin(off, self.on_neurons)]

    @property
    def on_neurons(self) -> torch.Tensor:
        """Sorted flat indices of the neurons that are switched on."""
        if self.on is None:
            return torch.empty(0, dtype=torch.long)
        flat = self.mask.flat(self.on)
        return flat[self._edited(flat)]

    @property
    def count(self) -> int:
        """How many neurons are changed."""
        return len(self.off_neurons) + len(self.on_neurons)

    def _edited(self, flat: torch.Tensor) -> torch.Tensor:
        """Which of these neurons lie in the edited layers."""
        if self.layers is None:
            return torch.ones(len(flat), dtype=torch.bool)
        return torch.isin(flat // self.mask.shape[1], torch.tensor(list(self.layers), dtype=torch.long))

    def operations(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """What is done: operation (`set`, `add`, `scale`) to flat indices `[n]` and values `[n]`.

        Operations that change nothing are left out: `add` of strength 0 and `scale` by 1.
        """
        off, on = self.off_neurons, self.on_neurons
        neurons, values = off, torch.full((len(off),), float(self.off_value))
        done = {}
        if self.on is not None and self.mode == "scale":
            if self.strength != 1:
                done["scale"] = on, torch.full((len(on),), float(self.strength))
        elif self.on is not None:
            flat = self.mask.flat(self.on)
            means = self.strength * self.mask.means[self.on][self._edited(flat)]
            if self.mode == "replace":
                neurons, values = torch.cat([off, on]), torch.cat([values, means])
            elif self.strength != 0:
                done["add"] = on, means
        return {"set": (neurons, values), **done}


Plan = Intervention | Sequence[Intervention | None]


@contextmanager
def intervene(model: PreTrainedModel, plan: Plan) -> Iterator[None]:
    """Switches neurons of a model for as long as the block runs.

    Works under `generate`, key-value caches, quantised weights and device maps. Under gradients the activation
    is copied, otherwise it is edited in place.

    Args:
        model: The unmodified model.
        plan: One intervention for every row of a batch, or one per row, None for an untouched row. A list
            refuses a batch of another size; so beams and several return sequences, which multiply rows, unless
            their product happens to be the plan's length.

    Raises:
        MaskMismatch: A mask is for a model of another shape.
        LapeError: The batch does not have one row per entry of the plan, or `positions` is used without a cache.
        HookNotFired: On a clean exit, when the decoder ran and an edited layer's activation was not seen.

    Example:
        >>> with intervene(model, Intervention(mask, off="fr")):  # doctest: +SKIP
        ...     model.generate(**inputs)
    """
    rows = None if isinstance(plan, Intervention) else len(plan)
    if rows == 0:
        raise LapeError("The plan has no rows; give one entry per row of the batch.")
    entries = [plan] if isinstance(plan, Intervention) else list(plan)
    sites = activation_sites(model)
    for mask in {id(entry.mask): entry.mask for entry in entries if entry is not None}.values():
        mask.check(model)
    for entry in entries:
        if entry is not None and entry.layers is not None and not set(entry.layers) <= set(range(sites.shape[0])):
            raise LapeError(
                f"{entry.layers} names layers the model does not have; its layers are 0 to {sites.shape[0] - 1}."
            )

    run = _Run(rows, any(entry is not None and entry.positions != "all" for entry in entries))
    edits = _layer_edits(entries, sites.shape, run)
    with ExitStack() as stack:
        if edits or rows is not None:
            stack.callback(sites.decoder.register_forward_pre_hook(run.begin, with_kwargs=True).remove)
        for layer, edit in edits.items():
            stack.callback(sites.modules[layer].register_forward_hook(edit).remove)
        yield
        silent = sorted(layer for layer, edit in edits.items() if not edit.fired)
        if run.passes and silent:
            raise HookNotFired(
                f"The decoder ran, but the activations of layers {silent} did not pass their hooks, so those neurons "
                "were not switched. A fused kernel or a compiled model bypasses them; load the model without."
            )


class _Run:
    """What the decoder's current pass is: how many rows, and whether it reads the prompt."""

    def __init__(self, rows: int | None, needs_cache: bool) -> None:
        self.rows = rows
        self.needs_cache = needs_cache
        self.batch = 0
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


@dataclass(frozen=True)
class _Cells:
    """Neurons of one layer that get the same operation at the same positions.

    Attributes:
        operation: `set`, `add` or `scale`.
        positions: Passes it applies to.
        rows: int64 `[n]`, or a full slice when every row is edited.
        columns: int64 `[n]`.
        values: `[n, 1]`, one per cell for all positions.
    """

    operation: str
    positions: Positions
    rows: torch.Tensor | slice
    columns: torch.Tensor
    values: torch.Tensor

    def like(self, activation: torch.Tensor) -> _Cells:
        """The same cells on the device and in the dtype of an activation."""
        device = activation.device
        rows = self.rows if isinstance(self.rows, slice) else self.rows.to(device)
        return replace(self, rows=rows, columns=self.columns.to(device), values=self.values.to(activation))

    def edit(self, activation: torch.Tensor) -> None:
        """Changes an activation `[batch, neuron, position]` in place."""
        if self.operation == "set":
            activation[self.rows, self.columns] = self.values
        elif self.operation == "add":
            activation[self.rows, self.columns] += self.values
        else:
            activation[self.rows, self.columns] *= self.values


class _LayerEdit:
    """The forward hook of one edited layer."""

    def __init__(self, cells: list[_Cells], run: _Run) -> None:
        self.cells = cells
        self.run = run
        self.fired = False
        self._placed: dict[tuple[torch.device, torch.dtype], list[_Cells]] = {}

    def __call__(self, _module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        self.fired = True
        edited = output.clone() if output.requires_grad else output
        place = (edited.device, edited.dtype)
        if place not in self._placed:
            self._placed[place] = [cells.like(edited) for cells in self.cells]
        # OPT flattens its activations to [batch * position, neuron].
        by_row = edited if edited.dim() == 3 else edited.view(self.run.batch, -1, edited.shape[-1])
        for cells in self._placed[place]:
            if cells.positions in ("all", self.run.positions):
                cells.edit(by_row.transpose(1, 2))
        return edited


def _layer_edits(entries: Sequence[Intervention | None], shape: tuple[int, int], run: _Run) -> dict[int, _LayerEdit]:
    """Compiles a plan into one hook per edited layer."""
    parts: dict[tuple[str, Positions], list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]] = {}
    for row, entry in enumerate(entries):
        if entry is None:
            continue
        for operation, (flat, values) in entry.operations().items():
            parts.setdefault((operation, entry.positions), []).append((torch.full_like(flat, row), flat, values))
    cells: dict[int, list[_Cells]] = {}
    for (operation, positions), found in parts.items():
        rows, flat, values = (torch.cat(tensors) for tensors in zip(*found, strict=True))
        layers = flat // shape[1]
        for layer in layers.unique().tolist():
            here = layers == layer
            edited_rows = slice(None) if run.rows is None else rows[here]
            columns, column_values = flat[here] % shape[1], values[here][:, None]
            cells.setdefault(layer, []).append(_Cells(operation, positions, edited_rows, columns, column_values))
    return {layer: _LayerEdit(cells[layer], run) for layer in sorted(cells)}
