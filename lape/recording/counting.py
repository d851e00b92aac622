"""Counts of a forward pass, made where each activation lives: hooks that leave one small tensor per layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from lape.errors import HookNotFired, LapeError
from lape.models.architectures import ActivationSites
from lape.models.hooks import hooked


@contextmanager
def counting(sites: ActivationSites, block: int | None = None) -> Iterator[Callable[[], torch.Tensor]]:
    """Hooks every activation; gives a function that takes the last pass's counts.

    Args:
        sites: Where the model's activations are.
        block: Tokens per block, to count each block of a pass apart; None counts the pass as one.

    Yields:
        A function that returns float32 `[layers, blocks + 2, neurons]` on the CPU and forgets them: the active
        count of each block (one row for the pass without `block`), then each neuron's sum and positive sum over
        the pass.
    """
    counts: dict[int, torch.Tensor] = {}
    ones: dict[torch.device, torch.Tensor] = {}

    def hook(layer: int) -> Callable[..., None]:
        def count(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            values = output.reshape(-1, output.shape[-1]).float()
            if (one := ones.get(values.device)) is None or one.shape[1] != len(values):
                one = ones[values.device] = torch.ones((1, len(values)), device=values.device)
            # A product with ones is the fastest column sum on CPUs, and costs the same in one piece or block by
            # block; the sign of the positive part, taken in place, is 1 exactly where the neuron is active.
            positive = torch.relu(values)
            sums, positive_sums = one @ values, one @ positive
            pieces = positive.sign_().split(block or len(values))
            counts[layer] = torch.cat([*(one[:, : len(piece)] @ piece for piece in pieces), sums, positive_sums])

        return count

    def take() -> torch.Tensor:
        missing = sorted(set(range(len(sites.modules))) - set(counts))
        if missing:
            raise HookNotFired(f"The decoder ran, but the activations of layers {missing} did not pass their hooks.")
        taken = torch.stack([counts[layer].cpu() for layer in range(len(sites.modules))])
        counts.clear()
        if not taken.isfinite().all():
            raise LapeError("The model's activations are not finite; load it in another dtype (float32 or bfloat16).")
        return taken

    with hooked(after={module: hook(layer) for layer, module in enumerate(sites.modules)}):
        yield take
