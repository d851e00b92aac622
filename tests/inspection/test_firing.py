"""Which language's neurons fire most: against plain loops, and on sentences with the embedded model."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from samples import mask_of, statistics_of

from lape import MaskMismatch, NeuronMask, UnknownLabel
from lape.evaluation.metrics.openings import openings
from lape.inspection.activations import Activations, activations
from lape.inspection.firing import STANDS_OUT_LEVEL, Fired, firing, mask_neurons, usual_shares
from lape.masks.bundled import bundled_folder
from lape.models.embedded import SMOLLM2
from lape.recording.statistics import statistics_beside

SHAPE = (2, 4)
NEURONS = {"fr": [(0, 0), (0, 1), (1, 2)], "es": [(0, 1), (1, 3)], "zh": [], "en": [(1, 0)]}
MASK = mask_of(NEURONS)


def drawn(seed: int) -> tuple[Activations, Any]:
    """Random activations of five tokens in three pieces, and random statistics."""
    draw = random.Random(seed)
    flat = mask_neurons(MASK)
    values = torch.tensor([[draw.uniform(-1, 1) for _ in flat] for _ in range(5)])
    counts = {
        code: [[draw.randint(0, 50) for _ in range(4)] for _ in range(2)] for code in ("zh", "fr", "es", "en", "xx")
    }
    return Activations(("a", "é", "한"), (1, 1, 3), flat, values), statistics_of(counts, 50)


def by_hand(seen: Activations, statistics: Any) -> list[tuple[str | None, dict[str, float], dict[str, float]]]:
    """The definition in plain loops: language, shares and levels of each piece."""
    found = []
    start = 0
    for tokens in seen.tokens:
        shares, levels = {}, {}
        for code, neurons in NEURONS.items():
            columns = [seen.neurons.tolist().index(layer * SHAPE[1] + neuron) for layer, neuron in neurons]
            active = [float(seen.values[at, column] > 0) for at in range(start, start + tokens) for column in columns]
            shares[code] = sum(active) / len(active) if active else 0.0
            own, other = 1.0, 0.0
            if statistics is not None and neurons:
                usual = {
                    text: sum(int(statistics.active[text][neuron]) / 50 for neuron in neurons) / len(neurons)
                    for text in NEURONS
                }
                own = usual.pop(code)
                other = sum(usual.values()) / len(usual)
            levels[code] = (shares[code] - other) / (own - other) if neurons and own > other else 0.0
        best = max(levels.values())
        first = next(code for code in NEURONS if levels[code] == best)
        found.append((first if best >= STANDS_OUT_LEVEL else None, shares, levels))
        start += tokens
    return found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("compared", [True, False])
def test_it_is_the_definition(seed: int, compared: bool) -> None:
    seen, statistics = drawn(seed)
    statistics = statistics if compared else None
    pieces = firing(seen, MASK, statistics)
    assert [(piece.text, piece.tokens) for piece in pieces] == [("a", 1), ("é", 1), ("한", 3)]
    for piece, (language, shares, levels) in zip(pieces, by_hand(seen, statistics), strict=True):
        assert piece.shares == pytest.approx(shares)
        assert piece.levels == pytest.approx(levels)
        assert piece.language == language


def piece_of(mask: NeuronMask, statistics: Any, active: list[int]) -> Fired:
    """One token at which these flat neurons are active."""
    flat = mask_neurons(mask)
    values = torch.tensor([[1.0 if int(index) in active else -1.0 for index in flat]])
    return firing(Activations(("x",), (1,), flat, values), mask, statistics)[0]


def test_often_active_neurons_do_not_win_everywhere() -> None:
    mask = mask_of({"fr": [(0, 0), (0, 1)], "es": [(1, 0), (1, 1)]})
    often, rarely = [[10, 9, 0, 0], [0, 0, 0, 0]], [[9, 9, 0, 0], [9, 9, 0, 0]]
    statistics = statistics_of({"fr": often, "es": rarely}, 10)  # the French neurons fire in Spanish nearly as often
    active = [0, 1, 4, 5]  # everything is active, as usual in Spanish text
    assert piece_of(mask, statistics, active).language == "fr"  # both are as in their own text: 1.0 and a little more
    assert piece_of(mask, statistics, [0, 4, 5]).language == "es"
    assert piece_of(mask, None, [0, 1, 4]).language == "fr"
    assert piece_of(mask, statistics, [0, 1, 4]).levels["es"] == pytest.approx(0.5 / 0.9)


def test_none_stands_out_when_all_is_quiet() -> None:
    mask = mask_of({"fr": [(0, 0), (0, 1)], "es": [(1, 0), (1, 1)]})
    assert piece_of(mask, None, []).language is None
    counts = {"fr": [[8, 8, 0, 0], [2, 2, 0, 0]], "es": [[2, 2, 0, 0], [8, 8, 0, 0]]}
    assert piece_of(mask, statistics_of(counts, 10), []).language is None


def test_the_usual_shares_are_means_of_probabilities() -> None:
    counts = {"fr": [[8, 6, 0, 0], [0, 0, 0, 0]], "es": [[2, 4, 0, 0], [0, 0, 0, 10]]}
    mask = mask_of({"fr": [(0, 0), (0, 1)], "es": [(1, 3)]})
    found = usual_shares(mask, statistics_of(counts, 10))
    assert found["fr"] == pytest.approx({"fr": 0.7, "es": 0.3})
    assert found["es"] == pytest.approx({"fr": 0.0, "es": 1.0})


def test_what_does_not_fit_is_refused() -> None:
    seen, statistics = drawn(0)
    with pytest.raises(MaskMismatch, match="shape"):
        firing(seen, mask_of(NEURONS, shape=(3, 4)), statistics)
    with pytest.raises(MaskMismatch, match="not looked at"):
        firing(seen, mask_of({**NEURONS, "en": [(1, 1)]}), statistics)
    with pytest.raises(UnknownLabel, match="'it'"):
        firing(seen, mask_of({**NEURONS, "it": []}), statistics)


@pytest.mark.slow
def test_sentences_have_their_language(embedded: tuple[Any, Any]) -> None:
    """On the embedded model and its bundled mask: five openings of a few words each, most tokens right."""
    folder = bundled_folder(SMOLLM2.model)
    mask, statistics = NeuronMask.load(folder), statistics_beside(folder)
    neurons = mask_neurons(mask)
    right = {}
    for code in mask.languages:
        seen = (activations(*embedded, text, neurons) for text in openings(code)[:5])
        pieces = [piece for one in seen for piece in firing(one, mask, statistics) if piece.language]
        right[code] = sum(piece.language == code for piece in pieces) / len(pieces)
    assert sum(right.values()) / len(right) > 0.7, right
    assert min(right.values()) > 0.3, right
