"""Where each model family keeps its FFN activations.

A neuron is one column of the first FFN matrix of a layer with its activation function. Almost every
family of transformers stores that function as a module of its own in each layer (`act_fn`,
`activation_fn`, `act`, `gelu_impl`), so a forward hook on it sees `act(gate(x))`, `[batch, position,
neuron]`, on the unmodified model. `activation_sites` finds these modules from the model itself and
proves them with a pass of a few tokens; what it cannot prove it refuses by name.

In a mixture of experts the neurons are those of the routed experts. Shared experts, which every token passes, and dense
layers beside them have none; nor has a layer without FFN, of a hybrid.
"""

from __future__ import annotations

import math
import weakref
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from lape.errors import UnsupportedArchitecture
from lape.models.experts import ExpertsSite, ScoredSite, experts_site, is_switchable, run_experts, scored_site
from lape.models.hooks import hooked
from lape.models.sites import ActivationSites, DenseSite, Routed, Site

LAYER_LISTS = ("layers", "h", "blocks")
FFN_NAMES = ("mlp", "ffn", "feed_forward")
ACTIVATION_NAMES = ("act_fn", "activation_fn", "act", "gelu_impl")
PROOF_TOKENS = 8  # of a mixture of experts, so that several experts are seen


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

    The proof is a pass over one token: every module must fire exactly once, and all with the same width. In a mixture
    of experts it is one over a few, in which each must fire once for each expert that has tokens, and give what the
    model gives by itself. The result is kept for as long as the model lives.

    Args:
        model: A transformers causal language model, quantised and dispatched ones included.

    Raises:
        UnsupportedArchitecture: No activation module per layer, or one that does not fire once. Says
            the family, the reason, and what to register.
    """
    if model not in _PROVEN:
        decoder, sites = activation_modules(model)
        with ExitStack() as stack:
            for module in decoder.modules():  # not all need be in the same mode
                stack.callback(setattr, module, "training", module.training)
            decoder.eval()
            _PROVEN[model] = _prove(model, decoder, sites)
    return _PROVEN[model]


def input_device(model: nn.Module) -> torch.device:
    """The device that `input_ids` must be on, dispatched and offloaded models included."""
    embeddings = model.get_input_embeddings()  # type: ignore[operator]
    hook = getattr(embeddings, "_hf_hook", None)
    device = getattr(hook, "execution_device", None)
    return torch.device(device) if device is not None else embeddings.weight.device


def activation_modules(model: nn.Module) -> tuple[nn.Module, tuple[Site | None, ...]]:
    """The decoder of a model and where the activation of each layer is, found by their places and not proven.

    Raises:
        UnsupportedArchitecture: There is not one per layer; says the family, the reason, and what to register.
    """
    decoder, layers = decoder_layers(model)
    paths = _REGISTERED.get(_model_type(model))
    mixture = paths is None and any(map(_is_mixture, layers))
    sites: tuple[Site | None, ...]
    if paths is not None:
        found = [_submodule(layer, paths.activation) for layer in layers]
        sites = tuple(DenseSite(module) if isinstance(module, nn.Module) else None for module in found)
    elif mixture:
        sites = tuple(_experts_of(model, layer) for layer in layers)
    else:
        sites = tuple(_dense_of(layer) for layer in layers)
    for index, (layer, site) in enumerate(zip(layers, sites, strict=True)):
        if site is None and (paths or not any(sites) or (not mixture and _has_unseen_ffn(layer))):
            where = f"layer {index} has" if any(sites) or paths else "its layers have"
            raise _unsupported(model, f"{where} no activation module")
    modules = [site.module for site in sites if site is not None]
    if len({id(module) for module in modules}) < len(modules):
        raise _unsupported(model, "several layers share one activation module")
    return decoder, sites


def decoder_layers(model: nn.Module) -> tuple[nn.Module, nn.ModuleList]:
    """The decoder of a model, without the language-model head, and its list of layers.

    Raises:
        UnsupportedArchitecture: There are none; says the family, the reason, and what to register.
    """
    paths = _REGISTERED.get(_model_type(model))
    if not hasattr(model, "get_decoder"):
        raise _unsupported(model, "it is not a transformers causal language model")
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        raise _unsupported(model, "it is an encoder-decoder, not a causal language model")
    decoder = _inner(model.get_decoder())  # type: ignore[operator]
    if decoder is None or decoder is model:
        raise _unsupported(model, "it has no decoder")
    layers = _submodule(model, paths.layers) if paths and paths.layers is not None else _layers_of(decoder)
    if not isinstance(layers, nn.ModuleList) or len(layers) == 0:
        raise _unsupported(model, "no list of layers was found in its decoder")
    return decoder, layers


def _layers_of(decoder: nn.Module) -> nn.Module | None:
    return next((found for name in LAYER_LISTS if (found := getattr(decoder, name, None)) is not None), None)


def _inner(decoder: nn.Module | None) -> nn.Module | None:
    """The stack of layers inside of what transformers calls the decoder, which may have a head of its own."""
    while decoder is not None and _layers_of(decoder) is None:
        if not isinstance(inside := getattr(decoder, "model", None), nn.Module):
            break
        decoder = inside
    return decoder


def _dense_of(layer: nn.Module) -> DenseSite | None:
    """The activation of a dense FFN, by the names transformers uses; OPT keeps it on the layer itself."""
    for ffn_name in (*FFN_NAMES, ""):
        ffn = _submodule(layer, ffn_name)
        for name in ACTIVATION_NAMES:
            if isinstance(found := getattr(ffn, name, None), nn.Module):
                return DenseSite(found)
    return None


def activation_of(layer: nn.Module) -> nn.Module | None:
    """The activation module of a layer's dense FFN; None for a layer without, and for a mixture of experts."""
    site = None if _is_mixture(layer) else _dense_of(layer)
    return None if site is None else site.module


