"""Files written whole, and tensors with one metadata key.

A file is written under a temporary name in its own folder and renamed into place, so a reader never
sees half of one. Tensor files are safetensors with a single metadata key, `lape`, that holds sorted
JSON: with several keys the same content would give different bytes in every process.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lape.errors import BadFile

FORMAT_VERSION = 1


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path beside `path` and renames it into place on success.

    Args:
        path: The file to write; its folder is made when missing.

    Yields:
        The temporary path to write to. It is removed when the block raises.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]
) -> None:
    """Writes tensors and metadata as one safetensors file; the same input gives the same bytes."""
    text = json.dumps(metadata, sort_keys=True, ensure_ascii=False)
    with atomic_write(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, {"lape": text})


def load_tensors(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Reads a file written by `save_tensors`.

    Args:
        path: The file.
        kind: What it must hold, such as "mask"; compared with the metadata's `kind`.

    Raises:
        BadFile: It is missing, damaged, not ours, or of another kind.
    """
    if not Path(path).is_file():
        raise BadFile(f"There is no file {str(path)!r}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})["lape"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise BadFile(f"{str(path)!r} is damaged or was not written by lape ({type(error).__name__}).") from error
    if not isinstance(metadata, dict) or metadata.get("kind") != kind:
        raise BadFile(f"{str(path)!r} does not hold a {kind}.")
    return tensors, metadata


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes sorted, indented JSON with a final newline, whole."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
