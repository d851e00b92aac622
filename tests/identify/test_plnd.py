"""PLND against plain loops, and its recording against importance by hand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from families import FAMILIES, build, layers_of
from samples import METADATA, neurons_of
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.pytorch_utils import Conv1D

import lape
from lape import LapeError, activation_sites
from lape.recording.importance import Importance
from lape.recording.weighing import record_importance

DOCUMENTS = {"fr": ["Bonjour le monde, il fait beau. " * 6], "en": ["Hello world, the weather is fine. " * 6]}


@pytest.mark.parametrize("seed", range(40))
def test_it_equals_plain_loops(seed: int) -> None:
    draw = random.Random(seed)
    layers, width = draw.randint(1, 3), draw.randint(2, 9)
    codes = draw.sample(["en", "fr", "de", "zh"], draw.randint(2, 4))
    worst = {code: [[draw.randrange(width) for _ in range(width)] for _ in range(layers)] for code in codes}
    rate = draw.uniform(0.05, 1)
    places = [(layer, neuron) for layer in range(layers) for neuron in range(width)]
    rank = {code: {(layer, neuron): worst[code][layer][neuron] for layer, neuron in places} for code in codes}
    important = {code: {place for place in places if rank[code][place] < round(rate * width)} for code in codes}
    expected = {
        code: sorted(important[code] - set().union(*(important[other] for other in codes if other != code)))
        for code in codes
    }
    assert neurons_of(lape.identify(recorded(worst), "plnd", codes, important_rate=rate)) == expected

    ranked = {}
    for code in codes:
        ahead = {
            place: min(rank[other][place] for other in codes if other != code) - rank[code][place] for place in places
        }
        better = [place for place in places if ahead[place] > 0]
        ranked[code] = sorted(
            better, key=lambda place, code=code, ahead=ahead: (-ahead[place], rank[code][place], place)
        )
    counts = {code: draw.randint(0, len(found)) for code, found in ranked.items()}
    found = neurons_of(lape.identify(recorded(worst), "plnd", codes, per_language=counts))
    assert found == {code: sorted(ranked[code][: counts[code]]) for code in codes}


def recorded(worst: dict[str, list[list[int]]]) -> Importance:
    ranks = {code: torch.tensor(rows) for code, rows in worst.items()}
    ones = {code: torch.ones_like(rows) for code, rows in ranks.items()}
    sums = {code: rows.double() for code, rows in ones.items()}
    return Importance({"worst": ranks, "sum": sums, "active": ones}, dict.fromkeys(worst, 40), METADATA)


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt", "phi3", "falcon"])
def test_importance_is_the_norm_of_what_a_neuron_adds(
    family: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model, table, block = build(family), FAMILIES[family], 16
    found = record_importance(model, tokenizer, DOCUMENTS, tokens=64, block=block, batch=2, progress=False)
    layers, width = activation_sites(model).shape
    ids = torch.tensor(tokenizer(DOCUMENTS["fr"][0])["input_ids"][:64]).view(4, block)
    taken: dict[int, torch.Tensor] = {}
    downs = [layer.get_submodule(table.down) for layer in layers_of(model)]
    for index, down in enumerate(downs):
        down.register_forward_pre_hook(lambda _down, inputs, index=index: taken.update({index: inputs[0]}))
    worst = torch.zeros(layers, width, dtype=torch.long)
    for row in ids:
        model(input_ids=row[None], use_cache=False)
        for index, down in enumerate(downs):
            columns = down.weight if isinstance(down, Conv1D) else down.weight.T
            added = taken[index].view(block, width)[:, :, None] * columns  # tokens, neurons, dimensions
            importance = added.square().sum((0, 2)).sqrt().tolist()
            order = sorted(range(width), key=lambda neuron: -importance[neuron])
            for place, neuron in enumerate(order):
                worst[index, neuron] = max(int(worst[index, neuron]), place)
    assert torch.equal(found.column("worst", "fr"), worst)
    statistics = lape.record(model, tokenizer, DOCUMENTS, tokens=64, block=block, progress=False)
    torch.testing.assert_close(found.mean("fr"), statistics.mean("fr"), rtol=1e-4, atol=1e-6)
    assert torch.equal(found.column("active", "fr"), statistics.active["fr"])
    found.save(tmp_path / "importance.safetensors")
    assert torch.equal(Importance.load(tmp_path / "importance.safetensors").column("worst", "fr"), worst)


def test_another_recording_is_refused(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    statistics = lape.record(tiny_model, tokenizer, DOCUMENTS, tokens=32, block=16, progress=False)
    with pytest.raises(
        LapeError, match=r"from importances, not activation statistics: make them with lape record --imp"
    ):
        lape.identify(statistics, "plnd")
