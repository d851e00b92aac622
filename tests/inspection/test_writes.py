"""What a neuron writes, against its column, the final norm and the head worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import FAMILIES, build, layers_of
from mixtures import build_mixture
from torch import nn
from transformers.pytorch_utils import Conv1D

from lape.errors import LapeError, UnsupportedArchitecture
from lape.inspection.writes import writes, written_inputs, written_logits
from lape.models.architectures import activation_sites
from lape.recording.blocks import special_ids

LAYER, NEURON = 1, 7
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
    if name == "granite":
        column = column * model.config.residual_multiplier
    owner = model.get_submodule(FAMILIES[name].layers.rpartition(".")[0])
    norm = next(found for each in NORMS if isinstance(found := getattr(owner, each, None), nn.Module))
    head = model.get_output_embeddings()
    found, nothing = (head(norm(each[None]))[0] for each in (column, torch.zeros_like(column)))
    logits = found - nothing
    if name in ("cohere", "cohere2"):
        return logits * model.config.logit_scale
    if name == "granite":
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


def test_what_writes_alone_cannot_be_told_of_a_mixture(tokenizer: Any) -> None:
    model = build_mixture("mixtral")
    assert activation_sites(model).experts > 1
    with pytest.raises(UnsupportedArchitecture, match="is a mixture of experts"):
        writes(model, tokenizer, 0, 0)
    with pytest.raises(LapeError, match=r"no neuron 1\.48"):
        writes(build("llama"), tokenizer, 1, 48)
