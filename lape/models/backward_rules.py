"""Rules that make a plain backward pass compute relevance: layer-wise relevance propagation of transformers.

With the rules of AttnLRP (Achtibat et al. 2024, arXiv 2402.05602), the gradient of an output times a value is the
relevance of that value for it. They are put on the operations that a model computes with, whatever its modules are
called, and change nothing of what it computes but rounding:

- the activation function of an FFN passes `output / input` (identity rule), and so does tanh, which caps scores;
- a product of two values passes half of the gradient to each: gate and up, scores and value, query and key;
- the denominator of a norm is a constant.

All else has its gradient: linear layers, sums, rotations, softmax (whose gradient is its Taylor rule), and gates by a
sigmoid. So relevance is conserved but for what biases take, and what the softmax takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from lape.models.hooks import hooked

LEAST_DIVISOR = 1e-10  # added to what is divided by, as the authors' code does


@contextmanager
def relevance_rules(activations: list[nn.Module]) -> Iterator[None]:
    """Puts the rules on what is computed in the block; its backward pass may come later.

    Args:
        activations: The modules of the activation functions.
    """
    with hooked(after=dict.fromkeys(activations, _activated)), _Rules():
        yield


class _Passing(torch.autograd.Function):
    """Gives a value, and passes the gradient on times a factor."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, output: torch.Tensor, factor: torch.Tensor | float) -> torch.Tensor:
        ctx.factor = factor
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradients[0] * ctx.factor, None, None


def _shared(value: torch.Tensor, share: float) -> torch.Tensor:
    """The same value, of whose gradient a share is passed on."""
    return _Passing.apply(value, value.detach(), share)


def _same(value: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    """The identity rule: a function's output, of which each part is as relevant as what it was made from."""
    output = output.detach()
    factor = output / (value.detach() + LEAST_DIVISOR)
    return _Passing.apply(value, output, factor)


def _activated(_module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor | None:
    return _same(inputs[0], output) if inputs[0].requires_grad else None


def _varies(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.requires_grad


def _constant(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value


Rule = Callable[..., torch.Tensor]


def _product(function: Rule, one: Any, other: Any, *rest: Any, **named: Any) -> torch.Tensor:
    if _varies(one) and _varies(other):
        one, other = _shared(one, 0.5), _shared(other, 0.5)
    return function(one, other, *rest, **named)


def _added_product(function: Rule, added: Any, batch1: Any, batch2: Any, **named: Any) -> torch.Tensor:
    return _product(lambda one, other: function(added, one, other, **named), batch1, batch2)


def _attention(function: Rule, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> torch.Tensor:
    """Scores take half from the product with the values, and give a half each to query and key."""
    return function(_shared(query, 0.25), _shared(key, 0.25), _shared(value, 0.5), *rest, **named)


def _quotient(function: Rule, above: Any, below: Any, **named: Any) -> torch.Tensor:
    return function(above, _constant(below), **named)


def _reciprocal(function: Rule, below: Any, *above: Any) -> torch.Tensor:
    return function(_constant(below), *above)


def _power(function: Rule, base: Any, exponent: Any) -> torch.Tensor:
    negative = isinstance(exponent, int | float) and exponent < 0
    return function(_constant(base) if negative else base, exponent)


def _capped(function: Rule, value: torch.Tensor) -> torch.Tensor:
    output = function(value)
    return _same(value, output) if value.requires_grad else output


def _layer_norm(
    _function: Rule, value: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> torch.Tensor:
    places = tuple(range(-len(shape), 0))
    exact = value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    centred = exact - exact.mean(places, keepdim=True)
    scaled = (centred / (centred.detach().square().mean(places, keepdim=True) + eps).sqrt()).to(value.dtype)
    scaled = scaled if weight is None else scaled * weight
    return scaled if bias is None else scaled + bias


def _rms_norm(_function: Rule, value: Any, shape: Any, weight: Any = None, eps: float | None = None) -> torch.Tensor:
    eps = torch.finfo(value.dtype).eps if eps is None else eps
    exact = value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    mean = exact.detach().square().mean(tuple(range(-len(shape), 0)), keepdim=True)
    scaled = (exact * (mean + eps).rsqrt()).to(value.dtype)
    return scaled if weight is None else scaled * weight


RULES: Mapping[str, Callable[..., torch.Tensor]] = {
    "mul": _product,
    "multiply": _product,
    "matmul": _product,
    "bmm": _product,
    "baddbmm": _added_product,
    "scaled_dot_product_attention": _attention,
    "div": _quotient,
    "divide": _quotient,
    "true_divide": _quotient,
    "rsqrt": _reciprocal,
    "reciprocal": _reciprocal,
    "__rdiv__": _reciprocal,
    "pow": _power,
    "tanh": _capped,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
}


class _Rules(TorchFunctionMode):
    """Computes what has a rule by it, by the name of the operation."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rule = RULES.get(getattr(func, "__name__", ""))
        return func(*args, **kwargs or {}) if rule is None else rule(func, *args, **kwargs or {})
