"""Histograms, means of texts and random tokens against plain loops over the activations."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from families import build, byte_tokenizer
from mixtures import build_mixture
from recordings import histograms_of, texts_of

from lape.errors import BadFile, LapeError
from lape.languages import NOISE
from lape.models.architectures import activation_sites
from lape.recording.averaging import record_prompts, record_texts
from lape.recording.binning import record_histograms
from lape.recording.histograms import ActivationHistograms
from lape.recording.noise import RandomTokens
from lape.recording.record import record
from lape.recording.text_means import TextMeans
from lape.storage.files import load_tensors, save_tensors

TEXTS = {"aa": ["one two three four five six"] * 4, "bb": ["SIX FIVE FOUR THREE TWO ONE"] * 4}
GIVEN: dict[str, Any] = {"block": 10, "batch": 2, "progress": False}
PREFIXED = byte_tokenizer("<|im_end|> $A")


def activations(model: Any, code: str, blocks: int) -> torch.Tensor:
    """Of every token of a language's blocks, read one by one: float32 `[blocks, tokens, layers, neurons]`."""
    ids = PREFIXED("".join(f"{text}<|endoftext|>" for text in TEXTS[code]), add_special_tokens=False)["input_ids"]
    return torch.stack([alone(model, ids[10 * number : 10 * (number + 1)]) for number in range(blocks)])


def alone(model: Any, ids: list[int]) -> torch.Tensor:
    """Of every token of one text after the prefix: float32 `[tokens, layers, neurons]`."""
    sites = activation_sites(model)
    seen: dict[int, torch.Tensor] = {}
    watching = {layer: lambda values, _, layer=layer: seen.update({layer: values[0, 1:]}) for layer in sites.layers}
    with sites.watch(watching), torch.no_grad():
        sites.decoder(input_ids=torch.tensor([[1, *ids]]), use_cache=False)
    return torch.stack([seen[layer] for layer in sites.layers], dim=1)


def test_histograms_are_those_of_a_plain_loop() -> None:
    model, bins = build("llama"), 4
    found = record_histograms(model, PREFIXED, TEXTS, bins=bins, tokens=30, **GIVEN)
    values = {code: activations(model, code, 3).flatten(0, 1) for code in TEXTS}
    assert found.counts["aa"].shape == (*found.shape, bins + 2)
    for layer, neuron in [(0, 0), (1, 7), (2, 47)]:
        of = {code: values[code][:, layer, neuron].tolist() for code in TEXTS}
        pooled = [value for code in TEXTS for value in of[code]]
        mean = sum(pooled) / len(pooled)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in pooled) / len(pooled))
        low, high = max(mean - 3 * deviation, -0.4), mean + 3 * deviation
        assert found.low[layer, neuron] == pytest.approx(low, abs=1e-6)
        assert found.high[layer, neuron] == pytest.approx(high, abs=1e-6)
        for code in TEXTS:
            counts = [0] * (bins + 2)
            for value in of[code]:
                counts[min(max(math.floor((value - low) / ((high - low) / bins)) + 1, 0), bins + 1)] += 1
            for least in (1, 10, 15, 30):  # what so many of the 30 tokens are at most, to the width of a bin
                quantile = found.quantile(code, least / 30, torch.tensor([layer * found.shape[1] + neuron])).item()
                true = min(max(sorted(of[code])[least - 1], low), high)
                assert abs(quantile - true) <= (high - low) / bins + 1e-6
            assert found.counts[code][layer, neuron].tolist() == counts
            assert found.active[code][layer, neuron] == sum(value > 0 for value in of[code])
            own = sum(of[code]) / 30
            assert found.mean(code)[layer, neuron].item() == pytest.approx(own, abs=1e-6)
            spread = math.sqrt(sum((value - own) ** 2 for value in of[code]) / 30)
            assert found.deviations[code][layer, neuron].item() == pytest.approx(spread, abs=1e-6)


