"""Mixtures of experts: each expert's activations are seen with their tokens, and the model stays what it was."""

from __future__ import annotations

import copy
from collections import defaultdict
from contextlib import ExitStack

import pytest
import torch
from families import LAYERS, token_ids
from mixtures import EXPERTS, MIXTURES, WIDTH, build_mixture, experts_of, in_plain_loops

from lape import UnsupportedArchitecture, activation_sites
from lape.models.sites import Routed

IDS = token_ids(2, 9)


def test_sites_hold_act_of_gate_with_the_tokens_of_each_expert(mixture: str) -> None:
    model = build_mixture(mixture)
    sites = activation_sites(model)
    assert (sites.shape, sites.experts, sites.layers) == ((LAYERS, EXPERTS * WIDTH), EXPERTS, MIXTURES[mixture].layers)

    seen: dict[tuple[int, int, int], torch.Tensor] = {}

    def see(layer: int, values: torch.Tensor, routed: Routed | None) -> None:
        assert routed is not None
        assert routed.total == IDS.numel()
        for token, row in zip(routed.tokens.tolist(), values, strict=True):
            assert (layer, token, routed.expert) not in seen
            seen[layer, token, routed.expert] = row.clone()

    watching = {layer: (lambda values, routed, layer=layer: see(layer, values, routed)) for layer in sites.layers}
    with sites.watch(watching):
        watched = model(IDS).logits
    with in_plain_loops(model) as expected:
        by_hand = model(IDS).logits
    assert len(expected) == len(seen)
    for one in expected:
        torch.testing.assert_close(seen[one.layer, one.token, one.expert], one.activation, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(watched, by_hand, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(watched, model(IDS).logits, atol=1e-4, rtol=1e-4)


def test_the_model_is_itself_again(mixture: str) -> None:
    model = build_mixture(mixture)
    before, chosen = model(IDS).logits, model.config._experts_implementation
    sites = activation_sites(model)
    assert torch.equal(model(IDS).logits, before)
    with sites.watch(dict.fromkeys(sites.layers, lambda _values, _routed: None)):
        assert model.config._experts_implementation == "lape"
    assert model.config._experts_implementation == chosen
    assert torch.equal(model(IDS).logits, before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("implementation", ["eager", "batched_mm"])
def test_what_was_set_before_is_put_back(implementation: str) -> None:
    model = build_mixture("mixtral")
    model.set_experts_implementation(implementation)
    sites = activation_sites(model)
    one, other = ExitStack(), ExitStack()
    for stack in (one, other):
        stack.enter_context(sites.watch({0: lambda _values, _routed: None}))
    one.close()  # the first to begin ends first
    assert model.config._experts_implementation == "lape"
    other.close()
    assert model.config._experts_implementation == implementation


def test_a_copy_made_meanwhile_is_not_watched() -> None:
    model, calls = build_mixture("mixtral"), list[int]()
    before = model(IDS).logits
    sites = activation_sites(model)
    with sites.watch({0: lambda values, _routed: calls.append(len(values))}):
        torch.testing.assert_close(copy.deepcopy(model)(IDS).logits, before, atol=1e-5, rtol=1e-5)
    assert not calls


def test_under_gradients_the_same_gradients_flow() -> None:
    model = build_mixture("mixtral")
    sites = activation_sites(model)
    found = []
    for stack in (ExitStack(), ExitStack()):
        embedded = model.get_input_embeddings()(IDS).requires_grad_()
        with stack:
            if found:
                stack.enter_context(sites.watch({0: lambda _values, _routed: None}))
            model(inputs_embeds=embedded).logits.square().mean().backward()
        found.append(embedded.grad)
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-4)


def test_experts_that_give_something_else_one_by_one_are_refused() -> None:
    model = build_mixture("mixtral")
    experts = experts_of(model)[1]
    given = experts.forward
    experts.forward = lambda *args: 3 * given(*args)
    with pytest.raises(UnsupportedArchitecture, match="the experts of layer 1, run one by one, give something else"):
        activation_sites(model)


def test_experts_that_are_bypassed_are_refused() -> None:
    model = build_mixture("gpt_oss")
    model.model.layers[2].mlp.forward = lambda hidden: (hidden, None)
    with pytest.raises(UnsupportedArchitecture, match="the experts of layer 2 were bypassed, as fused kernels do"):
        activation_sites(model)


def test_experts_that_cannot_be_run_one_by_one_are_refused() -> None:
    model = build_mixture("mixtral")
    experts_of(model)[1]._is_expert_parallel = True  # each device has some of them
    with pytest.raises(UnsupportedArchitecture, match=r"model type 'mixtral'.*cannot be run one by one"):
        activation_sites(model)


def test_layers_without_experts_have_no_neurons() -> None:
    model = build_mixture("qwen3_moe", mlp_only_layers=[1])
    sites = activation_sites(model)
    assert sites.layers == (0, 2)
    assert sites.metadata == {"experts": EXPERTS, "layers": [0, 2]}
    seen = defaultdict[int, int](int)

    def count(layer: int) -> None:
        seen[layer] += 1

    with sites.watch({layer: (lambda _values, _routed, layer=layer: count(layer)) for layer in range(LAYERS)}):
        model(IDS)
    assert sorted(seen) == [0, 2]
