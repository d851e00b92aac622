"""Histograms and means of texts with given numbers, and plain loops for what methods make of them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from samples import METADATA

from lape.recording.histograms import ActivationHistograms
from lape.recording.text_means import TextMeans

Members = dict[str, set[int]]


def histograms_of(
    counts: Mapping[str, Sequence[Sequence[int]]], means: Mapping[str, Sequence[float]] | None = None
) -> ActivationHistograms:
    """One layer of neurons with these counts `[neurons][bins]`; means are the mean number of the bin, unless given."""
    tensors = {code: torch.tensor([rows], dtype=torch.int32) for code, rows in counts.items()}
    if means is None:
        places = torch.arange(next(iter(tensors.values())).shape[-1], dtype=torch.float64)
        found = {code: (rows * places).sum(-1) / rows.sum(-1).clamp(min=1) for code, rows in tensors.items()}
    else:
        found = {code: torch.tensor([row], dtype=torch.float64) for code, row in means.items()}
    low = torch.zeros(next(iter(found.values())).shape)
    active = {code: rows[..., 2:].sum(-1) for code, rows in tensors.items()}
    tokens = {code: int(rows.sum(-1).max()) for code, rows in tensors.items()}
    deviations = {code: torch.zeros_like(mean) for code, mean in found.items()}
    metadata = {**METADATA, "tokens": tokens}
    return ActivationHistograms(tensors, low, low + 1, found, deviations, active, tokens, metadata)


def texts_of(means: Mapping[str, Sequence[Sequence[float]]]) -> TextMeans:
    """One layer of neurons with these means `[texts][neurons]`, of texts of 8 tokens; active at half of them."""
    tensors = {code: torch.tensor(rows, dtype=torch.float16)[:, None] for code, rows in means.items()}
    tokens = {code: 8 * len(rows) for code, rows in tensors.items()}
    active = {code: torch.full(rows.shape[1:], tokens[code] // 2) for code, rows in tensors.items()}
    return TextMeans(tensors, active, tokens, {**METADATA, "tokens": tokens})


def random_counts(seed: int, least: int = 2, most: int = 5) -> dict[str, list[list[int]]]:
    """Counts from few values, so that ties are many."""
    draw = random.Random(seed)
    codes = draw.sample(["en", "zh", "fr", "es", "vi"], draw.randint(least, most))
    neurons, bins = draw.randint(1, 6), draw.randint(3, 5)
    return {
        code: [[draw.choice([0, 0, 1, 2, 4]) for _ in range(bins - 1)] + [1] for _ in range(neurons)] for code in codes
    }


def shares(row: Sequence[int]) -> list[float]:
    return [count / sum(row) for count in row]


def overlap(one: Sequence[int], other: Sequence[int]) -> float:
    return round(sum(min(a, b) for a, b in zip(shares(one), shares(other), strict=True)), 12)


def divisions(codes: Sequence[str]) -> list[tuple[set[str], set[str]]]:
    """All ways to divide the languages in two."""
    found = []
    for size in range(1, len(codes) // 2 + 1):
        for side in combinations(codes, size):
            found.append((set(side), set(codes) - set(side)))
    return found


def dln_costs(counts: Mapping[str, Sequence[Sequence[int]]], neuron: int) -> tuple[float, list[set[str]]]:
    """The least cost over all divisions, and the languages that no division of that cost sets apart."""
    rows = {code: of[neuron] for code, of in counts.items()}
    costs = [(max(overlap(rows[a], rows[b]) for a in one for b in other), one) for one, other in divisions(list(rows))]
    least = min(cost for cost, _ in costs)
    best = [one for cost, one in costs if cost == least]
    parts: list[set[str]] = []
    for code in rows:
        together = {other for other in rows if all((code in one) == (other in one) for one in best)}
        if together not in parts:
            parts.append(together)
    return least, parts


def dln_members(
    counts: Mapping[str, Sequence[Sequence[int]]], means: Mapping[str, Sequence[float]], largest: int
) -> dict[str, dict[int, float]]:
    """The neurons of each language whatever they cost, with their cost."""
    found: dict[str, dict[int, float]] = {code: {} for code in counts}
    for neuron in range(len(next(iter(counts.values())))):
        cost, parts = dln_costs(counts, neuron)
        for part in parts:
            inside = [means[code][neuron] for code in part]
            outside = [means[code][neuron] for code in counts if code not in part]
            higher = round(sum(inside) / len(inside), 12) > round(sum(outside) / len(outside), 12)
            if len(part) <= min(largest, len(counts) // 2) and higher:
                for code in part:
                    found[code][neuron] = cost
    return found


def share_above(counts: Mapping[str, Sequence[Sequence[int]]], neuron: int, percentile: float) -> dict[str, float]:
    """The share of each language's tokens above the pooled percentile, the bin that it falls in being divided."""
    of = {code: shares(rows[neuron]) for code, rows in counts.items()}
    pooled = [sum(row) / len(of) for row in zip(*of.values(), strict=True)]
    below = 0.0
    for place, mass in enumerate(pooled):
        if mass > 0 and below + mass >= percentile - 1e-12:
            upper = 1 - max(percentile - below, 0) / mass
            return {code: round(sum(row[place + 1 :]) + upper * row[place], 12) for code, row in of.items()}
        below += mass
    return dict.fromkeys(of, 0.0)


def precision(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """Average precision as scikit-learn defines it: over the distinct values, recall gained times precision there."""
    total, before = 0.0, 0.0
    for value in sorted({*positives, *negatives}, reverse=True):
        found = sum(other >= value for other in positives)
        everything = found + sum(other >= value for other in negatives)
        recall = found / len(positives)
        total += (recall - before) * found / everything
        before = recall
    assert math.isclose(before, 1)
    return round(total, 12)
