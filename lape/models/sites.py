"""Where a model's activations are, and the one way to watch or change them.

A layer's neurons are those of its FFN. In a mixture of experts they are those of its routed experts, expert by expert:
expert e's neuron n is number e * width + n of the layer, and it exists only for the tokens that were routed to e.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from lape.models.hooks import Hook, hooked


class Routed(NamedTuple):
    """Which tokens of a pass an activation belongs to, in a mixture of experts.

    Attributes:
        expert: The expert whose activation it is.
        tokens: int64 `[n]`, the tokens that were routed to it: row of the batch * positions + position.
        total: Tokens of the pass.
    """

    expert: int
    tokens: torch.Tensor
    total: int


See = Callable[[torch.Tensor, Routed | None], torch.Tensor | None]


class Site(Protocol):
    """The activation of one layer."""

    @property
    def module(self) -> nn.Module:
        """The module whose output is the activation."""
        ...

    def hooks(self, see: See) -> Mapping[nn.Module, Hook]:
        """Forward hooks that show the activation to a function, by module."""
        ...

    def running(self) -> AbstractContextManager[None]:
        """What must hold while the hooks are on."""
        ...


@dataclass(frozen=True, eq=False)
class DenseSite:
    """The activation of a dense FFN: all neurons of all tokens, in one call."""

    module: nn.Module

    def hooks(self, see: See) -> Mapping[nn.Module, Hook]:
        return {self.module: lambda _module, _inputs, output: see(output, None)}

    def running(self) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass(frozen=True, eq=False)
class ActivationSites:
    """Where the activations of one model are.

    Attributes:
        decoder: The stack of layers without the language-model head; called with `input_ids`.
        sites: The activation of each layer, in layer order; None for a layer that has no neurons, such as a dense
            layer of a mixture of experts, or a layer without FFN.
        neurons: Number of neurons per layer, over all of its experts.
        experts: Number of experts per layer; 1 for a dense model.
    """

    decoder: nn.Module
    sites: tuple[Site | None, ...]
    neurons: int
    experts: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """`(layers, neurons)`."""
        return len(self.sites), self.neurons

    @property
    def width(self) -> int:
        """Neurons of one expert, the last dimension of every activation; of a dense model, those of a layer."""
        return self.neurons // self.experts

    @property
    def modules(self) -> tuple[nn.Module | None, ...]:
        """The module of each layer whose output is the activation."""
        return tuple(None if site is None else site.module for site in self.sites)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that have neurons."""
        return tuple(layer for layer, site in enumerate(self.sites) if site is not None)

    @property
    def metadata(self) -> dict[str, Any]:
        """What statistics and masks say of a model that is not dense in every layer; empty for one that is."""
        told = {"experts": self.experts} if self.experts > 1 else {}
        return told if len(self.layers) == len(self.sites) else {**told, "layers": list(self.layers)}

    @contextmanager
    def watch(self, seeing: Mapping[int, See]) -> Iterator[None]:
        """Shows the activations of some layers for as long as the block runs.

        Each function is called with an activation and, in a mixture of experts, with whose it is and of which tokens.
        It may change the activation in place, or return another that takes its place. A dense layer's is
        `[batch, position, width]`, of some families `[batch * position, width]`, and comes once a pass. An expert's is
        `[tokens routed to it, width]`, and comes once for each expert that has tokens.

        Args:
            seeing: Layer to function; layers that have no neurons see nothing.
        """
        watched = {layer: site for layer in seeing if (site := self.sites[layer]) is not None}
        with ExitStack() as stack:
            hooks: dict[nn.Module, Hook] = {}
            for layer, site in watched.items():
                stack.enter_context(site.running())
                hooks |= site.hooks(seeing[layer])
            stack.enter_context(hooked(after=hooks))
            yield
