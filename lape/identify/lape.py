"""LAPE: language activation probability entropy (Tang et al. 2024, arXiv 2402.16438).

A neuron whose activation is spread evenly over languages has high entropy; one that is active in a single
language has entropy 0. LAPE keeps the neurons of lowest entropy among those that are often active in some
language, and gives each to every language in which it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lape.identify.ranking import SCORE_DECIMALS, Rankings, lowest, members, order_statistic, ranked_members, stacked
from lape.identify.settings import check_settings
from lape.recording.statistics import ActivationStatistics

SLAB_NEURONS = 65_536  # whose entropies are computed at a time: no copy of all values, and a processor's cache holds it


def lape(
    statistics: ActivationStatistics,
    languages: Sequence[str],
    *,
    top_rate: float = 0.01,
    filter_rate: float = 0.95,
    activation_bar_ratio: float = 0.95,
) -> dict[str, torch.Tensor]:
    """Selects neurons by language activation probability entropy.

    With `p[k, j]` the share of language k's tokens at which neuron j is active and `q = p / p.sum(k)`:

    1. entropy `H[j] = -sum_k q log q`, in nats;
    2. candidates have `p > threshold` in some language, the threshold being the `filter_rate` order
       statistic of all p;
    3. the `round(top_rate * layers * neurons)` candidates of lowest entropy are kept; ties break by
       (entropy, layer, neuron), entropies being compared to 12 decimals;
    4. a kept neuron belongs to every language with `p > bar`, the `activation_bar_ratio` order statistic.

    Args:
        statistics: Counts of every language.
        languages: The K codes to tell apart.
        top_rate: Share of all neurons to keep, in (0, 1].
        filter_rate: Order statistic of a candidate's activity, in [0, 1].
        activation_bar_ratio: Order statistic of membership, in [0, 1].

    Returns:
        Language code to sorted int64 flat indices (layer * neurons + neuron); every language has a key.

    Raises:
        LapeError: A rate is out of range.
    """
    check_settings(top_rate=top_rate, filter_rate=filter_rate, activation_bar_ratio=activation_bar_ratio)
    probability = stacked(statistics.probability, languages)
    return select_by_entropy(probability, languages, top_rate, filter_rate, activation_bar_ratio)


def lape_ranking(
    statistics: ActivationStatistics,
    languages: Sequence[str],
    *,
    filter_rate: float = 0.95,
    activation_bar_ratio: float = 0.95,
) -> Rankings:
    """Ranks each language's candidates by entropy, then by their probability in that language, highest first.

    The same number of the first ones for each language is the equal-count LAPE of cisnlp/code-specific-neurons
    (which breaks no ties).
    """
    check_settings(filter_rate=filter_rate, activation_bar_ratio=activation_bar_ratio)
    probability = stacked(statistics.probability, languages)
    return rank_by_entropy(probability, languages, filter_rate, activation_bar_ratio)


def select_by_entropy(
    values: torch.Tensor, languages: Sequence[str], top_rate: float, filter_rate: float, activation_bar_ratio: float
) -> dict[str, torch.Tensor]:
    """LAPE's steps over any values `[languages, neurons]` that are not negative."""
    candidates, entropy, bar = _candidates(values, filter_rate, activation_bar_ratio)
    kept = candidates[lowest(entropy, round(top_rate * values.shape[1]))]
    return members(kept, values, languages, bar)


def rank_by_entropy(
    values: torch.Tensor, languages: Sequence[str], filter_rate: float, activation_bar_ratio: float
) -> Rankings:
    """LAPE's candidates above the bar of each language: lowest entropy first, then highest value."""
    candidates, entropy, bar = _candidates(values, filter_rate, activation_bar_ratio)
    return ranked_members(candidates, entropy, values, languages, bar)


def activation_entropy(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Entropy of the values of some neurons over languages, in nats, to 12 decimals.

    Args:
        values: float64 `[languages, neurons]`, such as probabilities; a neuron of zeros gives 0.
        chosen: int64 `[n]`, the neurons.

    Returns:
        float64 `[n]`, from 0 (one language only) to log(languages).
    """
    return torch.cat([_entropy(values[:, some]) for some in chosen.split(SLAB_NEURONS)])


def _entropy(values: torch.Tensor) -> torch.Tensor:
    total = values.sum(0)
    entropy = torch.zeros_like(total)
    for row in values:
        share = torch.where(total > 0, row / total, 0.0)
        entropy -= torch.xlogy(share, share)
    return entropy.round(decimals=SCORE_DECIMALS).abs()


def _candidates(
    values: torch.Tensor, filter_rate: float, activation_bar_ratio: float
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Neurons above the threshold in some language, their entropies, and the bar of membership."""
    threshold = order_statistic(values, filter_rate)
    bar = threshold if activation_bar_ratio == filter_rate else order_statistic(values, activation_bar_ratio)
    candidates = (values.amax(0) > threshold).nonzero().squeeze(1)
    return candidates, activation_entropy(values, candidates), bar
