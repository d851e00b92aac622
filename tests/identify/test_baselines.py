"""The rivals of LAPE against their definitions, and every method at equal count."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import baseline_oracle
import pytest
import torch
from baseline_oracle import Case, NoWeight, random_case, random_settings
from samples import neurons_of, statistics_of

import lape
from lape import ActivationStatistics, NeuronMask
from lape.identify import METHODS, SETTINGS, equal_count, method_settings, methods_reading

EVERY = sorted(methods_reading())  # those that read activation statistics
EVEN = {"top_rate": 0.5, "filter_rate": 0.5, "activation_bar_ratio": 0.5}

# The neurons of tests/test_identify.py: two layers of three, ten tokens per language. Shares:
#   (0,0) en 1  fr 0    (0,1) en .5 fr .5    (0,2) never
#   (1,0) en .2 fr .8   (1,1) en .1 fr 0     (1,2) en .9 fr .9
WORKED = {"en": [[10, 5, 0], [2, 1, 9]], "fr": [[0, 5, 0], [8, 0, 9]]}

# One layer of three. Differences and margins of each language:
#   (0,0) .8 .6 0    en .8 - .3 = .5, .2    fr .6 - .4 = .2, -      de -
#   (0,1) .7 .4 .4   en .7 - .4 = .3, .3    fr -                    de -
#   (0,2) 0 .5 .5    en -                   fr .5 - .25 = .25, 0    de .25, 0
RELATED = {"en": [[8, 7, 0]], "fr": [[6, 4, 5]], "de": [[0, 4, 5]]}


def statistics_from(case: Case) -> ActivationStatistics:
    sums = {code: torch.tensor(rows, dtype=torch.float64) for code, rows in case.positive_sum.items()}
    return replace(statistics_of(case.active, case.tokens), positive_sum=sums)


def busy() -> ActivationStatistics:
    """Four languages, each with neurons to choose from by every method."""
    draw = random.Random(1)
    active = {code: [[draw.randint(0, 50) for _ in range(40)] for _ in range(5)] for code in ("en", "fr", "de", "es")}
    sums = {code: [[count * draw.random() for count in row] for row in rows] for code, rows in active.items()}
    return statistics_from(Case(active, sums, dict.fromkeys(active, 50)))


@pytest.mark.parametrize("method", EVERY)
def test_equals_the_oracle_on_random_cases(method: str) -> None:
    met = Counter()
    for seed in range(100):
        case, settings = random_case(seed), random_settings(method, seed)
        statistics = statistics_from(case)
        try:
            expected = baseline_oracle.select(method, case, settings)
        except NoWeight:
            with pytest.raises(lape.LapeError, match=r"every weight up to 0\.2 keeps"):
                lape.identify(statistics, method, **settings)
            met["no weight"] += 1
            continue
        assert neurons_of(lape.identify(statistics, method, **settings)) == expected, f"seed {seed}"
        met["dead neuron"] += any(
            not any(column) for rows in zip(*case.active.values(), strict=True) for column in zip(*rows, strict=True)
        )
        met["silent language"] += any(not any(map(any, rows)) for rows in case.active.values())
        met["language without neurons"] += any(expected.values()) and not all(expected.values())
        met["neurons selected"] += any(expected.values())
        met["nothing selected"] += not any(expected.values())
    assert min(met.values()) >= 5, met  # otherwise the cases above show too little
    assert ("no weight" in met) == (method == "alignment")


@pytest.mark.parametrize("method", EVERY)
def test_equal_count_equals_the_oracle_on_random_cases(method: str) -> None:
    met, draw = Counter(), random.Random(method)
    for seed in range(150):
        case, settings = random_case(seed), random_settings(method, seed)
        settings.pop(baseline_oracle.CUT[method], None)
        statistics = statistics_from(case)
        size = sum(map(len, next(iter(case.active.values()))))
        try:
            ranked = baseline_oracle.rank(method, case, settings)
        except NoWeight:
            continue
        least = min(len(ranking) for ranking in ranked.values())
        if least < size:
            with pytest.raises(
                lape.LapeError, match=rf"fewer than the {least + 1} asked. Every language has at least {least}\."
            ):
                lape.identify(statistics, method, per_language=least + 1, **settings)
            met["too few"] += 1
        if least:
            count = draw.randint(1, least)
            found = neurons_of(lape.identify(statistics, method, per_language=count, **settings))
            assert found == baseline_oracle.first(ranked, dict.fromkeys(ranked, count)), f"seed {seed}"
            assert {len(neurons) for neurons in found.values()} == {count}
            met["equal"] += 1
            met["tie at the boundary"] += any(
                len(ranking) > count and ranking[count - 1][0] == ranking[count][0] for ranking in ranked.values()
            )
        counts = {code: draw.randint(0, len(ranking)) for code, ranking in ranked.items()}
        found = neurons_of(lape.identify(statistics, method, per_language=counts, **settings))
        assert found == baseline_oracle.first(ranked, counts), f"seed {seed}"
    assert min(met[name] for name in ("too few", "equal", "tie at the boundary")) >= 5, met


@pytest.mark.parametrize(
    ("method", "settings", "expected"),
    [
        ("lap", {}, {"en": [(0, 0)], "fr": []}),
        ("lap", {"min_probability": 0.85}, {"en": [(0, 0), (1, 2)], "fr": [(1, 2)]}),
        ("lap", {"min_probability": 0.9}, {"en": [(0, 0)], "fr": []}),  # above it, not at it
        ("lap", {"min_probability": 1}, {"en": [], "fr": []}),
        # A third of six neurons is two for each language: en 1 and .9, fr .9 and .8.
        ("probability", {"top_rate": 1 / 3}, {"en": [(0, 0), (1, 2)], "fr": [(1, 0), (1, 2)]}),
        # Asked for all, a language gets those it ever activates.
        (
            "probability",
            {"top_rate": 1},
            {"en": [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)], "fr": [(0, 1), (1, 0), (1, 2)]},
        ),
        # 0.125 % of six rounds to none.
        ("probability", {}, {"en": [], "fr": []}),
        # en 1 - 0 and .1 - 0, fr .8 - .2; the even ones have no difference.
        ("difference", {"top_rate": 1 / 6}, {"en": [(0, 0)], "fr": [(1, 0)]}),
        ("difference", {"top_rate": 1}, {"en": [(0, 0), (1, 1)], "fr": [(1, 0)]}),
        ("margin", {"top_rate": 1}, {"en": [(0, 0), (1, 1)], "fr": [(1, 0)]}),
        # Entropies over ln 2 are 0, 1, 1 (dead), .722, 0, 1: at weight 0 the first and the rare (1,1) come first.
        # The sixth of twelve shares is .2, the bar: (1,1) and the English of (1,0) do not pass it.
        ("alignment", {"top_rate": 1 / 3, "activation_bar_ratio": 0.5, "weight": 0}, {"en": [(0, 0)], "fr": []}),
        # Peaks over norm (1 + 1/2) / 2 = .75 are 1.333, .667, 0, 1.067, .133, 1.2. At weight 1 the scores are
        # -1.333, .333, 1, -.345, -.133, -.2: the even, busy (1,2) is kept.
        (
            "alignment",
            {"top_rate": 0.5, "activation_bar_ratio": 0.5, "weight": 1},
            {"en": [(0, 0), (1, 2)], "fr": [(1, 0), (1, 2)]},
        ),
        # At the largest weight searched, .2, they are -.267, .867, 1, .509, -.027, .76: it is not.
        ("alignment", {"top_rate": 0.5, "activation_bar_ratio": 0.5}, {"en": [(0, 0)], "fr": [(1, 0)]}),
    ],
)
def test_worked_examples(method: str, settings: dict[str, Any], expected: dict[str, list]) -> None:
    assert neurons_of(lape.identify(statistics_of(WORKED), method, **settings)) == expected


def test_lave_reads_values_and_not_probabilities() -> None:
    # Every neuron is active as often in both languages. Positive sums, of ten tokens:
    #   (0,0) 4 0  H = 0     (0,1) 2 2  H = .693     (0,2) 3 1  H = .562     (0,3) .1 0  H = 0
    # In order 0 0 .1 1 2 2 3 4: the fourth, 1, is threshold and bar. (0,3) is no candidate, and of the three
    # that are, two are kept; the French of (0,2) does not pass the bar.
    even = {"en": [[5, 5, 5, 5]], "fr": [[5, 5, 5, 5]]}
    sums = {"en": [[4, 2, 3, 0.1]], "fr": [[0, 2, 1, 0]]}
    statistics = statistics_from(Case(even, sums, {"en": 10, "fr": 10}))
    assert neurons_of(lape.identify(statistics, "lave", **EVEN)) == {"en": [(0, 0), (0, 2)], "fr": []}
    assert neurons_of(lape.identify(statistics, **EVEN)) == {"en": [], "fr": []}
    rates = {"filter_rate": 0.5, "activation_bar_ratio": 3 / 8}  # a bar of .1 lets every candidate in
    assert neurons_of(lape.identify(statistics, "lave", per_language=1, **rates)) == {"en": [(0, 0)], "fr": [(0, 2)]}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("difference", {"en": [(0, 0)], "fr": [(0, 2)], "de": [(0, 2)]}),
        ("margin", {"en": [(0, 1)], "fr": [], "de": []}),
    ],
)
def test_a_difference_is_from_the_mean_and_a_margin_from_the_highest(method: str, expected: dict[str, list]) -> None:
    assert neurons_of(lape.identify(statistics_of(RELATED), method, top_rate=1 / 3)) == expected


def test_the_weight_found_is_the_largest_that_separates() -> None:
    # Norm .75. (0,0): en .3 fr .12, H / ln 2 = .8631, score .8631 - .4 w. (0,1): both 1, score 1 - 1.3333 w.
    # The pool is one neuron: the shared second one comes first above w = .1369 / .9333 = .1467.
    statistics = statistics_of({"en": [[30, 100]], "fr": [[12, 100]]}, 100)
    at = {"top_rate": 0.5, "activation_bar_ratio": 0}
    specific, shared = {"en": [(0, 0)], "fr": []}, {"en": [(0, 1)], "fr": [(0, 1)]}
    assert neurons_of(lape.identify(statistics, "alignment", **at, weight=0.146)) == specific
    assert neurons_of(lape.identify(statistics, "alignment", **at, weight=0.148)) == shared
    assert neurons_of(lape.identify(statistics, "alignment", **at)) == specific
    # (0,2) en .6 fr .3, H / ln 2 = .9183, score .9183 - .8 w: ahead of the first above w = .0552 / .4 = .138,
    # and of it the shared one only above w = .0817 / .5333 = .153. Stopping short of .138 would take the first.
    statistics = statistics_of({"en": [[30, 100, 60]], "fr": [[12, 100, 30]]}, 100)
    assert neurons_of(lape.identify(statistics, "alignment", top_rate=1 / 3, activation_bar_ratio=0.5)) == {
        "en": [(0, 2)],
        "fr": [],
    }


def test_the_weight_is_found_to_a_thousandth() -> None:
    # As above in thousandths, with the third neuron ahead of the first above w = .1452: a search that stopped
    # at a hundredth would end at .1438 and take the first. The shared one comes only above .1477.
    statistics = statistics_of({"en": [[300, 1000, 600]], "fr": [[120, 1000, 304]]}, 1000)
    found = lape.identify(statistics, "alignment", top_rate=1 / 3, activation_bar_ratio=0.5)
    assert neurons_of(found) == {"en": [(0, 2)], "fr": []}


def test_equal_count_of_lape_goes_by_entropy_then_probability_then_layer_and_neuron() -> None:
    # Rates of 0 put threshold and bar at the smallest share, 0. English candidates: (0,0) and (1,1) have
    # entropy 0, the former being more often active; (1,0) .5; (0,1) and (1,2) ln 2, the latter more active.
    rates = {"filter_rate": 0, "activation_bar_ratio": 0}
    order = [(0, 0), (1, 1), (1, 0), (1, 2), (0, 1)]
    for count in (1, 2, 3):
        found = neurons_of(lape.identify(statistics_of(WORKED), per_language=count, **rates))
        assert found == {"en": sorted(order[:count]), "fr": sorted([(1, 0), (1, 2), (0, 1)][:count])}
    only = lape.identify(statistics_of(WORKED), per_language={"en": 4, "fr": 0}, **rates)
    assert neurons_of(only) == {"en": sorted(order[:4]), "fr": []}
    alike = statistics_of({"en": [[6] * 3] * 2, "fr": [[3] * 3] * 2})
    found = lape.identify(alike, per_language={"en": 4, "fr": 0}, filter_rate=0, activation_bar_ratio=0.5)
    assert neurons_of(found) == {"en": [(0, 0), (0, 1), (0, 2), (1, 0)], "fr": []}


@pytest.mark.parametrize("method", EVERY)
def test_the_order_of_languages_does_not_matter(method: str) -> None:
    statistics, draw = busy(), random.Random(0)
    settings = {**dict.fromkeys(method_settings(method), 0.3), "weight": 0.1}
    own = {name: settings[name] for name in method_settings(method)}
    ranked = {name: settings[name] for name in method_settings(method, ranked=True)}
    found = []
    for _ in range(10):
        codes = draw.sample(statistics.languages, len(statistics.languages))
        mask = lape.identify(statistics, method, codes, **own)
        equal = lape.identify(statistics, method, codes, per_language=20, **ranked)
        assert mask.languages == equal.languages == tuple(codes)
        found.append([neurons_of(mask), neurons_of(equal)])
    assert all(neurons == found[0] for neurons in found)
    assert all(any(neurons.values()) for neurons in found[0])


@pytest.mark.parametrize("method", EVERY)
def test_a_mask_says_how_it_was_made_and_survives_a_file(method: str, tmp_path: Path) -> None:
    statistics = busy()
    mask = lape.identify(statistics, method)
    assert mask.metadata["method"] == method
    assert mask.metadata["settings"] == method_settings(method)
    rates = dict.fromkeys({"filter_rate", "activation_bar_ratio"} & set(method_settings(method)), 0.2)
    for folder, per_language in (("own", {"de": 3, "en": 0, "es": 1, "fr": 2}), ("equal", 3)):
        ranked = lape.identify(statistics, method, per_language=per_language, **rates)
        expected = {**method_settings(method, ranked=True), **rates, "per_language": per_language}
        assert ranked.metadata["settings"] == expected
        ranked.save(tmp_path / folder)
        again = NeuronMask.load(tmp_path / folder)
        assert again == ranked
        assert again.metadata["settings"] == expected
        assert set(again.means) == set(statistics.languages)


@pytest.mark.parametrize(
    ("method", "setting"),
    [(method, name) for method in EVERY for name in method_settings(method) if name != "weight"],
)
@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf, "half", None])
def test_a_share_out_of_range_is_refused(method: str, setting: str, value: Any) -> None:
    with pytest.raises(lape.LapeError, match=rf"^{setting} is a share .*0 .* 1, not {value}\.$"):
        lape.identify(statistics_of(WORKED), method, **{setting: value})
    if setting in method_settings(method, ranked=True):
        with pytest.raises(lape.LapeError, match=rf"^{setting} is a share .*0 .* 1, not {value}\.$"):
            lape.identify(statistics_of(WORKED), method, per_language=1, **{setting: value})


@pytest.mark.parametrize("method", [method for method in EVERY if "top_rate" in method_settings(method)])
def test_keeping_nothing_at_all_is_refused(method: str) -> None:
    with pytest.raises(lape.LapeError, match="top_rate is a share above 0"):
        lape.identify(statistics_of(WORKED), method, top_rate=0)


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf, "large"])
def test_a_weight_out_of_range_is_refused(weight: Any) -> None:
    with pytest.raises(lape.LapeError, match=rf"weight is a number of at least 0, or None .*, not {weight}"):
        lape.identify(statistics_of(WORKED), "alignment", weight=weight)


def test_every_weight_keeping_a_shared_neuron_is_refused() -> None:
    with pytest.raises(lape.LapeError, match="Give a smaller top_rate, or a weight"):
        lape.identify(statistics_of(WORKED), "alignment", top_rate=1, activation_bar_ratio=0.5)


def test_negative_sums_of_positive_activations_are_refused() -> None:
    case = Case(WORKED, {"en": [[1, 1, 1], [1, 1, -0.5]], "fr": [[1, 1, 1], [1, 1, 1]]}, {"en": 10, "fr": 10})
    for settings in ({}, {"per_language": 1}):
        with pytest.raises(lape.BadFile, match="positive activations that is negative"):
            lape.identify(statistics_from(case), "lave", **settings)


@pytest.mark.parametrize("method", EVERY)
def test_per_language_takes_the_place_of_the_methods_own_cut(method: str) -> None:
    cut = set(method_settings(method)) - set(method_settings(method, ranked=True))
    assert cut == {baseline_oracle.CUT[method]} - {None}
    for name in cut:
        with pytest.raises(lape.LapeError, match=f"per_language takes the place of {name}: give only one"):
            lape.identify(statistics_of(WORKED), method, per_language=1, **{name: 0.5})
    with pytest.raises(lape.UnknownLabel, match=f"No setting of '{method}' 'rate'"):
        lape.identify(statistics_of(WORKED), method, per_language=1, rate=0.5)


@pytest.mark.parametrize("count", [0, -1, 7, 1.0, True, "1"])
def test_a_count_that_cannot_be_is_refused(count: Any) -> None:
    with pytest.raises(lape.LapeError, match=f"per_language is a whole number from 1 to 6, not {count!r}"):
        lape.identify(statistics_of(WORKED), per_language=count)
    if count != 0:
        with pytest.raises(lape.LapeError, match=f"per_language is a whole number from 0 to 6, not {count!r}"):
            lape.identify(statistics_of(WORKED), per_language={"en": 1, "fr": count})


@pytest.mark.parametrize("counts", [{"en": 1}, {"en": 1, "fr": 1, "de": 1}])
def test_counts_are_for_the_languages_that_are_told_apart(counts: dict[str, int]) -> None:
    with pytest.raises(lape.LapeError, match="a number for each of en, fr, and for no other"):
        lape.identify(statistics_of(WORKED), per_language=counts)


def test_too_few_neurons_are_refused_with_what_there_is() -> None:
    with pytest.raises(lape.LapeError) as error:
        lape.identify(statistics_of({**WORKED, "ja": [[0] * 3] * 2}), "probability", per_language=4)
    assert str(error.value) == (
        "'probability' has only 3 neurons to choose from for 'fr', fewer than the 4 asked. "
        "Every language has at least 0."
    )


def test_at_most_takes_what_there_is() -> None:
    statistics = statistics_of({**WORKED, "ja": [[0] * 3] * 2})
    mask = lape.identify(statistics, "probability", per_language=4, at_most=True)
    assert mask.metadata["settings"]["per_language"] == {code: mask.count(code) for code in mask.languages}
    assert {code: mask.count(code) for code in mask.languages} == {"en": 4, "fr": 3, "ja": 0}
    again = lape.identify(statistics, "probability", **mask.metadata["settings"])
    assert again == mask


def test_equal_count_of_a_mask_keeps_its_most_specific_neurons() -> None:
    statistics = busy()
    mask = lape.identify(statistics, languages=["fr", "en", "de"], **EVEN)
    least = min(mask.count(code) for code in mask.languages)
    assert 0 < least < max(mask.count(code) for code in mask.languages)
    equal = equal_count(mask, statistics)
    assert equal.languages == ("fr", "en", "de")
    assert {equal.count(code) for code in equal.languages} == {least}
    assert all(set(equal.flat(code).tolist()) <= set(mask.flat(code).tolist()) for code in mask.languages)
    assert equal.metadata["settings"] == {"filter_rate": 0.5, "activation_bar_ratio": 0.5, "per_language": least}
    assert equal_count(mask, statistics, 2) == equal_count(equal, statistics, 2)
    for code, neurons in neurons_of(equal_count(mask, statistics, 2)).items():
        assert set(neurons) <= set(neurons_of(equal)[code])
    more = equal_count(mask, statistics, least + 5)  # beyond what the mask has
    assert {more.count(code) for code in more.languages} == {least + 5}


def test_equal_count_needs_the_statistics_the_mask_was_made_from() -> None:
    statistics = statistics_of(WORKED)
    mask = lape.identify(statistics, **EVEN)
    other = statistics_of({"en": WORKED["fr"], "fr": WORKED["en"]})
    with pytest.raises(lape.MaskMismatch, match="do not give this mask"):
        equal_count(mask, other)
    with pytest.raises(lape.UnknownLabel, match="No identification method 'random'"):
        equal_count(mask.random_like(statistics, 0), statistics)
    with pytest.raises(lape.UnknownLabel, match="No identification method 'None'"):
        equal_count(NeuronMask(mask.neurons, {}, mask.shape), statistics)


def test_equal_count_refuses_statistics_that_give_most_of_the_mask() -> None:
    statistics = statistics_of(WORKED)
    mask = lape.identify(statistics, **EVEN)
    first = mask.languages[0]
    fewer = {**mask.neurons, first: mask.neurons[first][:-1]}
    with pytest.raises(lape.MaskMismatch, match="do not give this mask"):
        equal_count(NeuronMask(fewer, {}, mask.shape, mask.metadata), statistics)


def test_every_setting_of_every_method_is_in_the_table_and_takes_its_default() -> None:
    for method in METHODS:
        for name, default in method_settings(method).items():
            assert SETTINGS[name].takes(default)
    for name, setting in SETTINGS.items():
        low, high, _ = setting.slider or (setting.high, setting.high, 0)
        assert setting.takes(low), name
        assert setting.takes(high), name
        assert not setting.takes("0.5")
        assert not setting.takes(True)


def test_equal_count_of_a_mask_with_a_silent_language_asks_for_a_number() -> None:
    statistics = statistics_of(WORKED)
    mask = lape.identify(statistics, "lap")
    with pytest.raises(lape.LapeError, match=r"no neurons for fr\. Say how many .* count=50"):
        equal_count(mask, statistics)
    assert neurons_of(equal_count(mask, statistics, 1)) == {"en": [(0, 0)], "fr": [(1, 2)]}


@pytest.mark.parametrize("method", ["difference", "margin", "probability"])
def test_a_rival_selects_one_neuron_in_800_unless_told(method: str) -> None:
    descending, ascending = list(range(1600, 0, -1)), list(range(1, 1601))
    statistics = statistics_of({"en": [descending], "fr": [ascending]}, 1600)
    assert neurons_of(lape.identify(statistics, method)) == {"en": [(0, 0), (0, 1)], "fr": [(0, 1598), (0, 1599)]}


def test_counts_of_any_mapping_are_kept_as_a_mask_can_be_saved(tmp_path: Path) -> None:
    counts = MappingProxyType({"en": 2, "fr": 1})
    mask = lape.identify(statistics_of(WORKED), "margin", per_language=counts)
    mask.save(tmp_path)
    assert NeuronMask.load(tmp_path).metadata["settings"]["per_language"] == dict(counts)
