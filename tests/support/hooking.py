"""What hooks there are on a model, and what an intervention's hooks change."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import torch
from torch import nn
from transformers import PreTrainedModel

from lape import activation_sites, intervene
from lape.generation.interventions import Plan


def watch(model: PreTrainedModel, plan: Plan, run: Callable[[], object]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The activations of every layer of every pass, in order, before and after their edit."""
    raw: list[torch.Tensor] = []
    edited: list[torch.Tensor] = []
    modules = activation_sites(model).modules
    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(lambda _m, _i, output: raw.append(output.clone())).remove)
        stack.enter_context(intervene(model, plan))
        for module in modules:
            stack.callback(module.register_forward_hook(lambda _m, _i, output: edited.append(output.clone())).remove)
        run()
    return list(zip(raw, edited, strict=True))


def hooks(model: nn.Module) -> list[object]:
    """Every hook on a model."""
    return [
        hook
        for module in model.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]
