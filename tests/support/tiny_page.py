"""A tiny random model with neurons and statistics of a few languages, for tests of a served page."""

from __future__ import annotations

from typing import Any

import torch
from families import build

from lape import ActivationStatistics, NeuronMask
from lape.demo.loaded import Loaded

LANGUAGES = ("fr", "es", "zh")
SHAPE = (3, 48)


def tiny_loaded(tokenizer: Any) -> Loaded:
    """A tiny model with 20 neurons of each language, and made-up statistics of it."""
    generator = torch.Generator().manual_seed(3)
    counts = {code: torch.randint(0, 100, SHAPE, generator=generator) for code in LANGUAGES}
    sums = {code: torch.randn(SHAPE, generator=generator).double() * 100 for code in LANGUAGES}
    statistics = ActivationStatistics(counts, sums, sums, dict.fromkeys(LANGUAGES, 100), {"tokens": {}})
    layers, width = SHAPE
    cells = torch.randperm(layers * width, generator=generator)[: 20 * len(LANGUAGES)].split(20)
    pairs = [torch.stack([flat // width, flat % width], 1).int() for flat in cells]
    mask = NeuronMask(dict(zip(LANGUAGES, pairs, strict=True)), {code: torch.ones(20) for code in LANGUAGES}, SHAPE)
    return Loaded(build("llama"), tokenizer, mask, statistics)
