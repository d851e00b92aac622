"""Rivals of LAPE that the same statistics give: probability alone, values in place of probabilities, differences.

With `p[k, j]` the share of language k's tokens at which neuron j is active, each function selects by its own
cut, and its `..._ranking` orders what it may select for each language, for a comparison at equal count. The
random control is `NeuronMask.random_like`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lape.errors import BadFile
from lape.identify.lape import rank_by_entropy, select_by_entropy
from lape.identify.ranking import Rankings, Scores, above_others, highest, stacked, top_share
from lape.identify.settings import check_settings
from lape.recording.statistics import ActivationStatistics


def lap(
    statistics: ActivationStatistics, languages: Sequence[str], *, min_probability: float = 0.95
) -> dict[str, torch.Tensor]:
    """LAP, language activation probability: a neuron belongs to every language with `p > min_probability`.

    Other languages play no part. Named as a baseline in Tang et al. 2024 (arXiv 2402.16438), with 95 %
    [unconfirmed: name, rule and number are from memory of the paper].

    Raises:
        LapeError: `min_probability` is not from 0 to 1.
    """
    check_settings(min_probability=min_probability)
    rows = ((code, statistics.probability(code).flatten()) for code in languages)
    return {code: (probability > min_probability).nonzero().squeeze(1) for code, probability in rows}


def probability(
    statistics: ActivationStatistics, languages: Sequence[str], *, top_rate: float = 0.00125
) -> dict[str, torch.Tensor]:
    """Selects, for each language, the `round(top_rate * layers * neurons)` neurons of highest p in it.

    Other languages play no part. Mondal et al. 2025 (arXiv 2503.17456) take the top 0.125 % per language by the
    probability of an activation above a threshold; this is their code's `act_prob_zero`, threshold 0. Their 90th
    and 95th percentiles need the distribution of activations, which statistics do not hold.

    Ties break by (layer, neuron). A neuron that a language never activates is not selected for it.

    Raises:
        LapeError: `top_rate` is not above 0 and up to 1.
    """
    check_settings(top_rate=top_rate)
    return top_share(_probabilities(statistics, languages), top_rate, statistics.shape)


def probability_ranking(statistics: ActivationStatistics, languages: Sequence[str]) -> Rankings:
    """Ranks the neurons that are ever active in a language by p, highest first: for `lap` and `probability` alike."""
    return ((code, highest(score)) for code, score in _probabilities(statistics, languages))


def _probabilities(statistics: ActivationStatistics, languages: Sequence[str]) -> Scores:
    return ((code, statistics.probability(code).flatten()) for code in languages)


def difference(
    statistics: ActivationStatistics, languages: Sequence[str], *, top_rate: float = 0.00125
) -> dict[str, torch.Tensor]:
    """Selects, for each language, the `round(top_rate * layers * neurons)` neurons of largest difference.

    The difference is p in the language minus the mean p of the others. Ties break by (layer, neuron), differences
    being compared to 12 decimals; only neurons with one above 0 are selected. Our own plain baseline, without a
    source; it differs from LAPE in that a rarely active neuron cannot rank high, however specific.

    Raises:
        LapeError: `top_rate` is not above 0 and up to 1.
    """
    check_settings(top_rate=top_rate)
    return top_share(_differences(statistics, languages), top_rate, statistics.shape)


def difference_ranking(statistics: ActivationStatistics, languages: Sequence[str]) -> Rankings:
    """Ranks the neurons with a difference above 0 by it, largest first."""
    return ((code, highest(score)) for code, score in _differences(statistics, languages))


def _differences(statistics: ActivationStatistics, languages: Sequence[str]) -> Scores:
    return above_others(stacked(statistics.probability, languages), languages)


def margin(
    statistics: ActivationStatistics, languages: Sequence[str], *, top_rate: float = 0.00125
) -> dict[str, torch.Tensor]:
    """Selects, for each language, the `round(top_rate * layers * neurons)` neurons of largest margin.

    The margin is p in the language minus the highest p of any other, so that a neuron belongs to one language at
    most; the rest is as in `difference`. Stricter, and scarce where two languages are related. Our own plain
    baseline, without a source.

    Raises:
        LapeError: `top_rate` is not above 0 and up to 1.
    """
    check_settings(top_rate=top_rate)
    return top_share(_margins(statistics, languages), top_rate, statistics.shape)


def margin_ranking(statistics: ActivationStatistics, languages: Sequence[str]) -> Rankings:
    """Ranks the neurons with a margin above 0 by it, largest first."""
    return ((code, highest(score)) for code, score in _margins(statistics, languages))


def _margins(statistics: ActivationStatistics, languages: Sequence[str]) -> Scores:
    p = stacked(statistics.probability, languages)
    first, second = p[0].clone(), torch.zeros_like(p[0])
    for row in p[1:]:
        second = torch.maximum(second, torch.minimum(first, row))
        first = torch.maximum(first, row)
    # Where another language is as high or higher, the margin is not above 0, and which it is does not matter.
    return ((code, torch.where(row == first, row - second, 0.0)) for code, row in zip(languages, p, strict=True))


def lave(
    statistics: ActivationStatistics,
    languages: Sequence[str],
    *,
    top_rate: float = 0.01,
    filter_rate: float = 0.95,
    activation_bar_ratio: float = 0.95,
) -> dict[str, torch.Tensor]:
    """LAVE, language activation value entropy: LAPE's steps with mean values in place of probabilities.

    The value is `v[k, j] = positive_sum / tokens`, the mean of `max(activation, 0)` over all of language k's tokens
    that reached the neuron. Then `q = v / v.sum(k)`, and filter, pool and bar as in `lape`, over v.
    Named as a baseline in Tang et al. 2024 (arXiv 2402.16438) [unconfirmed: name and rule are from memory of
    the paper; what it does about negative means is not known, and the positive part is our choice].

    Raises:
        LapeError: A rate is out of range.
    """
    check_settings(top_rate=top_rate, filter_rate=filter_rate, activation_bar_ratio=activation_bar_ratio)
    values = _positive_means(statistics, languages)
    return select_by_entropy(values, languages, top_rate, filter_rate, activation_bar_ratio)


def lave_ranking(
    statistics: ActivationStatistics,
    languages: Sequence[str],
    *,
    filter_rate: float = 0.95,
    activation_bar_ratio: float = 0.95,
) -> Rankings:
    """Ranks each language's candidates by entropy, then by their value in that language, highest first."""
    check_settings(filter_rate=filter_rate, activation_bar_ratio=activation_bar_ratio)
    return rank_by_entropy(_positive_means(statistics, languages), languages, filter_rate, activation_bar_ratio)


def _positive_means(statistics: ActivationStatistics, languages: Sequence[str]) -> torch.Tensor:
    values = stacked(statistics.positive_mean, languages)
    if values.min() < 0:
        raise BadFile("The statistics hold a sum of positive activations that is negative: record them again.")
    return values
