"""Plain text that anybody may have written: UTF-8, or refused in one sentence."""

from __future__ import annotations

import os

from lape.errors import BadFile
from lape.storage.json import LARGEST_BYTES, read_regular


def decoded(data: bytes, name: str) -> str:
    """The text of a file.

    Args:
        data: Its bytes.
        name: What errors call it.

    Raises:
        BadFile: It is not UTF-8 text.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadFile(f"{name} is UTF-16 text; save it as UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadFile(f"{name} is not UTF-8 text (line {line}); save it as plain text in UTF-8.") from error
    if "\0" in text:
        raise BadFile(f"{name} is not text: it holds bytes of zero.")
    return text


def some_text(data: bytes, name: str, characters: int) -> str:
    """The text of a file that has some, such as an upload.

    Args:
        data: Its bytes.
        name: What errors call it.
        characters: At most so many.

    Raises:
        BadFile: It is empty, too long, or not UTF-8 text.
    """
    text = decoded(data, name)
    if not text.strip():
        raise BadFile(f"{name} is empty.")
    if len(text) > characters:
        raise BadFile(f"{name} has {len(text):,} characters and at most {characters:,} are allowed; shorten it.")
    return text


def read_text(path: str | os.PathLike[str], name: str, largest: int = LARGEST_BYTES) -> str:
    """The text in a file.

    Args:
        path: The file.
        name: What errors call it.
        largest: Bytes; more are not read.

    Raises:
        BadFile: It is missing, no regular file, too large, or not UTF-8 text.
    """
    return decoded(read_regular(path, name, largest), name)


def filled_lines(text: str) -> list[str]:
    r"""The lines of a text that are not blank.

    Example:
        >>> filled_lines("one\n\n  two \n")
        ['one', '  two ']
    """
    return [line for line in text.splitlines() if line.strip()]
