"""Switch neurons during a forward pass: off, replaced, added to, or scaled.

Hooks sit on the activation module of each edited layer of the unmodified model and come off when the
block ends. Beside neurons a plan may hold their rivals: moves of the residual stream (`lape.generation.residual`)
and penalties on tokens (`lape.generation.constrained`). One plan serves a whole batch, or every row has its own, so
that the untouched model and its variants run side by side in one pass.

Hooks belong to the model, not to a thread: do not run two plans on one model at the same time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import KW_ONLY, dataclass
from typing import Literal, TypeVar, get_args

import torch
from transformers import PreTrainedModel

from lape.errors import HookNotFired, LapeError, LapeWarning, MeansMissing, unknown_label
from lape.generation.constrained import SoftConstraint, logit_edits
from lape.generation.edits import Edits, Operation, Positions, Run, check_edit, check_layers, layer_edits
from lape.generation.residual import ResidualIntervention
from lape.generation.residual_edits import stream_edits
from lape.generation.settings import MODE, STRENGTH, Mode, OffMode
from lape.masks.mask import NeuronMask
from lape.models.architectures import activation_sites, decoder_layers
from lape.models.hooks import hooked
from lape.storage.brief import brief


@dataclass(frozen=True)
class Intervention:
    """What is done to activations, for some languages of a mask: first off, then on.

    Neurons shared by an off language and the on language stay the on language's.

    Attributes:
        mask: Where the languages' neurons and means are.
        off: Language or languages whose neurons are switched off.
        on: Language whose neurons are switched on, or None.
        mode: How: `replace` sets strength x mean, `add` adds strength x mean, `scale` multiplies by strength.
        strength: Factor of the mode; the default is that of the page and of `lape generate`, and suits `replace`.
        off_value: Activation of a neuron that is off; `mean` is its mean over the languages it is none of, which
            the mask must carry (`lape.masks.calibration.with_other_means`).
        off_mode: `set` sets the activation to `off_value`, `scale` multiplies it by `off_value`.
        off_within: Switches a neuron off only at tokens where its activation lies within so many standard deviations
            of its mean over a language that is off and has it; the mask must carry both
            (`lape.masks.calibration.with_deviations`). None switches it off at all tokens.
        layers: Layers to edit; None is all of them.
        positions: `all`, only those of the `prompt` (the pass that begins with an empty key-value cache),
            or only those `generated` after it.

    Raises:
        UnknownLabel: A language, mode or position does not exist; names the near ones.
        MeansMissing: `replace` or `add` with a mask that has no means for the language, off by `mean` with one that
            has none over other languages, or `off_within` with one that has no deviations.
        LapeError: A number is out of range.
    """

    __repr__ = brief

    mask: NeuronMask
    _: KW_ONLY
    off: str | Sequence[str] = ()
    on: str | None = None
    mode: Mode = MODE
    strength: float = STRENGTH
    off_value: float | Literal["mean"] = 0.0
    off_mode: OffMode = "set"
    off_within: float | None = None
    layers: range | None = None
    positions: Positions = "all"

    def __post_init__(self) -> None:
        off = (self.off,) if isinstance(self.off, str) else tuple(self.off)
        object.__setattr__(self, "off", off)
        for code in (*off, *([self.on] if self.on is not None else [])):
            self.mask.known(code)
        for name, value, modes in (("mode", self.mode, Mode), ("off_mode", self.off_mode, OffMode)):
            if value not in get_args(modes):
                raise unknown_label(name, value, get_args(modes))
        check_edit(self.positions, strength=self.strength)
        if isinstance(self.off_value, str):
            self._check_other_means()
        else:
            check_edit(self.positions, off_value=self.off_value)
        if self.off_within is not None:
            self._check_deviations(self.off_within)
        if self.on is not None and self.mode != "scale" and self.on not in self.mask.means:
            raise MeansMissing(
                f"The mask has no mean activations for {self.on!r}, so {self.mode!r} cannot switch it on. "
                "Make them with `lape calibrate`, or use mode 'scale'."
            )

    def _check_other_means(self) -> None:
        if self.off_value != "mean":
            raise unknown_label("off_value that is no number", str(self.off_value), ["mean"])
        if self.off_mode == "scale":
            raise LapeError("off_mode 'scale' multiplies by off_value, which must then be a number, not 'mean'.")
        if missing := [code for code in self.off if code not in self.mask.other_means]:
            raise MeansMissing(
                f"The mask has no means over other languages for {', '.join(missing)}, so 'mean' cannot switch them "
                "off. Give it them with lape.masks.calibration.with_other_means, or set off_value to a number."
            )

    def _check_deviations(self, deviations: float) -> None:
        check_edit(self.positions, off_within=deviations)
        if deviations < 0:
            raise LapeError(f"off_within must be at least 0 deviations, not {deviations}.")
        known = self.mask.own_means.keys() & self.mask.deviations.keys()
        if missing := [code for code in self.off if code not in known]:
            raise MeansMissing(
                f"The mask has no deviations for {', '.join(missing)}, which off_within needs. Give it them with "
                "lape.masks.calibration.with_deviations, or leave off_within out."
            )

    @property
    def off_neurons(self) -> torch.Tensor:
        """Sorted flat indices of the neurons that are switched off."""
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

    def operations(self) -> list[Operation]:
        """What is done; operations that change nothing are left out: `add` of strength 0 and `scale` by 1."""
        done = []
        if self.off and (self.off_mode, self.off_value) != ("scale", 1):
            done.append(self._switched_off(self.off_neurons))
        if self.on is None or (self.mode, self.strength) in (("add", 0), ("scale", 1)):
            return done
        flat = self.mask.flat(self.on)
        factors = torch.ones(len(flat)) if self.mode == "scale" else self.mask.means[self.on]
        values = (self.strength * factors)[self._edited(flat)]
        return [*done, Operation("set" if self.mode == "replace" else self.mode, self.on_neurons, values)]

    def _switched_off(self, off: torch.Tensor) -> Operation:
        """What is done to neurons of languages that are off, by their sorted flat indices."""
        # Each neuron of each language, those of a neuron beside each other in the order of the languages.
        flat, order = torch.cat([self.mask.flat(code) for code in self.off]).sort(stable=True)
        first = torch.searchsorted(flat, off)

        def column(numbers: Mapping[str, torch.Tensor]) -> torch.Tensor:
            return torch.cat([numbers[code] for code in self.off])[order]

        if isinstance(self.off_value, str):  # of several languages that have a neuron the first
            values = column(self.mask.other_means)[first]
        else:
            values = torch.full((len(off),), float(self.off_value))
        if self.off_within is None:
            return Operation(self.off_mode, off, values)
        number = torch.searchsorted(flat, off, right=True) - first  # of languages that have it
        places = torch.arange(int(number.max()) if len(off) else 1)[:, None]
        every = first + torch.minimum(places, number - 1)  # a neuron of fewer languages has its last range again
        middle, reach = column(self.mask.own_means), self.off_within * column(self.mask.deviations)
        return Operation(self.off_mode, off, values, torch.stack([middle - reach, middle + reach])[:, every])


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
