"""Where each model family keeps its FFN activations.

A neuron is one column of the first FFN matrix of a layer with its activation function. Almost every
family of transformers stores that function as a module of its own in each layer (`act_fn`,
`activation_fn`, `act`, `gelu_impl`), so a forward hook on it sees `act(gate(x))`, `[batch, position,
neuron]`, on the unmodified model. `activation_sites` finds these modules from the model itself and
proves them with a one-token pass; what it cannot prove it refuses by name.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import nn

from lape.errors import UnsupportedArchitecture
from lape.models.hooks import hooked

LAYER_LISTS = ("layers", "h", "blocks")
FFN_NAMES = ("mlp", "ffn", "")  # OPT keeps its activation on the layer itself
ACTIVATION_NAMES = ("act_fn", "activation_fn", "act", "gelu_impl")


@dataclass(frozen=True, eq=False)
class ActivationSites:
    """The activation modules of one model.

    Attributes:
        decoder: The stack of layers without the language-model head; called with `input_ids`.
        modules: One activation module per layer, in layer order.
        neurons: Number of neurons per layer, the last dimension of every activation.
    """

    decoder: nn.Module
    modules: tuple[nn.Module, ...]
    neurons: int

    @property
    def shape(self) -> tuple[int, int]:
        """`(layers, neurons)`."""
        return len(self.modules), self.neurons


@dataclass(frozen=True)
class _Paths:
    activation: str
    layers: str | None


_REGISTERED: dict[str, _Paths] = {}
_PROVEN: weakref.WeakKeyDictionary[nn.Module, ActivationSites] = weakref.WeakKeyDictionary()


def register_architecture(model_type: str, *, activation: str, layers: str | None = None) -> None:
    """Tells where a family that is not found by itself keeps its activations.

    Args:
        model_type: `model.config.model_type` of the family.
        activation: Dotted path of the activation module inside a layer, such as `"mlp.act_fn"`.
        layers: Dotted path of the list of layers on the model, such as `"transformer.h"`; left out,
            it is looked for in the decoder.

    Example:
        >>> register_architecture("my_llm", activation="ffn.nonlinearity", layers="net.blocks")
    """
    _REGISTERED[model_type] = _Paths(activation, layers)


def activation_sites(model: nn.Module) -> ActivationSites:
    """Finds and proves the activation modules of a causal language model.

    The proof is one pass over one token: every module must fire exactly once, and all with the same
    width. The result is kept for as long as the model lives.

    Args:
        model: A transformers causal language model, quantised and dispatched ones included.

    Raises:
        UnsupportedArchitecture: No activation module per layer, or one that does not fire once. Says
            the family, the reason, and what to register.
    """
    if model not in _PROVEN:
        decoder, modules = activation_modules(model)
        _PROVEN[model] = ActivationSites(decoder, modules, _prove(model, decoder, modules))
    return _PROVEN[model]


def input_device(model: nn.Module) -> torch.device:
    """The device that `input_ids` must be on, dispatched and offloaded models included."""
    embeddings = model.get_input_embeddings()  # type: ignore[operator]
    hook = getattr(embeddings, "_hf_hook", None)
    device = getattr(hook, "execution_device", None)
    return torch.device(device) if device is not None else embeddings.weight.device


def activation_modules(model: nn.Module) -> tuple[nn.Module, tuple[nn.Module, ...]]:
    """The decoder of a model and the activation module of each layer, found by their places and not proven.

    Raises:
        UnsupportedArchitecture: There is not one per layer; says the family, the reason, and what to register.
    """
    model_type = _model_type(model)
    paths = _REGISTERED.get(model_type)
    if not hasattr(model, "get_decoder"):
        raise _unsupported(model, "it is not a transformers causal language model")
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise _unsupported(model, "it is an encoder-decoder, not a causal language model")
    decoder = model.get_decoder()  # type: ignore[operator]
    if decoder is None or decoder is model:
        raise _unsupported(model, "it has no decoder")
    if paths is not None and paths.layers is not None:
        layers = _submodule(model, paths.layers)
    else:
        layers = next((found for name in LAYER_LISTS if (found := getattr(decoder, name, None)) is not None), None)
    if not isinstance(layers, nn.ModuleList) or len(layers) == 0:
        raise _unsupported(model, "no list of layers was found in its decoder")

    modules = []
    for index, layer in enumerate(layers):
        found = _submodule(layer, paths.activation) if paths else _activation_of(layer)
        if not isinstance(found, nn.Module):
            reason = f"layer {index} has no activation module"
            if _is_mixture(layer):
                reason = "it is a mixture of experts, whose neurons belong to experts and not to layers"
            raise _unsupported(model, reason)
        modules.append(found)
    if len({id(module) for module in modules}) < len(modules):
        raise _unsupported(model, "several layers share one activation module")
    return decoder, tuple(modules)


def _activation_of(layer: nn.Module) -> nn.Module | None:
    """The activation module of a dense FFN, by the names transformers uses."""
    if _is_mixture(layer):
        return None
    for ffn_name in FFN_NAMES:
        ffn = _submodule(layer, ffn_name)
        for name in ACTIVATION_NAMES:
            if isinstance(found := getattr(ffn, name, None), nn.Module):
                return found
    return None


def _is_mixture(layer: nn.Module) -> bool:
    return any(name.rsplit(".", 1)[-1] == "experts" for name, _ in layer.named_modules())


def _submodule(module: nn.Module, path: str) -> nn.Module | None:
    for name in filter(None, path.split(".")):
        module = getattr(module, name, None)  # type: ignore[assignment]
    return module


@dataclass
class _Firings:
    """What the hooks of a dry run saw, per layer."""

    widths: dict[int, int] = field(default_factory=dict)
    counts: dict[int, int] = field(default_factory=dict)

    def hook(self, layer: int) -> Callable[..., None]:
        def seen(_module: nn.Module, _inputs: object, output: object) -> None:
            self.counts[layer] = self.counts.get(layer, 0) + 1
            self.widths[layer] = output.shape[-1] if isinstance(output, torch.Tensor) and output.dim() in (2, 3) else -1

        return seen


def _prove(model: nn.Module, decoder: nn.Module, modules: tuple[nn.Module, ...]) -> int:
    firings = _Firings()
    with ExitStack() as stack:
        for module in decoder.modules():  # not all need be in the same mode
            stack.callback(setattr, module, "training", module.training)
        decoder.eval()
        stack.enter_context(hooked(after={module: firings.hook(layer) for layer, module in enumerate(modules)}))
        with torch.no_grad():
            decoder(input_ids=torch.zeros((1, 1), dtype=torch.long, device=input_device(model)), use_cache=False)
    for layer in range(len(modules)):
        if (count := firings.counts.get(layer, 0)) != 1:
            raise _unsupported(model, f"the activation of layer {layer} fired {count} times in one pass, not once")
    widths = set(firings.widths.values())
    if len(widths) != 1 or -1 in widths:
        raise _unsupported(model, f"its layers have activations of different widths ({sorted(widths)})")
    return widths.pop()


def _model_type(model: nn.Module) -> str:
    return getattr(getattr(model, "config", None), "model_type", type(model).__name__)


def _unsupported(model: nn.Module, reason: str) -> UnsupportedArchitecture:
    model_type = _model_type(model)
    return UnsupportedArchitecture(
        f"{type(model).__name__} (model type {model_type!r}) is not supported: {reason}. If it has one activation "
        f'module per layer, name it with lape.register_architecture({model_type!r}, activation="mlp.act_fn").'
    )
