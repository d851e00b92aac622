"""The residual stream is what each layer passes on, in every family, and nothing of the watching stays."""

from __future__ import annotations

import pytest
import torch
from families import HIDDEN, LAYERS, build, layers_of, token_ids
from hooking import hooks
from transformers import PreTrainedModel

from lape import UnsupportedArchitecture
from lape.models.residual import residual_stream

IDS = token_ids(2, 7)


def test_the_stream_is_what_transformers_calls_hidden_states(family: str) -> None:
    model = build(family)
    stream = residual_stream(model)
    assert stream.shape == (LAYERS, HIDDEN)
    seen: dict[int, torch.Tensor] = {}
    with stream.watch({layer: lambda found, layer=layer: seen.update({layer: found}) for layer in range(LAYERS)}):
        found = model(IDS, output_hidden_states=True)
    for layer in range(LAYERS - 1):  # the last of transformers' is after the final norm
        assert torch.equal(seen[layer], found.hidden_states[layer + 1])
    assert seen[LAYERS - 1].shape == (*IDS.shape, HIDDEN)
    assert not torch.equal(seen[LAYERS - 1], seen[LAYERS - 2])


@pytest.mark.parametrize("name", ["llama", "mpt"])  # MPT's layers give a tuple
def test_what_a_function_returns_takes_the_streams_place(name: str) -> None:
    model = build(name)
    with residual_stream(model).watch({1: lambda stream: stream * 2}):
        found = model(IDS).logits
    assert not hooks(model)
    layers_of(model)[1].register_forward_hook(
        lambda _m, _i, out: out * 2 if isinstance(out, torch.Tensor) else (out[0] * 2, *out[1:])
    )
    assert torch.equal(found, model(IDS).logits)


def test_a_layer_that_does_not_run_once_as_itself_is_refused(tiny_model: PreTrainedModel) -> None:
    layers = layers_of(tiny_model)
    layers[2] = layers[1]
    with pytest.raises(UnsupportedArchitecture, match=r"LlamaForCausalLM has no residual stream.*layer 1 ran 0 times"):
        residual_stream(tiny_model)
