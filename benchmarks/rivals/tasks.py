"""What every way does: a recording and a steered generation, with the check that it came out the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

import lape
from benchmarks.speed import NEW_TOKENS, PROMPT
from lape.recording.beginnings import prefix_of
from lape.recording.blocks import token_blocks

BLOCK, BLOCKS, BATCH = 512, 4, 2


def documents(tokens: int) -> tuple[str, ...]:
    """French sentences, of at least so many tokens together."""
    sentence = f"{PROMPT} vivait dans un village au bord de la mer, numéro "
    return tuple(f"{sentence}{number}." for number in range(tokens // len(sentence.split()) + 1))


@dataclass(frozen=True)
class Reading:
    """A recording to make.

    Attributes:
        documents: The text.
        batches: int64 `[blocks, before + block]` each: the same text in blocks, with what is read before each.
        before: Tokens of each row that are not counted.
        block: Tokens of each row that are.
        shape: Layers, and neurons per layer.
    """

    documents: tuple[str, ...]
    batches: tuple[torch.Tensor, ...]
    before: int
    block: int
    shape: tuple[int, int]

    @classmethod
    def of(cls, model, tokenizer, *, block: int = BLOCK, blocks: int = BLOCKS, batch: int = BATCH) -> Reading:
        """Blocks of French sentences for a model."""
        text = documents(block * blocks)
        rows = list(itertools.islice(token_blocks(tokenizer, text, block), blocks))
        prefix = torch.tensor(prefix_of(tokenizer), dtype=torch.long)
        read = torch.cat([prefix.expand(blocks, -1), torch.stack(rows)], dim=1)
        return cls(text, read.split(batch), len(prefix), block, lape.activation_sites(model).shape)

    @property
    def batch(self) -> int:
        """Blocks per pass."""
        return len(self.batches[0])

    @property
    def tokens(self) -> int:
        """That are counted."""
        return sum(len(batch) for batch in self.batches) * self.block


@dataclass(frozen=True)
class Recorded:
    """What a recording counted.

    Attributes:
        active: int64 `[layers, neurons]`, at how many tokens each neuron was active.
        sum: float `[layers, neurons]`, of its activation.
        positive_sum: float `[layers, neurons]`, of its positive activation.
    """

    active: torch.Tensor
    sum: torch.Tensor
    positive_sum: torch.Tensor

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Recorded:
        """Nothing yet."""
        return cls(torch.zeros(shape, dtype=torch.long), torch.zeros(shape), torch.zeros(shape))


Count = Callable[[Recorded, int, torch.Tensor], None]


def count_plainly(into: Recorded, layer: int, activation: torch.Tensor) -> None:
    """Adds an activation `[rows, positions, neurons]` with the reductions that one would write."""
    into.active[layer] += (activation > 0).sum((0, 1))
    into.sum[layer] += activation.sum((0, 1))
    into.positive_sum[layer] += activation.relu().sum((0, 1))


def count_by_products(into: Recorded, layer: int, activation: torch.Tensor) -> None:
    """Adds it with the matrix products that lape uses, which are faster on a CPU."""
    values = activation.reshape(-1, activation.shape[-1])
    ones = values.new_ones(len(values))
    positive = values.relu()
    into.sum[layer] += ones @ values
    into.positive_sum[layer] += ones @ positive
    into.active[layer] += (ones @ positive.sign_()).long()


@dataclass(frozen=True)
class Steering:
    """A generation under an intervention.

    Attributes:
        intervention: As lape has it: French off, Spanish on.
        edits: The same, by layer: int64 `[n]` neurons and the values `[n]` they are set to, at every position.
        prompt: int64 `[1, positions]`.
        new_tokens: To generate, greedily, whatever they are.
    """

    intervention: lape.Intervention
    edits: Mapping[int, tuple[torch.Tensor, torch.Tensor]]
    prompt: torch.Tensor
    new_tokens: int

    @classmethod
    def of(cls, mask: lape.NeuronMask, tokenizer) -> Steering:
        """The steering that is timed."""
        intervention = lape.Intervention(mask, off="fr", on="es", strength=1.5)
        flat, values = (
            torch.cat(parts) for parts in zip(*(each[1:3] for each in intervention.operations()), strict=True)
        )
        layers, neurons = flat // mask.shape[1], flat % mask.shape[1]
        edits = {int(layer): (neurons[layers == layer], values[layers == layer]) for layer in layers.unique()}
        return cls(intervention, edits, tokenizer(PROMPT, return_tensors="pt")["input_ids"], NEW_TOKENS)

    @property
    def length(self) -> dict[str, object]:
        """What transformers' `generate` is told."""
        return {"do_sample": False, "min_new_tokens": self.new_tokens, "max_new_tokens": self.new_tokens}


class Way(Protocol):
    """One way to do both, on a model of its own; making it is not timed. A floor may not generate."""

    def record(self, reading: Reading) -> Recorded | None:
        """Reads all batches; None from a way that counts nothing."""

    def generate(self, steering: Steering) -> torch.Tensor:
        """Generates; gives int64 `[1, positions]`, the prompt included."""
