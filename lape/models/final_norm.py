"""What a model does to the residual stream between its last layer and its head: its final norm, in most families."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lape.errors import UnsupportedArchitecture
from lape.models.architectures import input_device
from lape.models.hooks import hooked
from lape.models.residual import PROOF_TOKENS, residual_stream

_PROVEN: weakref.WeakKeyDictionary[nn.Module, tuple[nn.Module, ...]] = weakref.WeakKeyDictionary()


def final_norm(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """Finds and proves the way from the stream after the last layer to what the head is given.

    It is followed in a pass over two tokens, through the modules that the decoder calls after its layers, and must give
    what the decoder gives, bit for bit. Families without a final norm have a way without modules. The result is kept
    for as long as the model lives.

    Args:
        model: A transformers causal language model, quantised and dispatched ones included.

    Returns:
        A function of streams `[..., width]`.

    Raises:
        UnsupportedArchitecture: The decoder does something else to the stream; names the family.
    """
    if model not in _PROVEN:
        _PROVEN[model] = _way(model)
    modules = _PROVEN[model]

    def normed(states: torch.Tensor) -> torch.Tensor:
        for module in modules:
            states = module(states)
        return states

    return normed


def _way(model: nn.Module) -> tuple[nn.Module, ...]:
    """The modules that the stream passes after the last layer, in their order."""
    stream = residual_stream(model)
    after = [module for module in stream.decoder.children() if not isinstance(module, nn.ModuleList)]
    last: list[torch.Tensor] = []
    passed: list[nn.Module] = []

    def see(states: torch.Tensor) -> None:
        last.append(states.clone())

    def follow(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not last or not inputs or not isinstance(output, torch.Tensor) or not isinstance(inputs[0], torch.Tensor):
            return
        if inputs[0].shape == last[-1].shape and torch.equal(inputs[0].to(last[-1].device), last[-1]):
            passed.append(module)
            last.append(output.clone())

    ids = torch.arange(PROOF_TOKENS, device=input_device(model))[None]
    watching = stream.watch({stream.shape[0] - 1: see})
    with watching, hooked(after=dict.fromkeys(after, follow)), torch.no_grad():
        given = stream.decoder(input_ids=ids, use_cache=False).last_hidden_state
    states = last[0]
    with torch.no_grad():  # without the hooks, which would follow this too
        for module in passed:
            states = module(states)
    if states.shape != given.shape or not torch.equal(states, given.to(states.device)):
        raise UnsupportedArchitecture(
            f"The layers of {type(model).__name__} cannot be read through its head: what it does after its last layer "
            "is not a norm that could be found."
        )
    return tuple(passed)
