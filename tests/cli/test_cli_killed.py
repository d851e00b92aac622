"""Every command that writes, killed (-9) in the middle: nothing is lost, nothing stays, and it goes on."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from killing import PLACE, World, forked, killable, tree

from lape.storage.placing import settle

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")

# Commands that put several files in place, and where: after a kill all of them are the old ones, or all the new ones.
SEVERAL = {
    "pull over nothing": f"precomputed/{PLACE}",
    "pull over an older one": f"precomputed/{PLACE}",
    "identify": "mask",
    "import": "mask",
}
QUICK = ("pull over an older one", "report", "conversion")
OTHERS = ("pull over nothing", "identify", "import", "record", "calibrate", "evaluate")
MOVES = ("os.rename", "os.remove", "os.rmdir")
STEPS = ("open", "os.mkdir", "os.chmod", "os.fsync")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with killable(tmp_path_factory.mktemp("world")) as world:
        yield world


def files(folder: Path) -> dict[str, bytes | None]:
    """The files a reader sees."""
    return {name: content for name, content in tree(folder).items() if content is not None and ".lape-" not in name}


def kill_at_each(world: World, command: str, folder: Path, kinds: Collection[str], each: int = 1) -> int:
    """Kills a command before each of its changes of some kinds, and does it again; how often it was killed.

    Args:
        world: Where it works.
        command: Its name.
        folder: Where.
        kinds: The changes it is killed at.
        each: Only every so many of these.
    """
    work = world.lay(command, folder)
    before = files(folder)
    undisturbed = forked(work, folder)
    assert undisturbed.code == 0
    after, states = tree(folder), (before, files(folder))
    assert states[0] != states[1]
    numbers = [number for number, event in enumerate(undisturbed.changes, start=1) if event in kinds][::each]
    for number in numbers:
        world.lay(command, folder)
        assert forked(work, folder, kill_at=number).killed
        if command in SEVERAL:
            settle(folder / SEVERAL[command])  # as whoever reads there does
            assert files(folder) in states, number
        assert forked(work, folder).code == 0, number
        assert tree(folder) == after, number
    return len(numbers)


@pytest.mark.parametrize("command", [*QUICK, *(pytest.param(other, marks=pytest.mark.slow) for other in OTHERS)])
def test_a_command_killed_at_a_rename_or_removal_is_done_by_the_next(
    world: World, command: str, tmp_path: Path
) -> None:
    each = 3 if command == "record" else 1  # it renames one checkpoint after the other
    assert kill_at_each(world, command, tmp_path / "run", MOVES, each) >= 3


def test_a_recording_is_never_lost(world: World, tmp_path: Path) -> None:
    """The checkpoint went before the statistics were written: a kill in between cost all the hours."""
    folder, begun = tmp_path / "run", False
    work = world.lay("record", folder)
    undisturbed = forked(work, folder)
    recorded = files(folder)
    for number in (number for number, event in enumerate(undisturbed.changes, start=1) if event in MOVES):
        world.lay("record", folder)
        assert forked(work, folder, kill_at=number).killed
        settle(folder / "mask")
        kept = (folder / "mask" / "checkpoint.safetensors").exists()
        assert kept or not begun or files(folder) == recorded, number
        begun = begun or kept
    assert begun


@pytest.mark.slow
@pytest.mark.parametrize("command", [*QUICK, *OTHERS])
def test_a_command_killed_at_any_other_change_of_the_disk_is_done_by_the_next(
    world: World, command: str, tmp_path: Path
) -> None:
    """At an eighth of them; `make attack` kills at any moment."""
    assert kill_at_each(world, command, tmp_path / "run", STEPS, each=8) >= 2
