"""The ways in which a model is compiled by torch.compile, and what then runs it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from families import layers_of
from torch import nn
from transformers import PreTrainedModel

Run = Callable[[torch.Tensor], torch.Tensor]  # token ids to logits

# The eager backend needs no compiler of C++; graphs, guards and their reuse are those of every backend.
compiled: Callable[[Any], Any] = partial(torch.compile, backend="eager")


def _model(model: PreTrainedModel) -> Run:
    wrapper = compiled(model)
    return lambda ids: wrapper(ids).logits


def _function(model: PreTrainedModel) -> Run:
    return compiled(lambda ids: model(ids).logits)


def _in_place(*modules: nn.Module) -> None:
    for module in modules:
        module.compile(backend="eager")


def _forward(module: nn.Module) -> None:
    module.forward = compiled(module.forward)


def _mlps(model: PreTrainedModel) -> None:
    for layer in layers_of(model):
        layer.mlp = compiled(layer.mlp)


def _changed(change: Callable[[PreTrainedModel], None], model: PreTrainedModel) -> Run:
    change(model)
    return lambda ids: model(ids).logits


WAYS: dict[str, Callable[[PreTrainedModel], Run]] = {
    "the model": _model,
    "a function": _function,
    "in place": partial(_changed, _in_place),
    "its forward": partial(_changed, _forward),
    "its decoder's forward": partial(_changed, lambda model: _forward(model.model)),
    "its layers in place": partial(_changed, lambda model: _in_place(*layers_of(model))),
    "its mlps": partial(_changed, _mlps),
}
