"""Give a mask numbers: what switches a language on, and what patches or gates neurons that are off.

`Intervention` switches on with a mask's `means`, whatever they are. `calibrate` measures them; `with_quantiles` puts
the median, the highest or another quantile in their place, `with_differences` differences between languages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError, MaskMismatch
from lape.masks.columns import Column
from lape.masks.indices import pairs_of, size_text
from lape.masks.mask import NeuronMask
from lape.recording.beginnings import check_beginning
from lape.recording.histograms import ActivationHistograms
from lape.recording.record import record
from lape.recording.recorded import Recorded
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


def with_other_means(mask: NeuronMask, recorded: Recorded) -> NeuronMask:
    """The same mask with each neuron's mean activation over other languages, so that it can be patched when off.

    Each language counts the same. The others of a neuron are the languages of the mask to which it does not belong
    (the mean patch of distribution-aware neurons); of one that belongs to all, those beside the one that is asked
    about.

    Args:
        mask: Of one model.
        recorded: Such as statistics, of the same model, with all languages of the mask.

    Raises:
        MaskMismatch: The recording is of another shape.
        UnknownLabel: It lacks a language of the mask.
        LapeError: The mask has one language only.

    Example:
        >>> mask = with_other_means(mask, statistics)  # doctest: +SKIP
        >>> off = Intervention(mask, off="fr", off_value="mean")  # doctest: +SKIP
    """
    _check_shape(mask, recorded)
    if len(mask.languages) < 2:
        raise LapeError(f"The mask has no language beside {', '.join(mask.languages)} to take means over.")
    means = torch.stack([recorded.mean(code).flatten() for code in mask.languages])
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


def with_deviations(mask: NeuronMask, histograms: Recorded) -> NeuronMask:
    """The same mask with the mean and standard deviation of each neuron's activation, so that off can be gated.

    Off then leaves a neuron alone at tokens where its activation is not what it is in the language, as NeuronLens
    does for concepts (arXiv 2502.06809, which takes 2 deviations).

    Args:
        mask: Of one model.
        histograms: Of the same model, with all languages of the mask; no other recording has deviations.

    Raises:
        LapeError: It is another recording.
        MaskMismatch: The histograms are of another shape.
        UnknownLabel: They lack a language of the mask.

    Example:
        >>> mask = with_deviations(mask, histograms)  # doctest: +SKIP
        >>> off = Intervention(mask, off="fr", off_within=2)  # doctest: +SKIP
    """
    if not isinstance(histograms, ActivationHistograms):
        raise LapeError(
            f"There are no deviations in these {histograms.what}. Take {ActivationHistograms.what} "
            f"({ActivationHistograms.command})."
        )
    _check_shape(mask, histograms)
    deviations = {code: histograms.deviations[histograms.known(code)] for code in mask.languages}
    means = {code: histograms.mean(code) for code in mask.languages}
    return replace(mask, own_means=_of_neurons(mask, means), deviations=_of_neurons(mask, deviations))


def with_quantiles(mask: NeuronMask, recorded: Recorded, share: float) -> NeuronMask:
    """The same mask, switched on with a quantile of each neuron's activation in the language in place of its mean.

    Args:
        mask: Of one model.
        recorded: Of the same model, with all languages of the mask: histograms for quantiles over tokens, means of
            texts for those over texts.
        share: Of tokens or texts that are not above it: 0.5 is the median, 1 the highest activation.

    Raises:
        MaskMismatch: The recording is of another shape.
        UnknownLabel: It lacks a language of the mask.
        LapeError: It has no quantiles, or the share is out of range.

    Example:
        >>> on = Intervention(with_quantiles(mask, histograms, 0.9), on="fr")  # doctest: +SKIP
    """
    _check_shape(mask, recorded)
    if not 0 <= share <= 1:
        raise LapeError(f"The share of a quantile is from 0 to 1, not {share}.")
    means = {code: recorded.quantile(code, share, mask.flat(code)).float() for code in mask.languages}
    return _switched_on_with(f"quantile {share:g} of {recorded.what}", means, mask, recorded)


def with_differences(
    mask: NeuronMask, recorded: Recorded, off: str | Sequence[str] = (), *, both: bool = False
) -> NeuronMask:
    """The same mask with differences for means, so that mode `add` moves neurons from one language to another.

    The difference of a language is its neurons' mean activation in it, minus their mean over the languages in `off`
    beside it, each counting the same. It is "diffmean" of Language Arithmetics and CLaS-Bench (arXiv 2507.22608,
    2601.08331), on the selected neurons.

    Args:
        mask: Of one model.
        recorded: Such as statistics, of the same model, with all languages of the mask.
        off: Language or languages to move from; none are all others of the mask.
        both: Also moves the neurons of the languages that are moved from. They join those of each language, and
            columns beside the means are dropped.

    Raises:
        MaskMismatch: The recording is of another shape.
        UnknownLabel: The mask lacks a language in `off`, or the recording one of the mask.

    Example:
        >>> moved = with_differences(mask, statistics, off="en")  # doctest: +SKIP
        >>> Intervention(moved, off="en", on="fr", mode="add", strength=1)  # doctest: +SKIP
    """
    _check_shape(mask, recorded)
    chosen = [mask.known(code) for code in ([off] if isinstance(off, str) else off)] or mask.languages
    others = {code: [other for other in chosen if other != code] for code in mask.languages}
    if both:
        joined = {
            code: pairs_of(torch.cat([mask.flat(other) for other in (code, *others[code])]).unique(), mask.shape[1])
            for code in mask.languages
        }
        mask = NeuronMask(joined, {}, mask.shape, mask.metadata)
    means = {code: recorded.mean(code) for code in mask.languages}
    differences = {
        code: means[code] - torch.stack([means[other] for other in others[code]]).mean(0)
        for code in mask.languages
        if others[code]
    }
    text = f"differences from {', '.join(chosen)}"
    return _switched_on_with(text, _of_neurons(mask, differences), mask, recorded)


def _check_shape(mask: NeuronMask, recorded: Recorded) -> None:
    if mask.shape != recorded.shape:
        mine, theirs = size_text(mask.shape), size_text(recorded.shape)
        raise MaskMismatch(f"The mask is for {mine}, the {recorded.what} for {theirs}.")


def _switched_on_with(text: str, means: Column, mask: NeuronMask, recorded: Recorded) -> NeuronMask:
    """The same mask with these means, and in its metadata what they are and where they are from."""
    calibration = {**recorded.provenance(mask.languages), "means": text}
    return replace(mask, means=means, metadata={**mask.metadata, "calibration": calibration})


def _of_neurons(mask: NeuronMask, numbers: Mapping[str, torch.Tensor]) -> Column:
    """What `[layers, neurons]` of some languages have for the mask's neurons."""
    return {code: every.flatten()[mask.flat(code)].float() for code, every in numbers.items()}
