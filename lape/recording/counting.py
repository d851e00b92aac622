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
def counting(
    sites: ActivationSites, block: int, *, before: int = 0, apart: bool = False
) -> Iterator[Callable[[], torch.Tensor]]:
    """Hooks every activation; gives a function that takes the last pass's counts.

    Args:
        sites: Where the model's activations are.
        block: Tokens of each row of a pass that are counted, the last ones.
        before: Tokens of each row before these, which are not counted.
        apart: Whether to count each block of a pass apart, else the pass as one.

    Yields:
        A function that returns float32 `[layers, blocks + 2, neurons]` on the CPU and forgets them: the active
        count of each block (one row for the pass unless `apart`), then each neuron's sum and positive sum over
        the pass.
    """
    counts: dict[int, torch.Tensor] = {}
    ones: dict[torch.device, torch.Tensor] = {}  # 0 where a token is not counted
    length = before + block

    def hook(layer: int) -> Callable[..., None]:
        def count(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            values = output.reshape(-1, output.shape[-1]).float()
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
