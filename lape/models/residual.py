"""Where a model's residual stream is: what each layer passes on to the next, and the one way to watch or change it.

Every layer adds to the stream, `[batch, position, dimension]`; the output of layer l is the stream after it, as
transformers' `hidden_states[l + 1]` (of the last layer, before the final norm).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from lape.errors import UnsupportedArchitecture
from lape.models.architectures import decoder_layers, input_device
from lape.models.hooks import hooked

PROOF_TOKENS = 2

SeeStream = Callable[[torch.Tensor], torch.Tensor | None]

_PROVEN: weakref.WeakKeyDictionary[nn.Module, ResidualStream] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class ResidualStream:
    """The residual stream of one model.

    Attributes:
        decoder: The stack of layers without the language-model head; called with `input_ids`.
        layers: The layers, whose outputs are the stream.
        width: Its dimensions.
    """

    decoder: nn.Module
    layers: tuple[nn.Module, ...]
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """`(layers, dimensions)`."""
        return len(self.layers), self.width

    @contextmanager
    def watch(self, seeing: Mapping[int, SeeStream]) -> Iterator[None]:
        """Shows the stream after some layers for as long as the block runs.

        Args:
            seeing: Layer to a function of the stream `[batch, position, width]`, called once a pass. It may change it
                in place, or return another that takes its place.
        """
        with hooked(after={self.layers[layer]: partial(_shown, see) for layer, see in seeing.items()}):
            yield


def residual_stream(model: nn.Module) -> ResidualStream:
    """Finds and proves the residual stream of a causal language model.

    The proof is a pass over two tokens: every layer must run once and give `[1, 2, width]`, all of one width. The
    result is kept for as long as the model lives.

    Args:
        model: A transformers causal language model, quantised and dispatched ones included.

    Raises:
        UnsupportedArchitecture: There is no list of layers, or what they give is not one stream; says the family and
            the reason.
    """
    if model not in _PROVEN:
        decoder, layers = decoder_layers(model)
        _PROVEN[model] = ResidualStream(decoder, tuple(layers), _proven_width(model, decoder, layers))
    return _PROVEN[model]


def _proven_width(model: nn.Module, decoder: nn.Module, layers: nn.ModuleList) -> int:
    """Runs the decoder with every layer watched, and compares what was seen with what must be."""
    shapes: dict[int, list[tuple[int, ...]]] = {layer: [] for layer in range(len(layers))}
    seeing = {layer: lambda stream, layer=layer: shapes[layer].append(tuple(stream.shape)) for layer in shapes}
    ids = torch.arange(PROOF_TOKENS, device=input_device(model))[None]
    with ResidualStream(decoder, tuple(layers), 0).watch(seeing), torch.no_grad():
        decoder(input_ids=ids, use_cache=False)
    for layer, seen in shapes.items():
        if len(seen) != 1:
            raise _unsupported(model, f"layer {layer} ran {len(seen)} times in one pass, not once")
        if len(seen[0]) != 3 or seen[0][:2] != (1, PROOF_TOKENS) or seen[0] != shapes[0][0]:
            raise _unsupported(model, f"layer {layer} gives {list(seen[0])}, not [batch, position, width] of one width")
    return shapes[0][0][2]


def _unsupported(model: nn.Module, reason: str) -> UnsupportedArchitecture:
    return UnsupportedArchitecture(f"{type(model).__name__} has no residual stream that can be watched: {reason}.")


def _shown(see: SeeStream, _layer: nn.Module, _inputs: object, output: Any) -> Any:
    """A forward hook that shows a layer's output, of which the stream is the first where there are several."""
    stream = output if isinstance(output, torch.Tensor) else output[0]
    seen = see(stream)
    if seen is None or seen is stream:
        return None
    return seen if isinstance(output, torch.Tensor) else (seen, *output[1:])
