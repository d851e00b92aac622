"""Results that can be checked: kept cell by cell while a run is under way, then written as one file of evidence.

File `evidence/<name>.json`:

    kind         str     what was measured, one of KINDS
    title        str     for people
    summary      str     the main figures, in one sentence
    settings     dict    everything that decides the results: model, mask, corpora with their hashes, seeds
    environment  dict    versions, platform, device, threads
    command      str     that makes the file again
    seconds      float   of computation, over all the runs it took
    results      dict    the figures; names end in their units

The same inputs give the same results, times apart.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from lape.errors import BadFile, CheckpointMismatch, LapeError
from lape.recording.sources import Source, describe
from lape.storage.files import write_json
from lape.version import __version__

Compute = Callable[[], Any]
Cell = Callable[[str, Compute], Any]

FOLDER = "evidence"
KINDS = ("perplexity", "steering", "tuning", "layers", "stability", "harm")
PACKAGES = ("torch", "transformers", "accelerate", "bitsandbytes", "py3langid")
KEYS = ("kind", "title", "summary", "settings", "environment", "command", "seconds", "results")
LARGEST_BYTES = 10_000_000
DIGITS = 7  # significant, of every result: past them a float64 sum says nothing


def fresh(key: str, compute: Compute) -> Any:
    """Computes a cell and keeps nothing: the default of functions that take a `cell`."""
    return compute()


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

    Example:
        >>> with Ledger(path, {"seed": 0}) as ledger:  # doctest: +SKIP
        ...     ledger.cell("perplexity off=fr text=de", lambda: {"delta_nats": 0.01})
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.seconds = 0.0
        self._values: dict[str, str] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("r+b" if self.path.exists() else "x+b")
        try:
            self._read(json.loads(_line(dict(settings), "settings")))
        except BaseException:
            self._file.close()
            raise
        self.kept = len(self._values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

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
            value = _line(compute(), key)
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
            head, *cells = (json.loads(line) for line in whole)
            theirs = dict(head["settings"])
            self._values = {cell["key"]: _line(cell["value"], cell["key"]) for cell in cells}
            self.seconds = sum(float(cell["seconds"]) for cell in cells)
        except (ValueError, KeyError, TypeError) as error:
            raise BadFile(f"{str(self.path)!r} is damaged. Delete it to measure again.") from error
        if theirs != settings:
            name, kept, given = _difference(theirs, settings)
            raise CheckpointMismatch(
                f"{str(self.path)!r} holds results of {name} {_short(kept)}, not {_short(given)}. "
                "Use the same settings or another folder, or delete it to begin again."
            )

    def _append(self, line: dict[str, Any], key: str) -> None:
        self._file.write(_line(line, key).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def environment(device: str) -> dict[str, Any]:
    """Versions and what was computed with: nothing that names the machine or its owner.

    Args:
        device: Of the model, as torch names it.
    """
    cuda = device.startswith("cuda") and torch.cuda.is_available()
    return {
        "lape": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if cuda else device,
        "threads": torch.get_num_threads(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def text_hash(source: Source, blocks: Iterable[torch.Tensor]) -> dict[str, Any]:
    """Which text was measured: its name, the SHA-256 of its token ids as in recordings, its tokens."""
    hashed, tokens = hashlib.sha256(), 0
    for block in blocks:
        hashed.update(block.to(torch.int32).numpy().tobytes())
        tokens += block.numel()
    return {"source": describe(source), "sha256": hashed.hexdigest(), "tokens": tokens}


def write_evidence(
    folder: str | os.PathLike[str],
    name: str,
    *,
    kind: str,
    title: str,
    summary: str,
    settings: Mapping[str, Any],
    environment: Mapping[str, Any],
    command: str,
    seconds: float,
    results: Mapping[str, Any],
) -> Path:
    """Writes `<folder>/<name>.json`, whole; results with seven significant digits.

    Args:
        folder: Usually `evidence` beside the mask.
        name: Of the file, without its ending.
        kind: One of `KINDS`.
        title: For people.
        summary: One plain sentence with the main figures, failures included.
        settings: Everything that decides the results.
        environment: See `environment`.
        command: The command line that makes the file again.
        seconds: Of computation.
        results: The figures.

    Raises:
        LapeError: A number is not finite.
    """
    content = {
        "kind": kind,
        "title": title,
        "summary": summary,
        "settings": settings,
        "environment": environment,
        "command": command,
        "seconds": round(seconds, 1),
    }
    path = Path(folder) / f"{name}.json"
    write_json(path, {**json.loads(_line(content, name)), "results": _rounded(json.loads(_line(results, name)))})
    return path


def read_evidence(folder: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """The files of evidence in a folder by name, sorted; other JSON files are left out.

    Raises:
        BadFile: There is no such folder, or a file is damaged.
    """
    if not Path(folder).is_dir():
        raise BadFile(f"There is no folder {str(folder)!r}. `lape evaluate` makes it.")
    found = {}
    for path in sorted(Path(folder).glob("*.json")):
        try:
            if path.stat().st_size > LARGEST_BYTES:
                raise BadFile(f"{str(path)!r} has more than {LARGEST_BYTES:,} bytes, which no evidence has.")
            content = json.loads(path.read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite)
        except (OSError, ValueError, RecursionError) as error:
            raise BadFile(f"{str(path)!r} is not JSON ({type(error).__name__}).") from error
        if isinstance(content, dict) and content.get("kind") in KINDS:
            if missing := [key for key in KEYS if key not in content]:
                raise BadFile(f"{str(path)!r} lacks {', '.join(missing)}. Make it again with `lape evaluate`.")
            found[path.stem] = content
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a figure is not finite")
    return number


def _line(value: Any, key: str) -> str:
    """One line of JSON, sorted."""
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise LapeError(
            f"A figure of {key!r} is not a finite number. If the model overflows, load it in another dtype "
            "(float32 or bfloat16)."
        ) from error


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
