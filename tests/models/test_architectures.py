"""Every family's activations are found, fire once and are what the table says; others are refused by name."""

from __future__ import annotations

import gc
import weakref
from types import MethodType

import pytest
import torch
from families import FAMILIES, LAYERS, WIDTH, build, layers_of, token_ids
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)

from lape import UnsupportedArchitecture, activation_sites, register_architecture
from lape.models import architectures

SMALL_ENCODER = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures, "_REGISTERED", {})


def test_sites_hold_act_of_gate_and_fire_once(family: str) -> None:
    model, table = build(family), FAMILIES[family]
    sites = activation_sites(model)
    assert sites.shape == (LAYERS, table.width)

    hooked: list[list[torch.Tensor]] = [[] for _ in range(LAYERS)]
    by_hand = []
    for layer, (module, block) in enumerate(zip(sites.modules, layers_of(model), strict=True)):
        module.register_forward_hook(lambda _module, _inputs, output, seen=hooked[layer]: seen.append(output.clone()))
        block.get_submodule(table.first).register_forward_pre_hook(
            lambda _module, inputs, block=block: by_hand.append(table.by_hand(block, inputs[0]))
        )
    model(token_ids(2, 9))
    assert [len(seen) for seen in hooked] == [1] * LAYERS
    for (seen,), expected in zip(hooked, by_hand, strict=True):
        assert seen.numel() == 2 * 9 * table.width
        torch.testing.assert_close(seen.view_as(expected), expected, atol=1e-5, rtol=1e-5)


def test_probing_leaves_the_model_as_it_was(tiny_model: PreTrainedModel) -> None:
    frozen, *trained = layers_of(tiny_model.train())
    frozen.eval()
    activation_sites(tiny_model)
    assert tiny_model.training
    assert [frozen.training, *(layer.training for layer in trained)] == [False, True, True]
    assert not any(module._forward_hooks for module in tiny_model.modules())
    assert activation_sites(tiny_model) is activation_sites(tiny_model)


def test_layers_that_training_skips_are_found() -> None:
    model = build("opt", layerdrop=1.0).train()
    assert activation_sites(model).shape == (LAYERS, WIDTH)
    assert all(module.training for module in model.modules())


def test_a_proven_model_can_be_freed() -> None:
    model = build("llama")
    activation_sites(model)
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(
    ("auto", "name", "settings"),
    [
        (AutoModelForMaskedLM, "bert", {}),
        (AutoModel, "bert", {}),
        (AutoModelForMaskedLM, "modernbert", {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2}),
        (AutoModelForSeq2SeqLM, "bart", {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1}),
        (AutoModelForSeq2SeqLM, "t5", {"d_model": 16, "d_ff": 24, "num_layers": 1, "num_heads": 2}),
        (AutoModel, "llama", {}),
    ],
)
def test_what_is_no_causal_model_is_refused(auto: type, name: str, settings: dict) -> None:
    model = auto.from_config(AutoConfig.for_model(name, **{**SMALL_ENCODER, **settings}))
    with pytest.raises(UnsupportedArchitecture, match=rf"{type(model).__name__} \(model type '{name}'\)"):
        activation_sites(model)


def test_experts_beside_a_shared_activation_are_a_mixture(tiny_model: PreTrainedModel) -> None:
    for layer in layers_of(tiny_model):
        layer.mlp.experts = nn.ModuleList([nn.Linear(2, 2)])
    with pytest.raises(UnsupportedArchitecture, match="mixture of experts"):
        activation_sites(tiny_model)


def test_a_plain_module_is_refused() -> None:
    with pytest.raises(UnsupportedArchitecture, match="not a transformers causal language model"):
        activation_sites(nn.Linear(2, 2))


def test_a_shared_activation_is_refused(tiny_model: PreTrainedModel) -> None:
    for layer in layers_of(tiny_model):
        layer.mlp.act_fn = layers_of(tiny_model)[0].mlp.act_fn
    with pytest.raises(UnsupportedArchitecture, match="share one activation module"):
        activation_sites(tiny_model)


def test_different_widths_are_refused(tiny_model: PreTrainedModel) -> None:
    layers_of(tiny_model)[1].mlp = layers_of(build("llama", intermediate_size=WIDTH + 8))[1].mlp
    with pytest.raises(UnsupportedArchitecture, match=rf"different widths \(\[{WIDTH}, {WIDTH + 8}\]\)"):
        activation_sites(tiny_model)


def test_an_activation_that_is_bypassed_or_used_twice_is_refused(tiny_model: PreTrainedModel) -> None:
    mlp = layers_of(tiny_model)[1].mlp
    twice = mlp.forward
    mlp.forward = lambda hidden: twice(hidden) + twice(hidden)
    with pytest.raises(UnsupportedArchitecture, match="layer 1 fired 2 times"):
        activation_sites(tiny_model)
    mlp.forward = MethodType(lambda mlp, hidden: mlp.down_proj(mlp.gate_proj(hidden)), mlp)
    with pytest.raises(UnsupportedArchitecture, match="layer 1 fired 0 times"):
        activation_sites(tiny_model)


class _Odd(nn.Module):
    """A feed-forward block with names that transformers does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(32, 20), nn.Linear(20, 32)
        self.nonlinearity = nn.ReLU()

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.leave(self.nonlinearity(self.enter(hidden)))


@pytest.mark.parametrize("layers", [None, "model.layers"])
def test_a_registered_architecture_works(tiny_model: PreTrainedModel, layers: str | None) -> None:
    blocks = layers_of(tiny_model)
    for block in blocks:
        block.mlp = _Odd()
    tiny_model.config.model_type = "odd"
    with pytest.raises(UnsupportedArchitecture, match=r"its layers have no activation module.*register_architecture"):
        activation_sites(tiny_model)
    register_architecture("odd", activation="mlp.nonlinearity", layers=layers)
    assert activation_sites(tiny_model).shape == (LAYERS, 20)
    assert activation_sites(tiny_model).modules == tuple(block.mlp.nonlinearity for block in blocks)


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        ({"activation": "mlp.missing"}, "layer 0 has no activation module"),
        ({"activation": "mlp.act_fn", "layers": "model.missing"}, "no list of layers"),
    ],
)
def test_a_wrong_registration_is_refused(tiny_model: PreTrainedModel, paths: dict[str, str], reason: str) -> None:
    register_architecture("llama", **paths)
    with pytest.raises(UnsupportedArchitecture, match=reason):
        activation_sites(tiny_model)
