"""How to steer is chosen on one half of the openings, by the rule, and reported on the other."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from families import random_mask
from samples import statistics_of
from test_steering import OPENINGS, SHAPE, ByFirstLetter, Counting, output
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import LapeError, NeuronMask, UnknownLabel
from lape.evaluation.metrics.conditions import Setting
from lape.evaluation.metrics.continuations import Bench, Decoding
from lape.evaluation.metrics.language import Identified
from lape.evaluation.metrics.openings import half
from lape.evaluation.metrics.steering import PairOutputs
from lape.evaluation.metrics.tune import RULE, best, best_of_all, grid, sweep, tune

PAIRS = [("aa", "bb"), ("bb", "aa")]
SETTINGS = [Setting("replace", 2.0), Setting("replace", 5.0), Setting("replace", 9.0), Setting("add", 9.0)]


@pytest.fixture(scope="module")
def mask() -> NeuronMask:
    return random_mask(SHAPE)


@pytest.fixture
def bench(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Bench:
    return Bench(tiny_model, tokenizer, ByFirstLetter(), Decoding(max_new_tokens=6))


def measured(hits: int, cost: float, *, of: int = 4) -> PairOutputs:
    """A trial with so many outputs in the target and this fluency cost."""
    outputs = [output("bb" if place < hits else "aa", nats=1 + cost) for place in range(of)]
    return PairOutputs("aa", "bb", outputs, [output(nats=1.0)] * of)


# The rule


def test_the_highest_target_share_wins_then_the_lowest_cost_then_the_first() -> None:
    a, b, c = Setting("replace", 1.0), Setting("replace", 2.0), Setting("add", 1.0)
    assert best({a: measured(2, 0.1), b: measured(3, 9.0), c: measured(1, 0.0)}) == b
    assert best({a: measured(3, 0.5), b: measured(3, 0.4), c: measured(3, 0.6)}) == b
    assert best({a: measured(3, 0.5), b: measured(3, 0.5), c: measured(2, 0.1)}) == a
    silent = PairOutputs("aa", "bb", [output(None, tokens=0)] * 4, [output()] * 4)
    assert best({a: silent, b: measured(0, 5.0)}) == b  # no output has no fluency
    assert RULE.startswith("highest share in the target language; among equals the highest mean over it and its")


def test_among_equals_the_middle_of_a_plateau_wins_over_its_cheap_edge() -> None:
    weak, edge, middle, strong = (Setting("replace", strength) for strength in (1.0, 1.5, 2.0, 3.0))
    lone = Setting("add", 2.0)
    tried = {
        strong: measured(3, 2.0),
        middle: measured(4, 0.9),
        weak: measured(1, 0.1),
        edge: measured(4, 0.2),
        lone: measured(4, 0.0),
    }
    # Outputs in the target, with the neighbours: edge 1 + 4 + 4, middle 4 + 4 + 3, lone 4. The order of the grid does
    # not matter.
    assert best(tried) == middle
    assert best({**tried, strong: measured(4, 2.0)}) == middle  # strong has no stronger one: 4 + 4
    assert best({**tried, Setting("replace", 2.5): measured(0, 0.0)}) == edge  # middle: 4 + 4 + 0
    assert best({**tried, weak: measured(3, 0.1)}) == edge  # 3 + 4 + 4 as middle has, and cheaper


def test_top_rates_beside_count_as_neighbours_too() -> None:
    low, middle, high = (Setting("add", 2.0, rate) for rate in (0.01, 0.02, 0.05))
    others = Setting("add", 2.0, 0.03, "others")
    tried = {low: measured(4, 0.1), others: measured(4, 0.0), high: measured(2, 0.3), middle: measured(4, 0.2)}
    assert best(tried) == middle  # 4 + 4 + 2; low 4 + 4; what switches others off is no neighbour: 4
    assert best({**tried, middle: measured(3, 0.2)}) == low  # 4 + 3; others 4


def test_the_common_setting_costs_no_more_than_is_allowed() -> None:
    cheap, dear = Setting("replace", 1.0), Setting("replace", 2.0)
    swept = {
        ("aa", "bb"): {cheap: measured(2, 0.2), dear: measured(4, 1.0)},
        ("aa", "cc"): {cheap: measured(3, 0.4), dear: measured(4, 2.0)},
    }
    assert best_of_all(swept) == best_of_all(swept, 1.6) == dear  # it costs 1.5 on average
    assert best_of_all(swept, 1.4) == best_of_all(swept, 0.4) == cheap  # 0.3
    with pytest.raises(LapeError, match=r"cost of at most 0\.2 nats per token; the cheapest has 0\.30\."):
        best_of_all(swept, 0.2)


def test_the_common_setting_is_the_best_on_average() -> None:
    a, b, c = Setting("replace", 1.0), Setting("scale", 2.0), Setting("add", 1.0)
    swept = {
        ("aa", "bb"): {a: measured(4, 0.1), b: measured(3, 1.0), c: measured(2, 1.0)},
        ("aa", "cc"): {a: measured(0, 0.1), b: measured(2, 1.0), c: measured(3, 0.5)},
    }
    # Shares 4 + 0, 3 + 2, 2 + 3 of 8: b and c are equal, and c costs 0.75 on average, b 1.0. The trials all count
    # as aa to bb, which does not matter here.
    assert best_of_all(swept) == c
    assert [best(tried) for tried in swept.values()] == [a, c]


def test_shares_that_only_rounding_tells_apart_are_equal() -> None:
    a, b = Setting("replace", 1.0), Setting("replace", 2.0)
    # 1/10 + 2/10 + 3/10 and 3/10 + 2/10 + 1/10 differ in the last digit.
    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    swept = {
        ("aa", str(place)): {a: measured(place, 0.5, of=10), b: measured(4 - place, 0.4, of=10)} for place in (1, 2, 3)
    }
    assert best_of_all(swept) == b
    swept = {pair: {a: tried[b], b: tried[a]} for pair, tried in swept.items()}
    assert best_of_all(swept) == a


def test_the_grid_is_every_combination(mask: NeuronMask) -> None:
    found = grid({0.01: mask, 0.05: mask}, {"replace": (1, 2), "scale": (4,)}, ("others",))
    ways = [("replace", 1), ("replace", 2), ("scale", 4)]
    assert found == [Setting(mode, strength, rate, "others") for rate in (0.01, 0.05) for mode, strength in ways]
    everything = grid({None: mask})
    assert len(set(everything)) == len(everything) >= 10
    assert {setting.off for setting in everything} == {"source", "others"}


# No leak


def test_a_sweep_reads_the_tuning_half_alone(bench: Bench, mask: NeuronMask) -> None:
    cells = Counting()
    found = sweep(bench, {None: mask}, OPENINGS, PAIRS, SETTINGS, cells=cells)
    assert all(key.endswith(" prompts=dev") for key in cells.computed)
    assert len(cells.computed) == len(PAIRS) * (len(SETTINGS) + 1)
    for pair, tried in found.items():
        assert list(tried) == SETTINGS
        for one in tried.values():
            assert len(one.outputs) == len(one.baseline) == len(half(OPENINGS[pair[0]], "dev"))


def test_the_reporting_half_decides_nothing(bench: Bench, mask: NeuronMask) -> None:
    """Other openings there change what is reported, and no setting, no trial."""
    other = {code: list(texts) for code, texts in OPENINGS.items()}
    for code in other:
        other[code][1::2] = [f"Not {code} {place}: 0123456789" for place in range(len(other[code][1::2]))]
    first, second = (tune(bench, {None: mask}, openings, PAIRS, SETTINGS).values() for openings in (OPENINGS, other))
    assert first["sweep"] == second["sweep"]
    assert first["common"] == second["common"]
    for a, b in PAIRS:
        assert first["tuned"]["pairs"][a][b]["setting"] == second["tuned"]["pairs"][a][b]["setting"]
    assert first["tuned"]["pairs"] != second["tuned"]["pairs"]


class Turning:
    """Finds the target in exactly the outputs it was told; every other text is in the source."""

    def __init__(self) -> None:
        self.hits: set[str] = set()

    def identify(self, text: str) -> Identified:
        return Identified("bb" if text in self.hits else "aa", 1.0)


def test_the_best_of_the_tuning_half_is_reported_even_where_another_is_better(bench: Bench, mask: NeuronMask) -> None:
    """One setting hits everything in the dev half and nothing in the other; its rival the reverse."""
    here, there = Setting("replace", 1.0), Setting("add", 1.0)
    bench = replace(bench, decoding=Decoding(max_new_tokens=12))
    texts = {
        (setting, name): {one.text for one in _outputs(bench, mask, setting, name)}
        for setting in (here, there)
        for name in ("dev", "test")
    }
    turning = Turning()
    turning.hits = texts[here, "dev"] | texts[there, "test"]
    assert not turning.hits & (texts[here, "test"] | texts[there, "dev"])  # or the premise does not hold
    told = replace(bench, identifier=turning)
    values = tune(told, {None: mask}, OPENINGS, [("aa", "bb")], [there, here]).values()
    assert values["common"] == asdict(here)
    assert [trial["target_shares"]["aa"]["bb"] for trial in values["sweep"]] == [0.0, 1.0]
    assert values["tuned"]["pairs"]["aa"]["bb"]["setting"] == asdict(here)
    assert values["tuned"]["pairs"]["aa"]["bb"]["conditions"]["steered"]["target_share"]["value"] == 0.0


def _outputs(bench: Bench, mask: NeuronMask, setting: Setting, name: str) -> Any:
    from lape.evaluation.metrics.conditions import steered_cases
    from lape.evaluation.metrics.continuations import continue_cases

    (case,) = steered_cases(OPENINGS, {None: mask}, "aa", "bb", setting, (name,))
    return continue_cases(bench, [case])[case.key]


# All together


def test_tuning_reports_each_pair_with_its_own_setting_and_all_with_the_common_one(
    bench: Bench, mask: NeuronMask
) -> None:
    statistics = statistics_of({code: [[1] * SHAPE[1]] * SHAPE[0] for code in ("aa", "bb", "cc")})
    cells = Counting()
    found = tune(bench, {None: mask}, OPENINGS, PAIRS, SETTINGS, statistics=statistics, seeds=(4,), cells=cells)
    values = found.values()
    json.dumps(values, allow_nan=False)
    assert values["rule"] == RULE
    assert [trial["setting"] for trial in values["sweep"]] == [asdict(setting) for setting in SETTINGS]
    for pair, tried in found.sweep.items():
        assert found.tuned.settings[pair] == best(tried)
        assert found.fixed.settings[pair] == found.common == best_of_all(found.sweep)
        conditions = found.tuned.measured[pair]
        assert list(conditions) == ["baseline", "steered", "random4", "instruction-english"]
        assert list(found.fixed.measured[pair]) == ["baseline", "steered"]
        assert len(conditions["steered"].outputs) == len(half(OPENINGS[pair[0]], "test"))
        trial = next(one for one in values["sweep"] if one["setting"] == asdict(found.common))
        assert trial["target_shares"][pair[0]][pair[1]] == tried[found.common].share("target").value
    assert len({*found.tuned.settings.values()}) == 2  # or the two reports would not be told apart
    # Every cell of the sweep is computed before the first of the report.
    halves = [key.rpartition("=")[2] for key in cells.computed]
    assert halves == sorted(halves)  # dev, then test
    assert len(cells.computed) == len(set(cells.computed))


def test_a_tuning_without_pairs_settings_or_masks_is_refused(
    bench: Bench, mask: NeuronMask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lape.evaluation.metrics.continuations.generate_rows", None)
    for pairs, settings in (([], SETTINGS), (PAIRS, [])):
        with pytest.raises(LapeError, match="nothing to tune"):
            tune(bench, {None: mask}, OPENINGS, pairs, settings)
    with pytest.raises(UnknownLabel, match=r"No mask of top rate '0.5'"):
        tune(bench, {None: mask}, OPENINGS, PAIRS, [Setting("add", 1.0, 0.5)])
