"""Files put into place whole: what a kill, a full disk and another process at the same time do to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from killing import forked

from lape.errors import LapeError
from lape.storage.files import load_tensors, save_tensors, write_json
from lape.storage.placing import PLACED, atomic_write, placed, prepare, settle, temporary_folder


def put(folder: Path, number: int) -> int:
    """Places two files that belong together."""
    with placed(folder, without=["gone"]) as staged:
        (staged / "one").write_text(str(number))
        (staged / "two").write_text(str(number))
    return 0


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_several_files_are_placed_and_others_stay(tmp_path: Path) -> None:
    for name in ("one", "gone", "note"):
        (tmp_path / name).write_text("old")
    (tmp_path / "evidence").mkdir()
    put(tmp_path, 1)
    (tmp_path / "evidence").rmdir()
    assert texts(tmp_path) == {"one": "1", "two": "1", "note": "old"}
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o644


def test_an_error_places_nothing(tmp_path: Path) -> None:
    put(tmp_path, 1)

    def half() -> None:
        with placed(tmp_path, without=["two"]) as staged:
            (staged / "one").write_text("2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert texts(tmp_path) == {"one": "1", "two": "1"}


def test_a_folder_in_the_way_is_said_while_there_is_a_way_back(tmp_path: Path) -> None:
    (tmp_path / "two" / "full").mkdir(parents=True)
    with pytest.raises(LapeError, match=r"cannot be written \(Is a directory\)\. Name another folder\."):
        put(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["two"]


def test_a_reader_finishes_what_was_placed(tmp_path: Path) -> None:
    """Killed between two renames, a pull left new statistics beside an old mask, and was refused ever after."""
    save_tensors(tmp_path / "file", {}, {"kind": "old"})
    save_tensors(tmp_path / PLACED / "file", {}, {"kind": "new"})
    (tmp_path / PLACED / "gone").mkdir()
    (tmp_path / "gone").write_text("old")
    assert load_tensors(tmp_path / "file", "new")[1] == {"kind": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


WRITERS = {
    "prepare": prepare,
    "atomic_write": lambda folder: write_json(folder / "file", 1),
    "placed": lambda folder: put(folder, 1),
    "temporary_folder": lambda folder: temporary_folder(folder).__enter__(),
    "settle": settle,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_nobody_holds_is_removed_and_nothing_else(writer: str, tmp_path: Path) -> None:
    """A killed conversion left 538 MB behind."""
    (tmp_path / ".lape-abcd_123" / "model").mkdir(parents=True)
    (tmp_path / ".lape-abcd_123" / "model" / "weights").write_text("half")
    (tmp_path / ".lape-00000000").write_text("half")
    os.mkfifo(tmp_path / ".lape-aaaaaaaa")
    others = (".lape-short", ".lape-abcd_1234", ".lape-ABCDEFGH", "x.lape-abcdefgh", ".lape", ".other-abcdefgh")
    for name in others:
        (tmp_path / name).write_text("of one's own")
    (tmp_path / ".lape-bbbbbbbb").symlink_to(tmp_path / ".lape-short")
    WRITERS[writer](tmp_path)
    there = {path.name for path in tmp_path.iterdir()}
    assert there - {"file", "one", "two"} == {*others, ".lape-bbbbbbbb"}


def test_what_a_living_process_writes_is_not_swept(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "slow") as slow, placed(tmp_path) as staged, temporary_folder(tmp_path) as folder:
        slow.write_text("slow")
        (staged / "several").write_text("several")
        assert forked(lambda: put(tmp_path, 1), tmp_path).code == 0
        put(tmp_path, 2)
        assert all(path.exists() for path in (slow, staged / "several", folder))
    assert texts(tmp_path) == {"slow": "slow", "several": "several", "one": "2", "two": "2"}


def test_two_processes_never_mix_what_they_place(tmp_path: Path) -> None:
    """Another process places the two files forty times, and so does this one."""
    here, child = tmp_path / "here", os.fork()
    if not child:
        code = 1
        try:
            for number in range(40):
                put(here, number)
            code = 0
        finally:
            os._exit(code)
    for number in range(40, 80):
        put(here, number)
    assert os.waitpid(child, 0)[1] == 0
    assert set(texts(here)) == {"one", "two"}
    assert len(set(texts(here).values())) == 1


def test_a_link_in_the_place_of_what_was_placed_is_not_followed(tmp_path: Path) -> None:
    """A folder from elsewhere may hold one, and reading there would empty the folder that it names."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "file").write_text("of one's own")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / PLACED).symlink_to(own)
    settle(tmp_path / "theirs")
    assert texts(own) == {"file": "of one's own"}


@pytest.mark.parametrize("name", ["x" * 5000, "nul\0", "missing"])
def test_a_place_that_cannot_be_has_nothing_to_settle(name: str, tmp_path: Path) -> None:
    settle(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_preparing_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for folder in (tmp_path / "there", tmp_path / "a" / "b" / "c"):
        prepare(folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            LapeError, match=r"cannot be written \((Not a directory|File exists)\)\. Name another folder\."
        ):
            prepare(folder)


def test_a_disk_that_is_too_small_is_said_with_both_numbers(tmp_path: Path) -> None:
    expected = r"written \(9,000,000,000,000 MB are needed, and [\d,]+ MB are free\)\. Free some space, or go away\."
    with pytest.raises(LapeError, match=expected):
        prepare(tmp_path / "new", "go away", size=9 * 10**18)
    assert not (tmp_path / "new").exists()
