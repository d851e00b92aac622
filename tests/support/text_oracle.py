"""Reading a text file as slow as it is plain: all of it at once, then its lines, then its documents."""

from __future__ import annotations

import zlib
from itertools import groupby


def documents(data: bytes) -> list[str]:
    """The documents of a file's bytes: a line each where the first 1,000 are many and none is blank in between."""
    lines = data.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    written = [number for number, line in enumerate(lines[:1000]) if line.strip()]
    if len(written) >= 20 and written[-1] - written[0] == len(written) - 1:
        return [line.strip() for line in lines if line.strip()]
    return ["\n".join(group).strip() for written, group in groupby(lines, lambda line: bool(line.strip())) if written]


def split(documents: list[str], which: str) -> list[str]:
    """The documents that are held out, or the others."""
    return [text for text in documents if (zlib.crc32(text.encode()) % 10 == 0) == (which == "valid")]
