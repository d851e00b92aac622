"""evaluate, tune and report, in process, on a tiny random model."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from together import forked_together

from lape import NeuronMask
from lape.cli import main
from lape.errors import UnknownLabel
from lape.evaluation.kinds.rivals import chosen_rivals, rival_masks
from lape.evaluation.metrics.perplexity import negative_log_likelihoods
from lape.evaluation.runs.evidence import read_evidence
from lape.evaluation.runs.subject import Subject
from lape.report import MARKS
from lape.sharing.parcel import EVIDENCE

BEGIN, END = MARKS

CODES = ("de", "en", "fr")
FAST = ["--tokens", "64", "--block", "32", "--seeds", "2", "--items", "2", "--max-new-tokens", "2"]
GRID = ["--top-rates", "0.2", "--strengths", "replace=1,2", "--offs", "source"]

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of four lines in three "languages" of other letters."""
    folder = tmp_path_factory.mktemp("corpus")
    for code, letters in zip(CODES, ("abcdefgh ", "ijklmnop ", "qrstuvwx "), strict=True):
        chooser = random.Random(code)
        for split in ("train", "valid"):
            lines = ["".join(chooser.choice(letters) for _ in range(40)).strip().ljust(30, "x") for _ in range(40)]
            documents = ["\n".join(lines[start : start + 4]) for start in range(0, 40, 4)]
            (folder / f"{code}.{split}.txt").write_text("\n\n".join(documents), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, corpus: Path, tiny_folder: Path) -> Path:
    """A mask with its statistics and groups."""
    out = tmp_path_factory.mktemp("recorded") / "mask"
    words = ["--corpus", str(corpus), "--tokens", "1024", "--block", "32", "--groups", "4", "--out", str(out)]
    assert main(["record", "--model", str(tiny_folder), *words]) == 0
    assert main(["identify", str(out), "--top-rate", "0.1", "--filter-rate", "0.5", "--bar", "0.5"]) == 0
    mask = NeuronMask.load(out)
    assert all(mask.count(code) for code in CODES)
    return out


@pytest.fixture
def subject(recorded: Path, tiny_folder: Path, corpus: Path, tmp_path: Path) -> list[str]:
    """What a command is told of the model, the mask and the text, and where to write."""
    mask = tmp_path / "mask"
    shutil.copytree(recorded, mask)
    return ["--model", str(tiny_folder), "--mask", str(mask), "--corpus", str(corpus)]