def test_means_of_texts_are_those_of_a_plain_loop() -> None:
    model = build("llama")
    found = record_texts(model, PREFIXED, TEXTS, tokens=30, **GIVEN)
    for code in TEXTS:
        values = activations(model, code, 3)
        assert torch.allclose(found.means[code].float(), values.mean(1), rtol=1e-3, atol=1e-5)
        assert torch.equal(found.active[code], (values > 0).sum((0, 1)))
    assert found.metadata["block"] == 10
    odd, even = found.means["aa"][:3].sort(0).values, found.means["aa"][:2]
    assert torch.equal(found.mean("aa"), odd[1].double())
    assert torch.equal(replace(found, means={"aa": even}).mean("aa"), even.double().mean(0))


def test_a_mixture_of_experts_counts_what_is_routed() -> None:
    model = build_mixture("mixtral")
    statistics = record(model, PREFIXED, TEXTS, tokens=30, **GIVEN)
    histograms = record_histograms(model, PREFIXED, TEXTS, bins=4, tokens=30, **GIVEN)
    texts = record_texts(model, PREFIXED, TEXTS, tokens=30, **GIVEN)
    for code in TEXTS:
        assert torch.equal(histograms.active[code], statistics.active[code])
        assert torch.equal(texts.active[code], statistics.active[code])
        assert torch.equal(histograms.probability(code), statistics.probability(code))
        assert torch.allclose(histograms.mean(code), statistics.mean(code), atol=1e-5)
        assert torch.allclose(texts.means[code].double().mean(0), statistics.sum[code] / 30, rtol=1e-3, atol=1e-3)


def test_quantiles_of_a_histogram_by_hand() -> None:
    """Below the range, four bins from 0 to 1, and above it."""
    rows = [[0, 0, 4, 0, 4, 0], [3, 2, 0, 0, 0, 5], [0, 0, 0, 0, 0, 0]]
    histograms = histograms_of({"aa": rows})
    expected = {0: [0.25, 0, 0], 0.25: [0.375, 0, 0], 0.5: [0.5, 0.25, 0], 0.75: [0.875, 1, 0], 1: [1, 1, 0]}
    for share, values in expected.items():
        assert histograms.quantile("aa", share, slice(None)).tolist() == pytest.approx(values)
    tenths = histograms_of({"aa": [[0, 7, 0, 3, 0, 0]]})
    assert tenths.quantile("aa", 0.7, slice(None)).item() == 0.25  # not the next token's bin


def test_quantiles_of_texts_lie_between_the_nearest_two() -> None:
    texts = texts_of({"aa": [[4.0, 1.0], [0.0, 2.0], [2.0, 8.0], [8.0, 4.0]]})
    assert texts.quantile("aa", 0.5, slice(None)).tolist() == texts.mean("aa").flatten().tolist() == [3.0, 3.0]
    assert texts.quantile("aa", 0.9, torch.tensor([1])).tolist() == pytest.approx([4 + 0.7 * 4])
    assert texts.quantile("aa", 1, slice(None)).tolist() == [8.0, 8.0]


def test_means_of_prompts_of_any_length_are_those_of_each_alone(tmp_path: Path) -> None:
    model = build("llama")
    prompts = {"capital": ["abc", "abcdefg", "xyz", "é"], "color": ["grass", "snow"]}
    found = record_prompts(model, PREFIXED, prompts, progress=False)
    for label, texts in prompts.items():
        rows = [PREFIXED(text, add_special_tokens=False)["input_ids"] for text in texts]
        each = [alone(model, ids) for ids in rows]
        assert torch.allclose(found.means[label].float(), torch.stack([of.mean(0) for of in each]), atol=1e-3)
        assert torch.equal(found.active[label], sum((of > 0).sum(0) for of in each))
        assert found.tokens[label] == sum(map(len, rows))
    assert found.metadata["block"] == 7
    assert found.metadata["corpora"]["capital"][0]["tokens"] == 3 + 7 + 3 + 2
    found.save(tmp_path / "texts.safetensors")
    assert torch.equal(TextMeans.load(tmp_path / "texts.safetensors").means["color"], found.means["color"])
    with pytest.raises(LapeError, match="A text of 'color' is empty"):
        record_prompts(model, PREFIXED, {"color": ["grass", ""]}, progress=False)
    with pytest.raises(LapeError, match="exceed the model's context"):
        record_prompts(model, PREFIXED, {"color": ["grass" * 1000]}, progress=False)


