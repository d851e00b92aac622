"""Texts that visitors upload: read once and deleted at once. `page.py` lets files through to their events only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from lape.errors import LapeError

FILE_BYTES = 2_000_000  # of one file


@dataclass(frozen=True)
class Upload:
    """A file of a visitor.

    Attributes:
        name: What the visitor calls it. It comes from outside and is no path.
        data: What is in it.
    """

    name: str
    data: bytes


def take(value: Any, most: int) -> list[Upload]:
    """The files of an upload, which are deleted from the server in any case.

    Args:
        value: What a component that takes files gave to an event without preprocessing.
        most: Files at once.

    Raises:
        LapeError: There are none, or too many or too large ones.
    """
    names = _names(value)
    try:
        if not names:
            raise LapeError("No file was uploaded.")
        if len(names) > most:
            raise LapeError(f"These are {len(names)} files, and at most {most} are taken at once.")
        if any(Path(path).stat().st_size > FILE_BYTES for path in names):
            raise LapeError(f"A file may have {FILE_BYTES / 1e6:.0f} MB at most.")
        return [Upload(name, Path(path).read_bytes()) for path, name in names.items()]
    finally:
        for path in names:
            Path(path).unlink(missing_ok=True)


def _names(value: Any) -> dict[str, str]:
    """Paths of the files of an upload that lie where uploads do, and what the visitor calls them."""
    folder = Path(get_upload_folder()).resolve()
    found = {}
    for file in value if isinstance(value, list) else []:
        path, name = (file.get(key) for key in ("path", "orig_name")) if isinstance(file, dict) else (None, None)
        if isinstance(path, str) and _is_within(Path(path), folder):
            found[path] = name if isinstance(name, str) and name else Path(path).name
    return found


def _is_within(path: Path, folder: Path) -> bool:
    """Whether a path is a file in a folder, and no link that leads elsewhere."""
    try:
        return path.is_file() and path.resolve().is_relative_to(folder)
    except (OSError, ValueError, RuntimeError):  # a name no file can have
        return False
