"""`lape record` with what lies beside statistics, and `lape identify` with the methods that read it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lape import NeuronMask
from lape.cli import main
from lape.languages import NOISE
from lape.recording import binning, recorder
from lape.recording.histograms import ActivationHistograms
from lape.recording.residual_means import ResidualMeans
from lape.recording.top_texts import TopTexts
from lape.recording.topmost import KEPT
from lape.recording.vocabulary import TokenCounts

NAMES = ("histograms", "texts", "residuals", "vocabulary", "top_texts")
TEXTS = {"en": "one two three four five six ", "fr": "un deux trois quatre cinq six "}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for code, text in TEXTS.items():
        (folder / f"{code}.train.txt").write_text(text * 10)
    return folder


def recorded(model: Path, corpus: Path, out: Path, *more: str) -> int:
    settings = ["--tokens", "64", "--block", "16", "--bins", "8"]
    beside = [
        "--histograms",
        "--texts",
        "--residuals",
        "--vocabulary",
        "--top-texts",
        "--licence",
        "CC0-1.0",
        "--noise",
    ]
    return main(
        ["record", "--model", str(model), "--corpus", str(corpus), "--out", str(out), *settings, *beside, *more]
    )


def test_recordings_lie_beside_statistics_and_masks_are_made_from_them(
    tiny_folder: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(binning, "ranges", None)  # fails when every language's spread is known
        assert recorded(tiny_folder, corpus, out) == 1
    assert sorted(path.name for path in out.iterdir()) == ["statistics.safetensors", "steps"]
    with monkeypatch.context() as patch:
        patch.setattr(recorder, "check_text", None)  # the statistics are there, so that none is recorded
        assert recorded(tiny_folder, corpus, out, "--resume", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["beside"] == [str(out / f"{name}.safetensors") for name in NAMES]
    assert ResidualMeans.load(out / "residuals.safetensors").languages == ("en", "fr")  # random tokens are no content
    counted = TokenCounts.load(out / "vocabulary.safetensors").counts
    assert {code: int(each.sum()) for code, each in counted.items()} == {"en": 64, "fr": 64}
    top = TopTexts.load(out / "top_texts.safetensors")
    assert (top.languages, top.licence, top.places.shape[0]) == (("en", "fr"), "CC0-1.0", KEPT)
    assert printed["tokens"] == {"en": 64, "fr": 64, NOISE: 64}
    assert not (out / "steps").exists()
    assert ActivationHistograms.load(out / "histograms.safetensors").counts["en"].shape[-1] == 10
    for method in ("dln", "percentile", "expert", "lape"):
        words = ["--method", method, "--noise", "5", "--per-language", "1", "--out", str(tmp_path / method)]
        rates = ["--filter-rate", "0", "--bar", "0"] if method == "lape" else []
        assert main(["identify", str(out), *words, *rates]) == 0
        mask = NeuronMask.load(tmp_path / method)
        assert mask.languages == ("en", "fr")
        assert mask.metadata["settings"]["noise"] == 5
        assert {len(mask.means[code]) for code in mask.languages} == {1}
    masked = shutil.copytree(out, tmp_path / "dln", dirs_exist_ok=True)
    off = ["--mask", str(masked), "--off", "fr", "--off-value", "mean", "--off-within", "1.5", "--max-new-tokens", "2"]
    capsys.readouterr()
    assert main(["generate", "Bonjour", "--model", str(tiny_folder), *off, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["neurons_changed"] == {"on": 0, "off": 1}
    anew = ["--tokens", "32", "--block", "16", "--out", str(out)]
    assert main(["record", "--model", str(tiny_folder), "--corpus", str(corpus), *anew]) == 0
    assert [path.name for path in out.iterdir()] == ["statistics.safetensors"]  # what lay beside was of another text


def test_a_method_whose_recording_is_not_there_says_how_to_make_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["identify", str(tmp_path), "--method", "expert"]) == 2
    assert "make it with lape record --texts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--histograms", "--bins", "0"], "bins is a whole number from 1"),
        (["--licence", "CC0-1.0"], "add --top-texts"),
        (["--histograms", "--engine", "vllm"], "vllm shows activations only"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_a_model_is_loaded(
    options: list[str], said: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["record", "--model", "no/model", "--corpus", str(corpus), "--out", str(tmp_path / "out")]
    assert main([*given, *options]) == 2
    assert said in capsys.readouterr().err
