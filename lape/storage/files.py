"""Tensors with one metadata key, and JSON, as files written whole.

Tensor files are safetensors with a single metadata key, `lape`, that holds sorted JSON: with several keys the same
content would give different bytes in every process.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lape.errors import BadFile, LapeError
from lape.storage.json import json_text, parse_json
from lape.storage.placing import atomic_write, settle

FORMAT_VERSION = 1
LARGEST_HEADER_BYTES = 2_000_000  # of a safetensors file; a mask of 12 languages has 9,000


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]
) -> None:
    """Writes tensors and metadata as one safetensors file; the same input gives the same bytes.

    Raises:
        LapeError: The metadata holds a number that is not finite, or is too large to be read; nothing is written.
    """
    name = f"The metadata of {str(path)!r}"
    text = json_text(metadata, name)
    if len(text.encode()) > LARGEST_HEADER_BYTES // 2:  # quotes in it are escaped, and the tensors have their lines
        raise LapeError(f"{name} has more than {LARGEST_HEADER_BYTES // 2:,} bytes. Name fewer or shorter sources.")
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
    if not os.path.isfile(path):  # and not Path's, which stumbles over long names
        raise BadFile(f"There is no file {str(path)!r}.")
    try:
        metadata = parse_json(_header(path)["__metadata__"]["lape"].encode())
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        reason = error if isinstance(error, ValueError) else type(error).__name__
        raise BadFile(f"{str(path)!r} is damaged or was not written by lape ({reason}).") from error
    if not isinstance(metadata, dict) or metadata.get("kind") != kind:
        raise BadFile(f"{str(path)!r} does not hold a {kind}.")
    return tensors, metadata


def _header(path: str | os.PathLike[str]) -> Any:
    """What a safetensors file says of its tensors, read only when it has a size that is used."""
    with Path(path).open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > LARGEST_HEADER_BYTES:
            raise ValueError(f"its header has more than {LARGEST_HEADER_BYTES:,} bytes")
        return parse_json(file.read(size))


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes sorted, indented JSON with a final newline, whole.

    Raises:
        LapeError: A number is not finite; nothing is written.
    """
    text = json_text(value, repr(str(path)), indent=1)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
