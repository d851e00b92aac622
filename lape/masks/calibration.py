"""Give a mask mean activations: what switching a language on needs, and what a mean patch puts in the place of 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError, MaskMismatch
from lape.masks.indices import size_text
from lape.masks.mask import NeuronMask
from lape.recording.beginnings import check_beginning
from lape.recording.record import record
from lape.recording.sources import Source, check_sources
from lape.recording.statistics import ActivationStatistics


def calibrate(
    mask: NeuronMask,
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    languages: str | Sequence[str] | None = None,
    tokens: int = 5_000,
    block: int = 512,
    progress: bool = True,
) -> tuple[NeuronMask, ActivationStatistics]:
    """Measures the mean activations of a mask's neurons, for a mask that has none.

    Args:
        mask: Such as a released one.
        model: The model it was made for.
        tokenizer: Its tokenizer.
        corpora: Language code to documents, at least for the languages to calibrate.
        languages: Which to calibrate; None is all of the mask.
        tokens: Tokens per language, rounded up to whole blocks.
        block: Tokens per block, the context each token is seen in.
        progress: Whether to show a progress bar on standard error.

    Returns:
        The mask with means, and the statistics of these tokens, for `random_like`.

    Raises:
        MaskMismatch: The model has another shape.
        UnknownLabel: The mask lacks one of the languages.
        LapeError: There is no text for one of them; says which.
        NotEnoughText: There is less text than asked; says how much.

    Example:
        >>> mask, statistics = calibrate(mask, model, tokenizer, read_corpora("corpora/"))  # doctest: +SKIP
    """
    check_sources(corpora)
    mask.check(model)
    check_beginning(mask.metadata, tokenizer)
    languages = [languages] if isinstance(languages, str) else languages
    chosen = [mask.known(code) for code in (mask.languages if languages is None else languages)]
    if missing := [code for code in chosen if code not in corpora]:
        raise LapeError(
            f"There is no text for {', '.join(missing)}. Add some, or name the languages to calibrate "
            "(languages, --languages); the others can then only be switched off."
        )
    texts = {code: corpora[code] for code in chosen}
    statistics = record(model, tokenizer, texts, tokens=tokens, block=block, progress=progress)
    return mask.with_means(statistics, chosen), statistics


def with_other_means(mask: NeuronMask, statistics: ActivationStatistics) -> NeuronMask:
    """The same mask with each neuron's mean activation over other languages, so that it can be patched when off.

    Each language counts the same. The others of a neuron are the languages of the mask to which it does not belong
    (the mean patch of distribution-aware neurons); of one that belongs to all, those beside the one that is asked
    about.

    Args:
        mask: Of one model.
        statistics: Of the same model, with all languages of the mask.

    Raises:
        MaskMismatch: The statistics are of another shape.
        UnknownLabel: They lack a language of the mask.
        LapeError: The mask has one language only.

    Example:
        >>> mask = with_other_means(mask, statistics)  # doctest: +SKIP
        >>> off = Intervention(mask, off="fr", off_value="mean")  # doctest: +SKIP
    """
    if mask.shape != statistics.shape:
        mine, theirs = size_text(mask.shape), size_text(statistics.shape)
        raise MaskMismatch(f"The mask is for {mine}, the statistics for {theirs}.")
    if len(mask.languages) < 2:
        raise LapeError(f"The mask has no language beside {', '.join(mask.languages)} to take means over.")
    means = torch.stack([statistics.mean(code).flatten() for code in mask.languages])
    member = torch.zeros(means.shape, dtype=torch.bool)
    for row, code in enumerate(mask.languages):
        member[row, mask.flat(code)] = True
    found = {}
    for row, code in enumerate(mask.languages):
        flat = mask.flat(code)
        others = ~member[:, flat]
        everyone_elses = (torch.arange(len(others)) != row)[:, None].expand_as(others)
        others = torch.where(others.any(0), others, everyone_elses)
        found[code] = ((means[:, flat] * others).sum(0) / others.sum(0)).float()
    return replace(mask, other_means=found)
