"""`lape generate` with many strengths, many prompts, layers, positions and another method's neurons."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from lape import NeuronMask
from lape.cli import main, prompts
from lape.evaluation.metrics import many
from lape.generation.generate import side_by_side

SHORT = ["--max-new-tokens", "3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A folder with a mask and the statistics it was identified from."""
    corpus, out = tmp_path_factory.mktemp("corpus"), tmp_path_factory.mktemp("out")
    for code, text in (("fr", "Il était une fois. "), ("es", "Había una vez. ")):
        (corpus / f"{code}.train.txt").write_text(text * 30, encoding="utf-8")
    sizes = ["--tokens", "128", "--block", "16", "--out", str(out)]
    assert main(["record", "--model", str(tiny_folder), "--corpus", str(corpus), *sizes]) == 0
    assert main(["identify", str(out), "--per-language", "9", "--filter-rate", "0", "--bar", "0"]) == 0
    return out


def generate(model: Path, folder: Path, *words: str) -> int:
    return main(["generate", *words, "--model", str(model), "--mask", str(folder), "--off", "fr", "--on", "es", *SHORT])


def test_a_sweep_is_a_table_json_and_csv(
    tiny_folder: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "sweep.csv"
    assert generate(tiny_folder, folder, "Bonjour", "--sweep", "--csv", str(table)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["strength", "language", "es", "nats/token", "quality", "text"]
    assert [line.split()[0] for line in lines[1:18]] == [f"{step / 4:g}" for step in range(17)]
    assert lines[18].startswith("The language ")
    assert generate(tiny_folder, folder, "Bonjour", "--sweep", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [step["text"] for step in found["steps"]]
    assert (found["prompt"], found["target"], len(rows)) == ("Bonjour", "es", 17)


def test_many_prompts_go_on_where_they_were_stopped(
    tiny_folder: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(many.Decoding, "rows_on", lambda *_: 3)  # a prompt a batch
    asked, table = tmp_path / "prompts.txt", tmp_path / "out.csv"
    asked.write_text('Bonjour\n\nDit-il, "oui"\n  Salut\n', encoding="utf-8")
    begun = []

    def failing(*arguments: object, **settings: object) -> object:
        begun.append(arguments[2])
        if len(begun) == 3:
            raise KeyboardInterrupt
        return many_batch(*arguments, **settings)

    many_batch = many.write_batch
    words = ["--prompts", str(asked), "--csv", str(table)]
    with monkeypatch.context() as patch:
        patch.setattr(many, "write_batch", failing)
        assert generate(tiny_folder, folder, *words) == 130
    assert not table.exists()
    assert prompts.kept_beside(table).exists()
    assert generate(tiny_folder, folder, *words, "--strength", "2") == 2  # another run
    assert "out.csv.cells.jsonl" in capsys.readouterr().err
    begun.clear()
    with monkeypatch.context() as patch:
        patch.setattr(many, "write_batch", lambda *a, **s: (begun.append(a[2]), many_batch(*a, **s))[1])
        assert generate(tiny_folder, folder, *words) == 0
    assert begun == [{2: "  Salut"}]
    assert not prompts.kept_beside(table).exists()
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["prompt"] for row in rows] == [
        prompt for prompt in ("Bonjour", 'Dit-il, "oui"', "  Salut") for _ in range(3)
    ]
    assert [row["variant"] for row in rows[:3]] == ["on", "off", "steered"]
    assert generate(tiny_folder, folder, "--prompts", str(asked), "--json") == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert [row["text"] for row in json.loads(last)] == [row["text"] for row in rows]


def test_layers_positions_and_method_choose_what_is_changed(
    tiny_folder: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        "lape.generation.generate.side_by_side",
        lambda model, tokenizer, prompt, variants, **settings: (
            seen.append(variants),
            side_by_side(model, tokenizer, prompt, variants, **settings),
        )[1],
    )
    where = ["--layers", "1-2", "--positions", "generated", "--method", "margin", "--json"]
    assert generate(tiny_folder, folder, "Bonjour", *where) == 0
    (variants,) = seen
    steered = variants["steered"]
    assert (steered.layers, steered.positions) == (range(1, 3), "generated")
    own = NeuronMask.load(folder)
    assert {code: steered.mask.count(code) for code in own.languages} == {
        code: own.count(code) for code in own.languages
    }
    assert steered.mask.metadata["method"] == "margin"
    assert json.loads(capsys.readouterr().out)["neurons_changed"]["steered"] == steered.count


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Bonjour", "--sweep"], "--sweep needs a language to steer to"),
        (["Bonjour", "--prompts", "x"], "--prompts takes the place of PROMPT"),
        (["--prompts", "x", "--sweep", "--on", "es"], "--prompts takes the place of PROMPT"),
        (["--prompts", "nowhere.txt"], "nowhere.txt"),
        (["--prompts", "{empty}"], "holds no prompt"),
        (["--prompts", "{bytes}"], "is not UTF-8 text"),
        (["--prompts", "{utf16}"], "is UTF-16 text; save it as UTF-8"),
        (["Bonjour", "--csv", "x.csv"], "--csv holds the texts of --prompts or --sweep"),
        ([], "The prompt is empty"),
        (["Bonjour", "--off", "fr", "--mask", "{folder}", "--layers", "7-3"], "Layers are written as 5-12"),
        (["Bonjour", "--off", "fr", "--mask", "{folder}", "--positions", "al"], "Did you mean 'all'"),
        (["Bonjour", "--off", "fr", "--mask", "{folder}", "--method", "expert"], "make it with lape record --texts"),
    ],
)
def test_what_does_not_go_together_is_refused_before_a_model_is_loaded(
    words: list[str], said: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "bytes").write_bytes("été".encode("latin-1"))
    (tmp_path / "utf16").write_bytes(b"\xff\xfe\xff")
    places = {**{name: tmp_path / name for name in ("empty", "bytes", "utf16")}, "folder": folder}
    assert main(["generate", "--model", "no/model", *(word.format(**places) for word in words)]) == 2
    assert said in capsys.readouterr().err
