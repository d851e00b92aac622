"""What lies between the last layer and the head: found in every family, refused where it is something else."""

from __future__ import annotations

import pytest
import torch
from families import build, token_ids
from torch import nn
from transformers import PreTrainedModel

from lape import UnsupportedArchitecture
from lape.models.final_norm import final_norm
from lape.models.residual import residual_stream

IDS = token_ids(2, 7)


def streams(model: PreTrainedModel) -> tuple[dict[int, torch.Tensor], torch.Tensor]:
    """The stream after every layer, and what the decoder gives."""
    stream, seen = residual_stream(model), {}
    seeing = {
        layer: lambda states, layer=layer: seen.update({layer: states.clone()}) for layer in range(stream.shape[0])
    }
    with stream.watch(seeing), torch.no_grad():
        return seen, stream.decoder(input_ids=IDS, use_cache=False).last_hidden_state


def test_the_last_layers_stream_becomes_what_the_decoder_gives(family: str) -> None:
    model = build(family)
    seen, given = streams(model)
    norm = final_norm(model)
    with torch.no_grad():
        assert torch.equal(norm(seen[2]), given)
        assert norm(seen[0][0, 1:3]).shape == (2, seen[0].shape[-1])  # of positions alone
    assert not any(module._forward_hooks for module in residual_stream(model).decoder.modules())


def test_a_decoder_without_a_final_norm_has_a_way_without_modules() -> None:
    model = build("llama")
    model.model.norm = nn.Identity()
    seen, given = streams(model)
    assert torch.equal(final_norm(model)(seen[2]), given)


def test_something_else_after_the_last_layer_is_refused() -> None:
    model = build("llama")
    forward = model.model.norm.forward
    model.model.norm = nn.Module()  # a norm that asks for more than the stream
    model.model.norm.forward = lambda states: forward(2 * states)
    model.model.norm.register_forward_pre_hook(lambda _norm, args: (args[0] + 1,))
    model.model.norm.register_forward_hook(lambda _norm, _args, output: output + torch.rand(()))
    with pytest.raises(UnsupportedArchitecture, match="LlamaForCausalLM cannot be read through its head"):
        final_norm(model)
