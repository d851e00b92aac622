"""Files from visitors: only where a part of the page takes them, read once and deleted at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from gradio.utils import get_upload_folder
from gradio_client.utils import traverse
from pydantic import ValidationError

from lape.errors import LapeError

FILE_BYTES = 2_000_000  # of one file; the server takes in no larger one


@dataclass(frozen=True)
class Upload:
    """A file of a visitor.

    Attributes:
        name: What the visitor calls it. It comes from outside and is no path.
        data: What is in it.
    """

    name: str
    data: bytes


def check_files(components: Sequence[Any], values: Sequence[Any]) -> None:
    """Refuses files wherever a component does not take any, and what only looks like an upload.

    Raises:
        LapeError: There is such a value.
    """
    for at, value in enumerate(values):
        if at < len(components) and isinstance(components[at], gr.File | gr.UploadButton):
            if not all(_uploaded(one) for one in _listed(value)):
                raise LapeError("This is no file that was uploaded to this page.")
        else:
            traverse(value, _refuse, _looks_like_file)


def take(value: Any, most: int) -> list[Upload]:
    """The files of an upload, which are deleted from the server in any case.

    Args:
        value: What a component that takes files gave to an event without preprocessing.
        most: Files at once.

    Raises:
        LapeError: There are none, or too many or too large ones.
    """
    paths = {one["path"]: one.get("orig_name") or Path(one["path"]).name for one in _listed(value) if _uploaded(one)}
    try:
        if not paths:
            raise LapeError("No file was uploaded.")
        if len(paths) > most:
            raise LapeError(f"These are {len(paths)} files, and at most {most} are taken at once.")
        if any(Path(path).stat().st_size > FILE_BYTES for path in paths):
            raise LapeError(f"A file may have {FILE_BYTES / 1e6:.0f} MB at most.")
        return [Upload(name, Path(path).read_bytes()) for path, name in paths.items()]
    finally:
        for path in paths:
            Path(path).unlink(missing_ok=True)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _uploaded(value: Any) -> bool:
    """Whether a value names a file that lies in the folder of uploads."""
    if not _looks_like_file(value):
        return False
    try:
        path = Path(FileData.model_validate(value, context={"validate_meta": True}).path)
        return path.is_file() and path.resolve().is_relative_to(Path(get_upload_folder()).resolve())
    except (AttributeError, ValidationError, ValueError, OSError):  # a name no file can have
        return False


def _looks_like_file(value: Any) -> bool:
    return isinstance(value, dict) and "path" in value and "meta" in value


def _refuse(_: Any) -> None:
    raise LapeError("Files are not accepted here.")
