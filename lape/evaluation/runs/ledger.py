"""The ledger of a run: its cells, kept while it is under way, so that it goes on after a stop."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lape.errors import BadFile, CheckpointMismatch, LapeError
from lape.evaluation.metrics.cell import Compute
from lape.storage.json import parse_json
from lape.storage.placing import writing
from lape.storage.schema import ANYTHING, LONG_TEXT, NUMBER, listing, mapping, misfit, record

HEAD = record({"settings": mapping(ANYTHING)})
CELLS = listing(record({"key": LONG_TEXT, "seconds": NUMBER, "value": ANYTHING}))


class Ledger:
    """The cells of a run, one JSON line each, so that a run that was stopped goes on where it was.

    A line is on the disk before its value is used, and one that was cut off by a crash is dropped. The file begins
    with the settings of the run, and other settings are refused.

    Args:
        path: The file; made when missing.
        settings: Everything a cell's value depends on besides its key.

    Attributes:
        kept: Cells that were there at the start.
        seconds: Time that the cells took, those of earlier runs included.

    Raises:
        CheckpointMismatch: The file has other settings; names those that differ.
        BadFile: The file is damaged before its last line.
        LapeError: It cannot be written; also of a cell, and what it was computed from stays.

    Example:
        >>> with Ledger(path, {"seed": 0}) as ledger:  # doctest: +SKIP
        ...     ledger.cell("perplexity off=fr text=de", lambda: {"delta_nats": 0.01})
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_file():
            raise BadFile(f"{str(self.path)!r} is no regular file. Move it away, or name another folder.")
        self.seconds = 0.0
        self._values: dict[str, str] = {}
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("r+b" if self.path.exists() else "x+b")
        try:
            self._read(json.loads(json_line(dict(settings), "settings")))
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

    def cell(self, key: str, compute: Compute) -> Any:
        """The kept value of a cell, else computes and keeps it; the same value either way.

        Args:
            key: Names the cell: languages by code, conditions by name, nothing by position.
            compute: Gives what JSON can hold. It must not use other cells, whose time would count twice.

        Raises:
            LapeError: The value has a number that is not finite.
        """
        if key not in self._values:
            began = time.perf_counter()
            value = json_line(compute(), key)
            seconds = time.perf_counter() - began
            self._append({"key": key, "seconds": round(seconds, 3), "value": json.loads(value)}, key)
            self.seconds += round(seconds, 3)
            self._values[key] = value
        return json.loads(self._values[key])

    def _read(self, settings: dict[str, Any]) -> None:
        lines = self._file.read().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]
        self._file.seek(sum(map(len, whole)))
        self._file.truncate()  # a last line without its end was cut off by a crash
        if not whole:
            self._append({"settings": settings}, "settings")
            return
        try:
            head, *cells = map(parse_json, whole)
        except ValueError as error:
            raise BadFile(f"{str(self.path)!r} is damaged. Delete it to measure again.") from error
        if misfit(head, HEAD) or misfit(cells, CELLS):
            raise BadFile(f"{str(self.path)!r} is damaged. Delete it to measure again.")
        theirs = head["settings"]
        self._values = {cell["key"]: json_line(cell["value"], cell["key"]) for cell in cells}
        self.seconds = sum(cell["seconds"] for cell in cells)
        if theirs != settings:
            name, kept, given = _difference(theirs, settings)
            raise CheckpointMismatch(
                f"{str(self.path)!r} holds results of {name} {_short(kept)}, not {_short(given)}. "
                "Use the same settings or another folder, or delete it to begin again."
            )

    def _close(self) -> None:
        with writing(self.path):  # a line that did not fit is tried once more
            self._file.close()

    def _append(self, line: dict[str, Any], key: str) -> None:
        text = json_line(line, key)
        with writing(self.path):
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
