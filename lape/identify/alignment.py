"""The score of alignment neurons: LAPE's entropy less a reward for neurons that are often active.

From "How does Alignment Enhance LLMs' Multilingual Capabilities? A Language Neurons Perspective"
(arXiv 2505.21505) and its code, NJUNLP/Language-Neurons-Alignment. It counts active tokens of the model's answers to
MGSM: those of prompt and answer less those of the prompt, where a difference below 0 counts as 0; `lape.record` counts
all tokens of a text. From the authors' counts comes the authors' mask, neuron by neuron.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch

from lape.errors import LapeError
from lape.identify.lape import activation_entropy
from lape.identify.ranking import SCORE_DECIMALS, Rankings, lowest, members, order_statistic, ranked_members, stacked
from lape.identify.settings import check_settings
from lape.recording.statistics import ActivationStatistics

LARGEST_WEIGHT, WEIGHT_STEP = 0.2, 1e-3  # the authors' search: up to here, to this precision


def alignment(
    statistics: ActivationStatistics,
    languages: Sequence[str],
    *,
    top_rate: float = 0.01,
    activation_bar_ratio: float = 0.95,
    weight: float | None = None,
) -> dict[str, torch.Tensor]:
    """Selects neurons by entropy and peak probability together.

    With p and the entropy H of `lape`, K languages and `norm = (1 + 1/2 + ... + 1/K) / K`:

    1. score `s[j] = H[j] / ln K - weight * max_k p[k, j] / norm`; a neuron active in no language counts as
       evenly spread, H = ln K. There is no filter of rarely active neurons;
    2. the `round(top_rate * layers * neurons)` neurons of lowest score are kept; ties break by
       (score, layer, neuron), scores being compared to 12 decimals;
    3. a kept neuron belongs to every language with `p > bar`, the `activation_bar_ratio` order statistic.

    Args:
        statistics: Counts of every language.
        languages: The K codes to tell apart.
        top_rate: Share of all neurons to keep, in (0, 1].
        activation_bar_ratio: Order statistic of membership, in [0, 1].
        weight: The reward, at least 0. None searches, as the authors do, for the largest one up to 0.2 at
            which no kept neuron belongs to all K languages, by bisection to 0.001. (Their search stops a step
            short of 0.2 where 0.2 itself would do; ours takes it.)

    Raises:
        LapeError: A setting is out of range, or no weight keeps every neuron from all languages.
    """
    score, probability, bar = _scored(statistics, languages, top_rate, activation_bar_ratio, weight)
    kept = lowest(score, round(top_rate * len(score)))
    return members(kept, probability, languages, bar)


def alignment_ranking(
    statistics: ActivationStatistics,
    languages: Sequence[str],
    *,
    top_rate: float = 0.01,
    activation_bar_ratio: float = 0.95,
    weight: float | None = None,
) -> Rankings:
    """Ranks each language's neurons above the bar by score, lowest first, then by p in that language, highest first.

    `top_rate` does not cut here: it only says at which size of the pool the weight is searched.
    """
    score, probability, bar = _scored(statistics, languages, top_rate, activation_bar_ratio, weight)
    return ranked_members(torch.arange(len(score)), score, probability, languages, bar)


def _scored(
    statistics: ActivationStatistics,
    languages: Sequence[str],
    top_rate: float,
    activation_bar_ratio: float,
    weight: float | None,
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Scores `[neurons]`, probabilities `[languages, neurons]` and the bar of membership."""
    check_settings(activation_bar_ratio=activation_bar_ratio, top_rate=top_rate, weight=weight)
    count = len(languages)
    probability = stacked(statistics.probability, languages)
    bar = order_statistic(probability, activation_bar_ratio)
    highest = probability.amax(0)
    entropy = activation_entropy(probability, torch.arange(len(highest)))
    spread = torch.where(highest > 0, entropy / log(count), 1.0)
    peak = highest / (sum(1 / rank for rank in range(1, count + 1)) / count)
    if weight is None:
        pool = round(top_rate * len(spread))
        weight = _largest_weight(spread, peak, (probability > bar).all(0), pool)
    return _score(spread, peak, weight), probability, bar


def _score(spread: torch.Tensor, peak: torch.Tensor, weight: float) -> torch.Tensor:
    return (spread - weight * peak).round(decimals=SCORE_DECIMALS)


def _largest_weight(spread: torch.Tensor, peak: torch.Tensor, shared: torch.Tensor, pool: int) -> float:
    """The largest weight whose pool holds no neuron that all languages share."""

    def separates(weight: float) -> bool:
        return not shared[lowest(_score(spread, peak, weight), pool)].any()

    low, high = 0.0, LARGEST_WEIGHT
    if separates(high):
        return high
    found = low if separates(low) else None
    while high - low > WEIGHT_STEP:
        middle = (low + high) / 2
        if separates(middle):
            found = low = middle
        else:
            high = middle
    if found is None:
        raise LapeError(
            "At this top_rate every weight up to 0.2 keeps a neuron that belongs to all languages. "
            "Give a smaller top_rate, or a weight."
        )
    return found
