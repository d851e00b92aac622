"""What a neuron writes, against its column, the final norm and the head worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import FAMILIES, build, layers_of
from mixtures import MIXTURES, WIDTH, build_mixture, experts_of
from shrinking import tiny
from torch import nn
from transformers.pytorch_utils import Conv1D

from lape.errors import LapeError
from lape.inspection.writes import writes, written_inputs, written_logits
from lape.models.architectures import activation_sites
from lape.models.experts import ScoredSite
from lape.recording.blocks import special_ids

LAYER, EXPERT, NEURON = 1, 2, 7
AFTER = {"gemma2": "post_feedforward_layernorm", "gemma3_text": "post_feedforward_layernorm"}
AFTER |= {"gemma3": "post_feedforward_layernorm", "olmo2": "post_feedforward_layernorm", "glm4": "post_mlp_layernorm"}
NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f")


def by_hand(name: str, model: Any) -> torch.Tensor:
    """The logits of a neuron's column alone, less those of nothing."""
    layer = layers_of(model)[LAYER]
    matrix = layer.get_submodule(FAMILIES[name].down)
    column = matrix.weight[NEURON] if isinstance(matrix, Conv1D) else matrix.weight[:, NEURON]
    if name in AFTER:
        column = layer.get_submodule(AFTER[name])(column)
    return through_norm_and_head(name, model, column)


def through_norm_and_head(name: str, model: Any, column: torch.Tensor) -> torch.Tensor:
    """The logits of a column, less those of nothing."""
    if name.startswith("granite"):
        column = column * model.config.residual_multiplier
    owner = model.model if name not in FAMILIES else model.get_submodule(FAMILIES[name].layers.rpartition(".")[0])
    norm = next(found for each in NORMS if isinstance(found := getattr(owner, each, None), nn.Module))
    head = model.get_output_embeddings()
    found, nothing = (head(norm(each[None]))[0] for each in (column, torch.zeros_like(column)))
    logits = found - nothing
    if name in ("cohere", "cohere2"):
        return logits * model.config.logit_scale
    if name.startswith("granite"):
        return logits / model.config.logits_scaling
    if cap := getattr(model.config.get_text_config(), "final_logit_softcapping", None):
        return cap * torch.tanh(logits / cap)
    return logits


def test_it_is_the_column_through_norm_and_head(family: str) -> None:
    model = build(family)
    z = written_logits(model, LAYER, NEURON)
    torch.testing.assert_close(z, by_hand(family, model).double(), atol=1e-4, rtol=1e-4)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(("name", "gated"), [("llama", True), ("gpt2", False)])
def test_tokens_are_in_order_and_their_scores_in_deviations(name: str, gated: bool, tokenizer: Any) -> None:
    model = build(name)
    written = writes(model, tokenizer, LAYER, NEURON, tokens=5)
    known = [id for id in range(len(tokenizer)) if id not in special_ids(tokenizer)]
    z = by_hand(name, model).double()[known]
    scores = (z - z.mean()) / z.std(correction=0)
    order = sorted(range(len(known)), key=lambda at: -scores[at])
    for listed, places in ((written.raised, order[:5]), (written.lowered, order[::-1][:5])):
        assert [token.id for token in listed] == [known[at] for at in places]
        assert [token.score for token in listed] == pytest.approx([float(scores[at]) for at in places], abs=1e-4)
        assert all(token.text for token in listed)
    assert written.gated is gated


def test_the_sign_of_what_is_written_is_that_of_the_input_of_the_down_projection(tokenizer: Any) -> None:
    model = build("llama")
    gates, ups = [], []
    layer = layers_of(model)[LAYER].mlp
    layer.gate_proj.register_forward_hook(lambda _m, _i, out: gates.append(out))
    layer.up_proj.register_forward_hook(lambda _m, _i, out: ups.append(out))
    with written_inputs(model, LAYER, NEURON) as inputs:
        model(torch.tensor([[5, 6, 7], [8, 9, 10]]))
    expected = (torch.nn.functional.silu(gates[-1]) * ups[-1])[..., NEURON].flatten()
    assert [found.tolist() for found in inputs] == [pytest.approx(expected.tolist(), abs=1e-6)]


