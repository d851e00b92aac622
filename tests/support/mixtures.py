"""A tiny random mixture of experts of each family that the tests run on, and its experts in plain loops.

The loops go token by token and expert by expert over the weights, and share nothing with `lape` or with transformers'
ways of running experts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MethodType
from typing import Any

import torch
from families import LAYERS, build, layers_of
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from lape import NeuronMask

EXPERTS, CHOSEN, WIDTH = 4, 2, 20

Change = Callable[[int, int, int, torch.Tensor], torch.Tensor]  # layer, token, expert, activation [width]


@dataclass(frozen=True)
class Mixture:
    """How to build a tiny mixture of a family, and how its experts compute.

    Attributes:
        config: Settings that differ from the common ones.
        act: The activation function, of the gate.
        shift: What is added to the up projection before it is multiplied.
        interleaved: Gate and up take turns in the columns of the first matrix, which reads from the left.
        layers: The layers whose neurons are counted.
    """

    config: dict[str, Any] = field(default_factory=dict)
    act: Callable[[torch.Tensor], torch.Tensor] = F.silu
    shift: float = 0.0
    interleaved: bool = False
    layers: tuple[int, ...] = tuple(range(LAYERS))

    def first(self, experts: nn.Module, expert: int, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gate and up of one token."""
        weight = experts.gate_up_proj[expert]
        if self.interleaved:
            out = inputs @ weight + experts.gate_up_proj_bias[expert]
            return out[0::2], out[1::2].clamp(-7, 7)
        out = weight @ inputs
        return out[: len(out) // 2], out[len(out) // 2 :]

    def second(self, experts: nn.Module, expert: int, inner: torch.Tensor) -> torch.Tensor:
        """Result of one token."""
        weight = experts.down_proj[expert]
        return inner @ weight + experts.down_proj_bias[expert] if self.interleaved else weight @ inner


def gpt_oss_act(gate: torch.Tensor) -> torch.Tensor:
    gate = gate.clamp(max=7)
    return gate / (1 + torch.exp(-1.702 * gate))


MOE = {"moe_intermediate_size": WIDTH, "num_experts": EXPERTS}
LATENT = {  # deepseek's attention
    **{"n_routed_experts": EXPERTS, "moe_intermediate_size": WIDTH, "first_k_dense_replace": 1, "head_dim": None},
    **{"n_shared_experts": 1, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4},
    **{"v_head_dim": 8, "num_key_value_heads": 4},
}
later = tuple(range(1, LAYERS))

MIXTURES = {
    "mixtral": Mixture({"num_local_experts": EXPERTS, "intermediate_size": WIDTH}),
    "qwen2_moe": Mixture({**MOE, "shared_expert_intermediate_size": 24}),
    "qwen3_moe": Mixture(MOE),
    "olmoe": Mixture({"num_experts": EXPERTS, "intermediate_size": WIDTH}),
    "phimoe": Mixture({"num_local_experts": EXPERTS, "intermediate_size": WIDTH}),
    "granitemoe": Mixture({"num_local_experts": EXPERTS, "intermediate_size": WIDTH}),
    "gpt_oss": Mixture(
        {"num_local_experts": EXPERTS, "intermediate_size": WIDTH, "rope_parameters": {"rope_type": "default"}},
        act=gpt_oss_act,
        shift=1.0,
        interleaved=True,
    ),
    "deepseek_v2": Mixture({**LATENT, "topk_method": "greedy"}, layers=later),
    "deepseek_v3": Mixture({**LATENT, "n_group": 2, "topk_group": 1}, layers=later),
    "glm4_moe": Mixture({"n_routed_experts": EXPERTS, "moe_intermediate_size": WIDTH}, layers=later),
    "ernie4_5_moe": Mixture(
        {"moe_num_experts": EXPERTS, "moe_intermediate_size": WIDTH, "moe_k": CHOSEN}, layers=later
    ),
}


def build_mixture(name: str, **settings: Any) -> PreTrainedModel:
    """A tiny random mixture of experts, the same each time."""
    return build(name, **{"num_experts_per_tok": CHOSEN, **MIXTURES[name].config, **settings})


def experts_of(model: PreTrainedModel) -> dict[int, nn.Module]:
    """Layer to its module of experts."""
    return {
        index: module
        for index, layer in enumerate(layers_of(model))
        for name, module in layer.named_modules()
        if name.rsplit(".", 1)[-1] == "experts"
    }


@dataclass
class Seen:
    """What an expert did with a token.

    Attributes:
        layer: Of the expert.
        token: Place in the flattened batch.
        expert: Its number.
        activation: `[width]`.
    """

    layer: int
    token: int
    expert: int
    activation: torch.Tensor


@contextmanager
def in_plain_loops(model: PreTrainedModel, change: Change | None = None) -> Iterator[list[Seen]]:
    """Replaces the experts of a model by plain loops for as long as the block runs.

    Args:
        model: Of `build_mixture`.
        change: What takes an activation's place; None leaves it.

    Yields:
        A list that fills with what every expert does.
    """
    table, seen = MIXTURES[model.config.model_type], list[Seen]()
    modules = experts_of(model)

    def looped(layer: int) -> Callable[..., torch.Tensor]:
        def forward(
            experts: nn.Module, hidden: torch.Tensor, index: torch.Tensor, weights: torch.Tensor
        ) -> torch.Tensor:
            results = torch.zeros_like(hidden)
            for token, chosen in enumerate(index.tolist()):
                for place, expert in enumerate(chosen):
                    gate, up = table.first(experts, expert, hidden[token])
                    activation = table.act(gate)
                    if change is not None:
                        activation = change(layer, token, expert, activation)
                    seen.append(Seen(layer, token, expert, activation))
                    result = table.second(experts, expert, activation * (up + table.shift))
                    results[token] += weights[token, place] * result
            return results

        return forward

    for layer, module in modules.items():
        module.forward = MethodType(looped(layer), module)
    try:
        yield seen
    finally:
        for module in modules.values():
            del module.forward


def mixture_mask(shape: tuple[int, int], layers: tuple[int, ...], seed: int = 0) -> NeuronMask:
    """A mask of the languages aa, bb and cc over some layers, with a third of their neurons; cc has no means."""
    generator = torch.Generator().manual_seed(seed)
    third = shape[1] // 3
    neurons: dict[str, list[tuple[int, int]]] = {"aa": [], "bb": [], "cc": []}
    for layer in layers:
        order = torch.randperm(shape[1], generator=generator).tolist()
        for code, start in (("aa", 0), ("bb", third // 2), ("cc", 2 * third)):
            neurons[code] += [(layer, neuron) for neuron in order[start : start + third]]
    means = {code: torch.randn(len(neurons[code]), generator=generator) for code in ("aa", "bb")}
    given = {code: torch.tensor(pairs) for code, pairs in neurons.items()}
    return NeuronMask(given, means, shape, {"experts": EXPERTS})
