"""DLN and the activation percentile, which read histograms, against plain loops over all divisions and bins."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from recordings import dln_costs, dln_members, histograms_of, random_counts, share_above
from samples import neurons_of, statistics_of

import lape
from lape.identify import METHODS, load_recorded, methods_reading
from lape.identify.dln import overlaps_of
from lape.identify.ranking import order_statistic
from lape.recording.histograms import ActivationHistograms

# Six tokens a language, three bins; neurons:
#   0: en is far above the others           1: en is silent, the others are active
#   2: en and fr are active, de and es not  3: all alike
BY_HAND = {
    "en": [[0, 0, 6], [6, 0, 0], [0, 0, 6], [2, 2, 2]],
    "fr": [[6, 0, 0], [0, 0, 6], [0, 1, 5], [2, 2, 2]],
    "de": [[5, 1, 0], [0, 0, 6], [6, 0, 0], [2, 2, 2]],
    "es": [[4, 2, 0], [0, 0, 6], [6, 0, 0], [2, 2, 2]],
}


def found(mask: lape.NeuronMask) -> dict[str, list[int]]:
    return {code: [neuron for _, neuron in pairs] for code, pairs in neurons_of(mask).items()}


def test_dln_by_hand() -> None:
    histograms = histograms_of(BY_HAND)
    none = {"de": [], "en": [], "es": [], "fr": []}
    # Of 4 x 6 overlaps ten are 0: three of neuron 0, three of neuron 1, four of neuron 2. A tenth of 24 is the second.
    assert found(lape.identify(histograms, "dln", overlap_rate=0.1)) == {**none, "en": [0]}
    both = {"en": [0, 2], "fr": [2], "de": [], "es": []}  # not 1, in which en is the silent one
    assert found(lape.identify(histograms, "dln", overlap_rate=0.1, largest_cluster=2)) == {**none, **both}
    every = lape.identify(histograms, "dln", overlap_rate=1)
    assert found(every) == {**none, "en": [0]}
    assert every.means["en"].tolist() == [2.0]
    assert every.metadata["settings"] == {"overlap_rate": 1, "largest_cluster": 1}
    silent = {code: [row[1]] for code, row in BY_HAND.items()}
    means = {"en": [1.0], "fr": [0.0], "de": [0.0], "es": [0.0]}  # the same set apart the other way round
    assert found(lape.identify(histograms_of(silent, means), "dln", overlap_rate=1)) == {**none, "en": [0]}


@pytest.mark.parametrize("largest", [1, 2])
def test_dln_equals_the_best_of_all_divisions(largest: int) -> None:
    met: Counter[str] = Counter()
    for seed in range(60):
        counts, draw = random_counts(seed), random.Random(seed)
        neurons = len(next(iter(counts.values())))
        means = {code: [draw.choice([0.0, 0.5, 1.0]) for _ in range(neurons)] for code in counts}
        histograms, rate = histograms_of(counts, means), draw.choice([0, 0.1, 0.5, 1])
        members = dln_members(counts, means, largest)
        bar = order_statistic(overlaps_of(histograms, list(counts)), rate)
        expected = {code: [neuron for neuron, cost in of.items() if cost <= bar + 1e-9] for code, of in members.items()}
        settings: dict[str, Any] = {"largest_cluster": largest, "overlap_rate": rate}
        mask = lape.identify(histograms, "dln", list(counts), **settings)
        assert found(mask) == expected, f"seed {seed}"
        ranked = {code: sorted(of, key=lambda neuron, of=of: (of[neuron], neuron)) for code, of in members.items()}
        number = {code: draw.randint(0, len(order)) for code, order in ranked.items()}
        first = lape.identify(histograms, "dln", list(counts), largest_cluster=largest, per_language=number)
        assert found(first) == {code: sorted(order[: number[code]]) for code, order in ranked.items()}, f"seed {seed}"
        turned = draw.sample(list(counts), len(counts))
        assert found(lape.identify(histograms, "dln", turned, **settings)) == expected
        met["some"] += any(expected.values())
        met["a tie of several divisions"] += any(len(dln_costs(counts, neuron)[1]) > 2 for neuron in range(neurons))
        met["none"] += not any(expected.values())
    assert min(met.values()) >= 5, met


def test_many_languages_are_divided_without_trying_all_divisions() -> None:
    draw = random.Random(0)
    counts = {f"l{number}": [[draw.randint(0, 9) for _ in range(6)] for _ in range(50)] for number in range(33)}
    counts["l7"][3] = [0, 0, 0, 0, 0, 9]
    for code in counts:
        if code != "l7":
            counts[code][3][5] = 0
            counts[code][3][0] = 9
    mask = lape.identify(histograms_of(counts), "dln", per_language={code: int(code == "l7") for code in counts})
    assert found(mask)["l7"] == [3]


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.95])
def test_the_share_above_a_percentile_is_that_of_a_plain_loop(rate: float) -> None:
    for seed in range(50):
        counts = random_counts(seed)
        above = [share_above(counts, neuron, rate) for neuron in range(len(next(iter(counts.values()))))]
        expected = {}
        for code in counts:
            order = sorted((-of[code], neuron) for neuron, of in enumerate(above) if of[code] > 0)
            expected[code] = sorted(neuron for _, neuron in order[: round(0.4 * len(above))])
        mask = lape.identify(histograms_of(counts), "percentile", list(counts), top_rate=0.4, percentile=rate)
        assert found(mask) == expected, f"seed {seed}"


def test_percentile_by_hand() -> None:
    # Pooled over two languages: .25 .25 .5 and .5 0 .5. The 75th percentile halves the last bin of both.
    counts = {"en": [[0, 0, 4], [4, 0, 0]], "fr": [[2, 2, 0], [0, 0, 4]]}
    mask = lape.identify(histograms_of(counts), "percentile", per_language=1, percentile=0.75)
    assert found(mask) == {"en": [0], "fr": [1]}
    with pytest.raises(lape.LapeError, match="only 1 neurons to choose from for 'en'"):
        lape.identify(histograms_of(counts), "percentile", per_language=2, percentile=0.75)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"overlap_rate": 1.1}, "overlap_rate is a share from 0 to 1, not 1.1"),
        ({"largest_cluster": 0}, "largest_cluster is a whole number from 1 to 1000, not 0"),
        ({"largest_cluster": 1.5}, "largest_cluster is a whole number from 1 to 1000, not 1.5"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(lape.LapeError, match=said):
        lape.identify(histograms_of(BY_HAND), "dln", **settings)


def test_a_method_refuses_another_recording_and_says_how_to_make_its_own(tmp_path: Any) -> None:
    with pytest.raises(lape.LapeError, match="'dln' identifies neurons from activation histograms, not"):
        lape.identify(statistics_of({"en": [[1]], "fr": [[2]]}), "dln")
    with pytest.raises(lape.LapeError, match="'lape' identifies neurons from activation statistics, not"):
        lape.identify(histograms_of(BY_HAND))
    with pytest.raises(lape.BadFile, match="'dln' reads it; make it with lape record --histograms"):
        load_recorded(tmp_path, "dln")
    histograms_of(BY_HAND).save(tmp_path / ActivationHistograms.file)
    assert found(lape.identify(load_recorded(tmp_path, "dln"), "dln", overlap_rate=0.1))["en"] == [0]
    assert methods_reading(ActivationHistograms) == ["dln", "percentile"]
    assert "dln" not in methods_reading()
    assert set(methods_reading()) < set(METHODS)
