"""`lape neuron`, in process, on a tiny random model: the same facts as the library's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lape import ActivationStatistics, load_model
from lape.cli import main
from lape.identify import identify
from lape.inspection.profiles import neighbours
from lape.inspection.writes import writes
from lape.recording.topmost import record_top_texts
from lape.storage.names import TOP_TEXTS_NAME

CODES = ("es", "fr", "zh")
TEXTS = {"fr": [f"Un texte, le {number}" for number in range(9)]}


def test_all_of_one_neuron(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, tokenizer = load_model(str(tiny_folder))
    generator = torch.Generator().manual_seed(0)
    active = {code: torch.randint(0, 100, (3, 128), generator=generator) for code in CODES}
    tokens = dict.fromkeys(CODES, 100)
    statistics = ActivationStatistics(active, active, active, tokens, {"tokens": tokens})
    mask = identify(statistics, top_rate=0.1, filter_rate=0.5, activation_bar_ratio=0.5)
    mask.save(tmp_path)
    layer, neuron = mask.neurons["fr"][0].tolist()
    name = f"{layer}.{neuron}"
    words = ["neuron", name, "--mask", str(tmp_path), "--model", str(tiny_folder), "--limit", "4"]
    assert main(words) == 0
    assert "There are no statistics here." in capsys.readouterr().out
    statistics.save(tmp_path / "statistics.safetensors")
    top = record_top_texts(model, tokenizer, TEXTS, tokens=64, block=32, progress=False)
    top.save(tmp_path / TOP_TEXTS_NAME)
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["layer"], found["neuron"]) == (name, layer, neuron)
    assert found["belongs"] == [code for code in mask.languages if [layer, neuron] in mask.neurons[code].tolist()]
    assert {code: one["probability"] for code, one in found["active"].items()} == {
        code: round(int(active[code][layer, neuron]) / 100, 4) for code in CODES
    }
    written = writes(model, tokenizer, layer, neuron, tokens=4)
    assert [token["id"] for token in found["writes"]["raised"]] == [token.id for token in written.raised]
    assert [token["id"] for token in found["writes"]["lowered"]] == [token.id for token in written.lowered]
    alike = neighbours(statistics, CODES, layer, neuron, limit=4)
    assert [one["name"] for one in found["neighbours"]] == [one.name for one in alike]
    texts = top.texts(tokenizer, layer, neuron)
    assert [one["token"] for one in found["texts"]] == [one.token for one in texts]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert f"{name}: a neuron of {', '.join(found['belongs'])}." in shown
    assert all(f"{one.before}[{one.token}]{one.after}".rstrip() in shown for one in texts)
    for wrong, said in (("3.0", "There is no neuron"), ("x", "There is no neuron")):
        assert main(["neuron", wrong, "--mask", str(tmp_path), "--model", str(tiny_folder)]) == 2
        assert said in capsys.readouterr().err