def ran(capsys: Capture, *words: str) -> tuple[Any, str]:
    """What a command printed with --json, and its notes; it must not fail."""
    assert main([*words, "--json"]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("words", [["evaluate", "perplexity"], ["tune", *GRID]], ids=lambda words: words[0])
def test_two_processes_measure_what_one_does(
    words: list[str], subject: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fast = FAST if words[0] == "evaluate" else FAST[-2:]
    assert main([*words, *subject, *fast, "--out", str(tmp_path / "one"), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)["evidence"]
    together = [*words, *subject, *fast, "--out", str(tmp_path / "two"), "--json"]
    assert forked_together(2, lambda rank: main(together)) == [0, 0]
    assert [each["summary"] for each in json.loads(capfd.readouterr().out)["evidence"]] == [
        each["summary"] for each in told
    ]
    one, two = (read_evidence(tmp_path / folder) for folder in ("one", "two"))
    assert [path.name for path in (tmp_path / "two").iterdir()] == [f"{name}.json" for name in one]
    assert [{**found, "seconds": 0} for found in one.values()] == [{**found, "seconds": 0} for found in two.values()]


@pytest.mark.slow
def test_all_of_it_writes_files_that_can_be_shared_and_shown(
    subject: list[str], tmp_path: Path, tiny_folder: Path, corpus: Path, capsys: Capture
) -> None:
    evidence = tmp_path / "mask" / "evidence"
    words = ["evaluate", "all", *subject, *FAST, *GRID]
    found, notes = ran(capsys, *words)
    assert "confusion is left out: it needs the Language Confusion Benchmark. Unpack test_sets.zip" in notes
    kinds = ["layers", "stability", "firing", "perplexity", "tuning", "steering", "harm"]
    assert [Path(each["path"]).name for each in found["evidence"]] == [f"{kind}.json" for kind in kinds]
    assert sorted(path.name for path in evidence.iterdir()) == sorted(f"{kind}.json" for kind in kinds)
    assert all(EVIDENCE.fullmatch(f"evidence/{path.name}") for path in evidence.iterdir())
    assert found["seconds"] == pytest.approx(sum(each["seconds"] for each in found["evidence"]))

    files = read_evidence(evidence)
    text = "".join(path.read_text(encoding="utf-8") for path in evidence.iterdir())
    for place in (tmp_path, tiny_folder, corpus, Path.home()):
        assert str(place) not in text
    assert files["perplexity"]["command"] == (
        "lape evaluate perplexity --model tiny-llama --cpu-form float32 --mask mask --corpus "
        f"{corpus.name} --tokens 64 --block 32 --seeds 2"
    )
    assert files["tuning"]["command"].startswith(
        "lape tune --model tiny-llama --cpu-form float32 --mask mask --source en --top-rates 0.2"
    )
    assert "--strengths replace=1,2 --offs source" in files["tuning"]["command"]

    perplexity = files["perplexity"]["results"]
    assert {"lape", "lave", "random 0", "random 1", "equal count"} <= {*perplexity["masks"], *perplexity["left_out"]}
    assert perplexity["controls"] == ["random 0", "random 1"]
    assert perplexity["texts"]["fr"]["tokens"] == files["perplexity"]["settings"]["corpora"]["fr"]["tokens"] == 64
    steering = files["steering"]["results"]
    assert steering["setting"] == files["tuning"]["results"]["common"]
    assert steering["averages"]["all"]["pairs"] == 6
    assert files["stability"]["results"]["points"][-1]["tokens"] == 1024
    assert files["harm"]["results"]["items"] == dict.fromkeys(CODES, 2)

    before = {path.name: path.read_bytes() for path in evidence.iterdir()}
    again, notes = ran(capsys, *words)
    assert again == found
    assert notes.count("has these figures already (lape evaluate --again measures them again)") == len(kinds)
    assert {path.name: path.read_bytes() for path in evidence.iterdir()} == before

    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    page = tmp_path / "report.html"
    tables = tmp_path / "EVIDENCE.md"
    places = ["--html", str(page), "--tables", str(tables), "--readme", str(readme)]
    written, _ = ran(capsys, "report", str(tmp_path / "mask"), *places)
    assert written == {"written": [str(page), str(tables), str(readme)]}
    for file in (page, tables, readme):
        shown = file.read_text(encoding="utf-8")
        missing = re.findall(r"(?i)not measured: (lape (?:evaluate )?\w+)", shown)
        assert set(missing) == {"lape bench", "lape evaluate confusion"}
        assert f"{steering['averages']['all']['pairs']} ordered pairs" in shown


def test_measuring_again_gives_the_same_results(subject: list[str], tmp_path: Path, capsys: Capture) -> None:
    words = ["evaluate", "perplexity", *subject, *FAST]
    ran(capsys, *words)
    first = read_evidence(tmp_path / "mask" / "evidence")["perplexity"]
    ran(capsys, *words, "--again")
    second = read_evidence(tmp_path / "mask" / "evidence")["perplexity"]
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def interrupted_at(calls: int) -> Callable[..., Any]:
    """The scoring function, with Ctrl-C at one of its calls."""
    left = calls

    def scored(*arguments: Any, **settings: Any) -> list[float]:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return negative_log_likelihoods(*arguments, **settings)

    return scored


def test_a_stopped_run_keeps_its_cells_and_goes_on(
    subject: list[str], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = tmp_path / "mask" / "evidence"
    words = ["evaluate", "perplexity", *subject, *FAST]
    ran(capsys, *words)
    undisturbed = read_evidence(evidence)["perplexity"]["results"]
    (evidence / "perplexity.json").unlink()

    with monkeypatch.context() as patched:
        patched.setattr("lape.evaluation.metrics.perplexity.negative_log_likelihoods", interrupted_at(3))
        assert main(words) == 130
    notes = capsys.readouterr().err
    kept = (evidence / "perplexity.cells.jsonl").read_bytes()
    cells = kept.count(b"\n") - 1
    assert cells > 0
    assert f"lape: {cells} of " in notes
    assert "cells of perplexity are kept; the same command goes on." in notes
    assert not (evidence / "perplexity.json").exists()

    assert main(["evaluate", "perplexity", *subject, *FAST, "--tokens", "96"]) == 2
    said = capsys.readouterr().err
    assert "holds results of " in said
    assert "Use the same settings or another folder, or delete it to begin again." in said
    assert (evidence / "perplexity.cells.jsonl").read_bytes() == kept

    counted: list[int] = []

    def counting(*arguments: Any, **settings: Any) -> list[float]:
        counted.append(1)
        return negative_log_likelihoods(*arguments, **settings)

    with monkeypatch.context() as patched:
        patched.setattr("lape.evaluation.metrics.perplexity.negative_log_likelihoods", counting)
        ran(capsys, *words)
    resumed = len(counted)
    assert read_evidence(evidence)["perplexity"]["results"] == undisturbed
    assert not (evidence / "perplexity.cells.jsonl").exists()
    with monkeypatch.context() as patched:
        patched.setattr("lape.evaluation.metrics.perplexity.negative_log_likelihoods", counting)
        ran(capsys, *words, "--again")
    assert resumed == len(counted) - resumed - 3  # the three calls before Ctrl-C are not made again


def test_other_figures_of_the_same_mask_are_measured_when_settings_change(
    subject: list[str], tmp_path: Path, capsys: Capture
) -> None:
    ran(capsys, "evaluate", "harm", *subject, "--items", "2")
    _, notes = ran(capsys, "evaluate", "harm", *subject, "--items", "3")
    assert "already" not in notes
    assert read_evidence(tmp_path / "mask" / "evidence")["harm"]["results"]["items"] == dict.fromkeys(CODES, 3)


def test_all_leaves_out_what_it_cannot_measure_and_says_so(subject: list[str], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "mask" / "groups.safetensors").unlink()
    mask = NeuronMask.load(tmp_path / "mask")
    NeuronMask(mask.neurons, {}, mask.shape, mask.metadata).save(tmp_path / "mask")
    found, notes = ran(capsys, "evaluate", "all", *subject[:4])
    assert [Path(each["path"]).name for each in found["evidence"]] == ["layers.json"]
    for kind, reason in (
        ("perplexity", "name it with --corpus"),
        ("harm", "name it with --corpus"),
        ("firing", "name it with --corpus"),
        ("confusion", "name the folder with --prompts"),
        ("stability", "record with --groups 16"),
        ("tuning", "lape calibrate"),
        ("steering", "lape calibrate"),
    ):
        assert any(f"{kind} is left out: " in line and reason in line for line in notes.splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "everything"], "invalid choice: 'everything'"),
        (["evaluate", "perplexity", "--languages", "fr,xx"], "No language in the corpus 'xx'"),
        (["evaluate", "perplexity", "--seeds", "0"], "seeds must be at least 1, not 0"),
        (["evaluate", "harm", "--items", "1"], "needs 2 items or more, not 1"),
        (["evaluate", "harm", "--items", "4000"], "4000 items were asked for"),
        (["evaluate", "perplexity", "--tokens", "100000"], "100096 were asked for"),
        (["evaluate", "steering", "--mode", "swap"], "No mode 'swap'"),
        (["evaluate", "steering", "--top-rate", "7"], "top_rate is a share above 0 and up to 1"),
        (["evaluate", "steering", "--identifier", "me"], "No language identifier 'me'"),
        (["tune", "--source", "ko"], "No language in the mask 'ko'"),
        (
            ["tune", "--strengths", "swap=1"],
            "'swap=1' is not a name and numbers, such as replace=1,1.5,2; names are replace, add, scale",
        ),
        (["tune", "--strengths", "add="], "'add=' is not a name and numbers"),
        (["tune", "--top-rates", "0.1;0.2"], "'0.1;0.2' is not a list of numbers, such as 0.01,0.02"),
        (["tune", "--offs", "nobody"], "No way of switching off 'nobody'"),
        (["tune", "--prompts", "missing.json"], "There are no openings at 'missing.json'"),
    ],
)
def test_bad_input_is_one_line_and_measures_nothing(
    words: list[str], said: str, subject: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert (
        main([*words[: 2 if words[0] == "evaluate" else 1], *subject, *words[2 if words[0] == "evaluate" else 1 :]])
        == 2
    )
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lape: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert not list((tmp_path / "mask").glob("evidence/*"))


def test_what_needs_text_or_groups_says_how_to_get_them(subject: list[str], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "mask" / "groups.safetensors").unlink()
    assert main(["evaluate", "perplexity", *subject[:4]]) == 2
    assert "name it with --corpus" in capsys.readouterr().err
    assert main(["evaluate", "stability", *subject]) == 2
    assert "record again with --groups 16" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2
    assert "no evidence" in capsys.readouterr().err


def test_a_mask_of_another_model_is_refused_before_anything_is_measured(
    subject: list[str], tmp_path: Path, capsys: Capture
) -> None:
    mask = NeuronMask.load(tmp_path / "mask")
    NeuronMask(mask.neurons, {}, (mask.shape[0] + 1, mask.shape[1]), mask.metadata).save(tmp_path / "mask")
    assert main(["evaluate", "harm", *subject, *FAST]) == 2
    assert "The mask was made for" in capsys.readouterr().err


@pytest.mark.slow
def test_steering_takes_what_is_said_before_what_tuning_chose(
    subject: list[str], tmp_path: Path, capsys: Capture
) -> None:
    evidence = tmp_path / "mask" / "evidence"
    brief = ["--max-new-tokens", "2", "--languages", "en,fr"]
    ran(capsys, "evaluate", "steering", *subject, *brief)
    alone = read_evidence(evidence)["steering"]["results"]
    assert alone["setting"] == {"mode": "replace", "strength": 1.25, "top_rate": 0.1, "off": "source"}
    assert list(alone["pairs"]) == ["en", "fr"]
    assert list(alone["pairs"]["en"]) == ["fr"]
    ran(capsys, "evaluate", "steering", *subject, *brief, "--sources", "fr")
    found = read_evidence(evidence)["steering"]
    assert {source: list(row) for source, row in found["results"]["pairs"].items()} == {"fr": ["en"]}
    assert set(found["results"]["language_retention"]["languages"]) == {"en", "fr"}  # of every language all the same
    assert " --sources fr " in found["command"]
    assert main(["evaluate", "steering", *subject, *brief, "--sources", "frr"]) == 2
    assert "Did you mean 'fr'?" in capsys.readouterr().err

    ran(capsys, "tune", *subject, *brief, "--top-rates", "0.2", "--strengths", "scale=3", "--offs", "others")
    tuned = read_evidence(evidence)["tuning"]["results"]
    assert {trial["setting"]["top_rate"] for trial in tuned["sweep"]} == {0.1, 0.2}
    assert {(trial["setting"]["mode"], trial["setting"]["off"]) for trial in tuned["sweep"]} == {("scale", "others")}
    ran(capsys, "evaluate", "steering", *subject, *brief, "--strength", "4")
    said = read_evidence(evidence)["steering"]["results"]["setting"]
    assert said == {**tuned["common"], "strength": 4.0}

    other = NeuronMask.load(tmp_path / "mask")
    fewer = {code: pairs[:-1] for code, pairs in other.neurons.items()}
    means = {code: values[:-1] for code, values in other.means.items()}
    NeuronMask(fewer, means, other.shape, other.metadata).save(tmp_path / "mask")
    ran(capsys, "evaluate", "steering", *subject, *brief)
    assert read_evidence(evidence)["steering"]["results"]["setting"] == alone["setting"]


def test_some_languages_are_measured_of_the_mask_that_was_identified_among_all(
    subject: list[str], tmp_path: Path, recorded: Path, capsys: Capture
) -> None:
    whole = Subject(recorded, lambda: pytest.fail("the model is not needed"))
    narrow = Subject(recorded, whole.load, languages=("fr", "en"))
    everything, _ = rival_masks(whole, "lape")
    some, _ = rival_masks(narrow, "lape")
    assert everything.keys() == some.keys() != set()
    for name, mask in some.items():
        assert mask.languages == ("fr", "en")
        assert all(mask.flat(code).equal(everything[name].flat(code)) for code in mask.languages)
    ran(capsys, "evaluate", "perplexity", *subject, *FAST, "--languages", "fr,en")
    results = read_evidence(tmp_path / "mask" / "evidence")["perplexity"]["results"]
    assert set(results["texts"]) == {"en", "fr"}
    assert set(results["masks"]["lape"]["off"]) == {"en", "fr"}


def test_the_rivals_whose_costs_are_measured_can_be_chosen(recorded: Path) -> None:
    subject = Subject(recorded, lambda: pytest.fail("the model is not needed"))
    masks, left_out = rival_masks(subject, "lape")
    assert chosen_rivals(subject, "lape", None)[0].keys() == masks.keys()
    assert chosen_rivals(subject, "lape", ["none"]) == ({}, {})
    some, reasons = chosen_rivals(subject, "lape", ["exclusive", *left_out])
    assert (list(some), reasons) == (["exclusive"], left_out)
    with pytest.raises(UnknownLabel, match=r"No mask to compare with 'exclusiv'\. Did you mean 'exclusive'"):
        chosen_rivals(subject, "lape", ["exclusiv"])


def test_rivals_have_the_counts_of_the_mask(recorded: Path) -> None:
    subject = Subject(recorded, lambda: pytest.fail("the model is not needed"))
    masks, left_out = rival_masks(subject, "lape")
    counts = {code: subject.mask.count(code) for code in CODES}
    assert {"lap", "exclusive"} <= set(masks)
    assert "probability" not in {*masks, *left_out}  # at equal counts it is lap
    for code in CODES:
        shared = {index for other in CODES if other != code for index in subject.mask.flat(other).tolist()}
        assert set(masks["exclusive"].flat(code).tolist()) == set(subject.mask.flat(code).tolist()) - shared
    for name, mask in masks.items():
        found = {code: mask.count(code) for code in CODES}
        least = dict.fromkeys(CODES, min(counts.values()))
        assert name == "exclusive" or found == (least if name == "equal count" else counts)
    assert not set(masks) & set(left_out)


def test_another_mask_is_compared_by_its_name(subject: list[str], tmp_path: Path, capsys: Capture) -> None:
    other = tmp_path / "other"
    assert main(["identify", str(tmp_path / "mask"), "--method", "probability", "--out", str(other)]) == 0
    capsys.readouterr()
    ran(capsys, "evaluate", "layers", *subject, "--compare", str(other))
    found = read_evidence(tmp_path / "mask" / "evidence")["layers"]
    assert found["results"]["others"]["tiny-llama probability"]["overlap"]["languages"].keys() == set(CODES)
    assert found["command"].endswith("--compare other")
