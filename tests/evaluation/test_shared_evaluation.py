"""Several processes divide the cells of a measurement, and all of them have all values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from together import in_threads

from lape import LapeError
from lape.evaluation.metrics.cells import Cells, Task, one_by_one
from lape.evaluation.runs.evidence import read_evidence
from lape.evaluation.runs.ledger import Ledger
from lape.evaluation.runs.run import run
from lape.evaluation.runs.work import Work
from lape.processes import ALONE, Processes

SQUARES = {f"square {number}": number * number for number in range(7)}


def squares(done: list[str]) -> list[Task]:
    """Tasks that note what was computed: one of two cells, five of one."""

    def square(*keys: str) -> dict[str, int]:
        done.extend(keys)
        return {key: SQUARES[key] for key in keys}

    first, second, *rest = SQUARES
    return [Task(keys, lambda keys=keys: square(*keys)) for keys in ((first, second), *((key,) for key in rest))]


def test_they_take_turns_and_any_number_goes_on(tmp_path: Path) -> None:
    path, done = tmp_path / "squares.cells.jsonl", [[], [], []]

    def measured(processes: Processes) -> tuple[dict[str, int], int]:
        with Ledger(path, {"seed": 0}, processes) as ledger:
            return ledger.cells(squares(done[processes.rank])), ledger.kept

    assert in_threads(3, measured) == [(SQUARES, 0)] * 3
    assert done == [
        ["square 0", "square 1", "square 4"],
        ["square 2", "square 5"],
        ["square 3", "square 6"],
    ]
    (tmp_path / "squares.cells-1.jsonl").unlink()  # of one that was killed before its first
    done[:] = [[], [], []]
    assert measured(ALONE) == (SQUARES, 5)
    assert done == [["square 2", "square 5"], [], []]
    assert in_threads(2, measured) == [(SQUARES, 7)] * 2
    assert done[1] == []


def test_what_fails_in_one_fails_in_all(tmp_path: Path) -> None:
    """Else the one would go on without the others, as where a part may be left out, and they would wait for it."""

    def fails() -> None:
        raise LapeError("There is too little text.")

    def measured(processes: Processes) -> Any:
        with Ledger(tmp_path / "cells.jsonl", {}, processes) as ledger:
            with pytest.raises(LapeError, match="There is too little text"):
                ledger.cells(one_by_one({"one": lambda: 1, "two": fails}))
            return ledger.cells(one_by_one({"three": lambda: 3, "one": fails}))

    assert in_threads(2, measured) == [{"three": 3, "one": 1}] * 2


def test_other_settings_are_refused_in_all(tmp_path: Path) -> None:
    found = in_threads(2, lambda processes: Ledger(tmp_path / "cells.jsonl", {"seed": processes.rank}, processes))
    message = "Process 1 measures with seed 1, and process 0 with 0. Start all of them alike, with a folder that all "
    assert [str(error) for error in found] == [f"{message}of them see."] * 2


def test_the_first_writes_the_evidence(tmp_path: Path) -> None:
    def measure(cells: Cells) -> dict[str, Any]:
        return cells(squares([]))

    def measured(processes: Processes, folder: str) -> Path:
        work = Work("Squares", {"seed": 0}, 7, measure, lambda results: f"Up to {max(results.values())}.")
        return run(
            "squares", work, tmp_path / folder, command="lape", device="cpu", processes=processes, progress=False
        )

    measured(ALONE, "one")
    assert in_threads(2, lambda processes: measured(processes, "two")) == [tmp_path / "two" / "squares.json"] * 2
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["squares.json"]
    one, two = (read_evidence(tmp_path / folder)["squares"] for folder in ("one", "two"))
    assert {**one, "seconds": 0} == {**two, "seconds": 0}
    assert one["results"] == SQUARES
