"""Expert neurons against average precision in a plain loop."""

from __future__ import annotations

import random
import statistics

import pytest
import torch
from recordings import precision, texts_of
from samples import neurons_of

import lape
from lape.identify.expert import average_precision


def random_means(seed: int) -> dict[str, list[list[float]]]:
    """Means from few values, so that texts tie."""
    draw = random.Random(seed)
    codes = draw.sample(["en", "zh", "fr", "es"], draw.randint(2, 4))
    neurons = draw.randint(1, 7)
    values = [-0.5, 0.0, 0.25, 1.0, 2.0]
    return {code: [[draw.choice(values) for _ in range(neurons)] for _ in range(draw.randint(1, 6))] for code in codes}


def distance(own: list[float], others: list[float]) -> float:
    """The difference of means in standard deviations of all."""
    deviation = statistics.pstdev([*own, *others])
    return round((statistics.fmean(own) - statistics.fmean(others)) / deviation, 9) if deviation else 0.0


def column(rows: list[list[float]], neuron: int) -> list[float]:
    return [row[neuron] for row in rows]


def test_average_precision_is_that_of_a_plain_loop() -> None:
    for seed in range(100):
        means = random_means(seed)
        codes, neurons = list(means), len(next(iter(means.values()))[0])
        expected = {}
        for code in codes:
            others = [row for other in codes if other != code for row in means[other]]
            expected[code] = [precision(column(means[code], at), column(others, at)) for at in range(neurons)]
        found = average_precision(texts_of(means), codes)
        assert found.tolist() == [pytest.approx(expected[code], abs=1e-11) for code in codes], f"seed {seed}"
        rates = {"top_rate": 0.3, "bottom_rate": 0.2}
        mask = lape.identify(texts_of(means), "expert", codes, **rates)
        for row, code in enumerate(codes):
            others = [each for other in codes if other != code for each in means[other]]
            values = found[row].tolist()
            apart = [distance(column(means[code], at), column(others, at)) for at in range(neurons)]
            places = [(-value, -far, at) for at, (value, far) in enumerate(zip(values, apart, strict=True))]
            best = [at for *_, at in sorted(places)][: round(0.3 * neurons)]
            worst = [at for *_, at in sorted((-low, -near, at) for low, near, at in places)][: round(0.2 * neurons)]
            assert neurons_of(mask)[code] == [(0, at) for at in sorted({*best, *worst})], f"seed {seed}"


def test_expert_neurons_by_hand() -> None:
    # en's texts: neuron 0 highest, neuron 1 lowest, neuron 2 the first and the third of four.
    texts = texts_of({"en": [[3, 0, 3], [2, 0, 1]], "fr": [[1, 1, 2], [0, 2, 0]]})
    assert average_precision(texts, ["en", "fr"])[0].tolist() == pytest.approx([1, 1 / 2, (1 + 2 / 3) / 2])
    mask = lape.identify(texts, "expert", per_language=1)
    assert neurons_of(mask) == {"en": [(0, 0)], "fr": [(0, 1)]}
    assert mask.means["en"].tolist() == [2.5]  # between the two texts
    both = lape.identify(texts, "expert", top_rate=1 / 3, bottom_rate=1 / 3)
    assert neurons_of(both)["en"] == [(0, 0), (0, 1)]
    assert torch.equal(both.means["en"], torch.tensor([2.5, 0.0]))
