"""What identification methods share: order statistics, the lowest of many values, rankings of neurons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt

import numpy as np
import torch

SCORE_DECIMALS = 12  # scores equal to here are a tie, whatever the rounding of this machine's arithmetic
SAMPLED_VALUES = 16_384


@dataclass(frozen=True, eq=False)
class Ranking:
    """The neurons a method may give to one language, and how specific to it each is.

    Attributes:
        neurons: int64 `[n]` flat indices, ascending.
        keys: float64 `[n]` each, lower being more specific. The first decides, the next break its ties, and
            what is still tied goes by (layer, neuron).

    Example:
        >>> ranking = Ranking(torch.tensor([2, 5, 9]), (torch.tensor([0.5, 0.1, 0.1]), torch.tensor([0.0, 2.0, 1.0])))
        >>> ranking.first(1).tolist(), ranking.first(2).tolist()
        ([9], [5, 9])
    """

    neurons: torch.Tensor
    keys: tuple[torch.Tensor, ...]

    def only(self, kept: torch.Tensor) -> Ranking:
        """The ranking of those neurons at whose flat index `kept` is true: bool `[layers * neurons]`."""
        of_these = kept[self.neurons]
        return Ranking(self.neurons[of_these], tuple(key[of_these] for key in self.keys))

    def first(self, count: int) -> torch.Tensor:
        """The `count` most specific neurons as sorted flat indices; all of them when there are fewer."""
        if count >= len(self.neurons):
            return self.neurons
        keys = [key.numpy() for key in self.keys]
        boundary = np.partition(keys[0], count - 1)[count - 1]
        near = np.flatnonzero(keys[0] <= boundary)  # sorting only these is much less work
        order = np.lexsort([key[near] for key in reversed(keys)])  # stable, so ties stay ascending
        return self.neurons[torch.from_numpy(np.sort(near[order[:count]]))]


Scores = Iterator[tuple[str, torch.Tensor]]  # code and score `[neurons]`
Rankings = Iterator[tuple[str, Ranking]]  # made language by language, for each is as large as the model has neurons


def stacked(of: Callable[[str], torch.Tensor], languages: Sequence[str]) -> torch.Tensor:
    """One value per language and neuron: float64 `[languages, neurons]`, neurons by flat index."""
    first = of(languages[0]).flatten()
    values = first.new_empty(len(languages), len(first))  # torch.stack would hold every row twice
    for row, code in zip(values, languages, strict=True):
        row.copy_(of(code).flatten())
    return values


def order_statistic(values: torch.Tensor, rate: float) -> float:
    """The `round(rate * n)`-th smallest of all n values `[languages, neurons]` (the smallest at rate 0)."""
    flat = values.flatten().numpy()
    position = max(round(rate * flat.size), 1) - 1
    upper = flat
    # At the usual rates only the few values above a bound are copied, to be sorted out; a sample says which bound.
    sample = flat[:: max(flat.size // SAMPLED_VALUES, 1)]
    if (near := position * sample.size // flat.size - 2 * isqrt(sample.size)) > 0:
        bound = np.partition(sample, near)[near]
        above = np.concatenate([row[row >= bound] for row in values.numpy()])
        if flat.size - above.size <= position:  # else the sample misled
            upper = above
    position -= flat.size - upper.size
    return float(np.partition(upper, position)[position])  # several times faster than torch.kthvalue


def lowest(values: torch.Tensor, count: int) -> torch.Tensor:
    """Positions of the `count` smallest values, ascending; ties at the boundary go to the first positions."""
    if count >= len(values):
        return torch.arange(len(values))
    if count == 0:
        return torch.empty(0, dtype=torch.long)
    boundary = float(np.partition(values.numpy(), count - 1)[count - 1])
    below = values < boundary
    tied = (values == boundary).nonzero().squeeze(1)[: count - int(below.sum())]
    return torch.cat([below.nonzero().squeeze(1), tied]).sort().values


def highest(score: torch.Tensor) -> Ranking:
    """Ranks the neurons whose score `[neurons]` is above 0, compared to 12 decimals, highest first."""
    score = score.round(decimals=SCORE_DECIMALS)
    neurons = (score > 0).nonzero().squeeze(1)
    return Ranking(neurons, (-score[neurons],))


def above_others(values: torch.Tensor, languages: Sequence[str]) -> Scores:
    """What each neuron has in a language more than in the others on average, of values `[languages, neurons]`."""
    total, others = values.sum(0), len(languages) - 1
    return ((code, row - (total - row) / others) for code, row in zip(languages, values, strict=True))


def top_share(scores: Scores, top_rate: float, shape: tuple[int, int]) -> dict[str, torch.Tensor]:
    """The first of each language's ranking, a share of all the model's neurons."""
    return {code: highest(score).first(round(top_rate * shape[0] * shape[1])) for code, score in scores}


def members(
    chosen: torch.Tensor, values: torch.Tensor, languages: Sequence[str], bar: float
) -> dict[str, torch.Tensor]:
    """The chosen neurons of each language: those whose value in it is above the bar.

    Args:
        chosen: Flat indices, ascending.
        values: `[languages, neurons]`, such as probabilities.
        languages: The codes, in the order of `values`.
        bar: Of membership.
    """
    return {code: chosen[row[chosen] > bar] for code, row in zip(languages, values, strict=True)}


def ranked_members(
    chosen: torch.Tensor, score: torch.Tensor, values: torch.Tensor, languages: Sequence[str], bar: float
) -> Rankings:
    """The same ranked: lowest score first, then highest value.

    Args:
        chosen: As of `members`.
        score: Of each chosen neuron.
        values: As of `members`.
        languages: As of `members`.
        bar: As of `members`.
    """
    for code, row in zip(languages, values, strict=True):
        value = row[chosen]
        member = value > bar
        yield code, Ranking(chosen[member], (score[member], -value[member]))
