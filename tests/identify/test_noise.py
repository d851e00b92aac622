"""The noise filter: neurons that random tokens make active are dropped, whatever the method."""

from __future__ import annotations

from typing import Any

import pytest
from recordings import histograms_of, texts_of
from samples import neurons_of, statistics_of

import lape
from lape.identify import equal_count
from lape.languages import NOISE

# Of ten tokens. en's neurons 0 and 1 are its own; noise makes 0 active half as often, 1 as often, 2 more often.
ACTIVE = {"en": [[8, 8, 4, 0]], "fr": [[0, 0, 2, 8]], NOISE: [[4, 8, 6, 0]]}


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (None, {"en": [0, 1, 2], "fr": [3]}),
        (1, {"en": [0, 1], "fr": [3]}),
        (0.5, {"en": [0], "fr": [3]}),
        (0.4, {"en": [], "fr": [3]}),
        (0, {"en": [], "fr": [3]}),
    ],
)
def test_a_neuron_is_dropped_that_noise_makes_active_too_often(noise: float | None, expected: dict[str, Any]) -> None:
    statistics = statistics_of(ACTIVE)
    mask = lape.identify(statistics, "margin", top_rate=1, noise=noise)
    assert neurons_of(mask) == {code: [(0, at) for at in neurons] for code, neurons in expected.items()}
    assert mask.metadata["settings"] == {"top_rate": 1, **({} if noise is None else {"noise": noise})}
    if all(expected.values()):
        assert equal_count(mask, statistics, 1).metadata["settings"].get("noise") == noise


def test_as_many_neurons_as_asked_are_left() -> None:
    mask = lape.identify(statistics_of(ACTIVE), "margin", per_language={"en": 1, "fr": 1}, noise=0.5)
    assert neurons_of(mask) == {"en": [(0, 0)], "fr": [(0, 3)]}
    with pytest.raises(lape.LapeError, match="only 1 neurons to choose from for 'en'"):
        lape.identify(statistics_of(ACTIVE), "margin", per_language={"en": 2, "fr": 1}, noise=0.5)


def test_other_recordings_are_filtered_too_and_noise_is_no_language() -> None:
    histograms = histograms_of({"en": [[0, 0, 6]], "fr": [[6, 0, 0]], NOISE: [[0, 3, 3]]})  # active in the last bin
    for noise, kept in ((0.5, [(0, 0)]), (0.4, [])):
        assert neurons_of(lape.identify(histograms, "dln", overlap_rate=1, noise=noise)) == {"en": kept, "fr": []}
    texts = texts_of({"en": [[1.0], [2.0]], "fr": [[0.0]], NOISE: [[0.0]]})  # active at half of all tokens
    for noise, kept in ((1, [(0, 0)]), (0.9, [])):
        assert neurons_of(lape.identify(texts, "expert", top_rate=1, noise=noise))["en"] == kept


def test_without_noise_or_with_a_wrong_bar_it_is_refused() -> None:
    without = statistics_of({code: rows for code, rows in ACTIVE.items() if code != NOISE})
    with pytest.raises(lape.LapeError, match=r"hold no random tokens \(zxx-random\) .*--noise"):
        lape.identify(without, noise=1)
    with pytest.raises(lape.LapeError, match="noise is a number of at least 0, or None"):
        lape.identify(statistics_of(ACTIVE), noise=-1)
