"""LAPE: language activation probability entropy (Tang et al. 2024, arXiv 2402.16438).

A neuron whose activation is spread evenly over languages has high entropy; one that is active in a single
language has entropy 0. LAPE keeps the neurons of lowest entropy among those that are often active in some
language, and gives each to every language in which it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lape.errors import LapeError
from lape.statistics import ActivationStatistics

ENTROPY_DECIMALS = 12  # entropies equal to here are a tie, whatever the rounding of this machine's logarithm


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
    for name, rate in (("filter_rate", filter_rate), ("activation_bar_ratio", activation_bar_ratio)):
        if not 0 <= rate <= 1:
            raise LapeError(f"{name} is a share from 0 to 1, not {rate}.")
    if not 0 < top_rate <= 1:
        raise LapeError(f"top_rate is a share above 0 and up to 1, not {top_rate}.")

    probability = torch.stack([statistics.probability(code).flatten() for code in languages])  # [K, neurons]
    threshold = order_statistic(probability, filter_rate)
    bar = threshold if activation_bar_ratio == filter_rate else order_statistic(probability, activation_bar_ratio)

    candidates = (probability.amax(0) > threshold).nonzero().squeeze(1)
    entropy = activation_entropy(probability[:, candidates])
    kept = candidates[_lowest(entropy, round(top_rate * probability.shape[1]))]
    return {code: kept[probability[index, kept] > bar] for index, code in enumerate(languages)}


def activation_entropy(probability: torch.Tensor) -> torch.Tensor:
    """Entropy over languages of each neuron's activation probability, in nats, to 12 decimals.

    Args:
        probability: float64 `[languages, neurons]`; a neuron active in no language gives 0.

    Returns:
        float64 `[neurons]`, from 0 (one language only) to log(languages).
    """
    total = probability.sum(0)
    entropy = torch.zeros_like(total)
    for row in probability:
        share = torch.where(total > 0, row / total, 0.0)
        entropy -= torch.xlogy(share, share)
    return entropy.round(decimals=ENTROPY_DECIMALS).abs()


def order_statistic(values: torch.Tensor, rate: float) -> float:
    """The `round(rate * n)`-th smallest of all n values (the smallest at rate 0)."""
    flat = values.flatten().numpy()
    position = max(round(rate * flat.size), 1) - 1
    return float(np.partition(flat, position)[position])  # several times faster than torch.kthvalue


def _lowest(values: torch.Tensor, count: int) -> torch.Tensor:
    """Positions of the `count` smallest values, ascending; ties at the boundary go to the first positions."""
    if count >= len(values):
        return torch.arange(len(values))
    if count == 0:
        return torch.empty(0, dtype=torch.long)
    boundary = values.kthvalue(count).values
    below = values < boundary
    tied = (values == boundary).nonzero().squeeze(1)[: count - int(below.sum())]
    return torch.cat([below.nonzero().squeeze(1), tied]).sort().values
