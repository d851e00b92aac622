"""The table of neurons: against the definitions in plain numbers; its filter and its orders."""

from __future__ import annotations

import math
from typing import Any

import pytest
from samples import mask_of, statistics_of

from lape import LapeError, MaskMismatch, UnknownLabel
from lape.inspection.table import SORTS, Neuron, chosen_neurons, neuron_table

COUNTS = {
    "fr": [[10, 0, 3, 4], [5, 5, 0, 0]],
    "es": [[1, 0, 3, 4], [5, 0, 0, 9]],
    "zh": [[0, 0, 3, 0], [5, 5, 0, 1]],
}
NEURONS = {"fr": [(0, 0), (1, 1)], "es": [(0, 3), (1, 3)], "zh": [(1, 1), (0, 1)], "xx": []}
MEANS = {"fr": [2.0, -0.5], "es": [1.0, 3.0]}
STATISTICS = statistics_of({**COUNTS, "xx": [[0] * 4] * 2}, 10)


def entropy(counts: list[int]) -> float:
    shares = [count / sum(counts) for count in counts if count]
    return -sum(share * math.log(share) for share in shares)


def test_a_row_is_what_its_definition_says() -> None:
    table = neuron_table(mask_of(NEURONS, MEANS), STATISTICS)
    assert [(row.language, row.layer, row.neuron) for row in table] == [
        *(("fr", 0, 0), ("fr", 1, 1), ("es", 0, 3), ("es", 1, 3), ("zh", 0, 1), ("zh", 1, 1))
    ]
    for row in table:
        counts = {code: rows[row.layer][row.neuron] for code, rows in COUNTS.items()}
        assert row.probabilities == pytest.approx({code: count / 10 for code, count in counts.items()} | {"xx": 0})
        assert row.entropy_nats == pytest.approx(entropy([*counts.values()]) if any(counts.values()) else 0)
        sums = {code: float(STATISTICS.sum[code][row.layer, row.neuron]) / 10 for code in NEURONS}
        assert row.means == pytest.approx(sums)
        assert row.probability == pytest.approx(counts[row.language] / 10)
    assert [row.mean for row in table] == [2.0, -0.5, 1.0, 3.0, None, None]


def test_without_statistics_only_the_mask_is_told() -> None:
    table = neuron_table(mask_of(NEURONS, MEANS))
    assert table[0] == Neuron("fr", 0, 0, None, 2.0, {}, {}, "0.0")
    assert {row.probability for row in table} == {None}


def rows_of(*values: tuple[str, float | None, float | None]) -> list[Neuron]:
    return [
        Neuron(code, 9 - at, at, entropy, mean, {code: 0.1 * at}, {}, f"{9 - at}.{at}")
        for at, (code, entropy, mean) in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [("entropy", [1, 3, 0, 2]), ("probability", [3, 2, 1, 0]), ("mean", [2, 3, 0, 1]), ("layer", [3, 2, 1, 0])],
)
def test_the_orders(sort: str, expected: list[int]) -> None:
    table = rows_of(("fr", 0.5, 1.0), ("fr", 0.1, None), ("es", None, 3.0), ("es", 0.1, 2.0))
    if sort == "entropy":  # a tie goes by the layer
        expected = [3, 1, 0, 2]
    assert [row.neuron for row in chosen_neurons(table, sort=sort)] == expected
    assert [row.neuron for row in chosen_neurons(table, ["es"], sort)] == [at for at in expected if at >= 2]
    assert [row.neuron for row in chosen_neurons(table, sort=sort, limit=2)] == expected[:2]


def test_shared_keeps_what_belongs_to_every_language_once() -> None:
    mask = mask_of({"fr": [(0, 1), (1, 2), (1, 3)], "es": [(0, 1), (1, 3)], "pt": [(0, 0), (1, 3)]})
    table = neuron_table(mask)

    def names(*codes: str) -> list[str]:
        return [f"{row.language} {row.name}" for row in chosen_neurons(table, codes or None, "layer", shared=True)]

    assert names("fr", "es") == ["fr 0.1", "fr 1.3"]
    assert names("es", "fr") == ["es 0.1", "es 1.3"]
    assert names() == ["fr 1.3"]
    assert names("pt") == ["pt 0.0", "pt 1.3"]
    assert chosen_neurons([], shared=True) == []
    assert [row.name for row in chosen_neurons(table, ["fr", "es"], layer=1, shared=True)] == ["1.3"]


@pytest.mark.parametrize("changed", [{"sort": "size"}, {"limit": -1}])
def test_what_cannot_be_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(LapeError, match=r"-1|There are: entropy, layer, mean, probability"):
        chosen_neurons([], **changed)
    assert SORTS[0] == "entropy"


def test_statistics_of_another_model_are_refused() -> None:
    with pytest.raises(MaskMismatch, match="shape"):
        neuron_table(mask_of(NEURONS, shape=(2, 5)), STATISTICS)
    with pytest.raises(UnknownLabel, match="'it'"):
        neuron_table(mask_of({**NEURONS, "it": []}), STATISTICS)
