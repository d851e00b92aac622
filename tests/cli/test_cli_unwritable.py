"""A full disk, one that can only be read, no home: one sentence and code 2, before the work, for every command."""

from __future__ import annotations

import argparse
import errno
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_lines import COMMANDS
from killing import World, forked, killable, tree

from lape.cli import main
from lape.models.embedded import cache_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="refuses a forked process")

READS = {"list", "push", "diff", "look", "neurons", "neuron", "models", "doctor", "demo"}  # though it may convert
# Every command that writes, with a place of its output that cannot be: "taken" is a file.
INTO_A_FILE = {
    "pull": ["pull", "org/collection", "--model", "org/tiny", "--out", "taken/masks"],
    "record": ["record", "--corpus", "corpus", "--out", "taken"],
    "relations": ["relations", "--out", "taken"],
    "identify": ["identify", "mask", "--out", "taken/new"],
    "import": ["import", "mask.pth", "--model", "org/other", "--shape", "2x4", "--out", "taken/new"],
    "combine": ["combine", "mask", "mask", "--how", "union", "--out", "taken/new"],
    "calibrate": ["calibrate", "mask", "--corpus", "corpus", "--tokens", "1000", "--out", "taken"],
    "evaluate": ["evaluate", "perplexity", "--mask", "mask", "--corpus", "corpus", "--out", "taken/new"],
    "tune": ["tune", "--mask", "mask", "--corpus", "corpus", "--out", "taken"],
    "bench": ["bench", "--mask", "mask", "--corpus", "corpus", "--out", "taken/new"],
    "generate": ["generate", "--prompts", "prompts.txt", "--mask", "mask", "--off", "fr", "--csv", "taken/texts.csv"],
    "report": ["report", "mask", "--html", "taken/report.html"],
    "collect": ["collect", "plan.toml", "--repo", "org/collection", "--out", "taken"],
}
MORE = [
    ["generate", "Bonjour", "--mask", "mask", "--on", "fr", "--sweep", "--csv", "taken/texts.csv"],
    ["report", "mask", "--tables", "taken/EVIDENCE.md"],
    ["report", "mask", "--readme", "taken/README.md"],
    ["import", "llama-2-7b", "--out", "taken/new"],
]
WRITING = ("pull over nothing", "pull over an older one", "record", "identify", "import", "calibrate", "evaluate",
            "report", "conversion")  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with killable(tmp_path_factory.mktemp("world")) as world:
        yield world


def working(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, loading a model, asking the Hub or choosing neurons is a fault."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("work has started")

    for name in ("models.loading.load_model", "hub.snapshots.snapshot", "masks.released._download"):
        monkeypatch.setattr(f"lape.{name}", work)
    monkeypatch.setattr(sys.modules["lape.identify"], "identify", work)  # of that name is lape's function too
    monkeypatch.setattr("lape.models.conversion._convert", work)


def said(printed: str) -> str:
    """The one line that begins with `lape: `."""
    (line,) = (line for line in printed.splitlines() if line.startswith("lape: "))
    assert "Traceback" not in printed
    return line


def test_no_command_that_writes_is_forgotten(world: World) -> None:
    assert {*COMMANDS} == {*INTO_A_FILE, *READS}
    places = {action.dest for name in READS for action in COMMANDS[name]._actions if action.type is Path}
    assert places <= {"mask", "first", "second", "folder"}, "one of these writes"
    assert {*WRITING} == {*world.words}


@pytest.mark.parametrize("words", [*INTO_A_FILE.values(), *MORE], ids=lambda words: f"{words[0]} {words[-2]}")
def test_a_place_that_cannot_be_is_said_before_the_work(
    world: World,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.lay("record", tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    Path("taken").write_text("a file")
    before = tree(Path())
    working(monkeypatch)
    assert main(words) == 2
    line = said(capsys.readouterr().err)
    assert "'taken" in line
    assert "cannot be written (" in line
    assert "ame another " in line or "ull into another folder" in line
    assert tree(Path()) == before


@pytest.mark.parametrize("refusal", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("command", WRITING)
def test_a_disk_that_takes_nothing_is_said_before_the_work(
    world: World,
    command: str,
    refusal: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    work = world.lay(command, tmp_path / "run")
    before = tree(tmp_path / "run")
    if command != "conversion":  # there the load is what converts
        working(monkeypatch)
    monkeypatch.setattr("lape.models.conversion._convert", lambda *_: pytest.fail("work has started"))
    assert forked(work, tmp_path / "run", refuse_at=1, refusal=refusal).code == 2
    line = said(capfd.readouterr().err)
    assert f"({os.strerror(refusal)})" in line
    assert ("Free some space, or " in line) == (refusal in (errno.ENOSPC, errno.EDQUOT))
    assert tree(tmp_path / "run") == before


@pytest.mark.slow
@pytest.mark.parametrize("command", WRITING)
def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half_written(
    world: World, command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    undisturbed = forked(world.lay(command, folder), folder)
    after = tree(folder)
    taking = ("open", "os.fsync", "os.mkdir")
    changes = [(number, event) for number, event in enumerate(undisturbed.changes, start=1) if event in taking]
    for number, event in changes[::6]:
        work = world.lay(command, folder)
        capfd.readouterr()
        refused = forked(work, folder, refuse_at=number)
        assert refused.code == 2, (number, event)
        assert "No space left on device" in said(capfd.readouterr().err)
        assert not [name for name in tree(folder) if ".lape-" in name and ".lape-placed" not in name], number
        assert forked(work, folder).code == 0
        assert tree(folder) == after, (number, event)


@pytest.mark.parametrize("most", [4096, 4700, 9000])
@pytest.mark.parametrize("command", WRITING)
def test_a_file_that_ends_in_the_middle_is_never_put_in_place(
    world: World, command: str, most: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The system itself refuses bytes past a limit, also to what is written outside of Python."""
    folder = tmp_path / "run"
    assert forked(world.lay(command, folder), folder).code == 0
    after = tree(folder)
    work = world.lay(command, folder)
    capfd.readouterr()

    def limited() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        return work()

    refused = forked(limited, folder)
    printed = capfd.readouterr().err
    assert refused.code in (0, 2), printed
    assert refused.code == 0 or "File too large" in said(printed)
    assert not [name for name in tree(folder) if ".lape-" in name]
    assert forked(work, folder).code == 0
    assert tree(folder) == after


def test_too_little_space_for_the_conversion_is_said_before_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = world.lay("conversion", tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setattr("shutil.disk_usage", lambda _: argparse.Namespace(free=10_000_000))
    monkeypatch.setattr("lape.models.conversion._convert", lambda *_: pytest.fail("work has started"))
    assert work() == 2
    line = said(capsys.readouterr().err)
    assert "(540 MB are needed, and 10 MB are free). Free some space, or name another folder in LAPE_CACHE." in line
    assert not Path("cache").exists()


def test_a_pull_that_does_not_fit_is_said_before_it_is_written(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = world.lay("pull over an older one", tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    before = tree(Path())
    monkeypatch.setattr("shutil.disk_usage", lambda _: argparse.Namespace(free=100))
    assert work() == 2
    assert "MB are free). Free some space, or pull into another folder." in said(capsys.readouterr().err)
    assert tree(Path()) == before


def test_without_a_home_the_way_out_is_said(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = world.lay("conversion", tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    for name in ("LAPE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # such as in a container, for a user it does not know
    assert work() == 2
    assert "There is no home folder to keep models in. Name a folder in LAPE_CACHE." in said(capsys.readouterr().err)
    monkeypatch.setenv("LAPE_CACHE", "here")
    assert cache_folder() == Path("here")
