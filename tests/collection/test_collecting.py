"""A collection from a plan to the stand-in Hub: all of it, one model that fails, a second run, and kills."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from collecting import CODES, FAMILIES, PLAN, REPO, lay, models_on
from hub_standin import WRITE, Hub
from killing import forked
from tqdm import tqdm

import lape
from lape.cli import main
from lape.collection import steps
from lape.evaluation.runs.evidence import read_evidence
from lape.masks.collection import list_masks, pull
from lape.storage.files import sha256_of

Capture = pytest.CaptureFixture[str]
MOVES = ("os.rename", "os.remove")
BESIDE = {"mask.safetensors", "mask.json", "statistics.safetensors", "layers.svg", "README.md", "EVIDENCE.md"}
BESIDE |= {"evidence/perplexity.json", "evidence/layers.json"}


@pytest.fixture
def hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The stand-in with the models, and somebody logged in who may write; measuring takes no time."""
    models_on(hub, tmp_path / "models")
    monkeypatch.setenv("HF_TOKEN", WRITE)
    monkeypatch.setattr("lape.evaluation.runs.ledger.time", SimpleNamespace(perf_counter=lambda: 0.0))
    monkeypatch.setattr("lape.recording.recorder.CHECKPOINT_EVERY_TOKENS", 64)
    return hub


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the text and the plan."""
    lay(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def collected(capsys: Capture, code: int = 0) -> dict[str, dict[str, Any]]:
    """The rows of `lape collect`, by model and mask."""
    assert main(["collect", "plan.toml", "--repo", REPO, "--json"]) == code
    rows = json.loads(capsys.readouterr().out)["masks"]
    return {f"{row['model']} {row['name']}": row for row in rows}


def pushed(hub: Hub) -> dict[str, bytes]:
    """Everything that the collection holds."""
    return {path: hub.repos[REPO].read(path) for path in hub.repos[REPO].paths()}


def commits(hub: Hub) -> list[str]:
    return [commit.title for commit in hub.repos[REPO].history()]


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("nothing is to be done again")


def test_every_model_is_pushed_and_can_be_pulled(hub: Hub, work: Path, tmp_path: Path, capsys: Capture) -> None:
    rows = collected(capsys)
    assert {row["condition"] for row in rows.values()} == {"done"}
    assert list(rows) == [f"org/{family} lape" for family in FAMILIES]
    assert pushed(hub).keys() == {".gitattributes", "README.md"} | {
        f"org--{family}/lape/{name}" for family in FAMILIES for name in BESIDE
    }
    assert commits(hub) == [*(f"Add org--{family}/lape" for family in reversed(FAMILIES)), "initial commit"]
    assert [entry.model for entry in list_masks(REPO)] == sorted(f"org/{family}" for family in FAMILIES)
    for family in FAMILIES:
        folder = pull(REPO, model=f"org/{family}", into=tmp_path / "pulled")
        mask = lape.NeuronMask.load(folder)
        assert mask == lape.NeuronMask.from_pretrained(REPO, model=f"org/{family}")
        assert mask.metadata["model"] == f"org/{family}"
        assert mask.languages == CODES
        assert all(mask.count(code) for code in CODES)
        statistics = lape.ActivationStatistics.load(folder / "statistics.safetensors")
        assert statistics.tokens == dict.fromkeys(CODES, 128)
        again = lape.identify(statistics, "lape", **mask.metadata["settings"])
        assert again == mask
    evidence = read_evidence(work / "collection" / "masks" / "org--opt" / "lape" / "evidence")
    assert evidence["perplexity"]["command"] == (
        "lape evaluate perplexity --model org/opt --device cpu --mask precomputed/org--opt/lape --corpus corpus "
        "--tokens 64 --block 32 --seeds 1 --rivals none"
    )
    assert f"`{evidence['perplexity']['title']}`" in hub.repos[REPO].read("org--opt/lape/README.md").decode()


def test_a_second_run_asks_nothing_and_loads_nothing(
    hub: Hub, work: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = collected(capsys)
    hub.requests.clear()
    for name in ("load_model", "find_model"):
        monkeypatch.setattr(f"lape.models.loading.{name}", refuse)
    assert collected(capsys) == first
    assert not hub.requests


def test_without_its_state_a_run_finds_what_was_made(
    hub: Hub, work: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected(capsys)
    before = pushed(hub)
    (work / "collection" / "state.json").unlink()
    monkeypatch.setattr(steps, "record_into", refuse)
    monkeypatch.setattr("lape.evaluation.measuring.run", refuse)
    assert {row["condition"] for row in collected(capsys).values()} == {"done"}
    assert pushed(hub) == before
    assert len(commits(hub)) == 1 + len(FAMILIES)


def test_a_changed_setting_makes_that_mask_again_from_the_same_recording(
    hub: Hub, work: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected(capsys)
    before = pushed(hub)
    shutil.copy("plan.toml", "before.toml")
    text = Path("plan.toml").read_text().replace('model = "org/opt"', 'model = "org/opt"\nmethods = {lave = {}}')
    Path("plan.toml").write_text(text)
    monkeypatch.setattr(steps, "record_into", refuse)
    rows = collected(capsys)
    assert list(rows) == ["org/llama lape", "org/opt lave", "org/gpt2 lape"]
    assert commits(hub)[0] == "Add org--opt/lave"
    after = pushed(hub)
    assert {path for path in after if before.get(path) != after[path]} == {
        "README.md",
        *(f"org--opt/lave/{name}" for name in BESIDE),
    }
    shutil.move("before.toml", "plan.toml")
    Path("plan.toml").write_text(Path("plan.toml").read_text().replace("top_rate = 0.1", "top_rate = 0.2"))
    rows = collected(capsys)
    assert commits(hub)[:3] == [f"Update org--{family}/lape" for family in reversed(FAMILIES)]
    evidence = read_evidence(work / "collection" / "masks" / "org--llama" / "lape" / "evidence")
    mask = work / "collection" / "masks" / "org--llama" / "lape" / "mask.safetensors"
    assert {each["settings"]["mask"]["sha256"] for each in evidence.values()} == {sha256_of(mask)}


def test_one_models_failure_is_said_and_stops_no_other(hub: Hub, work: Path, capsys: Capture) -> None:
    hub.repos["org/opt"].gated = True
    hub.add("eve/gated", {"config.json": b"{}"}, gated=True)
    Path("plan.toml").write_text(Path("plan.toml").read_text().replace("org/opt", "eve/gated"))
    rows = collected(capsys, code=1)
    assert [row["condition"] for row in rows.values()] == ["done", "failed", "done"]
    failed = rows["eve/gated lape"]
    assert failed["step"] == "record"
    assert "eve/gated is gated: accept its conditions" in failed["why"]
    assert commits(hub) == ["Add org--gpt2/lape", "Add org--llama/lape", "initial commit"]
    assert main(["collect", "plan.toml", "--repo", REPO]) == 1
    printed = capsys.readouterr().out
    assert f"eve/gated lape: {failed['why']}" in printed
    assert len(commits(hub)) == 3


def test_a_fault_with_one_model_is_not_one_with_the_others(
    hub: Hub, work: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    identify = steps.identify_step

    def breaks(method: Any, recording: Path, folder: Path) -> None:
        if "opt" in str(folder):
            raise RuntimeError("a bug\nof ours")
        identify(method, recording, folder)

    monkeypatch.setattr(steps, "identify_step", breaks)
    rows = collected(capsys, code=1)
    assert [row["condition"] for row in rows.values()] == ["done", "failed", "done"]
    assert rows["org/opt lape"]["why"] == "unexpected RuntimeError: a bug of ours"
    monkeypatch.setattr(steps, "identify_step", identify)
    monkeypatch.setattr(steps, "record_into", refuse)
    assert {row["condition"] for row in collected(capsys).values()} == {"done"}


def test_a_refused_push_is_tried_again_and_measures_nothing_again(
    hub: Hub, work: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fail("POST .*org/collection/commit", 500, times=1)
    rows = collected(capsys, code=1)
    assert [row["condition"] for row in rows.values()] == ["failed", "done", "done"]
    assert rows["org/llama lape"]["step"] == "push"
    monkeypatch.setattr("lape.models.loading.load_model", refuse)
    assert {row["condition"] for row in collected(capsys).values()} == {"done"}
    assert len(commits(hub)) == 1 + len(FAMILIES)


def test_ctrl_c_is_written_down_and_the_same_command_goes_on(
    hub: Hub, work: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(steps, "identify_step", stop)
        assert main(["collect", "plan.toml", "--repo", REPO]) == 130
    rows = json.loads((work / "collection" / "state.json").read_text())["rows"]
    assert [row["condition"] for row in rows.values()] == ["waiting", "stopped", "waiting"]  # sorted by name
    assert REPO not in hub.repos
    capsys.readouterr()
    assert {row["condition"] for row in collected(capsys).values()} == {"done"}


def test_nothing_starts_without_a_token(hub: Hub, work: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert main(["collect", "plan.toml", "--repo", REPO]) == 2
    assert "Pushing needs a token" in capsys.readouterr().err
    assert main(["collect", "plan.toml", "--repo", "collection"]) == 2
    assert not (work / "collection").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_two_do_not_work_in_one_folder(hub: Hub, work: Path, capsys: Capture) -> None:
    from lape.storage.placing import alone

    with alone(work / "collection" / "collect.lock"):
        assert main(["collect", "plan.toml", "--repo", REPO]) == 2
    assert "Another process works in 'collection'" in capsys.readouterr().err
    assert REPO not in hub.repos


def test_the_table_is_shown_while_it_goes_on(hub: Hub, work: Path, capsys: Capture) -> None:
    assert main(["collect", "plan.toml", "--repo", REPO]) == 0
    printed = capsys.readouterr()
    assert "org/llama  lape  running  evidence" in printed.err
    assert "org/opt    lape  waiting" in printed.err
    lines = printed.out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [[f"org/{family}", "lape", "done"] for family in FAMILIES]
    assert f"{hub.endpoint}/{REPO}/tree/main/org--llama/lape" in lines[1]


# Killed


def killed_and_resumed(
    hub: Hub, work: Path, monkeypatch: pytest.MonkeyPatch, choose: Callable[[list[int]], list[int]]
) -> int:
    """Kills the command before some of its renames and does it again; how often it was killed.

    Each time the collection must hold the same bytes as after an undisturbed run, in one commit a mask, and every
    recording must have been finished once.
    """
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # no thread of its own, whose locks a fork would copy as they are
    finished = work.parent / "finished"
    record_into = steps.record_into

    def recorded(folder: Path, *arguments: Any, **settings: Any) -> Any:
        found = record_into(folder, *arguments, **settings)
        with finished.open("a") as log:
            log.write(f"{folder.name}\n")
        return found

    monkeypatch.setattr(steps, "record_into", recorded)

    def anew() -> None:
        shutil.rmtree(work / "collection", ignore_errors=True)
        finished.unlink(missing_ok=True)
        hub.repos.pop(REPO, None)

    def command() -> int:
        return main(["collect", "plan.toml", "--repo", REPO, "--json"])

    anew()
    undisturbed = forked(command, work)
    assert undisturbed.code == 0
    expected, titles = pushed(hub), commits(hub)
    numbers = [number for number, event in enumerate(undisturbed.changes, start=1) if event in MOVES]
    chosen = choose(numbers)
    for number in chosen:
        anew()
        assert forked(command, work, kill_at=number).killed, number
        if REPO in hub.repos:  # what is there is whole
            assert pushed(hub).items() - {("README.md", b"")} <= expected.items() | pushed_cards(hub), number
        assert forked(command, work).code == 0, number
        assert pushed(hub) == expected, number
        assert commits(hub) == titles, number
        # Killed within its last renames, a recording is finished by the next command, which finds it whole.
        names = finished.read_text().split() if finished.exists() else []
        assert len(names) - len(set(names)) == 0, number
        assert not [path for path in (work / "collection").rglob("*") if ".lape-" in path.name], number
    return len(chosen)


def pushed_cards(hub: Hub) -> set[tuple[str, bytes]]:
    """The collection's own card, which grows with every mask."""
    return {("README.md", pushed(hub).get("README.md", b""))}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_a_killed_collection_goes_on(hub: Hub, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_one(work)
    assert killed_and_resumed(hub, work, monkeypatch, lambda numbers: numbers[3 :: len(numbers) // 4]) >= 3


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_a_collection_of_three_killed_in_between_goes_on(hub: Hub, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert killed_and_resumed(hub, work, monkeypatch, lambda numbers: numbers[5 :: len(numbers) // 5]) >= 4


def lay_one(work: Path) -> None:
    """A plan of one model only."""
    shutil.rmtree(work / "corpus")
    lay(work, PLAN, FAMILIES[:1])
