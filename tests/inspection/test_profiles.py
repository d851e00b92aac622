"""Neurons of like profile, against a loop over all of them; names of neurons."""

from __future__ import annotations

import math

import pytest
import torch

from lape import ActivationStatistics
from lape.errors import LapeError
from lape.inspection.profiles import neighbours
from lape.masks.indices import named_neuron, neuron_name

CODES = ("es", "fr", "zh")
SHAPE = (3, 5)


def recorded() -> ActivationStatistics:
    generator = torch.Generator().manual_seed(1)
    counts = {code: torch.randint(0, 4, SHAPE, generator=generator) for code in CODES}
    for code in CODES:
        counts[code][2, 4] = 0  # never active
        counts[code][1, 1] = 2 * counts[code][0, 0]  # the same profile twice
    sums = {code: torch.zeros(SHAPE).double() for code in CODES}
    return ActivationStatistics(counts, sums, sums, {"es": 10, "fr": 20, "zh": 30}, {})


def by_loops(statistics: ActivationStatistics, layer: int, neuron: int) -> list[tuple[float, str]]:
    def profile(at: tuple[int, int]) -> list[float]:
        return [int(statistics.active[code][at]) / statistics.tokens[code] for code in CODES]

    own, found = profile((layer, neuron)), []
    for at in ((row, column) for row in range(SHAPE[0]) for column in range(SHAPE[1])):
        theirs = profile(at)
        if at != (layer, neuron) and any(theirs):
            product = sum(a * b for a, b in zip(own, theirs, strict=True))
            found.append((round(product / (math.hypot(*own) * math.hypot(*theirs)), 12), f"{at[0]}.{at[1]}"))
    return sorted(found, key=lambda one: -one[0])  # stable: by place where they are equal


def test_neighbours_are_those_of_a_loop() -> None:
    statistics = recorded()
    for layer, neuron in ((0, 0), (2, 1)):
        expected = by_loops(statistics, layer, neuron)
        found = neighbours(statistics, CODES, layer, neuron, limit=100)
        assert [one.name for one in found] == [name for _, name in expected]
        assert [one.similarity for one in found] == pytest.approx([similarity for similarity, _ in expected])
        assert found[:4] == neighbours(statistics, CODES, layer, neuron, limit=4)
    first = neighbours(statistics, CODES, 0, 0)[0]
    assert (first.similarity, first.name) == (1.0, "1.1") == (first.similarity, f"{first.layer}.{first.neuron}")
    assert first.probabilities == tuple(float(statistics.probability(code)[1, 1]) for code in CODES)


def test_only_those_asked_for_and_none_of_a_neuron_that_is_never_active() -> None:
    statistics = recorded()
    among = torch.tensor([14, 6, 1, 0])
    assert [one.name for one in neighbours(statistics, CODES, 0, 0, among=among)] == ["1.1", "0.1"]
    assert neighbours(statistics, CODES, 2, 4) == ()
    with pytest.raises(LapeError, match=r"no neuron 3\.0"):
        neighbours(statistics, CODES, 3, 0)


@pytest.mark.parametrize("experts", [1, 4])
def test_a_name_leads_back_to_its_neuron(experts: int) -> None:
    shape = (3, 48)
    for at in ((0, 0), (2, 47), (1, 13)):
        assert named_neuron(neuron_name(*at, 48, experts), shape, experts) == at
    other = "0.e0.0" if experts == 1 else "0.0"
    for wrong in (other, "3.0", "0.48", "0.e4.0", "0.e0.12", "", "a", "1.2.3", "-1.0", "1.-2", "٣.١", "1." + "9" * 99):
        with pytest.raises(LapeError, match="There is no neuron"):
            named_neuron(wrong, shape, experts)
