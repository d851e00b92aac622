"""Identify the neurons of each language from activation statistics.

One module per method; each registers a function under the method's name. A method takes the statistics,
the language codes and its own keyword settings, and returns the flat indices it selects for each language.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from lape.errors import LapeError, unknown_label
from lape.identify.lape import lape
from lape.masks import NeuronMask
from lape.pairs import pairs_of
from lape.statistics import ActivationStatistics

Method = Callable[..., Mapping[str, torch.Tensor]]

METHODS: dict[str, Method] = {"lape": lape}

FROM_STATISTICS = ("model", "revision", "architecture", "dtype", "quantization", "block", "special_tokens", "library")


def identify(
    statistics: ActivationStatistics, method: str = "lape", languages: Sequence[str] | None = None, **settings: Any
) -> NeuronMask:
    """Selects the neurons of each language.

    Args:
        statistics: A recording of at least two languages.
        method: Name of a registered method.
        languages: The languages to tell apart, at least two; None takes all that were recorded.
        **settings: Settings of the method; those left out keep its defaults.

    Returns:
        A mask with a key for every language and the mean activation of each selected neuron. Its metadata is
        the recording's; no clock is read, so the same input gives the same mask.

    Raises:
        UnknownLabel: The method, a language or a setting does not exist.
        LapeError: Fewer than two languages, or a setting is out of range.

    Example:
        >>> mask = identify(stats, languages=["en", "fr", "zh"], top_rate=0.03)  # doctest: +SKIP
    """
    if method not in METHODS:
        raise unknown_label("identification method", method, METHODS)
    select = METHODS[method]
    defaults = method_settings(method)
    for name in settings:
        if name not in defaults:
            raise unknown_label(f"setting of {method!r}", name, defaults)
    codes = list(languages) if languages is not None else list(statistics.languages)
    for code in codes:
        if code not in statistics.tokens:
            raise unknown_label("language in the statistics", code, statistics.languages)
    if len(set(codes)) < 2 or len(set(codes)) < len(codes):
        raise LapeError(f"Telling languages apart needs at least two different ones, not {', '.join(codes) or 'none'}.")

    used = {**defaults, **settings}
    selected = select(statistics, codes, **used)
    neurons = {code: pairs_of(flat, statistics.shape[1]) for code, flat in selected.items()}
    means = {code: statistics.mean(code).flatten()[flat].float() for code, flat in selected.items()}
    corpora = statistics.metadata.get("corpora", {})
    metadata = {
        **{key: statistics.metadata[key] for key in (*FROM_STATISTICS, "date") if key in statistics.metadata},
        "method": method,
        "settings": used,
        "tokens": {code: statistics.tokens[code] for code in codes},
        "corpora": {code: corpora[code] for code in codes if code in corpora},
    }
    return NeuronMask(neurons, means, statistics.shape, metadata)


def method_settings(method: str) -> dict[str, Any]:
    """The settings of a registered method with their defaults."""
    parameters = inspect.signature(METHODS[method]).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
