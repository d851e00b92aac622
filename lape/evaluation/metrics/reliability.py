"""What a mask stands on: how well few tokens tell the probabilities it was selected by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from lape.errors import LapeError
from lape.evaluation.metrics.stability import halves_agreement, mean_agreement
from lape.identify.ranking import order_statistic, stacked
from lape.masks.mask import NeuronMask
from lape.recording.groups import BlockGroups
from lape.recording.statistics import ActivationStatistics

FEW_TOKENS = 5000  # of a language; below, much of a mask is chance


@dataclass(frozen=True)
class Reliability:
    """What a mask stands on.

    Attributes:
        tokens: Of the language that has the fewest.
        bar: Probability of activation that a neuron must exceed to count as active in a language (LAPE's bar).
        standard_error: Of a probability at the bar, in that language: `sqrt(bar * (1 - bar) / tokens)`. Tokens of a
            text are not independent, so it is larger in truth.
        agreement: Mean Jaccard index of the masks of the two halves of the text, 1 for the same mask; None where it
            cannot be told.
    """

    tokens: int
    bar: float
    standard_error: float
    agreement: float | None

    @property
    def few(self) -> bool:
        """Whether there are too few tokens to trust the mask."""
        return self.tokens < FEW_TOKENS


def reliability(
    mask: NeuronMask, statistics: ActivationStatistics, groups: BlockGroups, ratio: float = 0.95
) -> Reliability:
    """What a mask of `identify` stands on.

    Args:
        mask: The mask.
        statistics: What it was identified from.
        groups: Of the same recording.
        ratio: Order statistic of all probabilities that is the bar.
    """
    bar = float(order_statistic(stacked(statistics.probability, mask.languages), ratio))
    tokens = min(statistics.tokens[code] for code in mask.languages)
    agreement = _halves(groups, mask.languages, mask)
    return Reliability(tokens, bar, sqrt(bar * (1 - bar) / tokens), agreement)


def _halves(groups: BlockGroups, languages: Sequence[str], mask: NeuronMask) -> float | None:
    settings = {"method": mask.metadata["method"], **mask.metadata["settings"]}
    try:
        return mean_agreement(halves_agreement(groups, languages=languages, **settings))
    except LapeError:  # the method reads sums, or a language has a single block
        return None
