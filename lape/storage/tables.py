"""Tables as CSV (RFC 4180): a cell is quoted where it must be, and keeps its line breaks; nothing stands for None."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from typing import Any

from lape.storage.placing import atomic_write


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    r"""A table as text.

    Example:
        >>> csv_text(["text", "cost"], [['a "b"\nc', None]])
        'text,cost\r\n"a ""b""\nc",\r\n'
    """
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(head)
    writer.writerows(rows)
    return file.getvalue()


def write_csv(path: str | os.PathLike[str], head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a table as UTF-8, whole.

    Raises:
        LapeError: It cannot be written; says why.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(csv_text(head, rows).encode())