@pytest.mark.parametrize("kind", [ActivationHistograms, TextMeans])
def test_a_file_holds_all_and_a_damaged_one_is_refused(kind: type, tmp_path: Path) -> None:
    model = build("llama")
    given = {"kept": tmp_path / "kept", **GIVEN}
    if kind is ActivationHistograms:
        found = record_histograms(model, PREFIXED, TEXTS, bins=4, tokens=30, **given)
        again = record_histograms(model, PREFIXED, TEXTS, bins=4, tokens=30, **given)  # from what was kept
    else:
        found = record_texts(model, PREFIXED, TEXTS, tokens=30, **given)
        again = record_texts(model, PREFIXED, TEXTS, tokens=30, **given)
    for name, one in (("found", found), ("again", again)):
        one.save(tmp_path / name)
    assert (tmp_path / "found").read_bytes() == (tmp_path / "again").read_bytes()
    loaded = kind.load(tmp_path / "found")
    assert loaded.languages == ("aa", "bb")
    assert loaded.shape == found.shape
    assert torch.allclose(loaded.mean("aa"), found.mean("aa"), atol=1e-6)
    assert torch.equal(loaded.of_layers([2]).mean("aa")[0], loaded.mean("aa")[2])
    assert torch.equal(loaded.probability("bb"), found.probability("bb"))
    tensors, metadata = load_tensors(tmp_path / "found", metadata_kind(kind))
    for name in tensors:
        other = {**tensors, name: tensors[name][..., :-1].clone()}
        for damaged in ({key: tensors[key] for key in tensors if key != name}, other):
            save_tensors(tmp_path / "damaged", damaged, metadata)
            with pytest.raises(BadFile, match="do not fit each other"):
                kind.load(tmp_path / "damaged")
    too_many = {**tensors, "active.aa": tensors["active.aa"] + 31}
    save_tensors(tmp_path / "damaged", too_many, metadata)
    with pytest.raises(BadFile, match="do not fit each other"):
        kind.load(tmp_path / "damaged")


def metadata_kind(kind: type) -> str:
    return {ActivationHistograms: "histograms", TextMeans: "texts"}[kind]


def test_bins_are_a_possible_number(tiny_model: Any) -> None:
    with pytest.raises(LapeError, match="bins is a whole number from 1 to 4,096, not 0"):
        record_histograms(tiny_model, PREFIXED, TEXTS, bins=0)


def test_random_tokens_are_all_but_special_ones_and_the_same_again(tiny_model: Any) -> None:
    noise = RandomTokens.of(PREFIXED)
    assert noise.ids.tolist() == list(range(2, 258))
    statistics = record(tiny_model, PREFIXED, {**TEXTS, NOISE: noise}, tokens=30, **GIVEN)
    again = record(tiny_model, PREFIXED, {NOISE: RandomTokens.of(PREFIXED)}, tokens=30, **GIVEN)
    assert torch.equal(statistics.active[NOISE], again.active[NOISE])
    assert statistics.tokens == {"aa": 30, "bb": 30, NOISE: 30}
    assert statistics.languages == ("aa", "bb")
    assert statistics.metadata["corpora"][NOISE][0]["source"] == "random tokens, seed 0"
    plain, beside = (
        record_histograms(tiny_model, PREFIXED, corpora, bins=4, tokens=30, **GIVEN)
        for corpora in (TEXTS, {**TEXTS, NOISE: noise})
    )
    assert torch.equal(plain.low, beside.low)  # noise does not widen the bins
