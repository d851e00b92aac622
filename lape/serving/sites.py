"""Where a model of vLLM has its activations, in the part of it that one worker has.

vLLM computes a gated FFN's activation and its product with the up half in one module (`SiluAndMul`, `GeluAndMul`),
which takes `[token, gate and up]` and gives `act(gate) * up`. The activation itself is what the module gives for an up
half of ones. An FFN without a gate has a plain activation module, as in transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from lape.errors import UnsupportedArchitecture
from lape.models.architectures import LAYER_LISTS, activation_of
from lape.models.hooks import Hook, hooked

Passed = Callable[[int, nn.Module, torch.Tensor, torch.Tensor], None]


@dataclass(frozen=True, eq=False)
class ServedSites:
    """The activation modules of one worker.

    Attributes:
        model: What the worker runs; its forward takes `positions`.
        layers: Number of a layer in the whole model to the layer, for those that the worker has.
        modules: The same number to its activation module, which several layers may share.
        neurons: Width of the activation here: all neurons of a layer, or a tensor-parallel worker's share.
        gated: Whether the modules multiply by an up half.
    """

    model: nn.Module
    layers: Mapping[int, nn.Module]
    modules: Mapping[int, nn.Module]
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
    layers = _layers(model)
    modules = {number: _activation_module(model, number, layer) for number, layer in layers.items()}
    calls: list[tuple[int, torch.Tensor, int]] = []
    began: list[bool] = []

    def seen(layer: int, _module: nn.Module, given: torch.Tensor, output: torch.Tensor) -> None:
        calls.append((layer, given, output.shape[-1]))

    before, after = layer_hooks(layers, modules, seen)
    with hooked(before={model: lambda *call: began.append("positions" in call[2]), **before}, after=after):
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
    return ServedSites(model, layers, modules, neurons, gated)


def layer_hooks(
    layers: Mapping[int, nn.Module], modules: Mapping[int, nn.Module], passed: Passed
) -> tuple[dict[nn.Module, Hook], dict[nn.Module, Hook]]:
    """Hooks by which a call of an activation module is known as its layer's, also where layers share one module.

    Args:
        layers: Number to layer.
        modules: Number to activation module.
        passed: Called with the layer's number, the module, its input and its output.

    Returns:
        Hooks to run before modules, and after.
    """
    now = -1

    def entering(number: int) -> Hook:
        def enter(*_: object) -> None:
            nonlocal now
            now = number

        return enter

    def called(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        passed(now, module, inputs[0], output)

    return {layer: entering(number) for number, layer in layers.items()}, dict.fromkeys(modules.values(), called)


def _activation(module: nn.Module, given: torch.Tensor) -> torch.Tensor:
    """What a gated module gives for an up half of ones: `act(gate)`, by its own kernel and without its hooks."""
    ones = given.clone()
    ones[..., given.shape[-1] // 2 :] = 1
    return module.forward(ones)


def _layers(model: nn.Module) -> dict[int, nn.Module]:
    language: nn.Module = model.get_language_model() if hasattr(model, "get_language_model") else model  # type: ignore[operator]
    lists = (
        module
        for name, module in language.named_modules()
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in LAYER_LISTS
    )
    if (layers := next(lists, None)) is None:
        raise _unsupported(model, "no list of layers was found")
    # What stands in for a layer of another worker of the pipeline is an identity.
    return {number: layer for number, layer in enumerate(layers) if not isinstance(layer, nn.Identity)}


def _activation_module(model: nn.Module, number: int, layer: nn.Module) -> nn.Module:
    if (module := activation_of(layer)) is None:
        raise _unsupported(model, f"layer {number} has no activation module, or has experts")
    return module


def _unsupported(model: nn.Module, reason: str) -> UnsupportedArchitecture:
    return UnsupportedArchitecture(f"{type(model).__name__} cannot be watched in vLLM: {reason}.")
