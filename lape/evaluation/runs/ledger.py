"""The ledger of a run: its cells, kept while it is under way, so that it goes on after a stop."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lape.errors import BadFile, CheckpointMismatch, LapeError
from lape.evaluation.metrics.cells import Task
from lape.processes import ALONE, Processes
from lape.storage.json import parse_json, read_regular
from lape.storage.names import of_rank, of_ranks
from lape.storage.placing import writing
from lape.storage.schema import ANYTHING, LONG_TEXT, NUMBER, listing, mapping, misfit, record

HEAD = record({"settings": mapping(ANYTHING)})
CELLS = listing(record({"key": LONG_TEXT, "seconds": NUMBER, "value": ANYTHING}))


class Ledger:
    """The cells of a run, one JSON line each, so that a run that was stopped goes on where it was.

    A line is on the disk before its value is used, and one that was cut off by a crash is dropped. The file begins
    with the settings of the run, and other settings are refused. Each of several processes has a file of its own with
    what it has computed, and all have all values; those in files of ranks that are no more count too.

    Args:
        path: The file; made when missing. Further processes have `<name>-<rank>` beside it.
        settings: Everything a cell's value depends on besides its key.
        processes: That divide the cells; all of them ask for the same.

    Attributes:
        kept: Cells that were there at the start.
        seconds: Time that the cells took, those of earlier runs included, and of all processes.

    Raises:
        CheckpointMismatch: A file has other settings; names those that differ.
        BadFile: A file is damaged before its last line.
        LapeError: It cannot be written, also of a cell, and what it was computed from stays; or another process has
            other settings, has failed or has ended.

    Example:
        >>> with Ledger(path, {"seed": 0}) as ledger:  # doctest: +SKIP
        ...     ledger.cells(one_by_one({"perplexity off=fr text=de": lambda: {"delta_nats": 0.01}}))
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any], processes: Processes = ALONE) -> None:
        self._processes = processes
        self._path = of_rank(Path(path), processes.rank)
        if self._path.exists() and not self._path.is_file():
            raise BadFile(f"{str(self._path)!r} is no regular file. Move it away, or name another folder.")
        self.seconds = 0.0
        self._values: dict[str, str] = {}
        with writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("r+b" if self._path.exists() else "x+b")
        try:
            given = json.loads(json_line(dict(settings), "settings"))
            whole = self._read(self._path, self._file.read(), given)
            self._file.seek(whole)
            self._file.truncate()  # a last line without its end was cut off by a crash
            if not whole:
                self._append({"settings": given}, "settings")
            for rank, other in of_ranks(Path(path)).items():
                if processes.first and rank >= processes.number:
                    self._read(other, read_regular(other, repr(str(other)), sys.maxsize), given)
            self._exchange(given)
        except BaseException:
            self._close()
            raise
        self.kept = len(self._values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def cells(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """The kept values of cells; computes and keeps those that are missing. The same values either way.

        Several processes take turns of one task.

        Args:
            tasks: Which cells, and how to compute them.

        Raises:
            LapeError: A value has a number that is not finite; or what a task raises, in any process.
        """
        missing = list({task.keys: task for task in tasks if not self._values.keys() >= {*task.keys}}.values())
        new: dict[str, str] = {}
        failed, seconds = None, self.seconds
        try:
            for task in missing[self._processes.rank :: self._processes.number]:
                new |= self._computed(task)
        except LapeError as error:
            failed = error
        said = self._processes.gathered([failed and str(failed), new, self.seconds - seconds])
        self.seconds = seconds
        for _, found, took in said:
            self._values |= found
            self.seconds += took
        for reason in (reason for reason, _, _ in said if reason):
            raise failed or LapeError(reason)
        return {key: json.loads(self._values[key]) for task in tasks for key in task.keys}

    def _computed(self, task: Task) -> dict[str, str]:
        """The missing cells of a task, kept."""
        began = time.perf_counter()
        values = {key: json_line(value, key) for key, value in task.compute().items() if key not in self._values}
        seconds = round((time.perf_counter() - began) / len(values), 3)
        for key, value in values.items():
            self._append({"key": key, "seconds": seconds, "value": json.loads(value)}, key)
            self.seconds += seconds
            self._values[key] = value
        return values

    def _read(self, path: Path, content: bytes, settings: dict[str, Any]) -> int:
        """Takes the cells of a file; gives how many bytes of it are whole lines."""
        whole = [line for line in content.splitlines(keepends=True) if line.endswith(b"\n")]
        if not whole:
            return 0
        try:
            head, *cells = map(parse_json, whole)
        except ValueError as error:
            raise BadFile(f"{str(path)!r} is damaged. Delete it to measure again.") from error
        if misfit(head, HEAD) or misfit(cells, CELLS):
            raise BadFile(f"{str(path)!r} is damaged. Delete it to measure again.")
        self._values |= {cell["key"]: json_line(cell["value"], cell["key"]) for cell in cells}
        self.seconds += sum(cell["seconds"] for cell in cells)
        if (theirs := head["settings"]) != settings:
            name, kept, given = _difference(theirs, settings)
            raise CheckpointMismatch(
                f"{str(path)!r} holds results of {name} {_short(kept)}, not {_short(given)}. "
                "Use the same settings or another folder, or delete it to begin again."
            )
        return sum(map(len, whole))

    def _exchange(self, settings: dict[str, Any]) -> None:
        """Takes what the other processes have kept, and refuses those that measure something else."""
        said = self._processes.gathered([settings, self._values, self.seconds])
        for rank, (theirs, _, _) in enumerate(said):
            if theirs != said[0][0]:
                name, first, other = _difference(said[0][0], theirs)
                raise LapeError(
                    f"Process {rank} measures with {name} {_short(other)}, and process 0 with {_short(first)}. Start "
                    "all of them alike, with a folder that all of them see."
                )
        self._values = {key: value for _, values, _ in said for key, value in values.items()}
        self.seconds = sum(seconds for _, _, seconds in said)

    def _close(self) -> None:
        with writing(self._path):  # a line that did not fit is tried once more
            self._file.close()

    def _append(self, line: dict[str, Any], key: str) -> None:
        text = json_line(line, key)
        with writing(self._path):
            self._file.write(text.encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())


def json_line(value: Any, key: str) -> str:
    """One line of JSON, sorted."""
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise LapeError(
            f"A figure of {key!r} is not a finite number. If the model overflows, load it in another dtype "
            "(float32 or bfloat16)."
        ) from error


def _difference(kept: Any, given: Any, path: str = "") -> tuple[str, Any, Any]:
    """The first place, by name, at which two settings differ, and what each has there."""
    if not (isinstance(kept, dict) and isinstance(given, dict)):
        return path, kept, given
    both = kept.keys() & given.keys()
    name = min(key for key in kept.keys() | given.keys() if key not in both or kept[key] != given[key])
    return _difference(kept.get(name), given.get(name), f"{path} {name}".strip())


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"
