"""Mixtures of experts: each expert's activations are seen with their tokens, and the model stays what it was."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from families import LAYERS, token_ids
from mixtures import EXPERTS, MIXTURES, WIDTH, build_mixture, experts_of, in_plain_loops
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from lape import UnsupportedArchitecture, activation_sites, load_model
from lape.models.identity import identity
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


def test_experts_that_come_in_mxfp4_are_loaded_whole(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    made = build_mixture("gpt_oss", intermediate_size=32)
    made.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    tensors, expected = load_file(tmp_path / "model.safetensors"), {}
    generator = torch.Generator().manual_seed(0)
    for name in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj"))]:
        experts, inputs, outputs = tensors.pop(name).shape
        packed = torch.randint(0, 256, (experts, outputs, inputs // 32, 16), generator=generator, dtype=torch.uint8)
        scales = torch.randint(122, 126, packed.shape[:-1], generator=generator, dtype=torch.uint8)
        tensors |= {f"{name}_blocks": packed, f"{name}_scales": scales}
        # A byte holds two numbers, the low half first; 32 of them share an exponent of two.
        table = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
        numbers = torch.stack([table[(packed % 16).long()], table[(packed // 16).long()]], dim=-1).flatten(-2)
        whole = numbers * 2.0 ** (scales.double() - 127)[..., None]
        expected[name] = whole.flatten(-2).transpose(1, 2).float()
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": []}
    (tmp_path / "config.json").write_text(json.dumps(config))

    model, _ = load_model(tmp_path, device="cpu")
    assert expected
    assert all(torch.equal(model.get_parameter(name), weights) for name, weights in expected.items())
    assert identity(model).quantization == "mxfp4"
    assert activation_sites(model).shape == (LAYERS, EXPERTS * 32)
