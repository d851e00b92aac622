"""Counts of a forward pass, made where each activation lives: hooks that leave one small tensor per layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple

import torch

from lape.errors import HookNotFired, LapeError
from lape.models.sites import ActivationSites, Routed


class _AllCounted(Exception):
    """Ends a pass whose activations have all been counted: what would follow is the rest of the last layer."""


class Counts(NamedTuple):
    """What was counted of a pass, on the CPU.

    Attributes:
        neurons: float `[layers, blocks + 2, neurons]`: the active count of each block (one row for the pass, unless
            blocks are counted apart), then each neuron's sum and positive sum over the pass.
        routed: float32 `[layers, blocks, experts]`, the tokens that went to each expert; None for a dense model.
    """

    neurons: torch.Tensor
    routed: torch.Tensor | None

    def and_then(self, later: Counts, *, apart: bool) -> Counts:
        """What was counted of two passes, as if they had been one; the same to the last count.

        Args:
            later: Of the pass with the blocks that follow.
            apart: Whether blocks are counted apart.
        """
        sums = self.neurons[:, -2:] + later.neurons[:, -2:]
        active = _in_turn(self.neurons[:, :-2], later.neurons[:, :-2], apart)
        routed = None if self.routed is None or later.routed is None else _in_turn(self.routed, later.routed, apart)
        return Counts(torch.cat([active, sums], dim=1), routed)


def _in_turn(first: torch.Tensor, then: torch.Tensor, apart: bool) -> torch.Tensor:
    """Counts `[layers, blocks, width]` of two passes: blocks one after the other, or one row for both."""
    return torch.cat([first, then], dim=1) if apart else first + then


@contextmanager
def counting(
    sites: ActivationSites, block: int, *, before: int = 0, apart: bool = False, ending: bool = False
) -> Iterator[Callable[[Callable[[], object]], Counts]]:
    """Watches every activation; gives a function that runs a pass and takes its counts.

    Args:
        sites: Where the model's activations are.
        block: Tokens of each row of a pass that are counted, the last ones.
        before: Tokens of each row before these, which are not counted.
        apart: Whether to count each block of a pass apart, else the pass as one.
        ending: Whether a pass is broken off as soon as all is counted, where it can be: not in a mixture of experts,
            of which nobody knows who comes last, nor where accelerate moves weights, which it puts back at the end
            of a module.

    Yields:
        A function that calls what it is given, which runs the decoder once, and returns what was counted.
    """
    counts: dict[int, torch.Tensor] = {}
    routed: dict[int, torch.Tensor] = {}
    ones: dict[torch.device, torch.Tensor] = {}  # 0 where a token is not counted
    length = before + block
    ending &= sites.experts == 1 and not any(hasattr(module, "_hf_hook") for module in sites.decoder.modules())

    def count(layer: int, output: torch.Tensor, of: Routed | None) -> None:
        values = output.reshape(-1, output.shape[-1]).float()
        if of is not None:
            count_expert(layer, values, of)
            return
        if (one := ones.get(values.device)) is None or one.shape[1] != len(values):
            one = torch.ones((len(values) // length, length), device=values.device)
            one[:, :before] = 0
            one = ones[values.device] = one.view(1, -1)
        # A product with ones is the fastest column sum on CPUs, and costs the same in one piece or block by
        # block; the sign of the positive part, taken in place, is 1 exactly where the neuron is active.
        positive = torch.relu(values)
        sums, positive_sums = one @ values, one @ positive
        pieces = positive.sign_().split(length if apart else len(values))
        counts[layer] = torch.cat([*(one[:, : len(piece)] @ piece for piece in pieces), sums, positive_sums])
        if ending and len(counts) == len(sites.layers):
            raise _AllCounted

    def count_expert(layer: int, values: torch.Tensor, of: Routed) -> None:
        blocks = of.total // length if apart else 1
        if layer not in counts:
            counts[layer] = values.new_zeros(blocks + 2, sites.neurons)
            routed[layer] = values.new_zeros(blocks, sites.experts)
        one = (of.tokens % length >= before).float()
        places = (of.tokens // length if apart else torch.zeros_like(of.tokens))[None]
        pieces = one.new_zeros(blocks, len(one)).scatter_(0, places, one[None])  # each token in its block's row
        positive = torch.relu(values)
        sums = one[None] @ torch.cat([values, positive], dim=1)
        columns = slice(of.expert * sites.width, (of.expert + 1) * sites.width)
        counts[layer][:, columns] = torch.cat([pieces @ positive.sign_(), sums.view(2, -1)])
        routed[layer][:, of.expert] = pieces.sum(1)

    def counted(run: Callable[[], object]) -> Counts:
        counts.clear()  # of the pass before, which may have failed
        routed.clear()
        with suppress(_AllCounted):
            run()
        missing = sorted(set(sites.layers) - set(counts))
        if missing:
            raise HookNotFired(f"The decoder ran, but the activations of layers {missing} did not pass their hooks.")
        taken = Counts(stacked(counts), stacked(routed) if sites.experts > 1 else None)
        if not taken.neurons.isfinite().all():
            raise LapeError("The model's activations are not finite; load it in another dtype (float32 or bfloat16).")
        return taken

    def stacked(by_layer: dict[int, torch.Tensor]) -> torch.Tensor:
        """Of all layers; zeros for one that has no neurons."""
        none = torch.zeros_like(by_layer[sites.layers[0]], device="cpu")
        return torch.stack([by_layer[layer].cpu() if layer in by_layer else none for layer in range(sites.shape[0])])

    with sites.watch({layer: partial(count, layer) for layer in sites.layers}):
        yield counted
