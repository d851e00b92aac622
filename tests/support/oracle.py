"""Recording as slow as it is plain: one token and one neuron at a time, in Python numbers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from families import DOCUMENT_END, FAMILIES, layers_of
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape import ActivationStatistics


@dataclass
class Counts:
    """What was seen of one language, `[layer][neuron]`."""

    active: list[list[int]]
    sum: list[list[float]]
    positive_sum: list[list[float]]

    @classmethod
    def zeros(cls, layers: int, neurons: int) -> Counts:
        return cls(*([[zero] * neurons for _ in range(layers)] for zero in (0, 0.0, 0.0)))


def blocks(tokenizer: Tokenizer, documents: Sequence[str], block: int) -> list[list[int]]:
    """Token ids of the documents, each with its end, cut into full blocks."""
    ids = []
    for document in documents:
        ids += [*tokenizer.encode(document, add_special_tokens=False), DOCUMENT_END]
    return [ids[start : start + block] for start in range(0, len(ids) - block + 1, block)]


def record(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    documents: Sequence[str],
    *,
    blocks_read: int,
    block: int,
    batch: int,
    before: Sequence[int] = (),
) -> Counts:
    """Counts the first blocks of one language, from the outputs of each layer's first matrix in the full model.

    Each block is read after the tokens `before`, which are not counted.
    """
    table, layers = FAMILIES[model.config.model_type], layers_of(model)
    counts = None
    outputs: list[torch.Tensor] = []
    inputs = [[*before, *ids] for ids in blocks(tokenizer, documents, block)[:blocks_read]]
    with ExitStack() as stack:
        for layer in layers:
            hooked = layer.get_submodule(table.first).register_forward_hook(lambda _m, _i, out: outputs.append(out))
            stack.callback(hooked.remove)
        for start in range(0, len(inputs), batch):
            outputs.clear()
            model(torch.tensor(inputs[start : start + batch]))
            activations = [table.activation(output).flatten(0, -2).tolist() for output in outputs]
            counts = counts or Counts.zeros(len(layers), len(activations[0][0]))
            for layer, tokens in enumerate(activations):
                for place, token in enumerate(tokens):
                    if place % (len(before) + block) < len(before):
                        continue
                    for neuron, value in enumerate(token):
                        counts.sum[layer][neuron] += value
                        if value > 0:
                            counts.active[layer][neuron] += 1
                            counts.positive_sum[layer][neuron] += value
    return counts


def assert_equal(statistics: ActivationStatistics, code: str, counts: Counts) -> None:
    """Count for count, and sums to 1e-5 of the sum of absolute values."""
    assert statistics.active[code].tolist() == counts.active
    expected, positive = (torch.tensor(sums, dtype=torch.float64) for sums in (counts.sum, counts.positive_sum))
    bound = 1e-5 * (2 * positive - expected)
    assert ((statistics.sum[code] - expected).abs() <= bound).all()
    assert ((statistics.positive_sum[code] - positive).abs() <= bound).all()
