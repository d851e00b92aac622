"""Where a model of vLLM has its activations, in the part of it that one worker has.

vLLM computes a gated FFN's activation and its product with the up half in one module (`SiluAndMul`, `GeluAndMul`),
which takes `[token, gate and up]` and gives `act(gate) * up`. The activation itself is what the module gives for an up
half of ones. An FFN without a gate has a plain activation module, as in transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from lape.errors import UnsupportedArchitecture
from lape.models.architectures import LAYER_LISTS, activation_of
from lape.models.hooks import hooked


@dataclass(frozen=True, eq=False)
class ServedSites:
    """The activation modules of one worker.

    Attributes:
        model: What the worker runs; its forward takes `positions`.
        modules: Layer of the whole model to its activation module, for the layers that the worker has.
        neurons: Width of the activation here: all neurons of a layer, or a tensor-parallel worker's share.
        gated: Whether the modules multiply by an up half.
    """

    model: nn.Module
    modules: dict[int, nn.Module]
    neurons: int
    gated: bool

    def activation(self, module: nn.Module, given: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """The activation of a call of one of the modules: `[token, neuron]`, not multiplied by anything.

        Args:
            module: The one that was called.
            given: Its input.
            output: What it gave.
        """
        return _activation(module, given) if self.gated else output


def served_sites(model: nn.Module, one_pass: Callable[[], object]) -> ServedSites:
    """Finds the activation modules of a worker and proves them with one pass.

    Every module must be called once, all with the same width, and a gated one must give `act(gate) * up`.

    Args:
        model: What the worker runs.
        one_pass: Runs it over any tokens.

    Raises:
        UnsupportedArchitecture: Says what was not found, or did not prove true.
    """
    modules = _find(model)
    calls: list[tuple[int, torch.Tensor, int]] = []
    began: list[bool] = []

    def seen(layer: int) -> Callable[..., None]:
        def keep(_module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            calls.append((layer, inputs[0], output.shape[-1]))

        return keep

    before = {model: lambda _module, _args, kwargs: began.append("positions" in kwargs)}
    with hooked(before=before, after={module: seen(layer) for layer, module in modules.items()}):
        one_pass()
    if began != [True]:
        raise _unsupported(model, "its forward is not called once with the positions of its tokens")
    if sorted(layer for layer, *_ in calls) != list(modules):
        raise _unsupported(model, "an activation module is bypassed by a fused kernel, or called several times")
    widths = {(width, given.shape[-1] == 2 * width) for _, given, width in calls}
    if len(widths) != 1:
        raise _unsupported(model, f"its layers have activations of different kinds or widths ({sorted(widths)})")
    ((neurons, gated),) = widths
    for layer, given, _ in calls if gated else ():
        module = modules[layer]
        numbers = (
            torch.linspace(-3, 4, given.numel()).view_as(given).to(given)
        )  # what vLLM passes itself may be anything
        product = _activation(module, numbers) * numbers[..., neurons:]
        if not torch.allclose(product.float(), module.forward(numbers).float(), rtol=0.02, atol=0.02):
            raise _unsupported(model, f"{type(module).__name__} does not multiply the activation by the up half")
    return ServedSites(model, modules, neurons, gated)


def _activation(module: nn.Module, given: torch.Tensor) -> torch.Tensor:
    """What a gated module gives for an up half of ones: `act(gate)`, by its own kernel and without its hooks."""
    ones = given.clone()
    ones[..., given.shape[-1] // 2 :] = 1
    return module.forward(ones)


def _find(model: nn.Module) -> dict[int, nn.Module]:
    language: nn.Module = model.get_language_model() if hasattr(model, "get_language_model") else model  # type: ignore[operator]
    lists = (
        module
        for name, module in language.named_modules()
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in LAYER_LISTS
    )
    if (layers := next(lists, None)) is None:
        raise _unsupported(model, "no list of layers was found")
    found = {}
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Identity):  # of another worker of the pipeline
            continue
        if (module := activation_of(layer)) is None:
            raise _unsupported(model, f"layer {index} has no activation module, or has experts")
        found[index] = module
    if len({id(module) for module in found.values()}) < len(found):
        raise _unsupported(model, "several layers share one activation module")
    return found


def _unsupported(model: nn.Module, reason: str) -> UnsupportedArchitecture:
    return UnsupportedArchitecture(f"{type(model).__name__} cannot be watched in vLLM: {reason}.")
