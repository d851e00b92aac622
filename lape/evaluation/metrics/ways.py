"""Ways of switching the language of outputs, each at some strengths: by a mask's neurons, and the rivals of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lape.generation.constrained import SoftConstraint
from lape.generation.interventions import Entry, Intervention
from lape.generation.residual import ResidualIntervention
from lape.generation.settings import Mode
from lape.masks.calibration import with_differences
from lape.masks.mask import NeuronMask
from lape.recording.residual_means import ResidualMeans
from lape.recording.statistics import ActivationStatistics
from lape.recording.vocabulary import TokenCounts


@dataclass(frozen=True)
class Way:
    """A way of switching from one language to another.

    Attributes:
        text: What it does, for people.
        kind: What it switches with: a mask, residual means or counts of tokens.
        entry: `(what it switches with, source, target, strength) -> Entry`.
        strengths: That are tried unless somebody says otherwise.
        prepared: `(mask, statistics, source) -> mask`, what is made of a mask before; None takes it as it is.
    """

    text: str
    kind: type[NeuronMask] | type[ResidualMeans] | type[TokenCounts]
    entry: Callable[[Any, str, str, float], Entry]
    strengths: Sequence[float]
    prepared: Callable[[NeuronMask, ActivationStatistics, str], NeuronMask] | None = None

    @property
    def neurons(self) -> bool:
        """Whether it switches the neurons of a mask."""
        return self.kind is NeuronMask


def neurons(mode: Mode, mask: NeuronMask, source: str, target: str, strength: float) -> Intervention:
    """The neurons of the source off, and those of the target on."""
    return Intervention(mask, off=source, on=target, mode=mode, strength=strength)


def moved_from(mask: NeuronMask, statistics: ActivationStatistics, source: str) -> NeuronMask:
    """A mask that moves the source's neurons and those of each target by the difference of their means."""
    return with_differences(mask, statistics, off=source, both=True)


def residual(method: str, means: ResidualMeans, source: str, target: str, strength: float) -> ResidualIntervention:
    """The residual stream moved from the source to the target."""
    return ResidualIntervention(means, off=source, on=target, method=method, strength=strength)


def constraint(counts: TokenCounts, source: str, target: str, strength: float) -> SoftConstraint:
    """Tokens that the target's text does not use made less likely; the source does not matter."""
    return SoftConstraint(counts, on=target, strength=strength)


WAYS: Mapping[str, Way] = {
    "replace": Way(
        "neurons of the source off, of the target set to a multiple of their mean",
        NeuronMask,
        partial(neurons, "replace"),
        (1.0, 1.25, 1.5),
    ),
    "add": Way(
        "neurons of the source off, a multiple of their mean added to the target's",
        NeuronMask,
        partial(neurons, "add"),
        (1.0, 1.5, 2.0),
    ),
    "scale": Way(
        "neurons of the source off, the target's multiplied", NeuronMask, partial(neurons, "scale"), (2.0, 4.0, 8.0)
    ),
    "difference": Way(
        "neurons of the source and of the target moved by the difference of their means",
        NeuronMask,
        partial(neurons, "add"),
        (1.0, 1.5, 2.0),
        moved_from,
    ),
    "diffmean": Way(
        "residual stream moved by the difference of means, at one layer",
        ResidualMeans,
        partial(residual, "diffmean"),
        (0.75, 1.0, 1.25),
    ),
    "dimensions": Way(
        "the dimensions of the residual stream that differ most overwritten, at one layer",
        ResidualMeans,
        partial(residual, "dimensions"),
        (0.5, 0.75, 1.0),
    ),
    "recover": Way(
        "residual stream moved a little after every layer, its length kept",
        ResidualMeans,
        partial(residual, "recover"),
        (1.0, 1.5, 2.0),
    ),
    "lda": Way(
        "residual stream moved along the discriminants, at the middle layer",
        ResidualMeans,
        partial(residual, "lda"),
        (0.75, 1.0, 1.25),
    ),
    "constraint": Way(
        "tokens that the target's text does not use made less likely", TokenCounts, constraint, (2.0, 5.0, 10.0)
    ),
}
