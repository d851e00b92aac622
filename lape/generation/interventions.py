"""Switch neurons during a forward pass: off, replaced, added to, or scaled.

Hooks sit on the activation module of each edited layer of the unmodified model and come off when the
block ends. Beside neurons a plan may hold their rivals: moves of the residual stream (`lape.generation.residual`)
and penalties on tokens (`lape.generation.constrained`). One plan serves a whole batch, or every row has its own, so
that the untouched model and its variants run side by side in one pass.

Hooks belong to the model, not to a thread: do not run two plans on one model at the same time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass
from typing import TypeVar, get_args

import torch
from transformers import PreTrainedModel

from lape.errors import HookNotFired, LapeError, LapeWarning, MeansMissing, unknown_label
from lape.generation.constrained import SoftConstraint, logit_edits
from lape.generation.edits import Edits, Operations, Positions, Run, check_edit, check_layers, layer_edits
from lape.generation.residual import ResidualIntervention
from lape.generation.residual_edits import stream_edits
from lape.generation.settings import MODE, STRENGTH, Mode
from lape.masks.mask import NeuronMask
from lape.models.architectures import activation_sites, decoder_layers
from lape.models.hooks import hooked


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
        check_edit(self.positions, strength=self.strength, off_value=self.off_value)
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

    def operations(self) -> Operations:
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


Entry = Intervention | ResidualIntervention | SoftConstraint
Kind = TypeVar("Kind", Intervention, ResidualIntervention, SoftConstraint)
Plan = Entry | Sequence[Entry | None]


@contextmanager
def intervene(model: PreTrainedModel, plan: Plan) -> Iterator[None]:
    """Switches neurons of a model, or its residual stream or logits, for as long as the block runs.

    Works under `generate`, key-value caches, quantised weights and device maps. Under gradients the activation
    is copied, otherwise it is edited in place. What torch.compile made runs uncompiled meanwhile, and is switched.
    A copy of the model that is made in the block, by `copy.deepcopy` or pickled, is not switched, nor is what
    torch.jit or torch.export made of it before.

    Args:
        model: The unmodified model.
        plan: One intervention for every row of a batch, or one per row, None for an untouched row; rows may have
            interventions of different kinds, and blocks nest. A list refuses a batch of another size; so beams and
            several return sequences, which multiply rows, unless their product happens to be the plan's length.

    Raises:
        MaskMismatch: A mask is, or residual means are, for a model of another shape.
        LapeError: The batch does not have one row per entry of the plan, or `positions` is used without a cache.
        HookNotFired: On a clean exit, when the decoder ran and what is to be edited was not seen. There is a warning
            where the decoder did not run.

    Example:
        >>> with intervene(model, Intervention(mask, off="fr")):  # doctest: +SKIP
        ...     model.generate(**inputs)
    """
    rows = None if isinstance(plan, Entry) else len(plan)
    if rows == 0:
        raise LapeError("The plan has no rows; give one entry per row of the batch.")
    entries = [plan] if isinstance(plan, Entry) else list(plan)
    needs_cache = any(entry is not None and entry.positions != "all" for entry in entries)
    run = Run(rows, needs_cache)
    kinds = (
        _activation_edits(model, _only(Intervention, entries), run),
        stream_edits(model, _only(ResidualIntervention, entries), run),
        logit_edits(model, _only(SoftConstraint, entries), run),
    )
    edited = any(kind.places for kind in kinds)
    with ExitStack() as stack:
        if edited or rows is not None:
            stack.enter_context(hooked(before={decoder_layers(model)[0]: run.begin}))
        for kind in kinds:
            stack.enter_context(kind.watching)
        yield
    for kind in kinds:
        if run.passes and kind.silent:
            raise HookNotFired(f"The decoder ran, but {kind.missed.format(kind.silent)}")
    if edited and not run.batch:
        warnings.warn(
            "The model did not run inside the block, so nothing was switched. A program that torch.jit or "
            "torch.export made of it is another model; call the model itself.",
            LapeWarning,
            stacklevel=3,
        )


def _only(kind: type[Kind], entries: Sequence[Entry | None]) -> list[Kind | None]:
    """A plan without the entries of other kinds."""
    return [entry if isinstance(entry, kind) else None for entry in entries]


def _activation_edits(model: PreTrainedModel, entries: Sequence[Intervention | None], run: Run) -> Edits:
    """What a plan does to activations."""
    missed = (
        "the activations of layers {} did not pass their hooks, so those neurons were not switched. A fused kernel "
        "bypasses them; load the model without."
    )
    if not any(entries):
        return Edits({}, nullcontext(), missed)
    sites = activation_sites(model)
    for mask in {id(entry.mask): entry.mask for entry in entries if entry is not None}.values():
        mask.check(model)
    for entry in entries:
        if entry is not None:
            check_layers(entry.layers, sites.shape[0])
    operations = [None if entry is None else (entry.operations(), entry.positions) for entry in entries]
    edits = layer_edits(operations, sites, run)
    return Edits(edits, sites.watch(edits), missed)
