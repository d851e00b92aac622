"""Identify the neurons of each language from a recording, such as activation statistics.

A method is two functions of the recording it reads, the language codes and its own keyword settings: one selects the
flat indices of each language by the method's own cut, the other ranks what it may select, so that masks of
different methods can be compared at the same number of neurons.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lape.errors import LapeError, MaskMismatch, unknown_label
from lape.identify.alignment import alignment, alignment_ranking
from lape.identify.baselines import (
    difference,
    difference_ranking,
    lap,
    lave,
    lave_ranking,
    margin,
    margin_ranking,
    probability,
    probability_ranking,
)
from lape.identify.crane import crane, crane_ranking, gradient, gradient_ranking
from lape.identify.dln import dln, dln_ranking
from lape.identify.expert import expert, expert_ranking
from lape.identify.lape import lape, lape_ranking
from lape.identify.percentile import percentile, percentile_ranking
from lape.identify.plnd import plnd, plnd_ranking
from lape.identify.ranking import Rankings
from lape.identify.settings import SETTINGS, MethodSetting, check_settings
from lape.languages import NOISE
from lape.masks.indices import pairs_of
from lape.masks.mask import NeuronMask
from lape.recording.histograms import ActivationHistograms
from lape.recording.importance import Importance
from lape.recording.recorded import Recorded
from lape.recording.relevance import GradientRelevance, Relevance
from lape.recording.statistics import ActivationStatistics
from lape.recording.text_means import TextMeans
from lape.storage.metadata import COUNTED_UNDER

PerLanguage = int | Mapping[str, int]

__all__ = [
    "METHODS",
    "SETTINGS",
    "Method",
    "PerLanguage",
    "MethodSetting",
    "equal_count",
    "identify",
    "load_recorded",
    "method_settings",
    "methods_reading",
    "reads",
]


@dataclass(frozen=True)
class Method:
    """A way to identify neurons.

    Attributes:
        select: `(recorded, codes, *, settings) -> {code: sorted flat indices}`, by the method's own cut.
        rank: `(recorded, codes, *, settings) -> (code, Ranking) of each`, without it. It has the same settings except
            those of the cut, such as `top_rate`, whose place `per_language` takes.
        reads: The kind of recording it identifies neurons from.
    """

    select: Callable[..., Mapping[str, torch.Tensor]]
    rank: Callable[..., Rankings]
    reads: type[Recorded] = ActivationStatistics


METHODS: dict[str, Method] = {
    "lape": Method(lape, lape_ranking),
    "lap": Method(lap, probability_ranking),
    "lave": Method(lave, lave_ranking),
    "probability": Method(probability, probability_ranking),
    "difference": Method(difference, difference_ranking),
    "margin": Method(margin, margin_ranking),
    "alignment": Method(alignment, alignment_ranking),
    "crane": Method(crane, crane_ranking, Relevance),
    "gradient": Method(gradient, gradient_ranking, GradientRelevance),
    "plnd": Method(plnd, plnd_ranking, Importance),
    "dln": Method(dln, dln_ranking, ActivationHistograms),
    "percentile": Method(percentile, percentile_ranking, ActivationHistograms),
    "expert": Method(expert, expert_ranking, TextMeans),
}


def identify(
    recorded: Recorded,
    method: str = "lape",
    languages: Sequence[str] | None = None,
    *,
    per_language: PerLanguage | None = None,
    at_most: bool = False,
    noise: float | None = None,
    **settings: Any,
) -> NeuronMask:
    """Selects the neurons of each language.

    Args:
        recorded: A recording of at least two languages, of the kind the method reads: activation statistics for
            most.
        method: Name of a registered method.
        languages: The languages to tell apart, at least two; None takes all that were recorded.
        per_language: As many neurons for every language, or for each its own number; the most specific ones in
            the method's order. It takes the place of the method's own cut. None leaves that in place.
        at_most: Whether a language for which the method has fewer neurons than that to choose from gets all of
            these; otherwise it is refused.
        noise: Drops a neuron from a language when its probability of being active on random tokens, which were
            recorded beside the languages, is above `noise` times that in the language. A method's own cut is made
            before, so that languages have fewer neurons; `per_language` counts what is left. None drops nothing.
        **settings: Settings of the method; those left out keep its defaults.

    Returns:
        A mask with a key for every language and the mean activation of each selected neuron. Its metadata is
        the recording's; no clock is read, so the same input gives the same mask.

    Raises:
        UnknownLabel: The method, a language or a setting does not exist.
        LapeError: The method reads another kind of recording, there are fewer than two languages, a setting is out
            of range, or a language has too few neurons.

    Example:
        >>> mask = identify(stats, languages=["en", "fr", "zh"], top_rate=0.03)  # doctest: +SKIP
        >>> rival = identify(stats, "lave", per_language=100)  # doctest: +SKIP
    """
    defaults = method_settings(method, ranked=per_language is not None)
    for name in settings:
        if name not in defaults:
            if name in method_settings(method):
                raise LapeError(f"per_language takes the place of {name}: give only one of the two.")
            raise unknown_label(f"setting of {method!r}", name, defaults)
    if not isinstance(recorded, wanted := reads(method)):
        raise LapeError(
            f"{method!r} identifies neurons from {wanted.what}, not {recorded.what}: make them with {wanted.command}, "
            f"which writes {wanted.file}."
        )
    codes = list(languages) if languages is not None else list(recorded.languages)
    for code in codes:
        recorded.known(code)
    if len(set(codes)) < 2 or len(set(codes)) < len(codes):
        raise LapeError(f"Telling languages apart needs at least two different ones, not {', '.join(codes) or 'none'}.")

    used = {**defaults, **settings}
    there = recorded.of_layers(recorded.layers)  # rates are of the neurons there are
    quiet = {} if noise is None else _quiet(there, codes, noise)
    if per_language is None:
        selected = dict(METHODS[method].select(there, codes, **used))
        selected |= {code: selected[code][kept[selected[code]]] for code, kept in quiet.items()}
    else:
        counts = _counts(per_language, codes, there.shape)
        rankings = METHODS[method].rank(there, codes, **used)
        if quiet:
            rankings = ((code, ranking.only(quiet[code])) for code, ranking in rankings)
        selected = _first(rankings, counts, method, at_most)
        used["per_language"] = counts if isinstance(per_language, Mapping) else per_language
        if at_most:
            used["per_language"] = {code: len(flat) for code, flat in selected.items()}
    if noise is not None:
        used["noise"] = noise
    means = {code: there.mean(code).flatten()[flat].float() for code, flat in selected.items()}
    neurons = {code: pairs_of(flat, recorded.shape[1]) for code, flat in selected.items()}
    for pairs in neurons.values():
        pairs[:, 0] = torch.tensor(recorded.layers)[pairs[:, 0].long()]
    corpora = recorded.metadata.get("corpora", {})
    metadata = {
        **{key: recorded.metadata[key] for key in (*COUNTED_UNDER, "library", "date") if key in recorded.metadata},
        "method": method,
        "settings": used,
        "tokens": {code: recorded.tokens[code] for code in codes},
        "corpora": {code: corpora[code] for code in codes if code in corpora},
    }
    return NeuronMask(neurons, means, recorded.shape, metadata)


def equal_count(mask: NeuronMask, recorded: Recorded, count: int | None = None) -> NeuronMask:
    """The mask's method and settings with the same number of neurons for every language, the most specific ones.

    Args:
        mask: Made by `identify` from this recording.
        recorded: What it was made from.
        count: Neurons per language; None takes the count of the mask's smallest language.

    Raises:
        UnknownLabel: The mask's method is not registered.
        MaskMismatch: The recording and the mask's settings do not give the mask.
        LapeError: The smallest language has no neuron, or some language has fewer than `count` to choose from.
    """
    method, settings = str(mask.metadata.get("method")), dict(mask.metadata.get("settings", {}))
    again = identify(recorded, method, mask.languages, **settings)
    if any(not mask.flat(code).equal(again.flat(code)) for code in mask.languages):
        raise MaskMismatch(f"These {recorded.what} do not give this mask: pass those it was identified from.")
    if count is None:
        count = min(mask.count(code) for code in mask.languages)
        if count == 0:
            silent = ", ".join(code for code in mask.languages if mask.count(code) == 0)
            raise LapeError(f"The mask has no neurons for {silent}. Say how many each language gets, such as count=50.")
    kept = {name: settings[name] for name in (*method_settings(method, ranked=True), "noise") if name in settings}
    return identify(recorded, method, mask.languages, per_language=count, **kept)


def load_recorded(folder: Path, method: str) -> Recorded:
    """Reads the recording that a method identifies neurons from.

    Raises:
        UnknownLabel: There is no method of that name.
        BadFile: The file is missing or damaged; says how to make it.
    """
    return reads(method).load_from(folder, repr(method))


def reads(method: str) -> type[Recorded]:
    """The kind of recording that a method identifies neurons from.

    Raises:
        UnknownLabel: There is no method of that name.
    """
    if method not in METHODS:
        raise unknown_label("identification method", method, METHODS)
    return METHODS[method].reads


def methods_reading(kind: type[Recorded] = ActivationStatistics) -> list[str]:
    """The names of the methods that identify neurons from a kind of recording."""
    return [name for name, method in METHODS.items() if issubclass(kind, method.reads)]


def method_settings(method: str, *, ranked: bool = False) -> dict[str, Any]:
    """The settings of a registered method with their defaults.

    Args:
        method: Its name.
        ranked: Only those that also apply with `per_language`.

    Raises:
        UnknownLabel: There is no method of that name.
    """
    if method not in METHODS:
        raise unknown_label("identification method", method, METHODS)
    function = METHODS[method].rank if ranked else METHODS[method].select
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def _counts(per_language: PerLanguage, codes: Sequence[str], shape: tuple[int, int]) -> dict[str, int]:
    """How many neurons each language gets; checks that they are possible numbers."""
    least = 0 if isinstance(per_language, Mapping) else 1  # a language of the mask to compare with may have none
    counts = dict(per_language) if isinstance(per_language, Mapping) else dict.fromkeys(codes, per_language)
    if set(counts) != set(codes):
        raise LapeError(f"per_language must have a number for each of {', '.join(codes)}, and for no other language.")
    for number in counts.values():
        if not isinstance(number, int) or isinstance(number, bool) or not least <= number <= shape[0] * shape[1]:
            raise LapeError(f"per_language is a whole number from {least} to {shape[0] * shape[1]}, not {number!r}.")
    return counts


def _quiet(recorded: Recorded, codes: Sequence[str], noise: float) -> dict[str, torch.Tensor]:
    """Which neurons each language keeps: bool `[layers * neurons]`, those that noise does not make active too often."""
    check_settings(noise=noise)
    if NOISE not in recorded.tokens:
        raise LapeError(
            f"These {recorded.what} hold no random tokens ({NOISE}) to tell noise by: make them with --noise."
        )
    active = recorded.probability(NOISE)
    return {code: (active <= noise * recorded.probability(code)).flatten() for code in codes}


def _first(rankings: Rankings, counts: Mapping[str, int], method: str, at_most: bool) -> dict[str, torch.Tensor]:
    """The first neurons of each language's ranking."""
    first, there = {}, {}
    for code, ranking in rankings:
        first[code], there[code] = ranking.first(counts[code]), len(ranking.neurons)
    for code, number in counts.items():
        if number > there[code] and not at_most:
            raise LapeError(
                f"{method!r} has only {there[code]} neurons to choose from for {code!r}, fewer than the {number} "
                f"asked. Every language has at least {min(there.values())}."
            )
    return first
