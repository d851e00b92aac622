"""Relevance against propagation by hand, against differences, and against what its rules promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from families import FAMILIES, build, layers_of, token_ids
from relevance_oracle import relevance_by_hand
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import lape
from lape import LapeError, activation_sites
from lape.models.backward_rules import relevance_rules
from lape.models.hooks import hooked
from lape.recording.backward import backward_passes, record_relevance
from lape.recording.beside import record_beside
from lape.recording.moments import Moments
from lape.recording.relevance import BlockRelevance, GradientRelevance, Relevance

CORPORA = {"fr": ["Bonjour le monde, il fait beau. " * 8], "en": ["Hello world, the weather is fine. " * 8]}


def small_llama() -> PreTrainedModel:
    return build("llama", num_hidden_layers=2, vocab_size=40).double()


@pytest.mark.parametrize(("attention", "before"), [("sdpa", 0), ("sdpa", 2), ("eager", 1)])
def test_relevance_equals_propagation_by_hand(attention: str, before: int) -> None:
    model = small_llama()
    model.set_attn_implementation(attention)
    ids = token_ids(2, 7) % 40
    with backward_passes(model, before=before) as read:
        back = read(ids)
    for row, found in zip(ids.tolist(), back.relevance, strict=True):
        by_hand = relevance_by_hand(model, row, first=max(0, before - 1))
        torch.testing.assert_close(found, by_hand[:, before:].sum(1).float(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("family", ["opt", "phi3", "gemma2"])
def test_the_plain_form_is_how_the_logits_change_with_a_neuron(family: str) -> None:
    """A neuron is made a little larger and a little smaller, at the tokens of the block."""
    model, before = build(family).double(), 1
    sites, ids = activation_sites(model), token_ids(1, 6)
    with backward_passes(model, before=before, rules=False) as read:
        back = read(ids)

    def mean_logit(layer: int, neuron: int, factor: float) -> float:
        def scale(values: torch.Tensor, _routed: object) -> torch.Tensor:
            rows = values.clone().view(1, 6, -1)
            rows[:, before:, neuron] *= factor
            return rows.view(values.shape)

        with sites.watch({layer: scale}), torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits[0]
        return float(logits[:-1].gather(1, ids[0, 1:, None]).sum() + logits[-1].max()) / 6

    for layer, neuron in [(0, 3), (1, 0), (2, 17)]:
        change = (mean_logit(layer, neuron, 1.002) - mean_logit(layer, neuron, 0.998)) / 0.004
        assert float(back.relevance[0, layer, neuron]) == pytest.approx(change, rel=2e-3, abs=1e-4)


def test_a_feed_forward_layer_and_a_norm_lose_no_relevance(family: str) -> None:
    """Without biases, which take their own part, what comes out of them is relevant by as much as what goes in."""
    model, table = build(family).double(), FAMILIES[family]
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
    inside = [(layer.get_submodule(table.first), layer.get_submodule(table.down)) for layer in layers_of(model)]
    norms = [(norm, norm) for norm in activation_sites(model).decoder.modules() if "Norm" in type(norm).__name__]
    given: dict[nn.Module, torch.Tensor] = {}
    gave: dict[nn.Module, torch.Tensor] = {}

    def begin(module: nn.Module, args: tuple[Any, ...], _kwargs: object) -> None:
        given[module] = args[0]

    def end(module: nn.Module, _args: object, output: torch.Tensor) -> torch.Tensor:
        gave[module] = output
        return output.clone()  # Falcon adds to it in place

    modules = {module for pair in (*inside, *norms) for module in pair}
    activations = [module for module in activation_sites(model).modules if module is not None]
    embedded = model.get_input_embeddings()(token_ids(1, 6)).requires_grad_()
    with hooked(before=dict.fromkeys(modules, begin), after=dict.fromkeys(modules, end)), relevance_rules(activations):
        logit = model(inputs_embeds=embedded, use_cache=False).logits[0, -1].max()
    assert len(inside) == len(layers_of(model))
    assert len(norms) > len(layers_of(model))
    for first, last in (*inside, *norms):
        out = gave[last]
        (by_out,) = torch.autograd.grad(logit, out, retain_graph=True)
        (by_given,) = torch.autograd.grad(out, given[first], by_out, retain_graph=True)
        relevance = (out * by_out).sum()
        assert relevance.abs() > 1e-6
        torch.testing.assert_close((given[first] * by_given).sum(), relevance, rtol=1e-5, atol=1e-12)


def test_moments_are_those_of_all_that_came() -> None:
    values = torch.randn(9, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) ** 3
    values[:, 0, 0] = 7.0
    moments = Moments.empty((2, 3))
    for value in values:
        moments = moments.add(value)
    torch.testing.assert_close(moments.mean, values.mean(0))
    assert float(moments.kurtosis()[0, 0]) == 0
    for at in [(0, 1), (1, 2)]:
        sample = [float(value[at]) for value in values]
        n, mean = len(sample), sum(sample) / len(sample)
        second, fourth = (sum((x - mean) ** power for x in sample) / n for power in (2, 4))
        excess = fourth / second**2 - 3
        expected = (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * excess + 6)
        assert float(moments.kurtosis()[at]) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [Relevance, GradientRelevance])
def test_a_recording_is_the_passes_of_its_blocks_and_survives_a_file(
    kind: type[BlockRelevance], tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tiny_model.requires_grad_(True)
    found = record_relevance(tiny_model, tokenizer, CORPORA, kind=kind, tokens=160, block=32, batch=2, progress=False)
    assert all(parameter.requires_grad for parameter in tiny_model.parameters())
    assert found.tokens == {"fr": 160, "en": 160}
    blocks = torch.tensor(tokenizer(CORPORA["fr"][0])["input_ids"][:160]).view(5, 32)
    with backward_passes(tiny_model, rules=kind is Relevance) as read:
        passes = [read(block[None]) for block in blocks]
    mean = torch.cat([back.relevance for back in passes]).double().mean(0)
    torch.testing.assert_close(found.column("relevance", "fr"), mean, rtol=1e-4, atol=1e-8)
    statistics = lape.record(tiny_model, tokenizer, CORPORA, tokens=160, block=32, progress=False)
    torch.testing.assert_close(found.mean("fr"), statistics.mean("fr"), rtol=1e-4, atol=1e-6)
    assert torch.equal(found.column("active", "fr"), statistics.active["fr"])
    found.save(tmp_path / "file.safetensors")
    again = kind.load(tmp_path / "file.safetensors")
    assert (again.tokens, again.shape, again.layers) == (found.tokens, found.shape, found.layers)
    torch.testing.assert_close(again.column("kurtosis", "en"), found.column("kurtosis", "en"), rtol=1e-6, atol=1e-6)
    with pytest.raises(LapeError, match="does not hold a"):
        (GradientRelevance if kind is Relevance else Relevance).load(tmp_path / "file.safetensors")


def test_too_few_blocks_are_refused(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(LapeError, match="needs 4 blocks or more; 96 tokens are 3"):
        record_relevance(tiny_model, tokenizer, CORPORA, tokens=96, block=32, progress=False)


def test_recordings_beside_statistics_lie_in_files_of_their_own(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    given = {"tokens": 160, "block": 32}
    files = record_beside(tmp_path, ["relevance", "importance"], tiny_model, tokenizer, CORPORA, **given)
    assert files == [tmp_path / "relevance.safetensors", tmp_path / "importance.safetensors"]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert Relevance.load(files[0]).tokens == {"fr": 160, "en": 160}
