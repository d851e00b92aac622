"""Which language's neurons fire most at each token of a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from lape.errors import MaskMismatch
from lape.identify.lape import activation_entropy
from lape.identify.ranking import stacked
from lape.inspection.activations import Activations
from lape.masks.indices import neuron_name
from lape.masks.mask import NeuronMask
from lape.recording.statistics import ActivationStatistics
from lape.storage.brief import brief

# A language stands out from here on: 0 is what its neurons do in the text of other languages, 1 what they do in its
# own. Seen on the embedded model: nearly all tokens of a text reach it, letters in random order mostly do not.
STANDS_OUT_LEVEL = 0.3


@dataclass(frozen=True)
class Fired:
    """What the neurons of each language did at one piece of a text.

    Attributes:
        text: The piece.
        tokens: Its tokens.
        language: Code of the language of highest level; None when none stands out.
        shares: Language code to the share of its neurons that were active (> 0), mean over the tokens.
        levels: Language code to that share between what is usual in other languages (0) and in its own (1).
    """

    __repr__ = brief

    text: str
    tokens: int
    language: str | None
    shares: Mapping[str, float]
    levels: Mapping[str, float]


def mask_neurons(mask: NeuronMask) -> torch.Tensor:
    """The neurons of any language of a mask: sorted int64 flat indices, each once."""
    return torch.cat([mask.flat(code) for code in mask.languages]).unique()


def usual_shares(mask: NeuronMask, statistics: ActivationStatistics) -> dict[str, dict[str, float]]:
    """How many of each language's neurons are active at a token of each language, on average.

    Args:
        mask: Its languages are those that are compared.
        statistics: A recording of at least these languages.

    Returns:
        Language of the neurons, then language of the text, to the mean over the neurons of the share of the text's
        tokens at which each is active; a language without neurons is left out.

    Raises:
        MaskMismatch: The statistics belong to a model of another shape.
        UnknownLabel: They lack a language of the mask.
    """
    if statistics.shape != mask.shape:
        raise MaskMismatch(f"The mask has the shape {mask.shape}, the statistics {statistics.shape}.")
    shares = {code: statistics.share(code).flatten() for code in mask.languages}
    return {
        code: {text: float(share[mask.flat(code)].mean()) for text, share in shares.items()}
        for code in mask.languages
        if mask.count(code)
    }


def firing(seen: Activations, mask: NeuronMask, statistics: ActivationStatistics | None = None) -> tuple[Fired, ...]:
    """Tells for each piece of a text which language's neurons fire most, compared with what is usual.

    With `s` the share of language k's neurons that are active (> 0) at a token, `own` the mean of that share over
    the recorded text of k, and `other` its mean over the recorded text of the mask's other languages (each language
    counting alike), the level of k is `(s - other) / (own - other)`: 0 is as in other languages, 1 as in its own. So a
    language whose neurons are often active does not win everywhere. A piece has the language of highest level if
    that is at least 0.3, and none otherwise. A language without neurons, or whose neurons are no more active
    in its own text than in others, has level 0. Equal levels go to the first language of the mask.

    Args:
        seen: Activations of all of the mask's neurons (`mask_neurons`), in any order, others beside them or not.
        mask: The languages to choose from.
        statistics: What is usual; None compares the shares as they are (`own` 1, `other` 0).

    Raises:
        MaskMismatch: A neuron of the mask was not looked at, or the statistics are for another shape.
        UnknownLabel: The statistics lack a language of the mask.
    """
    usual = None if statistics is None else usual_shares(mask, statistics)
    active = (seen.values > 0).double()
    place = {flat: column for column, flat in enumerate(seen.neurons.tolist())}
    shares, levels = {}, {}
    for code in mask.languages:
        try:
            columns = [place[flat] for flat in mask.flat(code).tolist()]
        except KeyError as error:
            raise MaskMismatch("The mask has neurons that were not looked at.") from error
        share = seen.by_piece(active[:, columns].mean(1)) if columns else torch.zeros(len(seen.pieces)).double()
        own, other = (1.0, 0.0) if usual is None else _own_and_other(usual.get(code, {}), code)
        shares[code] = share.tolist()
        levels[code] = ((share - other) / (own - other)).tolist() if own > other else [0.0] * len(seen.pieces)
    return tuple(
        _fired(
            text,
            tokens,
            {code: row[at] for code, row in shares.items()},
            {code: row[at] for code, row in levels.items()},
        )
        for at, (text, tokens) in enumerate(zip(seen.pieces, seen.tokens, strict=True))
    )


def most_specific(mask: NeuronMask, statistics: ActivationStatistics | None = None) -> dict[str, torch.Tensor]:
    """The neurons of each language, those of one language first: int64 flat indices by language code.

    Args:
        mask: Any mask.
        statistics: A recording of its languages, which gives each neuron's entropy over them; None leaves the order
            of layer and neuron.
    """
    flat = {code: mask.flat(code) for code in mask.languages}
    if statistics is None:
        return flat
    found = entropies(mask, stacked(statistics.probability, mask.languages))
    return {code: of[found[code].argsort(stable=True)] for code, of in flat.items()}


def entropies(mask: NeuronMask, probability: torch.Tensor) -> dict[str, torch.Tensor]:
    """The entropy of each neuron of a mask over its languages, in nats: float64 by language code.

    Args:
        mask: Any mask.
        probability: float64 `[languages, neurons]` of the mask's languages.
    """
    neurons = torch.cat([mask.flat(code) for code in mask.languages])
    counts = [mask.count(code) for code in mask.languages]
    found = activation_entropy(probability, neurons).split(counts)
    return dict(zip(mask.languages, found, strict=True))


def active_names(seen: Activations, neurons: torch.Tensor, mask: NeuronMask) -> list[list[str]]:
    """The names of those of some neurons that were active at a token of each piece of a text, in their order.

    Args:
        seen: Activations of these neurons, others beside them or not.
        neurons: int64 `[n]` flat indices.
        mask: Says how neurons are named.
    """
    place = {flat: column for column, flat in enumerate(seen.neurons.tolist())}
    columns = [place[flat] for flat in neurons.tolist()]
    width = mask.shape[1]
    names = [neuron_name(flat // width, flat % width, width, mask.experts) for flat in neurons.tolist()]
    active = seen.by_piece((seen.values[:, columns] > 0).float()) > 0
    return [[names[at] for at in row.nonzero().squeeze(1).tolist()] for row in active]


def _own_and_other(usual: Mapping[str, float], code: str) -> tuple[float, float]:
    """A language's usual share in its own text, and its mean over the other languages; equal without neurons."""
    others = [share for text, share in usual.items() if text != code]
    return (usual[code], sum(others) / len(others)) if others else (0.0, 0.0)


def _fired(text: str, tokens: int, shares: Mapping[str, float], levels: Mapping[str, float]) -> Fired:
    best = max(levels, key=lambda code: levels[code])
    return Fired(text, tokens, best if levels[best] >= STANDS_OUT_LEVEL else None, shares, levels)
