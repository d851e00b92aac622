"""PLND: neurons that are important for every text of a language, and not for every text of another one.

After Zhao et al., "How do Large Language Models Handle Multilingualism?" (NeurIPS 2024), who take the neurons whose
removal would change a layer's output by some norm or more for all of a language's documents. What they leave open is
ours: importance goes by rank in the layer, and what is important to other languages too is left out, since the neurons
that all text needs are important for all documents of every language.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lape.identify.ranking import Ranking, Rankings, stacked
from lape.identify.settings import check_settings
from lape.recording.importance import Importance


def plnd(importance: Importance, languages: Sequence[str], *, important_rate: float = 0.2) -> dict[str, torch.Tensor]:
    """Selects, for each language, the neurons that are important in all of its blocks, and in all of no other's.

    A neuron is important in a block when it is among the `round(important_rate * neurons)` ones of its layer that add
    most there (`lape/recording/importance.py`).

    Args:
        importance: Ranks in every language.
        languages: The codes to tell apart.
        important_rate: Share of each layer's neurons that count as important, in (0, 1].

    Raises:
        LapeError: `important_rate` is not above 0 and up to 1.
    """
    check_settings(important_rate=important_rate)
    important = _worst(importance, languages) < round(important_rate * importance.shape[1])
    only = important & (important.sum(0) == 1)
    return {code: row.nonzero().squeeze(1) for code, row in zip(languages, only, strict=True)}


def plnd_ranking(importance: Importance, languages: Sequence[str]) -> Rankings:
    """Ranks the neurons that some rate would select by how many ranks they are better in the language, best first.

    Of a neuron's worst rank in the language and that in the best of the others, the first must be the better one.
    """
    worst = _worst(importance, languages)
    best, second = worst.sort(0).values[:2]
    for code, row in zip(languages, worst, strict=True):
        ahead = torch.where(row == best, second - row, 0)  # where another is as good, 0 too
        neurons = ahead.nonzero().squeeze(1)
        yield code, Ranking(neurons, (-ahead[neurons].double(), row[neurons].double()))


def _worst(importance: Importance, languages: Sequence[str]) -> torch.Tensor:
    """Each neuron's worst rank in its layer: int64 `[languages, neurons]`."""
    return stacked(lambda code: importance.column("worst", code), languages)
