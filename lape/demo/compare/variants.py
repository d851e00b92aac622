"""The columns of a comparison as interventions: on, off, steered, and what they are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lape.demo.compare.request import MEAN, NEURONS, CompareRequest, only_neurons
from lape.demo.loaded import Loaded
from lape.generation.interventions import Entry, Intervention
from lape.generation.residual import RESIDUAL_METHODS, ResidualIntervention
from lape.generation.settings import layer_range
from lape.masks.calibration import with_other_means
from lape.masks.indices import pairs_of
from lape.masks.mask import NeuronMask

STEERED = "steered:"  # and a language, is the name of a column
Variants = Mapping[str, Entry | None]


def variants_of(loaded: Loaded, request: CompareRequest) -> dict[str, Entry | None]:
    """The columns of a request: name to what is done to the model.

    They are `on`, `off`, `steered:<code>` of each target, `kept`, `residual`, `plain` and `random`. A mask without
    means for a target, such as a released one, has no column for it.

    Args:
        loaded: With the mask itself; the neurons are those of the request's method.
        request: A checked one.

    Raises:
        LapeError: There is no mask.
    """
    loaded = loaded.by_method(request.method)
    mask = _with_means_of_others(loaded, request)
    layers = layer_range(request.layers, mask.shape[0])
    where: dict[str, Any] = {"layers": layers, "positions": request.positions}
    if request.off_value == MEAN:
        where["off_value"] = MEAN
    how: dict[str, Any] = {"mode": request.mode, "strength": request.strength}
    off = Intervention(_of_only(loaded, mask, request), off=request.source, **where)
    steered = [
        replace(off, on=target, **how) for target in request.targets if steers_to(off.mask, target, request.mode)
    ]
    variants: dict[str, Entry | None] = {"on": None, "off": off}
    variants |= {f"{STEERED}{variant.on}": variant for variant in steered}
    if request.keep and steers_to(mask, request.keep, request.mode):
        others = [code for code in mask.languages if code != request.keep]
        variants["kept"] = Intervention(mask, off=others, on=request.keep, **how, **where)
    if request.switching != NEURONS and loaded.residuals is not None:
        variants["residual"] = ResidualIntervention(
            loaded.residuals,
            off=request.source,
            on=request.targets[0],
            method=request.switching,
            strength=RESIDUAL_METHODS[request.switching].strength,
        )
    if request.show_plain:
        variants["plain"] = None
    if request.show_random:
        changing = next(iter(steered), off)
        # Without statistics there are no means to switch random neurons on with.
        like = off if loaded.statistics is None else changing
        variants["random"] = replace(like, mask=_random(loaded, changing, request), off_value=0.0)
    return variants


def steers_to(mask: NeuronMask, target: str, mode: str) -> bool:
    """Whether a mask can switch a language on: all but `scale` need its mean activations."""
    return mode == "scale" or target in mask.means


def _with_means_of_others(loaded: Loaded, request: CompareRequest) -> NeuronMask:
    """The mask, with the means that off by them takes."""
    if request.off_value != MEAN or loaded.statistics is None:
        return loaded.known_mask
    return with_other_means(loaded.known_mask, loaded.statistics)


def _of_only(loaded: Loaded, mask: NeuronMask, request: CompareRequest) -> NeuronMask:
    """The mask, with the neurons that were named in the place of those of the request's languages."""
    named = only_neurons(request.only, mask)
    if named is None:
        return mask
    switched = {request.source, *request.targets}
    neurons = {code: named if code in switched else named[:0] for code in mask.languages}
    made = NeuronMask(neurons, {}, mask.shape, mask.metadata)
    if loaded.statistics is None:
        return made
    made = made.with_means(loaded.statistics, sorted(switched))
    return with_other_means(made, loaded.statistics) if request.off_value == MEAN else made


def neurons_changed(variants: Variants) -> dict[str, tuple[int, int]]:
    """How many neurons are off and on in each column."""
    return {
        name: (len(variant.off_neurons), len(variant.on_neurons)) if isinstance(variant, Intervention) else (0, 0)
        for name, variant in variants.items()
    }


def _random(loaded: Loaded, changing: Intervention, request: CompareRequest) -> NeuronMask:
    """As many random neurons in every layer as an intervention really changes.

    That is fewer than the mask has where its two languages share some.
    """
    mask = loaded.known_mask
    changed = {request.source: changing.off_neurons}
    if changing.on is not None:
        changed[changing.on] = changing.on_neurons
    pairs = {code: pairs_of(flat, mask.shape[1]) for code, flat in changed.items()}
    return NeuronMask(pairs, {}, mask.shape, mask.metadata).random_like(loaded.statistics, request.seed)
