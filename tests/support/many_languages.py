"""A tiny random model with neurons and statistics of 33 languages, for tests of a page that has to show so many."""

from __future__ import annotations

from typing import Any

import torch
from families import build

from lape import ActivationStatistics, NeuronMask
from lape.demo.loaded import Loaded
from lape.masks.indices import pairs_of

LANGUAGES = (
    *("ar", "bn", "cs", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hu", "id", "it", "ja", "ka"),
    *("ko", "nl", "pl", "pt", "ro", "ru", "sv", "sw", "ta", "te", "th", "tr", "uk", "ur", "vi", "zh"),
)
SHAPE = (18, 2048)
TOKENS = 10_000


def many_loaded(tokenizer: Any) -> Loaded:
    """A tiny model of many neurons, 40 to 280 of each language; made-up statistics in which these are its own."""
    layers, width = SHAPE
    generator = torch.Generator().manual_seed(5)
    counts, neurons = {}, {}
    for place, code in enumerate(LANGUAGES):
        size = 40 + place * 240 // (len(LANGUAGES) - 1)
        flat = torch.randperm(layers * width // 2, generator=generator)[:size].sort().values
        active = torch.randint(0, TOKENS // 20, (layers * width,), generator=generator)
        active[flat] += TOKENS // 2
        counts[code], neurons[code] = active.view(SHAPE), pairs_of(flat, width)
    sums = {code: torch.randn(SHAPE, generator=generator).double() * TOKENS for code in LANGUAGES}
    statistics = ActivationStatistics(counts, sums, sums, dict.fromkeys(LANGUAGES, TOKENS), {"tokens": {}})
    means = {code: torch.ones(len(pairs)) for code, pairs in neurons.items()}
    return Loaded(
        build("llama", num_hidden_layers=layers, intermediate_size=width),
        tokenizer,
        NeuronMask(neurons, means, SHAPE),
        statistics,
    )
