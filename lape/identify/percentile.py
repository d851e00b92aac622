"""Neurons by how often a language drives them higher than text in general does (Mondal et al. 2025).

"Language-specific Neurons Do Not Facilitate Cross-Lingual Transfer" (arXiv 2503.17456) takes, for each language, the
neurons of highest probability of an activation above their 90th or 95th percentile.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lape.identify.dln import share_slabs
from lape.identify.ranking import Rankings, Scores, highest, top_share
from lape.identify.settings import check_settings
from lape.recording.histograms import ActivationHistograms


def percentile(
    histograms: ActivationHistograms,
    languages: Sequence[str],
    *,
    top_rate: float = 0.00125,
    percentile: float = 0.95,
) -> dict[str, torch.Tensor]:
    """Selects, for each language, the `round(top_rate * layers * neurons)` neurons of highest share above a percentile.

    The percentile is that of the neuron's activation over all languages to be told apart, each counting the same. The
    authors' code (`act_prob_95p`) compares each language with the neuron's percentile in that same language, the mean
    of its batches' percentiles: by construction about 5 % of the tokens are above it for every neuron, so that what is
    left to rank by is noise. Ours is pooled.

    Both are read off the histograms: within the bin that the percentile falls in, every language's tokens are taken to
    be divided by it as the pooled ones are. Ties break by (layer, neuron), shares being compared to 12 decimals.

    Args:
        histograms: Of every language.
        languages: The codes to tell apart.
        top_rate: Share of all neurons to keep for each language, in (0, 1].
        percentile: Share of all tokens that lie below, in [0, 1].

    Raises:
        LapeError: A setting is out of range.
    """
    check_settings(top_rate=top_rate, percentile=percentile)
    return top_share(_scores(histograms, languages, percentile), top_rate, histograms.shape)


def percentile_ranking(
    histograms: ActivationHistograms, languages: Sequence[str], *, percentile: float = 0.95
) -> Rankings:
    """Ranks the neurons that a language drives above the percentile by how often, most often first."""
    check_settings(percentile=percentile)
    return ((code, highest(score)) for code, score in _scores(histograms, languages, percentile))


def _scores(histograms: ActivationHistograms, languages: Sequence[str], percentile: float) -> Scores:
    above = torch.cat([_above(shares, percentile) for _, shares in share_slabs(histograms, languages)], dim=1)
    return zip(languages, above, strict=True)


def _above(shares: torch.Tensor, percentile: float) -> torch.Tensor:
    """The share of each language's tokens above the pooled percentile: float64 `[languages, neurons]`.

    Args:
        shares: Of tokens in each bin, `[languages, neurons, bins]`.
        percentile: Share of the pooled tokens that lie below.
    """
    pooled = shares.mean(0)
    upto = pooled.cumsum(-1)
    wanted = percentile * upto[:, -1:]  # of a neuron that no token reached, 0
    at = (upto < wanted).sum(-1, keepdim=True).clamp(max=pooled.shape[-1] - 1)
    mass = pooled.gather(1, at)
    below = torch.where(mass > 0, (wanted - upto.gather(1, at) + mass) / mass, 0.0).clamp(0, 1)
    at = at.expand(len(shares), -1, -1)
    inside = shares.gather(2, at)
    return (shares.flip(-1).cumsum(-1).flip(-1).gather(2, at) - below * inside).squeeze(2)
