"""Tensors with one metadata key, and JSON, as files written whole.

Tensor files are safetensors with a single metadata key, `lape`, that holds sorted JSON: with several keys the same
content would give different bytes in every process.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lape.errors import BadFile
from lape.storage.placing import atomic_write, settle

FORMAT_VERSION = 1


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]
) -> None:
    """Writes tensors and metadata as one safetensors file; the same input gives the same bytes."""
    text = json.dumps(metadata, sort_keys=True, ensure_ascii=False)
    with atomic_write(path) as temporary:
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, {"lape": text})
        except SafetensorError as error:  # it hides the number of an error of the disk in its text
            if not (found := re.search(r"os error (\d+)", str(error))):
                raise
            raise OSError(int(found[1]), os.strerror(int(found[1]))) from error


def load_tensors(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Reads a file written by `save_tensors`.

    Args:
        path: The file.
        kind: What it must hold, such as "mask"; compared with the metadata's `kind`.

    Raises:
        BadFile: It is missing, damaged, not ours, or of another kind.
    """
    settle(Path(path).parent)
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
