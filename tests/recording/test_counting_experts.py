"""Neurons of experts are counted by the tokens that were routed to them, and files keep how many these were."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import oracle
import pytest
import torch
from families import LAYERS, byte_tokenizer
from mixtures import EXPERTS, WIDTH, build_mixture, in_plain_loops
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import ActivationStatistics, BadFile, Recording, identify, record
from lape.recording.groups import BlockGroups
from lape.recording.record import record_groups
from lape.storage.files import load_tensors, save_tensors

BLOCK, BATCH, BLOCKS = 16, 2, 4
SETTINGS = {"tokens": BLOCKS * BLOCK, "block": BLOCK, "batch": BATCH, "progress": False}
CORPORA = {
    "xx": [f"Ceci est le texte numéro {number}. " for number in range(6)],
    "yy": [f"{number} 这是一些文字" for number in range(40)],
}


@dataclass
class ByHand:
    """What was seen of one language, in Python numbers: by (layer, expert, neuron), and by (layer, expert)."""

    active: dict[tuple[int, int, int], int] = field(default_factory=dict)
    sum: dict[tuple[int, int, int], float] = field(default_factory=dict)
    positive_sum: dict[tuple[int, int, int], float] = field(default_factory=dict)
    routed: dict[tuple[int, int], int] = field(default_factory=dict)


def by_hand(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, documents: Sequence[str]) -> ByHand:
    """Counts the first blocks one token and one neuron at a time, with the experts in plain loops."""
    found = ByHand()
    for ids in oracle.blocks(tokenizer, documents, BLOCK)[:BLOCKS]:
        with in_plain_loops(model) as seen:
            model(torch.tensor([ids]))
        for one in seen:
            found.routed[one.layer, one.expert] = found.routed.get((one.layer, one.expert), 0) + 1
            for neuron, value in enumerate(one.activation.tolist()):
                key = one.layer, one.expert, neuron
                found.active[key] = found.active.get(key, 0) + (value > 0)
                found.sum[key] = found.sum.get(key, 0.0) + value
                found.positive_sum[key] = found.positive_sum.get(key, 0.0) + max(value, 0.0)
    return found


def tensor(found: dict, shape: tuple[int, ...]) -> torch.Tensor:
    values = torch.zeros(shape, dtype=torch.float64)
    for key, value in found.items():
        values[key] = value
    return values


def test_counts_are_those_of_routed_tokens(mixture: str, tokenizer: PreTrainedTokenizerFast) -> None:
    model = build_mixture(mixture)
    statistics = record(model, tokenizer, CORPORA, **SETTINGS)
    assert statistics.shape == (LAYERS, EXPERTS * WIDTH)
    assert statistics.experts == EXPERTS
    for code, documents in CORPORA.items():
        expected = by_hand(model, tokenizer, documents)
        routed = tensor(expected.routed, (LAYERS, EXPERTS))
        active, sums, positive = (
            tensor(values, (LAYERS, EXPERTS, WIDTH))
            for values in (expected.active, expected.sum, expected.positive_sum)
        )
        assert torch.equal(statistics.routed[code].double(), routed)
        assert torch.equal(statistics.active[code].double(), active.flatten(1))
        torch.testing.assert_close(statistics.sum[code], sums.flatten(1), atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(statistics.positive_sum[code], positive.flatten(1), atol=1e-3, rtol=1e-4)
        reached = routed.clamp(min=1)[:, :, None]
        assert torch.equal(statistics.probability(code), (active / reached).flatten(1))
        assert torch.equal(statistics.share(code), active.flatten(1) / (BLOCKS * BLOCK))
        torch.testing.assert_close(statistics.mean(code), (sums / reached).flatten(1), atol=1e-4, rtol=1e-4)


def test_tokens_before_a_block_are_not_counted() -> None:
    model = build_mixture("mixtral")
    tokenizer = byte_tokenizer("<|im_end|> $A")
    statistics = record(model, tokenizer, CORPORA, **SETTINGS)
    assert statistics.metadata["special_tokens"]["bos"]
    for code in CORPORA:
        assert statistics.routed[code].sum(1).tolist() == [2 * BLOCKS * BLOCK] * LAYERS


def test_an_expert_without_tokens_has_probability_0(tokenizer: PreTrainedTokenizerFast) -> None:
    model = build_mixture("mixtral", num_experts_per_tok=1)
    for layer in model.model.layers:
        layer.mlp.gate.weight[1] = -layer.mlp.gate.weight[0]  # one of the two has the highest score
        layer.mlp.gate.weight[2:] = 0
    statistics = record(model, tokenizer, CORPORA, **SETTINGS)
    unreached = (statistics.routed["xx"] == 0).nonzero().tolist()
    assert unreached == [[layer, expert] for layer in range(LAYERS) for expert in (2, 3)]
    for layer, expert in unreached:
        columns = slice(expert * WIDTH, (expert + 1) * WIDTH)
        assert not statistics.probability("xx")[layer, columns].any()
        assert not statistics.mean("xx")[layer, columns].any()


def test_files_keep_routed_tokens(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    statistics = record(build_mixture("deepseek_v3"), tokenizer, CORPORA, **SETTINGS)
    path = tmp_path / "statistics.safetensors"
    statistics.save(path)
    read = ActivationStatistics.load(path)
    assert read.metadata["format"] == 2
    assert (read.experts, read.metadata["layers"]) == (EXPERTS, [1, 2])
    for code in CORPORA:
        assert torch.equal(read.routed[code], statistics.routed[code])
        assert torch.equal(read.probability(code), statistics.probability(code))
    read.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()

    twice = read.merge(statistics)
    assert torch.equal(twice.routed["xx"], 2 * statistics.routed["xx"])
    assert torch.equal(twice.probability("xx"), statistics.probability("xx"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("routed.xx"), r"lacks the tensor 'routed.xx'"),
        (lambda tensors: tensors.update({"routed.xx": tensors["routed.xx"][:, :1]}), "routed tokens of another shape"),
        (lambda tensors: tensors["routed.xx"].zero_(), "more often than there were tokens"),
        (lambda tensors: tensors["routed.xx"].fill_(1000), "more often than there were tokens"),
    ],
)
def test_damaged_routed_tokens_are_refused(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, change, message: str
) -> None:
    path = tmp_path / "statistics.safetensors"
    record(build_mixture("mixtral"), tokenizer, CORPORA, **SETTINGS).save(path)
    tensors, metadata = load_tensors(path, "statistics")
    change(tensors)
    save_tensors(path, tensors, metadata)
    with pytest.raises(BadFile, match=message):
        ActivationStatistics.load(path)


def test_a_recording_that_was_left_goes_on_as_if_it_was_not(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    model, checkpoint = build_mixture("mixtral"), tmp_path / "checkpoint.safetensors"
    settings = {name: value for name, value in SETTINGS.items() if name != "progress"}
    with closing(iter(Recording(model, tokenizer, CORPORA, checkpoint=checkpoint, **settings))) as steps:
        list(islice(steps, 3))
    assert model.config._experts_implementation == "grouped_mm"
    resumed, whole = (record(model, tokenizer, CORPORA, checkpoint=at, **SETTINGS) for at in (checkpoint, None))
    for code in CORPORA:
        assert torch.equal(resumed.routed[code], whole.routed[code])
        assert torch.equal(resumed.active[code], whole.active[code])


def test_groups_of_blocks_keep_routed_tokens(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    model = build_mixture("mixtral")
    statistics, groups = record_groups(model, tokenizer, CORPORA, groups=2, snapshots=[2 * BLOCK], **SETTINGS)
    groups.check(statistics)
    groups.save(tmp_path / "groups.safetensors")
    read = BlockGroups.load(tmp_path / "groups.safetensors")
    read.check(statistics)
    assert read.shape == statistics.shape
    half = record(model, tokenizer, CORPORA, **{**SETTINGS, "tokens": 2 * BLOCK})
    for code in CORPORA:
        assert torch.equal(read.first(2).probability(code), half.probability(code))
        assert torch.equal(read.total().probability(code), statistics.probability(code))


def test_rates_are_of_the_neurons_there_are(tokenizer: PreTrainedTokenizerFast) -> None:
    statistics = record(build_mixture("deepseek_v3"), tokenizer, CORPORA, **SETTINGS)
    mask = identify(statistics, top_rate=0.2, filter_rate=0.5, activation_bar_ratio=0.5)
    assert mask.metadata["experts"] == EXPERTS
    kept = torch.cat([mask.flat(code) for code in mask.languages]).unique()
    assert len(kept) <= round(0.2 * 2 * EXPERTS * WIDTH)
    assert {layer for pairs in mask.neurons.values() for layer, _ in pairs.tolist()} == {1, 2}
    for code in mask.languages:
        torch.testing.assert_close(mask.means[code], statistics.mean(code).flatten()[mask.flat(code)].float())
    ranked = identify(statistics, "probability", per_language=7)
    for code in ranked.languages:
        best = statistics.probability(code)[1:].flatten().sort(descending=True).values[:7]
        assert torch.equal(statistics.probability(code).flatten()[ranked.flat(code)].sort(descending=True).values, best)
