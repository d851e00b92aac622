"""`lape identify` with every method, in process, on statistics without a model."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from samples import statistics_of

from lape import ActivationStatistics, NeuronMask
from lape.cli import main
from lape.evaluation.metrics.stability import selection
from lape.identify import METHODS, SETTINGS, identify, method_settings, methods_reading
from lape.recording.groups import BlockGroups


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A folder with statistics whose sums of positive activations are not negative."""
    draw = random.Random(0)
    active = {code: [[draw.randint(0, 50) for _ in range(40)] for _ in range(4)] for code in ("en", "fr", "ru")}
    statistics = statistics_of(active, 50)
    for code, sums in statistics.positive_sum.items():
        sums.abs_().mul_(statistics.active[code] > 0)
    statistics.save(tmp_path / "recorded" / "statistics.safetensors")
    return tmp_path / "recorded"


def test_the_help_names_every_method_and_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["identify", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert ", ".join(METHODS) in shown
    assert ", ".join(SETTINGS) in shown
    for name in ("top_rate", "filter_rate", "activation_bar_ratio"):
        assert SETTINGS[name].text in shown


@pytest.mark.parametrize("method", methods_reading())
def test_a_method_and_its_settings_reach_the_mask(
    method: str, recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = dict.fromkeys(method_settings(method), 0.25)
    words = [word for name, value in own.items() for word in ("--set", f"{name}={value}")]
    assert main(["identify", str(recorded), "--method", method, *words, "--out", str(tmp_path / "own"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    mask = NeuronMask.load(tmp_path / "own")
    assert mask.metadata["method"] == method
    assert printed["settings"] == mask.metadata["settings"] == own
    assert printed["counts"] == {code: mask.count(code) for code in ("en", "fr", "ru")}
    assert any(printed["counts"].values())


@pytest.mark.parametrize("method", methods_reading())
def test_every_method_gives_as_many_neurons_per_language(method: str, recorded: Path, tmp_path: Path) -> None:
    rates = ["--filter-rate", "0.5", "--bar", "0.5"] if "filter_rate" in method_settings(method) else []
    words = ["identify", str(recorded), "--method", method, "--per-language", "2", *rates, "--out", str(tmp_path)]
    assert main(words) == 0
    mask = NeuronMask.load(tmp_path)
    assert {code: mask.count(code) for code in mask.languages} == {"en": 2, "fr": 2, "ru": 2}
    assert mask.metadata["settings"]["per_language"] == 2


def test_options_and_set_say_the_same(recorded: Path, tmp_path: Path) -> None:
    by_option = ["--top-rate", "0.1", "--filter-rate", "0.5", "--bar", "0.4"]
    by_set = ["--set", "top_rate=0.1", "--set", "filter_rate=0.5", "--set", "activation_bar_ratio=0.4"]
    for folder, words in (("option", by_option), ("set", by_set)):
        assert main(["identify", str(recorded), *words, "--out", str(tmp_path / folder)]) == 0
    contents = {(tmp_path / folder / "mask.safetensors").read_bytes() for folder in ("option", "set")}
    assert len(contents) == 1


def test_a_mask_of_another_method_is_not_overwritten(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["identify", str(recorded), "--top-rate", "0.1"]) == 0
    assert main(["identify", str(recorded), "--top-rate", "0.2"]) == 0
    before = (recorded / "mask.safetensors").read_bytes()
    assert main(["identify", str(recorded), "--method", "lap"]) == 2
    assert "holds a 'lape' mask. Say where the new one goes, with --out" in capsys.readouterr().err
    assert (recorded / "mask.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--method", "lapee"], "No identification method 'lapee'. Did you mean 'lape'"),
        (["--method", "lap", "--top-rate", "0.1"], "No setting of 'lap' 'top_rate'. There are: min_probability."),
        (["--method", "lap", "--set", "min_probability=2"], "min_probability is a share from 0 to 1, not 2.0"),
        (["--set", "top_rate"], "'top_rate' is not NAME=NUMBER, such as weight=0.1"),
        (["--set", "top_rate=half"], "'top_rate=half' is not NAME=NUMBER"),
        (["--set", "toprate=0.1"], "Did you mean 'top_rate'"),
        (["--per-language", "0"], "per_language is a whole number from 1 to 160, not 0"),
        (["--per-language", "160"], "fewer than the 160 asked"),
        (["--per-language", "5", "--top-rate", "0.1"], "per_language takes the place of top_rate"),
        (["--per-language", "few"], "invalid int value: 'few'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str], expected: str, recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["identify", str(recorded), *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert expected in printed.err
    assert printed.err.count("\n") == 1
    assert not (recorded / "mask.safetensors").exists()


def test_an_equal_count_mask_from_the_command_is_the_librarys(recorded: Path, tmp_path: Path) -> None:
    statistics = ActivationStatistics.load(recorded / "statistics.safetensors")
    assert main(["identify", str(recorded), "--method", "margin", "--per-language", "3", "--out", str(tmp_path)]) == 0
    assert NeuronMask.load(tmp_path) == identify(statistics, "margin", per_language=3)


def test_selection_probabilities_come_from_the_groups_beside_the_statistics(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statistics = ActivationStatistics.load(recorded / "statistics.safetensors")
    every = {
        code: torch.stack([counts.clamp(max=25), (counts - 25).clamp(min=0)]).int()
        for code, counts in statistics.active.items()
    }
    groups = BlockGroups(
        every,
        {code: torch.zeros(0, 2, 4, 40).int() for code in every},
        dict.fromkeys(every, 2),
        (),
        {**statistics.metadata, "block": 25},
    )
    words = ["identify", str(recorded), "--filter-rate", "0.5", "--bar", "0.5", "--out", str(tmp_path), "--selection"]
    assert main(words) == 2
    assert "groups.safetensors" in capsys.readouterr().err
    groups.save(recorded / "groups.safetensors")
    assert main(words) == 0
    mask = NeuronMask.load(tmp_path)
    expected = selection(groups, identify(statistics, filter_rate=0.5, activation_bar_ratio=0.5))
    assert {code: shares.tolist() for code, shares in mask.selection.items()} == {
        code: shares.tolist() for code, shares in expected.items()
    }
    assert any(0 < share < 1 for shares in mask.selection.values() for share in shares.tolist())


def test_groups_of_another_recording_are_refused(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = torch.ones(2, 4, 40, dtype=torch.int32)
    metadata = {**ActivationStatistics.load(recorded / "statistics.safetensors").metadata, "block": 25}
    every = dict.fromkeys(("en", "fr", "ru"), counts)
    halves = dict.fromkeys(every, torch.zeros(0, 2, 4, 40).int())
    BlockGroups(every, halves, dict.fromkeys(every, 2), (), metadata).save(recorded / "groups.safetensors")
    assert main(["identify", str(recorded), "--out", str(tmp_path), "--selection"]) == 2
    assert "other recordings" in capsys.readouterr().err
