"""`lape look` and `lape neurons`, in process, on a tiny random model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from lape import ActivationStatistics, Intervention, NeuronMask, load_model, side_by_side
from lape.cli import look as command
from lape.cli import main
from lape.generation.passages import Passage
from lape.generation.prompts import prompt_ids
from lape.generation.settings import REPETITION_PENALTY
from lape.identify import identify
from lape.inspection.activations import activations
from lape.inspection.firing import firing, mask_neurons
from lape.inspection.layers import layer_tokens
from lape.inspection.table import SORTS, chosen_neurons, neuron_table
from lape.recording.vocabulary import record_vocabulary

CODES = ("fr", "es", "zh")
TEXT = "Un été, 그리고"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mask and its statistics, of the shape of `tiny_folder`."""
    folder = tmp_path_factory.mktemp("recorded")
    generator = torch.Generator().manual_seed(0)
    active = {code: torch.randint(0, 100, (3, 128), generator=generator) for code in CODES}
    sums = {code: torch.randn(3, 128, generator=generator).double() for code in CODES}
    tokens = dict.fromkeys(CODES, 100)
    statistics = ActivationStatistics(active, sums, sums, tokens, {"tokens": tokens})
    statistics.save(folder / "statistics.safetensors")
    identify(statistics, top_rate=0.1, filter_rate=0.5, activation_bar_ratio=0.5).save(folder)
    return folder


@pytest.mark.parametrize("compared", [True, False])
def test_look_says_what_the_library_says(
    compared: bool, recorded: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = recorded
    if not compared:
        folder = tmp_path
        shutil.copy(recorded / "mask.safetensors", folder)
    assert main(["look", TEXT, "--mask", str(folder), "--model", str(tiny_folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    mask, statistics = NeuronMask.load(recorded), ActivationStatistics.load(recorded / "statistics.safetensors")
    seen = activations(*load_model(str(tiny_folder)), TEXT, mask_neurons(mask))
    pieces = firing(seen, mask, statistics if compared else None)
    assert found["compared_with_statistics"] is compared
    assert "".join(piece["text"] for piece in found["pieces"]) == TEXT
    assert [piece["language"] for piece in found["pieces"]] == [piece.language for piece in pieces]
    for printed, piece in zip(found["pieces"], pieces, strict=True):
        assert printed["shares"] == pytest.approx(piece.shares, abs=1e-4)
        assert printed["levels"] == pytest.approx(piece.levels, abs=1e-4)


def test_look_prints_a_line_for_every_piece(
    recorded: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["look", "été", "--mask", str(recorded), "--model", str(tiny_folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["'é'", "'t'", "'é'"]
    assert "as in other languages" in lines[0]


def test_neurons_lists_what_the_library_chooses(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--languages", "fr,zh", "--sort", "mean", "--limit", "3", "--json"]
    assert main(["neurons", str(recorded), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    mask = NeuronMask.load(recorded)
    table = neuron_table(mask, ActivationStatistics.load(recorded / "statistics.safetensors"))
    expected = chosen_neurons(table, ["fr", "zh"], "mean", 3)
    assert [(row["language"], row["layer"], row["neuron"]) for row in found["neurons"]] == [
        (row.language, row.layer, row.neuron) for row in expected
    ]
    for row, neuron in zip(found["neurons"], expected, strict=True):
        assert row["entropy_nats"] == pytest.approx(neuron.entropy_nats, abs=1e-4)
        assert row["probabilities"] == pytest.approx(neuron.probabilities)
    assert (found["shown"], found["total"]) == (3, mask.count("fr") + mask.count("zh"))


def test_neurons_are_a_table_for_people(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(recorded / "mask.safetensors", tmp_path)
    for folder, unknown in ((recorded, False), (tmp_path, True)):
        assert main(["neurons", str(folder), "--limit", "2"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == ["language", "layer", "neuron", "entropy", "mean", *sorted(CODES)]
        assert [len(line.split()) for line in lines[1:-1]] == [8, 8]
        assert ("-" in lines[1].split()) is unknown
        assert lines[-1].startswith("2 of ")


def test_look_says_the_language_by_layer(
    recorded: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["look", "Un été", "--layers", "--off", "fr", "--on", "es", "--max-new-tokens", "5"]
    words += ["--mask", str(tmp_path), "--model", str(tiny_folder)]
    shutil.copy(recorded / "mask.safetensors", tmp_path)
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.count("no vocabulary.safetensors is beside the mask") == 3
    model, tokenizer = load_model(str(tiny_folder))
    text = {
        code: [bytes(range(start, start + 16)).decode() * 4] for code, start in zip(CODES, (48, 65, 97), strict=True)
    }
    counts = record_vocabulary(model, tokenizer, text, tokens=64, block=64)
    counts.save(tmp_path / counts.file)
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["columns"]
    assert list(found) == ["on", "off", "steered"]
    mask = NeuronMask.load(recorded)
    plan = {"on": None, "off": Intervention(mask, off="fr"), "steered": Intervention(mask, off="fr", on="es")}
    *_, last = side_by_side(model, tokenizer, "Un été", plan, max_new_tokens=5, repetition_penalty=REPETITION_PENALTY)
    context = prompt_ids(tokenizer, "Un été")
    passages = {name: Passage(context, ids) for name, ids in last.token_ids.items()}
    for layer, said in enumerate(layer_tokens(model, tokenizer, passages, plan, counts.token_languages())):
        for name, each in said.items():
            shown = found[name]["layers"][layer]
            assert shown["languages"] == pytest.approx(each.languages, abs=1e-4)
            assert shown["likeliest"] == list(each.likeliest)
    assert all(found[name]["text"] == last.texts[name] for name in plan)


def test_the_help_names_every_order() -> None:
    assert command.SORTS == SORTS


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["look", "", "--mask", "{recorded}", "--model", "{tiny}"], "The text is empty"),
        (["look", "a" * 300, "--mask", "{recorded}", "--model", "{tiny}"], "at most 255 are read"),
        (["look", "a", "--mask", "nowhere", "--model", "{tiny}"], "There is no file"),
        (["look", "a", "--mask", "{wide}", "--model", "{tiny}"], "The mask was made for"),
        (["look", "a", "--off", "fr", "--mask", "{recorded}", "--model", "{tiny}"], "are of --layers"),
        (["look", "a", "--layers", "--off", "xx", "--mask", "{recorded}", "--model", "{tiny}"], "No language"),
        (["neurons", "nowhere"], "There is no file"),
        (["neurons", "{recorded}", "--languages", "frr"], "Did you mean 'fr'"),
        (["neurons", "{recorded}", "--sort", "entrop"], "Did you mean 'entropy'"),
        (["neurons", "{recorded}", "--limit", "-1"], "from 0 on, not -1"),
        (["neurons", "{recorded}", "--limit", "few"], "invalid int value: 'few'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str],
    expected: str,
    recorded: Path,
    tiny_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mask = NeuronMask.load(recorded)
    NeuronMask(mask.neurons, mask.means, (mask.shape[0], mask.shape[1] + 1), mask.metadata).save(tmp_path / "wide")
    places = {"recorded": recorded, "tiny": tiny_folder, "wide": tmp_path / "wide"}
    assert main([word.format(**places) for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [line for line in printed.err.splitlines() if line.startswith("lape: ")]
    assert len(lines) == 1
    assert expected in lines[0]
