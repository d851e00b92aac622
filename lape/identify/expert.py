"""Expert neurons: how well a neuron's mean activation over a text tells a language's texts from all others.

From Kojima et al., "On the Multilingual Ability of Decoder-based Pre-trained Language Models: Finding and Controlling
Language-Specific Neurons" (NAACL 2024, arXiv 2404.02431), after the self-conditioning of Suau et al. Theirs are the
outputs of every linear layer; ours are FFN neurons, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lape.identify.ranking import SCORE_DECIMALS, Ranking, Rankings
from lape.identify.settings import check_settings
from lape.recording.text_means import TextMeans

SLAB = 4_000_000  # means of texts that are sorted at once


def expert(
    texts: TextMeans,
    languages: Sequence[str],
    *,
    top_rate: float = 0.00125,
    bottom_rate: float = 0.0,
) -> dict[str, torch.Tensor]:
    """Selects, for each language, the neurons of highest average precision, and of the lowest where that is asked for.

    The value of neuron j at a text is its mean activation over it; the texts of the language are the positives, those
    of all other languages the negatives. Average precision is scikit-learn's: texts in descending order of value,
    `AP = sum_n (R_n - R_(n-1)) P_n` over the distinct values, P and R being precision and recall of the texts down to
    that value. High where the language's texts come first, low where they come last: a neuron of low average precision
    is one that the language leaves silent. Of equal ones those come first whose means lie further apart (`distance`):
    where the texts of a group are much alike, as questions of one pattern are, a thousand neurons reach 1.

    Kojima et al. take as many of the lowest as of the highest, and switch both on with the median over the language's
    texts, which is what a mask of this method holds as its means.

    Args:
        texts: Means of texts in every language.
        languages: The codes to tell apart.
        top_rate: Share of all neurons to keep for each language, in (0, 1].
        bottom_rate: Share of all neurons of lowest average precision to keep on top, in [0, 1].

    Raises:
        LapeError: A setting is out of range.
    """
    check_settings(top_rate=top_rate, bottom_rate=bottom_rate)
    selected, size = {}, texts.shape[0] * texts.shape[1]
    for code, ranking in expert_ranking(texts, languages):
        lowest_first = Ranking(ranking.neurons, tuple(-key for key in ranking.keys))
        best, worst = ranking.first(round(top_rate * size)), lowest_first.first(round(bottom_rate * size))
        selected[code] = torch.cat([best, worst]).unique()
    return selected


def expert_ranking(texts: TextMeans, languages: Sequence[str]) -> Rankings:
    """Ranks all neurons by average precision, highest first, and where it is equal by distance, furthest first."""
    ranked = zip(languages, average_precision(texts, languages), distance(texts, languages), strict=True)
    return ((code, Ranking(torch.arange(len(row)), (-row, -apart))) for code, row, apart in ranked)


def distance(texts: TextMeans, languages: Sequence[str]) -> torch.Tensor:
    """How far each neuron's mean over a language's texts is above that over all others, in standard deviations.

    Float64 `[languages, neurons]`, to 12 decimals; the deviation is that of all texts, and 0 where it is 0.
    """
    flat = [texts.means[code].flatten(1) for code in languages]
    counts = [len(of) for of in flat]
    sums = torch.stack([of.sum(0, dtype=torch.float64) for of in flat])
    squares = sum(torch.linalg.vector_norm(of, dim=0, dtype=torch.float64) ** 2 for of in flat)
    total, number = sums.sum(0), sum(counts)
    deviation = (squares / number - (total / number) ** 2).clamp(min=0).sqrt()
    rows = [own / count - (total - own) / (number - count) for own, count in zip(sums, counts, strict=True)]
    found = torch.stack([torch.where(deviation > 0, row / deviation, 0.0) for row in rows])
    return found.round(decimals=SCORE_DECIMALS)


def average_precision(texts: TextMeans, languages: Sequence[str]) -> torch.Tensor:
    """Average precision of each neuron for each language: float64 `[languages, neurons]`, to 12 decimals."""
    counts = [len(texts.means[code]) for code in languages]
    owner = torch.arange(len(languages)).repeat_interleave(torch.tensor(counts))
    flat = [texts.means[code].flatten(1) for code in languages]
    size = max(SLAB // len(owner), 1)
    parts = []
    for start in range(0, flat[0].shape[1], size):
        values, order = torch.cat([of[:, start : start + size] for of in flat]).float().sort(0, descending=True)
        # Texts of one value come together: what counts is the precision at the last of them.
        last = torch.ones_like(values, dtype=torch.bool)
        last[:-1] = values[:-1] != values[1:]
        place = torch.arange(len(owner))[:, None].expand_as(values)
        end = torch.where(last, place, len(owner)).flip(0).cummin(0).values.flip(0)
        found, owners = [], owner[order]
        for number, count in enumerate(counts):
            own = owners == number
            precision = own.cumsum(0).gather(0, end).double() / (end + 1)
            found.append(torch.where(own, precision, 0.0).sum(0) / count)
        parts.append(torch.stack(found))
    return torch.cat(parts, dim=1).round(decimals=SCORE_DECIMALS)
