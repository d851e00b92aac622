"""Mixtures of experts: a way to run their experts one after the other, so that each activation can be seen.

transformers lets the function that runs a layer's experts be chosen (`transformers.integrations.moe`). Its own ones
compute many experts in one product and do not say which row is whose. The one registered here, `lape`, goes from expert
to expert as a plain loop. It is set for as long as somebody watches, and what was set before is put back.

What a class of experts declares for transformers' own functions is all that it reads: whether weights are transposed,
have biases or a gate, and `_apply_gate`.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedConfig
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from lape.models.gates import LIMITS, ClampedSwish, FunctionAsModule
from lape.models.hooks import Hook, hooked
from lape.models.sites import Routed, See

IMPLEMENTATION = "lape"
DECLARED = ("has_gate", "has_bias", "has_post_expert_norm", "is_transposed", "is_concatenated", "_is_expert_parallel")

# The expert that a module of experts is computing, the module that shows what its second matrix reads, and the
# activation module of those that have none of their own.
_COMPUTING: weakref.WeakKeyDictionary[nn.Module, Routed] = weakref.WeakKeyDictionary()
_READ: weakref.WeakKeyDictionary[nn.Module, nn.Identity] = weakref.WeakKeyDictionary()
_ACTIVATIONS: weakref.WeakKeyDictionary[nn.Module, ClampedSwish | FunctionAsModule] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class _Experts:
    """A layer's routed experts.

    Attributes:
        experts: The module that holds the weights of all of them.
        module: The activation module they share.
    """

    experts: nn.Module
    module: nn.Module

    @property
    def count(self) -> int:
        """How many experts there are."""
        return len(self.experts.down_proj)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class ExpertsSite(_Experts):
    """The activation of a layer's routed experts, one call for each that has tokens."""

    def hooks(self, see: See) -> Mapping[nn.Module, Hook]:
        experts = self.experts
        return {self.module: lambda _module, _inputs, output: see(output, _COMPUTING[experts])}

    def running(self) -> AbstractContextManager[None]:
        return one_by_one(self.experts)

    def column(self, expert: int, neuron: int) -> torch.Tensor:
        """What a neuron of an expert adds for a unit of input where the router weighs the expert 1: `[hidden]`."""
        weight: torch.Tensor = self.experts.down_proj[expert]  # type: ignore[index]
        column = weight[neuron] if self.experts.is_transposed else weight[:, neuron]
        return self.experts.post_expert_norm(column) if self.experts.has_post_expert_norm else column  # type: ignore[operator]

    @contextmanager
    def inputs(self, expert: int, neuron: int) -> Iterator[list[torch.Tensor]]:
        """Collects what the second matrix reads of a neuron: float32 `[tokens]` a pass, 0 at those routed elsewhere."""
        given, found = list[torch.Tensor](), list[torch.Tensor]()

        def read(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            routed = _COMPUTING[self.experts]
            if routed.expert == expert:
                values = torch.zeros(routed.total)
                values[routed.tokens.cpu()] = output[:, neuron].float().cpu()
                found.append(values)

        def ended(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            given.append(found.pop() if found else torch.zeros(output.numel() // output.shape[-1]))

        reading = _READ.setdefault(self.experts, nn.Identity())
        with self.running(), hooked(after={reading: read, self.experts: ended}):
            yield given


@dataclass(frozen=True, eq=False)
class ScoredSite(_Experts):
    """The same of a Llama 4, which runs every expert on every token, with inputs of 0 for those that were not chosen.

    Attributes:
        router: The module that scores each expert for each token, 0 where it was not chosen.
    """

    router: nn.Module

    def hooks(self, see: See) -> Mapping[nn.Module, Hook]:
        scores: list[torch.Tensor] = []

        def scored(_module: nn.Module, _inputs: object, output: tuple[torch.Tensor, torch.Tensor]) -> None:
            scores[:] = [output[0]]

        def activated(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
            edited = output.clone() if output.requires_grad else output
            for expert, chosen in enumerate(scores[0].T != 0):
                if len(tokens := chosen.nonzero().squeeze(1)):
                    values = edited[expert, tokens]
                    seen = see(values, Routed(expert, tokens, len(chosen)))
                    edited[expert, tokens] = values if seen is None else seen
            return edited

        return {self.router: scored, self.module: activated}

    def running(self) -> AbstractContextManager[None]:
        return nullcontext()

    def column(self, expert: int, neuron: int) -> torch.Tensor:
        """What a neuron of an expert adds for a unit of input: `[hidden]`."""
        return self.experts.down_proj[expert, neuron]  # type: ignore[index]

    @contextmanager
    def inputs(self, expert: int, neuron: int) -> Iterator[list[torch.Tensor]]:
        """Collects what the second matrix reads of a neuron: float32 `[tokens]` a pass, 0 at those routed elsewhere."""
        given: list[torch.Tensor] = []

        def read(module: nn.Module, arguments: tuple[torch.Tensor, ...], _named: object) -> None:
            rows = arguments[0].view(self.count, -1, arguments[0].shape[-1])[expert]
            gate, up = (rows @ module.gate_up_proj[expert]).chunk(2, dim=-1)  # type: ignore[index]
            # Not the module itself: who watches the activation would see one that the model does not compute.
            given.append((up[:, neuron] * self.module.forward(gate[:, neuron])).float().cpu())

        with hooked(before={self.experts: read}):
            yield given


def scored_site(block: nn.Module) -> ScoredSite | None:
    """Where the activation of a Llama 4's block of experts is; None where it is none."""
    experts, router = getattr(block, "experts", None), getattr(block, "router", None)
    activation = getattr(experts, "act_fn", None)
    if (
        type(block).__name__ != "Llama4TextMoe"
        or not isinstance(router, nn.Module)
        or not isinstance(activation, nn.Module)
    ):
        return None
    return ScoredSite(experts, activation, router)  # type: ignore[arg-type]


def experts_site(experts: nn.Module) -> ExpertsSite | None:
    """Where the activation of a module of experts is; None where it cannot be told.

    Args:
        experts: A module that declares itself to transformers' experts interface.
    """
    if isinstance(found := getattr(experts, "act_fn", None), nn.Module):
        return ExpertsSite(experts, found)
    if not experts.has_gate or experts in _ACTIVATIONS:
        pass
    elif any(hasattr(experts, name) for name in LIMITS):
        _ACTIVATIONS[experts] = ClampedSwish(experts)
    elif callable(found):
        _ACTIVATIONS[experts] = FunctionAsModule(found)
    return ExpertsSite(experts, _ACTIVATIONS[experts]) if experts in _ACTIVATIONS else None


def is_switchable(module: nn.Module) -> bool:
    """Whether a module holds experts that another function can run: in weights of their own, on one device."""
    down = getattr(module, "down_proj", None)
    whole = isinstance(down, nn.Parameter) and down.dim() == 3 and down.dtype.itemsize >= 2  # and not quantised ones
    return whole and all(hasattr(module, name) for name in DECLARED) and not module._is_expert_parallel


def run_experts(
    experts: nn.Module, hidden: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """Runs the experts of a layer one after the other.

    Args:
        experts: The module that holds their weights.
        hidden: `[tokens, hidden]`.
        top_k_index: int64 `[tokens, k]`, the experts of each token; one that is none of them is left out.
        top_k_weights: `[tokens, k]`, what each one's result counts.

    Returns:
        `[tokens, hidden]`, the weighted sum of the results.
    """
    total, k = top_k_index.shape
    count = len(experts.down_proj)  # type: ignore[arg-type]
    ids, order = top_k_index.reshape(-1).sort(stable=True)
    ends = torch.searchsorted(ids, torch.arange(count, device=ids.device), right=True).tolist()
    results = hidden.new_zeros(total * k, hidden.shape[-1], dtype=torch.result_type(hidden, top_k_weights))
    for expert, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if start == end:
            continue
        slots = order[start:end]
        tokens = slots // k
        _COMPUTING[experts] = Routed(expert, tokens, total)
        first = "gate_up_proj" if experts.has_gate else "up_proj"
        inner = _gated(experts, _linear(experts, first, expert, hidden[tokens]))
        if (reading := _READ.get(experts)) is not None:
            reading(inner)
        result = _linear(experts, "down_proj", expert, inner)
        if experts.has_post_expert_norm:
            result = experts.post_expert_norm(result)  # type: ignore[operator]
        results[slots] = (result * top_k_weights.reshape(-1)[slots, None]).to(results.dtype)
    _COMPUTING.pop(experts, None)
    return results.view(total, k, -1).sum(1).to(hidden.dtype)


def _linear(experts: nn.Module, name: str, expert: int, inputs: torch.Tensor) -> torch.Tensor:
    weight = getattr(experts, name)[expert]
    bias = getattr(experts, f"{name}_bias")[expert] if experts.has_bias else None
    return functional.linear(inputs, weight.T if experts.is_transposed else weight, bias)


def _gated(experts: nn.Module, first: torch.Tensor) -> torch.Tensor:
    """What the second matrix of an expert reads, from the output of the first."""
    if not experts.has_gate:
        return experts.act_fn(first)  # type: ignore[operator]
    activation = _ACTIVATIONS.get(experts)
    if activation is None:
        return experts._apply_gate(first)  # type: ignore[operator]
    gate, up = first.chunk(2, dim=-1) if experts.is_concatenated else (first[..., ::2], first[..., 1::2])
    return activation.gated(gate, up)


ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, run_experts)


class _Switched:
    """What configurations said before, until the last of the blocks that are open at a time ends."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._before: dict[int, tuple[PreTrainedConfig, str | None]] = {}
        self._open: Counter[int] = Counter()

    def begin(self, config: PreTrainedConfig) -> None:
        with self._lock:
            self._before.setdefault(id(config), (config, config._experts_implementation))
            self._open[id(config)] += 1
            config._experts_implementation = IMPLEMENTATION

    def end(self, config: PreTrainedConfig) -> None:
        with self._lock:
            self._open[id(config)] -= 1
            if not self._open[id(config)]:
                del self._open[id(config)]
                config._experts_implementation = self._before.pop(id(config))[1]


_SWITCHED = _Switched()


@contextmanager
def one_by_one(experts: nn.Module) -> Iterator[None]:
    """Runs the experts of a layer, and of all that share its configuration, one after the other in the block."""
    config: PreTrainedConfig = experts.config  # type: ignore[assignment]
    _SWITCHED.begin(config)
    try:
        yield
    finally:
        _SWITCHED.end(config)
