"""The command line, in process, on a tiny random model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lape import ActivationStatistics, NeuronMask
from lape.cli import main
from lape.cli.common import table
from lape.demo.backend import Backend
from lape.demo.compare.comparison import compare
from lape.demo.compare.request import DEFAULTS
from lape.demo.loaded import Loaded
from lape.models.embedded import GEMMA

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    texts = {"fr": "Il était une fois une petite fille.", "en": "Once upon a time a girl.", "ru": "Жила-была девочка."}
    for code, text in texts.items():
        (folder / f"{code}.train.txt").write_text("\n\n".join(f"{text} {n}" for n in range(40)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, corpus: Path, tiny_folder: Path) -> Path:
    """A folder with statistics and a mask, made by the commands."""
    out = tmp_path_factory.mktemp("recorded")
    arguments = ["--corpus", str(corpus), "--tokens", "200", "--block", "20", "--out", str(out)]
    assert main(["record", "--model", str(tiny_folder), "--languages", "fr,en,ru", *arguments]) == 0
    assert main(["identify", str(out), "--top-rate", "0.1", "--filter-rate", "0.5", "--bar", "0.5"]) == 0
    return out


def test_record_and_identify_write_what_the_library_reads(recorded: Path) -> None:
    statistics = ActivationStatistics.load(recorded / "statistics.safetensors")
    assert dict(statistics.tokens) == {"fr": 200, "en": 200, "ru": 200}
    assert statistics.metadata["corpora"]["fr"][0]["source"] == "fr.train.txt"
    mask = NeuronMask.load(recorded)
    assert mask.metadata["settings"] == {"top_rate": 0.1, "filter_rate": 0.5, "activation_bar_ratio": 0.5}
    assert json.loads((recorded / "mask.json").read_text())["counts"] == {
        code: mask.count(code) for code in mask.languages
    }
    assert not (recorded / "checkpoint.safetensors").exists()


def test_generate_prints_json_alone(recorded: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--mask", str(recorded), "--off", "fr", "--on", "ru", "--max-new-tokens", "4", "--json"]
    assert main(["generate", "Bonjour", "--model", str(tiny_folder), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["texts"]) == ["on", "off", "steered"]
    assert found["new_tokens"] == {"on": 4, "off": 4, "steered": 4}
    mask = NeuronMask.load(recorded)
    assert found["neurons_changed"]["on"] == 0
    assert found["neurons_changed"]["off"] == mask.count("fr") > 0


def test_generate_needs_no_mask_to_leave_the_model_alone(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "Bonjour", "--model", str(tiny_folder), "--max-new-tokens", "2"]) == 0
    assert capsys.readouterr().out.startswith("on (0 neurons changed):\n")


def test_identify_json_counts_every_language(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["identify", str(recorded), "--languages", "fr,ru", "--out", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["counts"]) == {"fr", "ru"}
    assert found["settings"]["top_rate"] == 0.01
    assert NeuronMask.load(tmp_path).languages == ("fr", "ru")


def test_an_unfinished_recording_is_not_overwritten(
    corpus: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(b"something")
    arguments = ["record", "--model", str(tiny_folder), "--corpus", str(corpus), "--out", str(tmp_path)]
    assert main(arguments) == 2
    assert "--resume" in capsys.readouterr().err
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == b"something"


RECORD = ("record", "--corpus", "{corpus}", "--model", "no/model", "--out", "out")  # refused before it is loaded


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["recrd"], "invalid choice: 'recrd'"),
        (["record", "--corpus", "nowhere", "--out", "out"], "There is no corpus at 'nowhere'"),
        (["record", "--corpus", "{corpus}", "--languages", "frr", "--out", "out"], "Did you mean 'fr'"),
        (["record", "--corpus", "{corpus}", "--tokens", "many", "--out", "out"], "invalid int value: 'many'"),
        (["record", "--corpus", "hf:wikimedia/wikipedia", "--out", "out"], "Say which languages"),
        (["record", "--corpus", "", "--out", "out"], "The name of the corpus is empty"),
        (["record", "--corpus", "{corpus}" + "/x" * 5000, "--out", "out"], "There is no corpus at"),
        (["record", "--corpus", "{pipe}", "--out", "out"], "is a pipe, socket or device, not a corpus"),
        ([*RECORD, "--groups", "1000000000"], "At most 1,024 groups can be kept, not 1000000000."),
        ([*RECORD, "--groups", "3"], "groups is an even number"),
        ([*RECORD, "--tokens", "9" * 4000], "At most 9,007,199,254,740,992 tokens a language can be counted"),
        ([*RECORD, "--tokens", "9" * 5000], "argument --tokens: invalid int value: '999"),
        (["9" * 5000], "invalid choice: '999"),
        ([*RECORD, "--tokens", "0"], "tokens (0), block (512) and batch (1) must be at least 1"),
        ([*RECORD, "--tokens", "2000000000", "--until-stable", "0.9"], "At most 1,073,741,824 tokens a language"),
        ([*RECORD, "--block", "1000000000"], "at most 16777216 fit one pass"),
        ([*RECORD, "--batch", "1000000000"], "block x batch is 512 x 1000000000 tokens"),
        (["identify", "nowhere"], "There is no file"),
        (["identify", "{recorded}", "--method", "lapee"], "Did you mean 'lape'"),
        (["identify", "{recorded}", "--top-rate", "7"], "top_rate is a share above 0 and up to 1, not 7.0"),
        (["identify", "{recorded}", "--languages", "fr"], "at least two"),
        (["generate", "Bonjour", "--mask", "{recorded}", "--off", "rf"], "No language in the mask 'rf'"),
        (["generate", "Bonjour", "--mask", "{recorded}", "--on", "fr", "--mode", "swap"], "No mode 'swap'"),
        (["generate", "Bonjour", "--mask", "{recorded}", "--on", "fr", "--strength", "inf"], "strength must be"),
        (["generate", "Bonjour", "--mask", "{recorded}", "--off", "fr", "--off-value", "men"], "Did you mean 'mean'"),
        (
            ["generate", "Bonjour", "--mask", "{recorded}", "--off", "fr", "--off-within", "2"],
            "lape record --histograms",
        ),
        (["generate", "", "--model", "{tiny}"], "The prompt is empty"),
        (["generate", "", "--model", "no/model"], "The prompt is empty"),
        (["generate", "\udc80", "--model", "{tiny}"], "The prompt holds half a character"),
        (["neurons", "x" * 5000], "is too long for the name of a file"),
        (["generate", "Bonjour", "--model", "{tiny}", "--top-p", "0"], "top_p must be above 0"),
        (["generate", "Bonjour", "--model", "no/model", "--seed", "-1"], "seed must be from 0"),
        (["generate", "Bonjour", "--model", "model.gguf", "--off", "fr"], "'model.gguf' is a GGUF file"),
        (["generate", "Bonjour", "--model", "smollm"], "Did you mean 'smollm3-3b' or 'smollm2-135m'"),
        (["generate", "Bonjour", "--model", "{tiny}", "--quantization", "2bit"], "No quantisation '2bit'"),
        (["generate", "Bonjour", "--model", "{tiny}", "--off", "fr", "--mask", "{wide}"], "The mask was made for"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str],
    expected: str,
    recorded: Path,
    corpus: Path,
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mask = NeuronMask.load(recorded)
    NeuronMask(mask.neurons, mask.means, (mask.shape[0], mask.shape[1] + 1), mask.metadata).save(tmp_path / "wide")
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "fr.txt")
    places = {"corpus": corpus, "recorded": recorded, "tiny": tiny_folder, "wide": tmp_path / "wide"}
    places["pipe"] = tmp_path / "fr.txt"
    assert main([word.format(**places) for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [line for line in printed.err.splitlines() if line.startswith("lape: ")]
    assert len(lines) == 1
    assert expected in lines[0]
    assert len(lines[0]) < 500
    assert "Traceback" not in printed.err


def test_ctrl_c_is_exit_code_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lape.doctor.report", interrupted)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "lape: stopped.\n"


def test_a_fault_of_ours_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("lape.doctor.report", broken)
    assert main(["doctor"]) == 1
    assert "unexpected ZeroDivisionError: oh" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        main(["-v", "doctor"])


def test_doctor_and_models_print_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["packages"]["torch"] != "not installed"
    assert main(["models", "--json"]) == 0
    assert "HuggingFaceTB/SmolLM2-135M-Instruct" in {row["model"] for row in json.loads(capsys.readouterr().out)}


def test_models_say_the_terms_of_gemma(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(GEMMA.notice + " (terms: https://")
    assert "prohibited-use policy: https://ai.google.dev/gemma/prohibited_use_policy" in last


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    listed = re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE)
    assert {"record", "identify", "generate", "evaluate", "doctor"} <= set(listed)
    for command in listed:
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        assert capsys.readouterr().out.startswith(f"usage: lape {command} ")


WITHOUT_GRADIO = """
import sys
sys.modules["gradio"] = None  # importing it fails, as where the extra `demo` is not installed
import lape
from lape.cli import main
for words in (["models"], ["list"], ["doctor"], ["neurons", sys.argv[1]], ["generate", "", "--model", sys.argv[2]]):
    print(words[0], main(words))
