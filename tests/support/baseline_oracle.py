"""The other identification methods, and every method's order, in plain Python loops from their definitions.

Counts and sums come as `[code][layer][neuron]`; neurons go out as (layer, neuron).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lape_oracle
from lape_oracle import Neuron, order_statistic, probabilities

Values = Mapping[Neuron, Mapping[str, float]]
Ranked = dict[str, list[tuple[tuple[float, ...], Neuron]]]  # best first, with the key each was sorted by

CODES = ("en", "zh", "fr", "es", "vi", "id", "ja", "de")


class NoWeight(Exception):
    """The alignment score finds no weight that keeps every neuron from all languages."""


@dataclass
class Case:
    """What was counted."""

    active: dict[str, list[list[int]]]
    positive_sum: dict[str, list[list[float]]]
    tokens: dict[str, int]


def random_case(seed: int) -> Case:
    """Counts and sums from few values, so that ties are many, with dead neurons and silent languages."""
    draw = random.Random(seed)
    layers, neurons = draw.randint(1, 4), draw.randint(1, 20)
    tokens = {code: draw.randint(1, 6) for code in draw.sample(CODES, draw.randint(2, 6))}
    dead = {(layer, neuron) for layer in range(layers) for neuron in range(neurons) if draw.random() < 0.2}
    active = {}
    for code, count in tokens.items():
        most = 0 if draw.random() < 0.05 else count
        active[code] = [
            [0 if (layer, neuron) in dead else draw.randint(0, most) for neuron in range(neurons)]
            for layer in range(layers)
        ]
    sums = {code: [[count * draw.choice([0.25, 0.5, 1.5]) for count in row] for row in active[code]] for code in active}
    return Case(active, sums, tokens)


def random_settings(method: str, seed: int) -> dict[str, Any]:
    """Settings of a method, edges included."""
    draw = random.Random(f"{method} {seed}")
    top_rate = draw.choice([1e-6, 1, *(1 - draw.random() for _ in range(6))])
    rates = [draw.choice([0, 0.95, 1, *(draw.uniform(0, 0.9) for _ in range(9))]) for _ in range(2)]
    weight = draw.choice([None, None, None, 0, 0.05, 0.2, 1.5])
    every = {
        "top_rate": top_rate,
        "filter_rate": rates[0],
        "activation_bar_ratio": rates[1],
        "min_probability": draw.choice([0, 0.2, 0.5, 2 / 3, 1]),
        "weight": weight,
    }
    return {name: every[name] for name in SETTINGS[method]}


SETTINGS = {
    "lape": ("top_rate", "filter_rate", "activation_bar_ratio"),
    "lave": ("top_rate", "filter_rate", "activation_bar_ratio"),
    "lap": ("min_probability",),
    "probability": ("top_rate",),
    "difference": ("top_rate",),
    "margin": ("top_rate",),
    "alignment": ("top_rate", "activation_bar_ratio", "weight"),
}
CUT = dict.fromkeys(SETTINGS, "top_rate") | {"lap": "min_probability", "alignment": None}


def select(method: str, case: Case, settings: Mapping[str, Any]) -> dict[str, list[Neuron]]:
    """The neurons of every language by the method's own cut."""
    if method == "lape":
        return lape_oracle.oracle(case.active, case.tokens, **settings)
    if method == "lave":
        return lape_oracle.oracle(case.positive_sum, case.tokens, **settings)
    p = probabilities(case.active, case.tokens)
    if method == "lap":
        bar = settings["min_probability"]
        return {code: sorted(neuron for neuron in p if p[neuron][code] > bar) for code in case.tokens}
    size = round(settings["top_rate"] * len(p))
    if method == "alignment":
        scores, bar = alignment_scores(p, settings)
        kept = sorted(p, key=lambda neuron: (scores[neuron], neuron))[:size]
        return {code: sorted(neuron for neuron in kept if p[neuron][code] > bar) for code in case.tokens}
    return first(rank(method, case, settings), dict.fromkeys(case.tokens, size))


def rank(method: str, case: Case, settings: Mapping[str, Any]) -> Ranked:
    """What the method may select for each language, most specific first."""
    values = probabilities(case.positive_sum if method == "lave" else case.active, case.tokens)
    keys: dict[str, dict[Neuron, tuple[float, ...]]] = {code: {} for code in case.tokens}
    if method in ("lape", "lave"):
        bar = order_statistic(values, settings["activation_bar_ratio"])
        for entropy, neuron in lape_oracle.ranking(values, settings["filter_rate"]):
            for code, value in values[neuron].items():
                if value > bar:
                    keys[code][neuron] = (entropy, -value)
    elif method == "alignment":
        scores, bar = alignment_scores(values, settings)
        for neuron, by_language in values.items():
            for code, value in by_language.items():
                if value > bar:
                    keys[code][neuron] = (scores[neuron], -value)
    else:
        for neuron, by_language in values.items():
            for code, value in by_language.items():
                others = [by_language[other] for other in by_language if other != code]
                less = {"difference": sum(others) / len(others), "margin": max(others)}.get(method, 0.0)
                score = round(value - less, 12)
                if score > 0:
                    keys[code][neuron] = (-score,)
    return {code: sorted((key, neuron) for neuron, key in of_code.items()) for code, of_code in keys.items()}


def first(ranked: Ranked, counts: Mapping[str, int]) -> dict[str, list[Neuron]]:
    """The first neurons of each ranking."""
    return {code: sorted(neuron for _, neuron in ranked[code][: counts[code]]) for code in ranked}


def alignment_scores(p: Values, settings: Mapping[str, Any]) -> tuple[dict[Neuron, float], float]:
    """Score of every neuron, and the bar of membership."""
    bar = order_statistic(p, settings["activation_bar_ratio"])
    weight = settings["weight"]
    if weight is None:
        weight = largest_weight(p, bar, round(settings["top_rate"] * len(p)))
    return {neuron: alignment_score(list(p[neuron].values()), weight) for neuron in p}, bar


def alignment_score(values: Sequence[float], weight: float) -> float:
    languages, total = len(values), sum(values)
    norm = sum(1 / rank for rank in range(1, languages + 1)) / languages
    if total == 0:
        return 1.0
    shares = [value / total for value in values]
    entropy = sum(-share * math.log(share) for share in shares if share > 0)
    return round(entropy / math.log(languages) - weight * max(values) / norm, 12)


def largest_weight(p: Values, bar: float, size: int) -> float:
    def separates(weight: float) -> bool:
        order = sorted(p, key=lambda neuron: (alignment_score(list(p[neuron].values()), weight), neuron))
        return not any(all(value > bar for value in p[neuron].values()) for neuron in order[:size])

    low, high = 0.0, 0.2
    if separates(high):
        return high
    passed = [low] if separates(low) else []
    while high - low > 1e-3:
        middle = (low + high) / 2
        if separates(middle):
            passed.append(middle)
            low = middle
        else:
            high = middle
    if not passed:
        raise NoWeight
    return passed[-1]
