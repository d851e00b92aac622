"""LAPE against its definition, and what `identify` makes of a selection."""

from __future__ import annotations

import itertools
import math
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from lape_oracle import Neuron, oracle, probabilities, ranking
from samples import METADATA, neurons_of, statistics_of

import lape

CODES = ("en", "zh", "fr", "es", "vi", "id", "ja", "de")
EVEN = {"top_rate": 0.5, "filter_rate": 0.5, "activation_bar_ratio": 0.5}

# Two layers of three neurons, ten tokens per language. Share of tokens and entropy of each neuron:
#   (0,0)  en 1.0  fr 0    q = (1, 0)     H = 0
#   (0,1)  en .5   fr .5   q = (.5, .5)   H = ln 2 = .693
#   (0,2)  never active
#   (1,0)  en .2   fr .8   q = (.2, .8)   H = .2 ln 5 + .8 ln 1.25 = .322 + .179 = .500
#   (1,1)  en .1   fr 0    q = (1, 0)     H = 0
#   (1,2)  en .9   fr .9   q = (.5, .5)   H = ln 2 = .693
# All twelve in order: 0 0 0 0 .1 .2 .5 .5 .8 .9 .9 1.
WORKED = {"en": [[10, 5, 0], [2, 1, 9]], "fr": [[0, 5, 0], [8, 0, 9]]}


def random_case(seed: int) -> tuple[dict, dict[str, int], dict[str, float]]:
    """Counts from a small range, so that ties are many, with dead neurons, silent languages and edge rates."""
    draw = random.Random(seed)
    layers, neurons = draw.randint(1, 4), draw.randint(1, 20)
    tokens = {code: draw.randint(1, 6) for code in draw.sample(CODES, draw.randint(2, 8))}
    dead = {(layer, neuron) for layer in range(layers) for neuron in range(neurons) if draw.random() < 0.2}
    active = {}
    for code, count in tokens.items():
        most = 0 if draw.random() < 0.05 else count
        active[code] = [
            [0 if (layer, neuron) in dead else draw.randint(0, most) for neuron in range(neurons)]
            for layer in range(layers)
        ]
    rates = {
        "top_rate": draw.choice([1e-6, 1, *(1 - draw.random() for _ in range(6))]),
        "filter_rate": draw.choice([0, 0.95, 1, *(draw.uniform(0, 0.9) for _ in range(9))]),
        "activation_bar_ratio": draw.choice([0, 0.95, 1, *(draw.uniform(0, 0.9) for _ in range(9))]),
    }
    return active, tokens, rates


def test_equals_the_oracle_on_random_cases() -> None:
    met = Counter()
    for seed in range(200):
        active, tokens, rates = random_case(seed)
        expected = oracle(active, tokens, **rates)
        assert neurons_of(lape.identify(statistics_of(active, tokens), **rates)) == expected, f"seed {seed}"

        p = probabilities(active, tokens)
        ranked = ranking(p, rates["filter_rate"])
        kept = round(rates["top_rate"] * len(p))
        members = Counter(itertools.chain.from_iterable(expected.values()))
        met["tie at the boundary"] += 0 < kept < len(ranked) and ranked[kept - 1][0] == ranked[kept][0]
        met["dead neuron"] += any(not any(by_language.values()) for by_language in p.values())
        met["silent language"] += any(not any(map(any, rows)) for rows in active.values())
        met["language without neurons"] += bool(members) and not all(expected.values())
        met["several languages"] += max(members.values(), default=0) > 1
        met["fewer candidates than asked"] += 0 < len(ranked) < kept
        met["neurons kept"] += bool(members)
        met["nothing kept"] += not members
    assert min(met.values()) >= 10, met  # otherwise the cases above show too little


