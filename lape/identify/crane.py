"""CRANE and its simple form: neurons by what they do for the model's predictions, in place of how often they fire.

CRANE is of Le and Li (arXiv 2601.04664). Its paper's formulas were out of reach, and this follows its code, with one
difference: there a unit's relevance in a text is the sum of the gradients of its row of weights, here it is what
layer-wise relevance propagation gives the neuron, its activation times its gradient (`lape/recording/relevance.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

import torch

from lape.identify.ranking import SCORE_DECIMALS, Ranking, Rankings, Scores, above_others, highest, stacked, top_share
from lape.identify.settings import check_settings
from lape.recording.relevance import GradientRelevance, Relevance


def crane(relevance: Relevance, languages: Sequence[str], *, min_z: float = 1.0) -> dict[str, torch.Tensor]:
    """Selects, for each language, the neurons whose relevance has the heaviest tails over its texts.

    With `k[j]` the excess kurtosis, over the language's blocks, of neuron j's relevance in a block, a neuron belongs
    to the language when `z[j] = (k[j] - mean(k)) / deviation(k) > min_z`, mean and deviation being over all neurons.
    Nothing compares languages: a neuron may belong to all. The authors chose z > 1 among some fifty rules on the data
    they report, and as many random neurons did much of the same harm there: compare at equal count, and with a control.

    Args:
        relevance: Of every language.
        languages: The codes to tell apart.
        min_z: Standard deviations over the mean.

    Raises:
        LapeError: `min_z` is not a finite number.
    """
    check_settings(min_z=min_z)
    return {code: found.neurons[-found.keys[0] > min_z] for code, found in crane_ranking(relevance, languages)}


def crane_ranking(relevance: Relevance, languages: Sequence[str]) -> Rankings:
    """Ranks all neurons by z, highest first."""
    for code in languages:
        kurtosis = relevance.column("kurtosis", code).flatten()
        spread = kurtosis.std(correction=0).clamp(min=sys.float_info.min)
        z = ((kurtosis - kurtosis.mean()) / spread).round(decimals=SCORE_DECIMALS)
        yield code, Ranking(torch.arange(len(z)), (-z,))


def gradient(
    relevance: GradientRelevance, languages: Sequence[str], *, top_rate: float = 0.00125
) -> dict[str, torch.Tensor]:
    """Selects, for each language, the neurons that speak for its predictions more than for those of the others.

    With `r[k, j]` the mean over language k's blocks of neuron j's activation times its gradient, in parts of
    `sum_j |r[k, j]|`, the score is r in the language minus the mean r of the others. The
    `round(top_rate * layers * neurons)` neurons of highest score above 0 are selected; ties break by (layer, neuron),
    scores being compared to 12 decimals. Gradient times activation is the attribution of CULNIG (ICLR 2026); how it
    is compared here is our own.

    Args:
        relevance: Of every language, by plain gradients.
        languages: The codes to tell apart.
        top_rate: Share of all neurons to keep for each language, in (0, 1].

    Raises:
        LapeError: `top_rate` is not above 0 and up to 1.
    """
    check_settings(top_rate=top_rate)
    return top_share(_gradients(relevance, languages), top_rate, relevance.shape)


def gradient_ranking(relevance: GradientRelevance, languages: Sequence[str]) -> Rankings:
    """Ranks the neurons with a score above 0 by it, highest first."""
    return ((code, highest(score)) for code, score in _gradients(relevance, languages))


def _gradients(relevance: GradientRelevance, languages: Sequence[str]) -> Scores:
    r = stacked(partial(relevance.column, "relevance"), languages)
    return above_others(r / r.abs().sum(1, keepdim=True).clamp(min=sys.float_info.min), languages)
