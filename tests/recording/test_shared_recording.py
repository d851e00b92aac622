"""Several processes count what one does, and what each has counted survives the others."""

from __future__ import annotations

import json
import os
import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from families import build
from test_groups import Both, Stop, assert_same_groups, record_grouped
from test_recorder import BATCH, BLOCK, CORPORA, cut, record_both
from together import forked_together, in_threads
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import lape
from lape import ActivationStatistics, CheckpointMismatch
from lape.cli import main
from lape.models import loading
from lape.processes import Processes
from lape.recording import recorder as recording
from lape.recording.groups import BlockGroups
from lape.storage.files import load_tensors, save_tensors

PASSES = 6  # of one process


def assert_counts_alike(one: ActivationStatistics, other: ActivationStatistics) -> None:
    """The same counts, of the same text; sums may differ in the order they were added in."""
    assert (one.tokens, one.metadata["corpora"]) == (other.tokens, other.metadata["corpora"])
    for code in one.languages:
        assert torch.equal(one.active[code], other.active[code])
        torch.testing.assert_close(one.sum[code], other.sum[code], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(one.positive_sum[code], other.positive_sum[code], rtol=1e-12, atol=1e-12)


def record_together(number: int, tokenizer: PreTrainedTokenizerFast, **changes: Any) -> list[Both | BaseException]:
    """What each of several processes has at the end; `dies` is rank and pass of one that does not get there."""
    models = [build("llama") for _ in range(number)]
    at, before_pass = changes.pop("dies", (None, 0))
    if "until" in changes:
        changes["until"] = changes["until"] and Stop(changes["until"])

    def work(processes: Processes) -> Both:
        lape.activation_sites(models[processes.rank])
        with cut(models[processes.rank], before_pass if processes.rank == at else 99, ZeroDivisionError):
            return record_grouped(models[processes.rank], tokenizer, processes=processes, **changes)

    return in_threads(number, work)


@pytest.mark.parametrize(("number", "until"), [(2, None), (3, 4), (8, None)])
def test_any_number_of_processes_counts_the_same(
    number: int, until: int | None, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    """8 have nothing to do for two of them, and pass no snapshot."""
    statistics, groups = record_grouped(tiny_model, tokenizer, until=until and Stop(until))
    for found in record_together(number, tokenizer, until=until):
        assert not isinstance(found, BaseException), found
        assert_counts_alike(found[0], statistics)
        assert_same_groups(found[1], groups)


@pytest.mark.parametrize("resumed_by", [1, 2, 3])
@pytest.mark.parametrize("until", [None, 6])
def test_a_process_that_dies_costs_nobody_elses_counts(
    resumed_by: int,
    until: int | None,
    tiny_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    statistics, groups = record_grouped(tiny_model, tokenizer, until=until and Stop(until))
    whole = sum(statistics.tokens.values())
    settings = {"until": until, "checkpoint": tmp_path / "checkpoint.safetensors"}
    *_, died = record_together(2, tokenizer, dies=(1, 2), **settings)
    assert isinstance(died, ZeroDivisionError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1.safetensors", "checkpoint.safetensors"]
    done = [load_tensors(path, "checkpoint")[1]["done"] for path in tmp_path.iterdir()]
    counted = sum(of_language["blocks"] for of_process in done for of_language in of_process.values()) * BLOCK
    assert BATCH * BLOCK < counted < whole

    passes = count()
    of_one = recording.ModelCounter.counting

    def watched(*given: Any, **settings: Any) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def inner() -> Any:
            with of_one(*given, **settings) as read:
                yield lambda blocks: (next(passes), read(blocks))[1]

        return inner()

    monkeypatch.setattr(recording.ModelCounter, "counting", watched)
    for found in record_together(resumed_by, tokenizer, **settings):
        assert not isinstance(found, BaseException), found
        assert_counts_alike(found[0], statistics)
        assert_same_groups(found[1], groups)
    assert (whole - counted) / (BATCH * BLOCK) <= next(passes) < PASSES  # what was left
    assert not list(tmp_path.iterdir())


@pytest.fixture
def two_checkpoints(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    """Of two processes, the second of which died before its first pass: there are gaps."""
    path = tmp_path / "checkpoint"
    record_together(2, tokenizer, dies=(1, 1), checkpoint=path)
    return path


def test_text_before_a_gap_is_compared_before_the_gap_is_counted(
    two_checkpoints: Path, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    before = two_checkpoints.read_bytes()
    changed = {**CORPORA, "xx": ["Another.", *CORPORA["xx"]]}
    with cut(tiny_model, 2, ZeroDivisionError), pytest.raises(CheckpointMismatch, match="text of 'xx' is not the one"):
        record_grouped(tiny_model, tokenizer, corpora=changed, checkpoint=two_checkpoints)
    assert two_checkpoints.read_bytes() == before


def test_the_same_text_in_two_checkpoints_is_refused(
    two_checkpoints: Path, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    """As where a folder is not shared, and a process finds what it has left there in an earlier run."""
    other = two_checkpoints.with_name("checkpoint-1")
    tensors, metadata = load_tensors(two_checkpoints, "checkpoint")
    save_tensors(other, tensors, metadata)
    found = in_threads(
        2, lambda processes: record_grouped(build("llama"), tokenizer, **_given(processes, other.parent))
    )
    assert all(isinstance(each, CheckpointMismatch) and "same text of 'xx'" in str(each) for each in found)


def test_processes_agree_on_a_batch_and_keep_to_it(
    tiny_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On GPUs it is what fits, which may be another number for each, and another time."""
    fitting = iter([5, 3, 7])
    monkeypatch.setattr(recording.ModelCounter, "batch", lambda *_: next(fitting))
    path = tmp_path / "checkpoint"
    record_together(2, tokenizer, dies=(1, 2), checkpoint=path, batch=None)
    assert load_tensors(path, "checkpoint")[1]["settings"]["batch"] == 3
    resumed = record_grouped(tiny_model, tokenizer, checkpoint=path, batch=None)
    assert_counts_alike(resumed[0], record_both(tiny_model, tokenizer, batch=3))


def test_processes_with_other_settings_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    found = in_threads(
        2, lambda processes: record_both(build("llama"), tokenizer, batch=3 - processes.rank, processes=processes)
    )
    assert [str(error) for error in found] == [
        "Process 1 records with batch 2, and process 0 with 3. Start all of them alike."
    ] * 2


def _given(processes: Processes, folder: Path) -> dict[str, Any]:
    return {"processes": processes, "checkpoint": folder / "checkpoint"}


# Real processes


@pytest.fixture
def command(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that records, of a model that is loaded already."""
    loaded = lape.load_model(str(tiny_folder), device="cpu")
    lape.activation_sites(loaded[0])
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: loaded)
    monkeypatch.setattr(recording, "CHECKPOINT_EVERY_TOKENS", 1)
    (tmp_path / "corpus").mkdir()
    for code, documents in CORPORA.items():
        (tmp_path / "corpus" / f"{code}.txt").write_text("\n\n".join(documents))
    words = ["record", "--corpus", str(tmp_path / "corpus"), "--tokens", "128", "--block", "16", "--batch", "2"]
    return [*words, "--groups", "4", "--resume", "--json", "--out"]


def files_of(folder: Path) -> tuple[ActivationStatistics, BlockGroups]:
    assert sorted(path.name for path in folder.iterdir()) == ["groups.safetensors", "statistics.safetensors"]
    return ActivationStatistics.load(folder / "statistics.safetensors"), BlockGroups.load(folder / "groups.safetensors")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_two_processes_by_gloo(command: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*command, str(tmp_path / "one")]) == 0
    said = json.loads(capfd.readouterr().out)
    statistics, groups = files_of(tmp_path / "one")

    assert forked_together(2, lambda rank: main([*command, str(tmp_path / "two")])) == [0, 0]
    assert json.loads(capfd.readouterr().out) == {
        **said,
        "path": str(tmp_path / "two" / "statistics.safetensors"),
        "groups": str(tmp_path / "two" / "groups.safetensors"),
    }
    both = files_of(tmp_path / "two")
    assert_counts_alike(both[0], statistics)
    assert_same_groups(both[1], groups)

    def killed(rank: int) -> int:
        model = loading.load_model()[0]
        with cut(model, 4 if rank else 99, lambda: os.kill(os.getpid(), signal.SIGKILL)):
            return main([*command, str(tmp_path / "killed")])

    assert forked_together(2, killed) == [2, -signal.SIGKILL]
    assert "Another of the 2 processes has ended" in capfd.readouterr().err
    kept = [load_tensors(path, "checkpoint")[1]["done"] for path in sorted((tmp_path / "killed").iterdir())]
    blocks = [sum(of_language["blocks"] for of_language in done.values()) for done in kept]
    assert blocks == [6, 8]  # "checkpoint-1" comes first: three of its passes, and all of the other's
    assert main([*command, str(tmp_path / "killed")]) == 0
    resumed = files_of(tmp_path / "killed")
    assert_counts_alike(resumed[0], statistics)
    assert_same_groups(resumed[1], groups)


def test_a_request_to_end_keeps_the_checkpoint(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with cut(loading.load_model()[0], 4, lambda: os.kill(os.getpid(), signal.SIGTERM)):
            assert main([*command, str(tmp_path / "out")]) == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err.endswith("lape: stopped.\n")
    assert load_tensors(tmp_path / "out" / "checkpoint.safetensors", "checkpoint")[1]["done"]["xx"]["blocks"] == 6