@pytest.mark.parametrize("name", MIXTURES)
def test_in_a_mixture_it_is_the_column_of_its_own_expert(name: str, tokenizer: Any) -> None:
    model = build_mixture(name)
    table, experts = MIXTURES[name], experts_of(model)[LAYER]
    unit = torch.zeros(WIDTH)
    unit[NEURON] = 1
    column = table.second(experts, EXPERT, unit) - table.second(experts, EXPERT, torch.zeros(WIDTH))
    z = written_logits(model, LAYER, EXPERT * WIDTH + NEURON)
    torch.testing.assert_close(z, through_norm_and_head(name, model, column).double(), atol=1e-4, rtol=1e-4)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert writes(model, tokenizer, LAYER, EXPERT * WIDTH + NEURON).gated


@pytest.mark.parametrize("name", MIXTURES)
def test_in_a_mixture_the_sign_is_told_at_the_tokens_of_its_expert(name: str) -> None:
    model = build_mixture(name)
    table, experts = MIXTURES[name], experts_of(model)[LAYER]
    came: list[tuple[torch.Tensor, ...]] = []
    experts.register_forward_pre_hook(lambda _module, arguments: came.append(arguments))
    passes = [torch.arange(3, 43)[None], torch.tensor([[12]])]
    with written_inputs(model, LAYER, EXPERT * WIDTH + NEURON) as inputs:
        for ids in passes:
            model(ids)
    expected = []
    for hidden, chosen, *_ in came[-len(passes) :]:  # the first ones found the activations
        gates = [table.first(experts, EXPERT, token) for token in hidden.reshape(-1, hidden.shape[-1])]
        here = (chosen.reshape(len(gates), -1) == EXPERT).any(-1).tolist()
        inner = [(table.act(gate) * (up + table.shift))[NEURON] for gate, up in gates]
        expected.append([float(value) if routed else 0.0 for value, routed in zip(inner, here, strict=True)])
    assert [found.tolist() for found in inputs] == [pytest.approx(each, abs=1e-6) for each in expected]
    assert 0 < sum(value != 0 for value in expected[0]) < 40
    assert not any(module._forward_hooks for module in model.modules())


def test_experts_that_all_run_write_by_their_own_column() -> None:
    model = tiny("llama4_text")
    sites = activation_sites(model)
    layer = sites.layers[-1]
    site = sites.sites[layer]
    assert isinstance(site, ScoredSite)
    neuron, experts = EXPERT * sites.width + NEURON, site.experts
    column = experts.down_proj[EXPERT].T @ torch.eye(sites.width)[NEURON]
    z = written_logits(model, layer, neuron)
    torch.testing.assert_close(z, through_norm_and_head("llama4", model, column).double(), atol=1e-4, rtol=1e-4)
    came: list[torch.Tensor] = []
    experts.register_forward_pre_hook(lambda _module, arguments: came.append(arguments[0]))
    with written_inputs(model, layer, neuron) as inputs:
        model(torch.tensor([[5, 6, 7, 8, 9, 10, 11]]))
    rows = came[-1].view(site.count, 7, -1)[EXPERT]
    gate, up = experts.gate_up_proj[EXPERT].T.chunk(2)
    expected = [float(torch.nn.functional.silu(gate[NEURON] @ row) * (up[NEURON] @ row)) for row in rows]
    assert inputs[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert 0 < sum(value != 0 for value in expected) < 7


def test_a_neuron_that_is_not_there_is_said(tokenizer: Any) -> None:
    with pytest.raises(LapeError, match=r"no neuron 1\.48"):
        writes(build("llama"), tokenizer, 1, 48)