main(["--help"])
"""


def test_the_commands_need_no_gradio(recorded: Path, tiny_folder: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_GRADIO, str(recorded), str(tiny_folder)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    codes = dict(re.findall(r"^(models|list|doctor|neurons|generate) (\d)$", run.stdout, re.MULTILINE))
    assert codes == {"models": "0", "list": "0", "doctor": "0", "neurons": "0", "generate": "2"}
    assert re.search(r"^demo +not installed \(the extra `demo`", run.stdout, re.MULTILINE)
    assert "usage: lape" in run.stdout
    assert "Traceback" not in run.stderr


def test_a_table_is_as_wide_as_its_cells() -> None:
    rows = [("code", "count", "note"), ("fr", 12, None), ("deu", 3, "x")]
    assert table(rows, right=[1]) == ["code  count  note", "fr       12", "deu       3  x"]
    assert table([]) == []


def test_clear_cache_empties_only_the_converted_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAPE_CACHE", str(tmp_path))
    (tmp_path / "models" / "some").mkdir(parents=True)
    (tmp_path / "models" / "some" / "weights").write_bytes(b"12345")
    (tmp_path / "kept").write_text("kept")
    assert main(["doctor", "--clear-cache", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"freed_bytes": 5}
    assert not (tmp_path / "models").exists()
    assert (tmp_path / "kept").exists()


def test_generate_and_the_page_give_the_same_texts(
    recorded: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--mask", str(recorded), "--off", "fr", "--on", "ru", "--json"]
    assert main(["generate", DEFAULTS.prompt, "--model", str(tiny_folder), *words]) == 0
    texts = json.loads(capsys.readouterr().out)["texts"]
    backend = Backend(Loaded.load(str(tiny_folder), mask=recorded))
    *_, columns = compare(backend, replace(DEFAULTS, source="fr", targets=("ru",)))
    assert {name.partition(":")[0]: column.text for name, column in columns.items()} == texts
    assert texts["steered"] != texts["off"]


@pytest.mark.slow
def test_generate_and_the_page_give_the_same_texts_with_the_embedded_model(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "smollm2", "--off", DEFAULTS.source, "--on", DEFAULTS.targets[0], "--json"]
    assert main(["generate", DEFAULTS.prompt, *words]) == 0
    texts = json.loads(capsys.readouterr().out)["texts"]
    *_, columns = compare(Backend(Loaded.load("smollm2")), DEFAULTS)
    assert {name.partition(":")[0]: column.text for name, column in columns.items()} == texts
    assert not any(column.repeats for column in columns.values())


LIGHT = """
import sys
from lape.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("heavy:", *sorted({"torch", "transformers", "numpy", "gradio"} & {*sys.modules}))
"""


@pytest.mark.parametrize(
    "words",
    [[], ["--help"], ["--version"], ["identfy"], ["generate", "--help"], ["look", "--mask"], ["demo", "--port", "0"]],
)
def test_who_asks_for_help_or_mistypes_does_not_wait_for_torch(words: list[str]) -> None:
    run = subprocess.run([sys.executable, "-c", LIGHT, *words], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("heavy:\n")


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "demo         serve the page" in said.out
