"""CRANE and gradient times activation against plain loops."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import pytest
import torch
from samples import METADATA, neurons_of, statistics_of

import lape
from lape import LapeError
from lape.recording.relevance import BlockRelevance, GradientRelevance, Relevance

Neuron = tuple[int, int]
Values = Mapping[str, list[list[float]]]


def recorded(kind: type[BlockRelevance], values: Values, kurtosis: Values | None = None) -> BlockRelevance:
    relevance = {code: torch.tensor(rows, dtype=torch.float64) for code, rows in values.items()}
    tails = {code: torch.tensor(rows, dtype=torch.float64) for code, rows in (kurtosis or values).items()}
    counts = {code: torch.ones_like(rows).long() for code, rows in relevance.items()}
    sums = {code: torch.ones_like(rows) for code, rows in relevance.items()}
    columns = {"relevance": relevance, "kurtosis": tails, "sum": sums, "active": counts}
    return kind(columns, dict.fromkeys(values, 40), METADATA)


def drawn(seed: int) -> dict[str, list[list[float]]]:
    """Few values, so that ties are many; a language may have nothing."""
    draw = random.Random(seed)
    layers, neurons = draw.randint(1, 3), draw.randint(2, 9)
    choose = [-1.5, -0.25, 0.0, 0.25, 0.5, 3.0] if draw.random() < 0.9 else [0.0]
    codes = draw.sample(["en", "fr", "de", "zh"], draw.randint(2, 4))
    return {code: [[draw.choice(choose) for _ in range(neurons)] for _ in range(layers)] for code in codes}


def of_neurons(rows: list[list[float]]) -> dict[Neuron, float]:
    return {(layer, neuron): value for layer, row in enumerate(rows) for neuron, value in enumerate(row)}


def z_of(rows: list[list[float]]) -> dict[Neuron, float]:
    values = of_neurons(rows)
    mean = sum(values.values()) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values.values()) / len(values))
    return {neuron: round((value - mean) / deviation, 12) if deviation else 0.0 for neuron, value in values.items()}


def scores_of(values: Values) -> dict[str, dict[Neuron, float]]:
    parts = {}
    for code, rows in values.items():
        total = sum(abs(value) for row in rows for value in row)
        parts[code] = {neuron: value / total if total else 0.0 for neuron, value in of_neurons(rows).items()}
    return {
        code: {
            neuron: round(own - sum(parts[other][neuron] for other in parts if other != code) / (len(parts) - 1), 12)
            for neuron, own in of_code.items()
        }
        for code, of_code in parts.items()
    }


@pytest.mark.parametrize("seed", range(40))
def test_both_equal_plain_loops(seed: int) -> None:
    values, draw = drawn(seed), random.Random(seed)
    least = draw.choice([-0.5, 0.0, 1.0, draw.uniform(-1, 2)])
    by_z = {code: z_of(rows) for code, rows in values.items()}
    expected = {code: sorted(neuron for neuron, z in found.items() if z > least) for code, found in by_z.items()}
    assert neurons_of(lape.identify(recorded(Relevance, values), "crane", list(values), min_z=least)) == expected
    size = len(next(iter(by_z.values())))
    count = draw.randint(1, size)
    expected = {code: sorted(sorted(z, key=lambda neuron: (-z[neuron], neuron))[:count]) for code, z in by_z.items()}
    found = lape.identify(recorded(Relevance, values), "crane", list(values), per_language=count)
    assert neurons_of(found) == expected

    rate = draw.uniform(0.05, 1)
    expected = {}
    for code, scores in scores_of(values).items():
        positive = [neuron for neuron, score in scores.items() if score > 0]
        expected[code] = sorted(sorted(positive, key=lambda neuron: (-scores[neuron], neuron))[: round(rate * size)])
    gradients = recorded(GradientRelevance, values)
    assert neurons_of(lape.identify(gradients, "gradient", list(values), top_rate=rate)) == expected


def test_tails_count_for_crane_and_not_the_relevance_itself() -> None:
    # Kurtoses 0 0 0 8: mean 2, deviation 3.46, z -.58 and 1.73.
    tails = {"en": [[0.0, 0.0, 0.0, 8.0]], "fr": [[1.0] * 4]}
    relevance = recorded(Relevance, {"en": [[9.0, 0.0, 0.0, 0.0]], "fr": [[9.0, 0.0, 0.0, 0.0]]}, tails)
    mask = lape.identify(relevance, "crane")
    assert neurons_of(mask) == {"en": [(0, 3)], "fr": []}
    assert mask.metadata["settings"] == {"min_z": 1.0}
    assert mask.means["en"].tolist() == pytest.approx([1 / 40])


def test_each_reads_its_own_recording() -> None:
    values = {"en": [[1.0, 2.0]], "fr": [[2.0, 1.0]]}
    for wrong, method in ((GradientRelevance, "crane"), (Relevance, "gradient")):
        with pytest.raises(LapeError, match=r"identifies neurons from .* make them with lape record --"):
            lape.identify(recorded(wrong, values), method)
    with pytest.raises(LapeError, match="'crane' identifies neurons from relevances, not activation statistics"):
        lape.identify(statistics_of({"en": [[1, 2]], "fr": [[2, 1]]}), "crane")


@pytest.mark.parametrize("least", [math.nan, math.inf, "much", None])
def test_a_least_z_that_is_no_number_is_refused(least: object) -> None:
    with pytest.raises(LapeError, match=f"^min_z is a finite number, not {least}"):
        lape.identify(recorded(Relevance, drawn(1)), "crane", min_z=least)
