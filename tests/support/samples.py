"""Small values that several tests build: statistics from counts, masks from lists of neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lape_oracle import Counts, Neuron

from lape import ActivationStatistics, NeuronMask

METADATA = {
    "model": "org/tiny",
    "revision": "abc",
    "architecture": "llama",
    "dtype": "float32",
    "quantization": None,
    "block": 8,
    "special_tokens": {"document_end": 0, "bos": False},
    "library": {"lape": "0"},
    "date": "2024-02-29",
}


def statistics_of(active: Counts, tokens: Mapping[str, int] | int = 10, **metadata: Any) -> ActivationStatistics:
    """Statistics with these counts; sums are random, all of them different."""
    counts = {code: torch.tensor(rows, dtype=torch.long) for code, rows in active.items()}
    tokens = dict.fromkeys(active, tokens) if isinstance(tokens, int) else dict(tokens)
    generator = torch.Generator().manual_seed(0)
    sums, positive_sums = (
        {code: torch.randn(rows.shape, dtype=torch.float64, generator=generator) for code, rows in counts.items()}
        for _ in range(2)
    )
    corpora = {code: [{"source": f"{code}.txt", "sha256": code, "tokens": tokens[code]}] for code in counts}
    return ActivationStatistics(
        counts, sums, positive_sums, tokens, {**METADATA, "tokens": tokens, "corpora": corpora, **metadata}
    )


def mask_of(
    neurons: Mapping[str, Sequence[Neuron]],
    means: Mapping[str, Sequence[float]] | None = None,
    shape: tuple[int, int] = (2, 4),
    **metadata: Any,
) -> NeuronMask:
    """A mask with these neurons, in this order."""
    return NeuronMask(
        {code: torch.tensor(pairs, dtype=torch.int32).view(-1, 2) for code, pairs in neurons.items()},
        {code: torch.tensor(values) for code, values in (means or {}).items()},
        shape,
        metadata,
    )


def neurons_of(mask: NeuronMask) -> dict[str, list[Neuron]]:
    """A mask's neurons as lists of (layer, neuron)."""
    return {code: [tuple(pair) for pair in pairs.tolist()] for code, pairs in mask.neurons.items()}
