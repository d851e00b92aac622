"""Neurons of like profile: those whose probabilities over the languages have the same shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lape.errors import LapeError
from lape.identify.ranking import stacked
from lape.masks.indices import neuron_name
from lape.recording.statistics import ActivationStatistics

NEIGHBOURS = 10
DECIMALS = 12  # to which similarities are compared, so that ties do not hang on the order of a sum


@dataclass(frozen=True)
class Neighbour:
    """A neuron, and how alike its profile is to that of another.

    Attributes:
        layer: Its layer, from 0.
        neuron: Its place in the layer, from 0.
        name: Both in one, such as `23.476`.
        similarity: Cosine of the two profiles, from 0 to 1.
        probabilities: Its own, in the order of the languages.
    """

    layer: int
    neuron: int
    name: str
    similarity: float
    probabilities: tuple[float, ...]


def neighbours(
    statistics: ActivationStatistics,
    languages: Sequence[str],
    layer: int,
    neuron: int,
    *,
    among: torch.Tensor | None = None,
    limit: int = NEIGHBOURS,
) -> tuple[Neighbour, ...]:
    """Finds the neurons whose profile is most like that of one.

    A profile is the vector of probabilities to be active over the languages, and likeness its cosine: two neurons of
    French alone are alike though one fires twice as often, and one that fires everywhere is like others that do.

    Args:
        statistics: A recording of the model.
        languages: Codes of those that make a profile.
        layer: Of the neuron.
        neuron: Its place in the layer.
        among: int64 flat indices to choose from, such as those of a mask; None is every neuron of the model.
        limit: At most so many.

    Returns:
        The most alike first, ties by layer and neuron; none for a neuron that is never active, and none that is never
        active.

    Raises:
        UnknownLabel: The statistics lack a language.
        LapeError: There is no such neuron.
    """
    layers, width = statistics.shape
    if not (0 <= layer < layers and 0 <= neuron < width):
        raise LapeError(f"There is no neuron {layer}.{neuron} in these statistics.")
    profiles = stacked(statistics.probability, languages)
    chosen = torch.arange(layers * width) if among is None else among.unique()
    place = layer * width + neuron
    own, norms = profiles[:, place], profiles.norm(dim=0)
    if norms[place] == 0:
        return ()
    chosen = chosen[(norms[chosen] > 0) & (chosen != place)]
    alike = (own @ profiles[:, chosen] / (norms[chosen] * norms[place])).round(decimals=DECIMALS)
    first = alike.argsort(descending=True, stable=True)[:limit]
    found = []
    for flat, similarity in zip(chosen[first].tolist(), alike[first].tolist(), strict=True):
        row, column = divmod(flat, width)
        name = neuron_name(row, column, width, statistics.experts)
        found.append(Neighbour(row, column, name, similarity, tuple(profiles[:, flat].tolist())))
    return tuple(found)
