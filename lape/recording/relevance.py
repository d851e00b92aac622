"""Relevance: how much each neuron counts for what the model predicts of text in each language, block by block.

The relevance of a neuron in a block is the sum, over the block's tokens, of its activation times the gradient of the
model's logits for the tokens that come next (their mean over the block). The gradient is that of the rules in
`lape/models/backward_rules.py` (`Relevance`), which makes it the neuron's share of those logits, or the plain one
(`GradientRelevance`).

Numbers of both kinds, in `relevance.safetensors` and `gradient.safetensors` (`lape/recording/neuron_columns.py`):

    relevance   mean over the language's blocks, in logits per predicted token: above 0 where the neuron speaks for the
                tokens that come, below 0 where against them
    kurtosis    excess kurtosis over the blocks, without bias; 0 where all are the same
"""

from __future__ import annotations

from typing import ClassVar

from lape.recording.neuron_columns import NeuronColumns
from lape.storage.names import GRADIENT_NAME, RELEVANCE_NAME


class BlockRelevance(NeuronColumns):
    """How much each neuron of one model counts for its own predictions, per language; see the two kinds below."""

    numbers: ClassVar[tuple[str, ...]] = ("relevance", "kurtosis", "sum")


class Relevance(BlockRelevance):
    """By the rules of layer-wise relevance propagation."""

    what: ClassVar[str] = "relevances"
    file: ClassVar[str] = RELEVANCE_NAME
    command: ClassVar[str] = "lape record --relevance"
    kind: ClassVar[str] = "relevance"


class GradientRelevance(BlockRelevance):
    """By plain gradients."""

    what: ClassVar[str] = "gradients"
    file: ClassVar[str] = GRADIENT_NAME
    command: ClassVar[str] = "lape record --gradient"
    kind: ClassVar[str] = "gradient"