def test_worked_example() -> None:
    mask = lape.identify(statistics_of(WORKED), **EVEN)
    # The sixth of twelve is .2, so (0,0), (0,1), (1,0) and (1,2) are candidates. Three are kept: (0,0), (1,0),
    # and of the tied (0,1) and (1,2) the first. The bar is .2 too, which (1,0) does not pass in English.
    assert neurons_of(mask) == {"en": [(0, 0), (0, 1)], "fr": [(0, 1), (1, 0)]}
    assert mask.shape == (2, 3)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        # The threshold is the largest of all: nothing is above it.
        ({"filter_rate": 1}, {"en": [], "fr": []}),
        ({"activation_bar_ratio": 1}, {"en": [], "fr": []}),
        # The threshold is the smallest, 0: also the rarely active (1,1), whose entropy 0 beats the ties.
        ({"filter_rate": 0}, {"en": [(0, 0)], "fr": [(1, 0)]}),
        # Every candidate is kept: the dead (0,2) and the rare (1,1) still are none.
        ({"top_rate": 1}, {"en": [(0, 0), (0, 1), (1, 2)], "fr": [(0, 1), (1, 0), (1, 2)]}),
        # A sixth of six neurons is one; .08 of six rounds to none.
        ({"top_rate": 1 / 6}, {"en": [(0, 0)], "fr": []}),
        ({"top_rate": 0.08}, {"en": [], "fr": []}),
        # A bar of 0 (the fourth) lets a weak language in: (1,0) is English too.
        ({"activation_bar_ratio": 1 / 3}, {"en": [(0, 0), (0, 1), (1, 0)], "fr": [(0, 1), (1, 0)]}),
    ],
)
def test_each_rate_does_its_part(rates: dict[str, float], expected: dict[str, list[Neuron]]) -> None:
    assert neurons_of(lape.identify(statistics_of(WORKED), **(EVEN | rates))) == expected


def test_ties_at_the_boundary_go_to_the_first_layer_and_neuron() -> None:
    alike = [[6] * 5] * 4
    mask = lape.identify(
        statistics_of({"en": alike, "fr": [[0] * 5] * 4}), top_rate=0.35, filter_rate=0.5, activation_bar_ratio=0.5
    )
    assert neurons_of(mask)["en"] == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (1, 1)]


def test_a_language_without_neurons_keeps_its_key() -> None:
    silent = [[0, 0, 0], [0, 0, 0]]
    mask = lape.identify(statistics_of({**WORKED, "ja": silent}), top_rate=0.5, filter_rate=0.7)
    assert mask.languages == ("en", "fr", "ja")
    assert mask.neurons["ja"].shape == (0, 2)
    assert mask.count("ja") == 0
    assert mask.means["ja"].shape == (0,)


def test_tokens_may_differ_between_languages() -> None:
    counts = {"en": [[6, 3]], "fr": [[6, 9]]}
    rates = {"top_rate": 0.5, "filter_rate": 0, "activation_bar_ratio": 0}
    # Shares of en and fr: (.6, .2) and (.3, .3), so that the first is the specific one; of as many tokens
    # they are (.2, .2) and (.1, .3), and it is the second.
    other_lengths = lape.identify(statistics_of(counts, {"en": 10, "fr": 30}), **rates)
    assert neurons_of(other_lengths) == {"en": [(0, 0)], "fr": []}
    assert neurons_of(lape.identify(statistics_of(counts, 30), **rates)) == {"en": [], "fr": [(0, 1)]}


def test_the_order_of_languages_does_not_matter() -> None:
    draw = random.Random(0)
    active = {code: [[draw.randint(0, 7) for _ in range(20)] for _ in range(3)] for code in CODES[:6]}
    statistics = statistics_of(active, 7)
    selections = []
    for _ in range(20):
        codes = draw.sample(CODES[:6], 6)
        mask = lape.identify(statistics, languages=codes, top_rate=0.3, filter_rate=0.6, activation_bar_ratio=0.6)
        assert mask.languages == tuple(codes)
        selections.append(neurons_of(mask))
    assert all(selection == selections[0] for selection in selections)
    assert all(selections[0].values())


