"""Where in the model a mask's neurons lie, and how much masks and languages share."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from typing import Any

from lape.errors import LapeError, MaskMismatch
from lape.evaluation.metrics.cells import Cells, Compute, fresh, one_by_one
from lape.evaluation.metrics.stability import agreement, mean_agreement
from lape.masks.indices import size_text
from lape.masks.mask import NeuronMask

PARTS = 8  # of the depth


def depth(mask: NeuronMask) -> dict[str, Any]:
    """Neurons of every language per layer and per eighth of the depth.

    Layer l of n, from 0, is in eighth `8 * l // n`, and the second half of the layers mirrors the first, so that
    top and bottom are alike. With n not a multiple of 8 the eighths have unlike numbers of layers, and with fewer
    than 8 layers some have none: `layers_per_eighth` says so.

    Returns:
        layers, neurons_per_layer: the model's shape
        layers_per_eighth: eight numbers of layers
        languages: language code ->
            neurons: of the language
            per_layer: one number per layer
            per_eighth: eight numbers
            first_eighth_share, last_eighth_share: of the language's neurons; null when it has none
        even_first_eighth_share, even_last_eighth_share: what these shares are for neurons spread evenly over layers

    Example:
        >>> mask = NeuronMask({"fr": torch.tensor([[0, 1], [0, 2], [15, 0]])}, {}, (16, 4))
        >>> depth(mask)["languages"]["fr"]["per_eighth"]
        [2, 0, 0, 0, 0, 0, 0, 1]
    """
    layers, width = mask.shape
    sizes = _per_eighth([1] * layers)
    languages = {}
    for code in mask.languages:
        eighths, count = _per_eighth(mask.per_layer(code)), mask.count(code)
        languages[code] = {
            "neurons": count,
            "per_layer": mask.per_layer(code),
            "per_eighth": eighths,
            "first_eighth_share": eighths[0] / count if count else None,
            "last_eighth_share": eighths[-1] / count if count else None,
        }
    return {
        "layers": layers,
        "neurons_per_layer": width,
        "layers_per_eighth": sizes,
        "languages": languages,
        "even_first_eighth_share": sizes[0] / layers,
        "even_last_eighth_share": sizes[-1] / layers,
    }


def language_overlap(mask: NeuronMask) -> dict[str, dict[str, float | None]]:
    """Jaccard index of the neurons of every two languages of a mask; null where neither has any.

    Returns:
        Language code -> language code -> index, symmetric.
    """
    found = mask.overlap()
    return {one: {other: found[one, other] for other in mask.languages} for one in mask.languages}


def mask_overlap(one: NeuronMask, other: NeuronMask) -> dict[str, Any]:
    """How much two masks share: of two methods for one model, or of two models of one shape (base and chat).

    The neurons of one shape are compared by (layer, neuron). For two models that means something only when one was
    trained from the other.

    Returns:
        languages: language code, of both masks ->
            jaccard: index of the two sets of neurons; null where neither has any
            by_chance: the same at the number of neurons that two masks share on average which have as many in each
                layer, at random: of a and b among n, a b / n
            shared, first, second: numbers of neurons of both, of the first and of the second
        mean_jaccard: over languages that have one
        first_only, second_only: languages that are in one mask alone

    Raises:
        MaskMismatch: The masks are for models of different shapes; names both.
        LapeError: They have no language in common.
    """
    if one.shape != other.shape:
        raise MaskMismatch(f"One mask is for {size_text(one.shape)}, the other for {size_text(other.shape)}.")
    both = [code for code in one.languages if code in other.neurons]
    if not both:
        raise LapeError(
            f"The masks have no language in common: {', '.join(one.languages)} against {', '.join(other.languages)}."
        )
    indices = agreement(one, other, both)
    shared = one & other
    return {
        "languages": {
            code: {
                "jaccard": indices[code],
                "by_chance": _by_chance(one, other, code),
                "shared": shared.count(code),
                "first": one.count(code),
                "second": other.count(code),
            }
            for code in both
        },
        "mean_jaccard": mean_agreement(indices),
        "first_only": [code for code in one.languages if code not in both],
        "second_only": [code for code in other.languages if code not in both],
    }


def _by_chance(one: NeuronMask, other: NeuronMask, code: str) -> float | None:
    pairs = zip(one.per_layer(code), other.per_layer(code), strict=True)
    shared = sum(mine * theirs for mine, theirs in pairs) / one.shape[1]
    either = one.count(code) + other.count(code) - shared
    return shared / either if either else None


def layers(mask: NeuronMask, others: Mapping[str, NeuronMask] | None = None, *, cells: Cells = fresh) -> dict[str, Any]:
    """Everything above for one mask, and for each pair of several.

    Args:
        mask: The one to describe.
        others: Name -> mask of another method, or of another model of the same shape.
        cells: Keeps each result, so that a run that was stopped goes on.

    Returns:
        depth: of the mask, see `depth`
        language_overlap: see `language_overlap`
        others: name -> {depth, overlap: see `mask_overlap`, the mask being the first}
        between_others: name -> name -> `mask_overlap`, each pair once

    Raises:
        MaskMismatch, LapeError: See `mask_overlap`.
    """
    given = dict(others or {})
    pairs = list(itertools.combinations(given, 2))
    computes: dict[str, Compute] = {
        "depth": partial(depth, mask),
        "language overlap": partial(language_overlap, mask),
        **{f"overlap other={name}": partial(mask_overlap, mask, other) for name, other in given.items()},
        **{f"depth other={name}": partial(depth, other) for name, other in given.items()},
        **{
            f"overlap other={one} other={other}": partial(mask_overlap, given[one], given[other])
            for one, other in pairs
        },
    }
    found = cells(one_by_one(computes))
    between: dict[str, dict[str, Any]] = {}
    for one, other in pairs:
        between.setdefault(one, {})[other] = found[f"overlap other={one} other={other}"]
    return {
        "depth": found["depth"],
        "language_overlap": found["language overlap"],
        "others": {
            name: {"depth": found[f"depth other={name}"], "overlap": found[f"overlap other={name}"]} for name in given
        },
        "between_others": between,
    }


def _per_eighth(per_layer: list[int]) -> list[int]:
    """Sums the values of the layers of each eighth of the depth."""
    sums, layers = [0] * PARTS, len(per_layer)
    for layer, value in enumerate(per_layer):
        from_end = layers - 1 - layer
        eighth = PARTS * layer // layers if layer <= from_end else PARTS - 1 - PARTS * from_end // layers
        sums[eighth] += value
    return sums