def _experts_of(model: nn.Module, layer: nn.Module) -> ExpertsSite | ScoredSite | None:
    """The activation of a layer's routed experts; None for a layer without."""
    if not _is_mixture(layer):
        return None
    switchable = (experts_site(module) for module in layer.modules() if is_switchable(module))
    found = [site for site in (*switchable, *map(scored_site, layer.modules())) if site is not None]
    if len(found) != 1:
        raise _unsupported(model, "it is a mixture of experts whose experts cannot be run one by one")
    return found[0]


def _has_unseen_ffn(layer: nn.Module) -> bool:
    """Whether a layer without activation module has an FFN nevertheless."""
    return any(hasattr(layer, name) for name in FFN_NAMES)


def _is_mixture(layer: nn.Module) -> bool:
    return any(name.rsplit(".", 1)[-1] == "experts" for name, _ in layer.named_modules())


def _submodule(module: nn.Module, path: str) -> nn.Module | None:
    for name in filter(None, path.split(".")):
        module = getattr(module, name, None)  # type: ignore[assignment]
    return module


def _prove(model: nn.Module, decoder: nn.Module, sites: tuple[Site | None, ...]) -> ActivationSites:
    """Runs the model with everything watched, and compares what was seen with what must be."""
    experts = {layer: site for layer, site in enumerate(sites) if isinstance(site, ExpertsSite)}
    counts = {site.count for site in sites if isinstance(site, ExpertsSite | ScoredSite)} or {1}
    if len(counts) > 1:
        raise _unsupported(model, f"its layers have different numbers of experts ({sorted(counts)})")
    mixture = counts != {1}
    ids = torch.arange(PROOF_TOKENS if mixture else 1, device=input_device(model))[None]
    expected = _check_experts(model, decoder, ids, experts) if experts else {}

    firings, widths, inputs = Counter[int](), set[int](), set[int]()

    def seeing(layer: int, values: torch.Tensor, _routed: Routed | None) -> None:
        firings[layer] += 1
        widths.add(values.shape[-1] if isinstance(values, torch.Tensor) and values.dim() in (2, 3) else -1)
        # Where ZeroGPU emulates a GPU, a shape is a tuple.
        if not mixture and isinstance(values, torch.Tensor) and math.prod(values.shape[:-1]) != ids.numel():
            raise _unsupported(model, f"layer {layer} has activations at more positions than there are tokens")

    def given(_module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        inputs.add(len(args) + len(kwargs))

    watched = ActivationSites(decoder, sites, 1)
    modules = [site.module for site in sites if site is not None]
    seeing_all = watched.watch({layer: partial(seeing, layer) for layer in watched.layers})
    with hooked(before=dict.fromkeys(modules, given)), seeing_all, torch.no_grad():
        decoder(input_ids=ids, use_cache=False)
    if max(inputs, default=1) > 1:
        raise _unsupported(model, "its activation function takes more than the gate")
    for layer in watched.layers:
        wanted = expected.get(layer, max(firings[layer], 1) if mixture else 1)
        if (count := firings[layer]) != wanted:
            times = "once" if wanted == 1 else f"{wanted} times"
            raise _unsupported(model, f"the activation of layer {layer} fired {count} times in one pass, not {times}")
    if len(widths) != 1 or -1 in widths:
        raise _unsupported(model, f"its layers have activations of different widths ({sorted(widths)})")
    number = counts.pop()
    return ActivationSites(decoder, sites, number * widths.pop(), number)


def _check_experts(
    model: nn.Module, decoder: nn.Module, ids: torch.Tensor, sites: Mapping[int, ExpertsSite]
) -> dict[int, int]:
    """Proves that experts run one by one give what the model's own way of running them gives.

    Returns:
        Layer to the number of experts that have tokens in this pass.
    """
    given: dict[nn.Module, tuple[tuple[Any, ...], dict[str, Any]]] = {}
    gave: dict[nn.Module, torch.Tensor] = {}

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given[module] = args, kwargs

    def after(module: nn.Module, _args: object, output: torch.Tensor) -> None:
        gave[module] = output

    modules = [site.experts for site in sites.values()]
    with hooked(before=dict.fromkeys(modules, before), after=dict.fromkeys(modules, after)), torch.no_grad():
        decoder(input_ids=ids, use_cache=False)
        expected = {}
        for layer, site in sites.items():
            if site.experts not in gave:
                raise _unsupported(model, f"the experts of layer {layer} were bypassed, as fused kernels do")
            args, kwargs = given[site.experts]
            ours, theirs = run_experts(site.experts, *args, **kwargs), gave[site.experts]
            tolerance = max(1e-4, 4 * torch.finfo(theirs.dtype).eps)  # rounding, of sums in another order
            if not (ours - theirs).abs().max() <= tolerance * theirs.abs().max():
                raise _unsupported(model, f"the experts of layer {layer}, run one by one, give something else")
            index = args[1] if len(args) > 1 else kwargs["top_k_index"]
            expected[layer] = len(index[index < site.count].unique())
    return expected


def _model_type(model: nn.Module) -> str:
    return getattr(getattr(model, "config", None), "model_type", type(model).__name__)


def _unsupported(model: nn.Module, reason: str) -> UnsupportedArchitecture:
    model_type = _model_type(model)
    return UnsupportedArchitecture(
        f"{type(model).__name__} (model type {model_type!r}) is not supported: {reason}. If it has one activation "
        f'module per layer, name it with lape.register_architecture({model_type!r}, activation="mlp.act_fn").'
    )
