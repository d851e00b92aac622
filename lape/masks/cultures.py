"""Culture neurons apart from language neurons, by the algebra of masks.

A label of a mask need not be a language. From text of some cultures comes a mask of cultures, by whatever method; with
one of languages, of the same model, it is divided as in the work on culture neurons (arXiv 2508.02241), which uses LAPE
for both and calls it CAPE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from lape.errors import MaskMismatch
from lape.masks.indices import pairs_of, size_text
from lape.masks.mask import NeuronMask

GENERIC = "generic"


def pure(cultures: NeuronMask, languages: NeuronMask, spoken: Mapping[str, Sequence[str]] | None = None) -> NeuronMask:
    """The neurons of each culture that are none of its languages'.

    Args:
        cultures: A mask whose labels are cultures.
        languages: A mask of the same model.
        spoken: Culture to its languages; one that is not named here has the language of its own label.

    Raises:
        MaskMismatch: The masks belong to models of different shapes.
        UnknownLabel: A language is not in the mask.
    """
    return cultures.chosen({code: ~both for code, both in _spoken(cultures, languages, spoken or {}).items()})


def compound(
    cultures: NeuronMask, languages: NeuronMask, spoken: Mapping[str, Sequence[str]] | None = None
) -> NeuronMask:
    """The neurons of each culture that are one of its languages' too; arguments and errors as of `pure`."""
    return cultures.chosen(_spoken(cultures, languages, spoken or {}))


def generic(cultures: NeuronMask) -> NeuronMask:
    """The neurons that every culture of a mask has, such as one of pure neurons, under the one label `generic`.

    Their means are those of the cultures, averaged, where all are known.
    """
    flats = [cultures.flat(code) for code in cultures.languages]
    counts = torch.cat(flats).bincount(minlength=cultures.shape[0] * cultures.shape[1])
    common = (counts == len(flats)).nonzero().squeeze(1)
    means = {}
    if all(code in cultures.means for code in cultures.languages):
        of_each = [
            cultures.means[code][torch.isin(flat, common)] for code, flat in zip(cultures.languages, flats, strict=True)
        ]
        means[GENERIC] = torch.stack(of_each).mean(0)
    return NeuronMask({GENERIC: pairs_of(common, cultures.shape[1])}, means, cultures.shape, cultures.metadata)


def _spoken(
    cultures: NeuronMask, languages: NeuronMask, spoken: Mapping[str, Sequence[str]]
) -> dict[str, torch.Tensor]:
    """Which of each culture's neurons belong to one of its languages: bool `[n]`."""
    if cultures.shape != languages.shape:
        sizes = f"{size_text(cultures.shape)}, that of languages for {size_text(languages.shape)}"
        raise MaskMismatch(f"The mask of cultures is for {sizes}.")
    for code in spoken:
        cultures.known(code)
    return {
        code: torch.isin(cultures.flat(code), torch.cat([languages.flat(each) for each in spoken.get(code, (code,))]))
        for code in cultures.languages
    }
