"""JSON that anybody may have written: bounded before it is parsed, and only what can be shown and written again.

A file may be a pipe, of any size, nested so deep that a parser's stack ends, or say NaN, the same key twice, or half a
character (a lone surrogate). Each is refused in one sentence.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lape.errors import BadFile, LapeError

LARGEST_BYTES = 10_000_000
DEEPEST = 64  # lists and mappings inside each other; our own files have 10
MOST_DIGITS = 4_300  # of a whole number: what Python reads

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # into one, and out of it
_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")


def read_json(path: str | os.PathLike[str], *, name: str | None = None, largest: int = LARGEST_BYTES) -> Any:
    """The value in a file of JSON.

    Args:
        path: The file.
        name: What errors call it; None is its path.
        largest: Bytes; more are not read.

    Raises:
        BadFile: It is missing, no regular file, too large, or not JSON as `parse_json` reads it.
    """
    called = repr(str(path)) if name is None else name
    content = read_regular(path, called, largest)
    try:
        return parse_json(content)
    except ValueError as error:
        raise BadFile(f"{called} is not JSON ({error}).") from error


def read_regular(path: str | os.PathLike[str], name: str, largest: int = LARGEST_BYTES) -> bytes:
    """The bytes of a small file.

    Args:
        path: The file.
        name: What errors call it.
        largest: Bytes; more are not read.

    Raises:
        BadFile: It is missing, no regular file, or too large.
    """
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):  # a pipe would keep its reader waiting
            raise BadFile(f"{name} is no regular file.")
        if found.st_size > largest:
            raise BadFile(f"{name} has more than {largest:,} bytes, which no file of its kind has.")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise BadFile(f"{name} is missing or cannot be read ({type(error).__name__}).") from error


def parse_json(content: bytes) -> Any:
    """The value of JSON in UTF-8; who calls it has bounded the size.

    Raises:
        ValueError: It is not JSON, is nested deeper than 64, holds a number that is not finite, names a key twice, or
            holds text that is not Unicode.
    """
    text = content.decode("utf-8-sig")
    _check_bounds(content)
    value = json.loads(text, parse_float=_finite, parse_constant=_finite, object_pairs_hook=_distinct)
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode()  # refuses half a character
    return value


def json_text(value: Any, name: str, *, indent: int | None = None) -> str:
    """Sorted JSON that `parse_json` reads.

    Args:
        value: What JSON can hold.
        name: What errors call it.
        indent: Spaces of each level; None writes one line.

    Raises:
        LapeError: A number is not finite.
    """
    try:
        return json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise LapeError(f"{name} holds a number that is not finite, so it cannot be kept.") from error


def _check_bounds(content: bytes) -> None:
    """Refuses what a parser could not bear, without parsing."""
    unquoted = content.replace(rb"\\", b"").replace(rb"\"", b"")
    outside = b"".join(unquoted.split(b'"')[::2])  # of strings
    steps = np.frombuffer(outside.translate(_STEPS, _NOT_BRACKETS), np.int8)
    if steps.cumsum(dtype=np.int32).max(initial=0) > DEEPEST:
        raise ValueError(f"it is nested deeper than {DEEPEST}")
    if b"0" * (MOST_DIGITS + 1) in outside.translate(_AS_ZEROS):
        raise ValueError(f"a number has more than {MOST_DIGITS:,} digits")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found
