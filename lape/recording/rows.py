"""Activations of a pass as rows of tokens, for recordings that need each token's and not only counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from lape.errors import HookNotFired
from lape.models.sites import ActivationSites, Routed


@dataclass(frozen=True)
class Rows:
    """Activations of some neurons of one layer at the tokens of a pass that are recorded.

    Attributes:
        layer: The layer.
        neurons: Which neurons of it: all of them, or one expert's.
        values: float32 `[tokens, neurons]`, where the model has them.
        blocks: int64 `[tokens]`, the row of the batch that each token is in.
        places: int64 `[tokens]`, its place in the block, from 0.
    """

    layer: int
    neurons: slice
    values: torch.Tensor
    blocks: torch.Tensor
    places: torch.Tensor


@contextmanager
def reading_rows(
    sites: ActivationSites, see: Callable[[Rows], None], *, before: int, block: int
) -> Iterator[Callable[[torch.Tensor], None]]:
    """Gives a function that runs the decoder over a batch, of which `see` is shown every layer's activations.

    Args:
        sites: Where the model's activations are.
        see: Called once a layer and pass; in a mixture of experts once for each expert that has tokens.
        before: Tokens at the beginning of each row of a batch, which are not shown.
        block: Tokens of each row after them.

    Yields:
        A function of int64 `[blocks, before + block]`. It raises HookNotFired when a layer was not seen.
    """
    length, seen = before + block, set[int]()

    def shown(layer: int, output: torch.Tensor, of: Routed | None) -> None:
        seen.add(layer)
        if of is None:
            values = output.reshape(-1, length, output.shape[-1])[:, before:].flatten(0, 1)
            tokens = torch.arange(len(values), device=values.device)
            see(Rows(layer, slice(0, sites.neurons), values.float(), tokens // block, tokens % block))
        else:
            recorded = of.tokens % length >= before
            columns = slice(of.expert * sites.width, (of.expert + 1) * sites.width)
            tokens = of.tokens[recorded]
            see(Rows(layer, columns, output[recorded].float(), tokens // length, tokens % length - before))

    def read(inputs: torch.Tensor) -> None:
        seen.clear()
        with torch.no_grad():
            sites.decoder(input_ids=inputs, use_cache=False)
        if missing := sorted(set(sites.layers) - seen):
            raise HookNotFired(f"The decoder ran, but the activations of layers {missing} did not pass their hooks.")

    with sites.watch({layer: partial(shown, layer) for layer in sites.layers}):
        yield read
