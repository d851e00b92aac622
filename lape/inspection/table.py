"""The neurons of a mask one by one: how often each is active in every language, its entropy and its mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lape.errors import LapeError, MaskMismatch, unknown_label
from lape.identify.ranking import stacked
from lape.inspection.firing import entropies
from lape.masks.indices import neuron_name
from lape.masks.mask import NeuronMask
from lape.recording.statistics import ActivationStatistics

SORTS = ("entropy", "probability", "mean", "layer")


@dataclass(frozen=True)
class Neuron:
    """A neuron as one language has it; a neuron of two languages is there twice.

    Attributes:
        language: Code of the language it belongs to.
        layer: Its layer, from 0.
        neuron: Its place in the layer, from 0.
        entropy_nats: Entropy of its probabilities over the mask's languages, low for a neuron of one language; None
            without statistics.
        mean: Its mean activation over that language's tokens; None where it is not known.
        probabilities: Language code to the share of that language's tokens, in a mixture of those routed to its
            expert, at which it is active; empty without statistics.
        means: Language code to its mean activation there; empty without statistics.
        name: Layer and neuron in one, such as `23.476`; with its expert in a mixture, such as `23.e5.476`.
    """

    language: str
    layer: int
    neuron: int
    entropy_nats: float | None
    mean: float | None
    probabilities: Mapping[str, float]
    means: Mapping[str, float]
    name: str

    @property
    def probability(self) -> float | None:
        """Its probability in the language it belongs to."""
        return self.probabilities.get(self.language)


def neuron_table(mask: NeuronMask, statistics: ActivationStatistics | None = None) -> list[Neuron]:
    """Every neuron of a mask, by language, layer and neuron.

    Args:
        mask: Any mask.
        statistics: A recording of the same model with at least the mask's languages; None leaves out what only it
            tells.

    Raises:
        MaskMismatch: The statistics belong to a model of another shape.
        UnknownLabel: They lack a language of the mask.
    """
    if statistics is not None and statistics.shape != mask.shape:
        raise MaskMismatch(f"The mask has the shape {mask.shape}, the statistics {statistics.shape}.")
    codes = mask.languages
    if statistics is not None:
        probability, mean = (stacked(of, codes) for of in (statistics.probability, statistics.mean))
        entropy_nats = entropies(mask, probability)
    rows = []
    for code in codes:
        flat, pairs = mask.flat(code), mask.neurons[code].tolist()
        own = mask.means[code].tolist() if code in mask.means else [None] * len(pairs)
        names = [neuron_name(layer, neuron, mask.shape[1], mask.experts) for layer, neuron in pairs]
        if statistics is None:
            none = zip(pairs, names, own, strict=True)
            rows += [Neuron(code, layer, neuron, None, value, {}, {}, name) for (layer, neuron), name, value in none]
            continue
        by_language = probability[:, flat].T.tolist(), mean[:, flat].T.tolist()
        for (layer, neuron), name, entropy, value, *figures in zip(
            pairs, names, entropy_nats[code].tolist(), own, *by_language, strict=True
        ):
            shares, means = (dict(zip(codes, values, strict=True)) for values in figures)
            rows.append(Neuron(code, layer, neuron, entropy, value, shares, means, name))
    return rows


@dataclass(frozen=True)
class Activity:
    """What the statistics say of a neuron in one language.

    Attributes:
        probability: Share of the language's tokens at which it is active; in a mixture, of those routed to its expert.
        mean: Its mean activation there.
    """

    probability: float
    mean: float


def activity(
    statistics: ActivationStatistics, languages: Sequence[str], layer: int, neuron: int
) -> dict[str, Activity]:
    """What a neuron does in each language, whether it belongs to one or to none.

    Raises:
        UnknownLabel: The statistics lack a language.
    """
    at = layer, neuron
    return {
        code: Activity(float(statistics.probability(code)[at]), float(statistics.mean(code)[at])) for code in languages
    }


def chosen_neurons(
    table: Sequence[Neuron],
    languages: Sequence[str] | None = None,
    sort: str = "entropy",
    limit: int | None = None,
    *,
    layer: int | None = None,
    shared: bool = False,
) -> list[Neuron]:
    """Filters and sorts a table: the most specific first, the most active first, or by place.

    Args:
        table: Of `neuron_table`.
        languages: Codes to keep; None keeps all.
        sort: `entropy` (lowest first), `probability` in its language or `mean` (highest first), or `layer`. What is
            not known comes last, and ties go by layer, neuron and language.
        limit: At most so many; None is all.
        layer: The one to keep; None keeps all.
        shared: Whether to keep only the neurons that belong to every one of the languages, each as a row of the first.

    Raises:
        UnknownLabel: There is no such order.
        LapeError: The limit is negative.
    """
    if sort not in SORTS:
        raise unknown_label("order of neurons", sort, SORTS)
    if limit is not None and limit < 0:
        raise LapeError(f"The limit is a whole number from 0 on, not {limit}.")

    def key(row: Neuron) -> tuple[bool, float, int, int, str]:
        values = {"entropy": row.entropy_nats, "probability": row.probability, "mean": row.mean, "layer": row.layer}
        value = values[sort]
        sign = -1 if sort in ("probability", "mean") else 1
        return value is None, sign * (value or 0.0), row.layer, row.neuron, row.language

    kept = [
        row
        for row in (_shared(table, languages) if shared else table)
        if (languages is None or row.language in languages) and (layer is None or row.layer == layer)
    ]
    return sorted(kept, key=key)[:limit]


def _shared(table: Sequence[Neuron], languages: Sequence[str] | None) -> list[Neuron]:
    """The first language's rows of neurons that belong to all of some languages; None is all of the table."""
    codes = list(languages or dict.fromkeys(row.language for row in table))
    owners: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
    for row in table:
        owners[row.layer, row.neuron].add(row.language)
    return [row for row in table if row.language == codes[0] and owners[row.layer, row.neuron].issuperset(codes)]