def test_a_subset_of_languages_is_as_if_only_they_had_been_recorded() -> None:
    all_three = statistics_of({**WORKED, "de": [[1, 10, 3], [10, 4, 2]]})
    subset = lape.identify(all_three, languages=["en", "fr"], **EVEN)
    assert neurons_of(subset) == neurons_of(lape.identify(statistics_of(WORKED), **EVEN))
    assert subset.metadata["tokens"] == {"en": 10, "fr": 10}
    assert set(subset.metadata["corpora"]) == {"en", "fr"}
    assert neurons_of(lape.identify(all_three, **EVEN)) != neurons_of(subset)


def test_means_are_those_of_the_statistics_at_the_selected_neurons() -> None:
    statistics = statistics_of(WORKED, {"en": 10, "fr": 20})
    mask = lape.identify(statistics, **EVEN)
    assert any(len(means) for means in mask.means.values())
    for code, pairs in neurons_of(mask).items():
        expected = [float(statistics.sum[code][pair]) / statistics.tokens[code] for pair in pairs]
        assert mask.means[code].tolist() == torch.tensor(expected).tolist()


def test_metadata_says_where_the_mask_comes_from() -> None:
    metadata = lape.identify(statistics_of(WORKED), top_rate=0.5).metadata
    assert {key: metadata[key] for key in METADATA} == METADATA
    assert metadata["method"] == "lape"
    assert metadata["settings"] == {"top_rate": 0.5, "filter_rate": 0.95, "activation_bar_ratio": 0.95}
    assert metadata["tokens"] == {"en": 10, "fr": 10}
    assert metadata["corpora"]["fr"] == [{"source": "fr.txt", "sha256": "fr", "tokens": 10}]
    assert set(metadata) == {*METADATA, "method", "settings", "tokens", "corpora"}


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ({"method": "lapee"}, "No identification method 'lapee'. Did you mean 'lape'"),
        ({"languages": ["en", "frr"]}, "No language in these activation statistics 'frr'. Did you mean 'fr'?"),
        ({"toprate": 0.5}, "No setting of 'lape' 'toprate'. Did you mean 'top_rate'"),
    ],
)
def test_an_unknown_name_gets_the_near_ones(asked: dict, hint: str) -> None:
    with pytest.raises(lape.UnknownLabel) as error:
        lape.identify(statistics_of(WORKED), **asked)
    assert str(error.value).startswith(hint)


@pytest.mark.parametrize("rate", [-0.01, 1.01, math.nan, math.inf])
@pytest.mark.parametrize("name", list(EVEN))
def test_a_rate_out_of_range_is_refused(name: str, rate: float) -> None:
    with pytest.raises(lape.LapeError, match=f"{name} is a share .* not {rate}"):
        lape.identify(statistics_of(WORKED), **{name: rate})


def test_keeping_nothing_at_all_is_refused() -> None:
    with pytest.raises(lape.LapeError, match="top_rate is a share above 0"):
        lape.identify(statistics_of(WORKED), top_rate=0)


@pytest.mark.parametrize("languages", [[], ["fr"], ["fr", "fr"], ["fr", "en", "fr"]])
def test_telling_apart_needs_two_different_languages(languages: list[str]) -> None:
    with pytest.raises(lape.LapeError, match="at least two"):
        lape.identify(statistics_of(WORKED), languages=languages)


def test_the_same_statistics_give_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    statistics_of(WORKED).save(tmp_path / "statistics.safetensors")
    script = (
        "import sys, lape; folder = sys.argv[1]\n"
        "stats = lape.ActivationStatistics.load(folder + '/statistics.safetensors')\n"
        "lape.identify(stats, top_rate=0.5, filter_rate=0.5, activation_bar_ratio=0.5).save(folder + '/' + sys.argv[2])"
    )
    command = [sys.executable, "-c", script, str(tmp_path), "process"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "1"})
    statistics = lape.ActivationStatistics.load(tmp_path / "statistics.safetensors")
    for name in ("here", "again"):
        lape.identify(statistics, **EVEN).save(tmp_path / name)
    for file in ("mask.safetensors", "mask.json"):
        contents = {(tmp_path / name / file).read_bytes() for name in ("here", "again", "process")}
        assert len(contents) == 1, file
