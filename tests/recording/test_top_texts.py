"""Where neurons are most active is what a loop over all tokens finds, and its file is safe to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import oracle
import pytest
import torch
from families import DOCUMENT_END, FAMILIES, build
from mixtures import build_mixture
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import BadFile
from lape.models.architectures import activation_sites
from lape.recording.top_texts import TOKENS_AFTER, TOKENS_BEFORE, TopTexts
from lape.recording.topmost import KEPT, record_top_texts
from lape.storage.files import load_tensors, save_tensors

CORPORA = {
    "zz": [f"{number} 这是" for number in range(9)],
    "aa": [
        "",
        "Un texte.",
        "Un autre, bien plus long que le premier.",
        "Fin",
        *(f"Et {number}" for number in range(9)),
    ],
}
BLOCK, BLOCKS = 16, 4


def recorded(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, **changes: Any) -> TopTexts:
    given = {"tokens": BLOCK * BLOCKS, "block": BLOCK, "batch": 3, "progress": False, **changes}
    return record_top_texts(model, tokenizer, CORPORA, **given)


def seen(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    """Activations of every token of a block, `[layers, tokens, neurons]`; of a mixture 0 where it was not routed."""
    sites = activation_sites(model)
    found = torch.zeros(len(sites.sites), len(ids), sites.neurons)

    def see(layer: int, output: torch.Tensor, routed: Any) -> None:
        if routed is None:
            found[layer] = output.reshape(len(ids), -1)
        else:
            found[layer, routed.tokens, routed.expert * sites.width : (routed.expert + 1) * sites.width] = output

    with sites.watch({layer: lambda out, of, layer=layer: see(layer, out, of) for layer in sites.layers}):
        sites.decoder(input_ids=torch.tensor([ids]), use_cache=False)
    return found


def by_loops(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, layer: int, neuron: int) -> list[Any]:
    """The highest activations of a neuron, one of a document in a block: value, language, token of its blocks."""
    found = []
    for code in sorted(CORPORA):
        for number, ids in enumerate(oracle.blocks(tokenizer, CORPORA[code], BLOCK)[:BLOCKS]):
            values = seen(model, ids)[layer, :, neuron].tolist()
            best: tuple[float, int] | None = None
            for at, (token, value) in enumerate(zip([*ids, DOCUMENT_END], [*values, 0.0], strict=True)):
                if token == DOCUMENT_END:
                    found += [] if best is None else [(best[0], code, number * BLOCK + best[1])]
                    best = None
                elif value > (best[0] if best else 0):
                    best = value, at
    return sorted(found, key=lambda one: -one[0])[:KEPT]


@pytest.mark.parametrize("name", ["llama", "opt", "mixtral"])
def test_top_texts_are_those_of_a_loop(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    model = build(name) if name in FAMILIES else build_mixture(name)
    top = recorded(model, tokenizer)
    offsets = {"aa": 0, "zz": top.ids["aa"].numel()}
    for layer in (activation_sites(model).layers[0], top.shape[0] - 1):
        for neuron in range(0, top.shape[1], 5):
            expected = by_loops(model, tokenizer, layer, neuron)
            places, values = top.places[:, layer, neuron].tolist(), top.values[:, layer, neuron].tolist()
            assert [place for place in places if place >= 0] == [offsets[code] + place for _, code, place in expected]
            assert values[: len(expected)] == pytest.approx([value for value, _, _ in expected], abs=1e-5)
            assert values[len(expected) :] == [0.0] * (KEPT - len(expected))


def of_one(text: list[int], place: int) -> TopTexts:
    places = torch.tensor([[[place]], [[-1]]])
    return TopTexts({"aa": torch.zeros(1, 4).long(), "fr": torch.tensor([text])}, places, torch.ones(2, 1, 1), {})


def test_a_window_is_short_stays_in_its_document_and_splits_no_character(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer.encode("Un été", add_special_tokens=False)  # é is two tokens
    long = [*ids, DOCUMENT_END, *range(40, 80), DOCUMENT_END, *ids]
    (found,) = of_one(long, 4 + 4).texts(tokenizer, 0, 0)  # the first byte of é
    assert (found.language, found.before, found.token, found.after) == ("fr", "Un ", "é", "té")
    (found,) = of_one(long, 4 + len(ids) + 1 + 20).texts(tokenizer, 0, 0)
    around = [tokenizer.encode(part, add_special_tokens=False) for part in (found.before, found.token, found.after)]
    assert [*map(len, around)] == [TOKENS_BEFORE, 1, TOKENS_AFTER]
    assert around[1] == [60]
    (found,) = of_one(long, len(long) - 1 + 4).texts(tokenizer, 0, 0)
    assert (found.before, found.token, found.after) == ("Un ét", "é", "")


def test_the_file_holds_it_all_and_a_damaged_one_is_refused(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    top = recorded(tiny_model, tokenizer, licence="CC0-1.0", kept=tmp_path / "steps")
    file = tmp_path / "top_texts.safetensors"
    top.save(file)
    again = TopTexts.load(file)
    assert (again.licence, again.languages, again.shape) == ("CC0-1.0", ("aa", "zz"), top.shape)
    assert torch.equal(again.places, top.places)
    torch.testing.assert_close(again.values, top.values, atol=1e-3, rtol=1e-3)
    assert all(torch.equal(again.ids[code], top.ids[code]) for code in CORPORA)
    before = file.read_bytes()
    recorded(tiny_model, tokenizer, licence="CC0-1.0", kept=tmp_path / "steps").save(file)
    assert file.read_bytes() == before
    tensors, metadata = load_tensors(file, "top_texts")
    assert tensors["places"].dtype is torch.int16
    for changed in (
        {"places": tensors["places"] + 1000},
        {"places": tensors["places"] - 9},
        {"places": tensors["places"].float()},
        {"values": tensors["values"][:1]},
        {"values": tensors["values"] * torch.inf},
        {"ids.aa": tensors["ids.aa"].flatten()},
        {"ids.aa": -tensors["ids.aa"]},
    ):
        save_tensors(file, {**tensors, **changed}, metadata)
        with pytest.raises(BadFile, match="do not fit each other"):
            TopTexts.load(file)
