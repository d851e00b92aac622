"""DLN: distribution-aware language neurons, by how far the distributions of a neuron's activation lie apart.

From Distribution-aware Language Neurons (EMNLP 2026) and its code, mjkmain/Distribution-aware-language-neurons. They
try all ways to divide the languages in two; ours gives the same division in time quadratic in the languages, since the
best one is single linkage: what remains when the smallest edge of the maximum spanning tree is cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch

from lape.identify.ranking import SCORE_DECIMALS, Ranking, Rankings, order_statistic, stacked
from lape.identify.settings import check_settings
from lape.recording.histograms import ActivationHistograms

SLAB = 4_000_000  # shares of tokens in bins that are held at once


def dln(
    histograms: ActivationHistograms,
    languages: Sequence[str],
    *,
    overlap_rate: float = 0.01,
    largest_cluster: int = 1,
) -> dict[str, torch.Tensor]:
    """Selects the neurons whose activations set one language, or a cluster of them, apart from all others.

    With `P[k, b]` the share of language k's tokens in bin b of a neuron's histogram and K languages:

    1. overlap `S[k, k'] = sum_b min(P[k, b], P[k', b])`, compared to 12 decimals;
    2. the cost of dividing the languages in two is the largest overlap of two that are then apart; the division of
       least cost is taken, and the cluster is its smaller side, or both when they are even. Where several cost the
       same, every part of at most K / 2 languages that these divisions leave whole is a cluster;
    3. neurons are selected whose least cost is at most the `overlap_rate` order statistic of all overlaps of all
       neurons;
    4. a neuron belongs to the languages of a cluster that has at most `largest_cluster` of them and a higher mean
       activation than the other languages. The authors keep the others too: a neuron that is silent in one language
       and in no other is then a neuron of it, although switching it on would be wrong.

    Args:
        histograms: Of every language.
        languages: The K codes to tell apart.
        overlap_rate: Order statistic of overlap, in [0, 1].
        largest_cluster: Languages of a cluster, at most; 1 selects neurons of single languages.

    Returns:
        Language code to sorted int64 flat indices (layer * neurons + neuron); every language has a key.

    Raises:
        LapeError: A setting is out of range.
    """
    check_settings(overlap_rate=overlap_rate, largest_cluster=largest_cluster)
    overlaps = overlaps_of(histograms, languages)
    divided = divide(overlaps, len(languages))
    kept = divided.cost <= order_statistic(overlaps, overlap_rate)
    return {
        code: (member & kept).nonzero().squeeze(1)
        for code, member in _members(divided, histograms, languages, largest_cluster).items()
    }


def dln_ranking(histograms: ActivationHistograms, languages: Sequence[str], *, largest_cluster: int = 1) -> Rankings:
    """Ranks the neurons of each language's clusters by cost, lowest first."""
    check_settings(largest_cluster=largest_cluster)
    divided = divide(overlaps_of(histograms, languages), len(languages))
    members = _members(divided, histograms, languages, largest_cluster)
    chosen = ((code, member.nonzero().squeeze(1)) for code, member in members.items())
    return ((code, Ranking(neurons, (divided.cost[neurons],))) for code, neurons in chosen)


@dataclass(frozen=True)
class Divided:
    """How the languages of each neuron fall apart.

    Attributes:
        cost: float64 `[neurons]`, the largest overlap of two languages that are apart.
        part: int64 `[languages, neurons]`, the number of one of the languages of the same part, the same for all.
    """

    cost: torch.Tensor
    part: torch.Tensor


def overlaps_of(histograms: ActivationHistograms, languages: Sequence[str]) -> torch.Tensor:
    """The overlap of every pair of languages, in the order of `itertools.combinations`: float64 `[pairs, neurons]`."""
    pairs = list(combinations(range(len(languages)), 2))
    layers, width = histograms.shape
    overlaps = torch.empty((len(pairs), layers * width), dtype=torch.float64)
    for neurons, shares in share_slabs(histograms, languages):
        for row, (one, other) in enumerate(pairs):
            overlaps[row, neurons] = torch.minimum(shares[one], shares[other]).sum(-1)
    return overlaps.round(decimals=SCORE_DECIMALS)


def share_slabs(histograms: ActivationHistograms, languages: Sequence[str]) -> Iterator[tuple[slice, torch.Tensor]]:
    """The shares of each language's tokens in bins, of as many neurons as are held at once.

    Yields:
        Flat indices, and float64 `[languages, neurons, bins + 2]`.
    """
    layers, width = histograms.shape
    bins = next(iter(histograms.counts.values())).shape[-1]
    size = max(SLAB // (len(languages) * bins), 1)
    for start in range(0, layers * width, size):
        neurons = slice(start, min(start + size, layers * width))
        yield neurons, torch.stack([histograms.shares(code, neurons) for code in languages])


def divide(overlaps: torch.Tensor, count: int) -> Divided:
    """Divides the languages of every neuron where they overlap least.

    The maximum spanning tree grows from the first language (Prim 1957), for all neurons at once.

    Args:
        overlaps: As of `overlaps_of`.
        count: Of languages.
    """
    neurons = overlaps.shape[1]
    row_of = torch.zeros((count, count), dtype=torch.long)
    for row, (one, other) in enumerate(combinations(range(count), 2)):
        row_of[one, other] = row_of[other, one] = row
    everyone = torch.arange(neurons)
    outside = torch.ones((count, neurons), dtype=torch.bool)
    outside[0] = False
    nearest = torch.zeros((count, neurons), dtype=torch.long)  # the language in the tree that each overlaps most with
    reach = torch.cat([torch.full((1, neurons), -1.0, dtype=torch.float64), overlaps[row_of[0, 1:]]])
    edges = []
    for _ in range(count - 1):
        edge, joined = torch.where(outside, reach, -1.0).max(0)
        edges.append((edge, joined, nearest[joined, everyone]))
        outside[joined, everyone] = False
        for language in range(count):
            found = torch.where(joined == language, -1.0, overlaps[row_of[joined, language], everyone])
            nearer = found > reach[language]
            reach[language] = torch.where(nearer, found, reach[language])
            nearest[language] = torch.where(nearer, joined, nearest[language])
    cost = torch.stack([edge for edge, _, _ in edges]).amin(0)
    part = torch.zeros((count, neurons), dtype=torch.long)
    for edge, joined, parent in edges:  # in the order in which they joined, so that a parent's part is known
        part[joined, everyone] = torch.where(edge > cost, part[parent, everyone], joined)
    return Divided(cost, part)


def _members(
    divided: Divided, histograms: ActivationHistograms, languages: Sequence[str], largest_cluster: int
) -> Mapping[str, torch.Tensor]:
    """Which neurons belong to each language, whatever they cost: bool `[neurons]`."""
    count = len(languages)
    means = stacked(histograms.mean, languages)
    total, members = means.sum(0), {}
    for code, part in zip(languages, divided.part, strict=True):
        cluster = divided.part == part
        size = cluster.sum(0)
        inside = torch.where(cluster, means, 0.0).sum(0)
        higher = (inside / size).round(decimals=SCORE_DECIMALS) > (
            ((total - inside) / (count - size).clamp(min=1)).round(decimals=SCORE_DECIMALS)
        )
        members[code] = (size <= min(largest_cluster, count // 2)) & higher
    return members
