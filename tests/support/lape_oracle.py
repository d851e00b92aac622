"""LAPE in plain Python loops, straight from its definition: what the library must equal, neuron for neuron.

Counts come as `active[code][layer][neuron]`, neurons go out as (layer, neuron).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Counts = Mapping[str, Sequence[Sequence[int]]]
Neuron = tuple[int, int]


def oracle(
    active: Counts, tokens: Mapping[str, int], *, top_rate: float, filter_rate: float, activation_bar_ratio: float
) -> dict[str, list[Neuron]]:
    """The neurons of every language."""
    p = probabilities(active, tokens)
    kept = [neuron for _, neuron in ranking(p, filter_rate)[: round(top_rate * len(p))]]
    bar = order_statistic(p, activation_bar_ratio)
    return {code: sorted(neuron for neuron in kept if p[neuron][code] > bar) for code in active}


def ranking(p: Mapping[Neuron, Mapping[str, float]], filter_rate: float) -> list[tuple[float, Neuron]]:
    """The candidates as (entropy, (layer, neuron)), best first."""
    threshold = order_statistic(p, filter_rate)
    candidates = []
    for neuron, by_language in p.items():
        total = sum(by_language.values())
        if total > 0 and any(value > threshold for value in by_language.values()):
            shares = [value / total for value in by_language.values()]
            entropy = sum(-share * math.log(share) for share in shares if share > 0)
            candidates.append((round(entropy, 12), neuron))
    return sorted(candidates)


def order_statistic(p: Mapping[Neuron, Mapping[str, float]], rate: float) -> float:
    """The `round(rate * n)`-th smallest of all n probabilities; rate 0 is the smallest."""
    everything = sorted(value for by_language in p.values() for value in by_language.values())
    return everything[max(round(rate * len(everything)), 1) - 1]


def probabilities(active: Counts, tokens: Mapping[str, int]) -> dict[Neuron, dict[str, float]]:
    """(layer, neuron) -> language code -> share of tokens at which the neuron is active."""
    first = next(iter(active.values()))
    return {
        (layer, neuron): {code: active[code][layer][neuron] / tokens[code] for code in active}
        for layer, row in enumerate(first)
        for neuron in range(len(row))
    }
