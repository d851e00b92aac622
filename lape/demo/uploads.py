"""Files of visitors: which events take them, how many and how large, from where, for how long, how many of each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ListFiles
from gradio.utils import get_upload_folder
from gradio_client.utils import traverse
from pydantic import ValidationError

from lape.demo.refusals import refuse
from lape.demo.words import say
from lape.errors import LapeError

UPLOADS, UPLOAD_BYTES = 16, 8_000_000  # files at once, and bytes of one
UPLOADS_KEPT_SECONDS = 3600  # of what is not deleted earlier
TEXT_BYTES = 2_000_000  # of one file of text
OF_AN_ADDRESS, BYTES_OF_AN_ADDRESS = 48, 64_000_000  # files that are kept of one network address, and their bytes
BYTES_OF_ALL = 512_000_000


@dataclass(frozen=True)
class Upload:
    """A file of a visitor.

    Attributes:
        path: Where it lies: in the folder of uploads.
        name: What the visitor calls it. It comes from outside and is no path.
    """

    path: Path
    name: str


class Quota:
    """How many files are kept for each network address, of those that were uploaded: a new one needs room."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}  # path to address
        self._arriving: Counter[str] = Counter()  # bytes by address

    @contextmanager
    def room(self, address: str, size: int) -> Iterator[str]:
        """Holds room for what arrives, and gives the sentence that refuses it, which is empty when there is some.

        Args:
            address: Where it comes from.
            size: Its bytes.
        """
        self._kept = {path: owner for path, owner in self._kept.items() if os.path.exists(path)}
        sizes = {path: os.path.getsize(path) for path in self._kept if os.path.exists(path)}
        own = [size for path, size in sizes.items() if self._kept[path] == address]
        refusal, minutes = "", UPLOADS_KEPT_SECONDS // 60
        if len(own) >= OF_AN_ADDRESS or sum(own) + self._arriving[address] + size > BYTES_OF_AN_ADDRESS:
            allowed = {"most": OF_AN_ADDRESS, "size": BYTES_OF_AN_ADDRESS // 1_000_000}
            refusal = say("said.network_full", **allowed, minutes=minutes)
        elif sum(sizes.values()) + self._arriving.total() + size > BYTES_OF_ALL:
            refusal = say("said.page_full", minutes=minutes)
        held = 0 if refusal else size
        self._arriving[address] += held
        try:
            yield refusal
        finally:
            self._arriving[address] -= held
            self._arriving += Counter()  # drops who has nothing under way

    def keep(self, address: str, paths: Sequence[str]) -> None:
        """Notes whose the files are that have arrived."""
        self._kept |= dict.fromkeys(paths, address)


def check_uploads(block: Any, value: Any, known: Container[str]) -> None:
    """Lets a value through to an event, when it holds no file but those uploaded for a component that takes some.

    Args:
        block: The component that the value is for.
        value: Anything that came.
        known: Paths of all files that were uploaded here.

    Raises:
        gr.Error: It holds a file that is not accepted.
    """
    if not isinstance(block, gr.File | gr.UploadButton):
        traverse(value, _refuse_file, _looks_like_file)
    elif value is not None and not _all_uploaded(block, value, known):
        refuse(say("said.upload_first", most=UPLOADS, size=UPLOAD_BYTES // 1_000_000))


def files_of(value: Any) -> list[Upload]:
    """The files of an upload, which stay where they are.

    Args:
        value: What a component that takes files gave to an event without preprocessing; None has no file.

    Raises:
        LapeError: It is something else, or a file is not where uploads are.
    """
    if value is not None and not (isinstance(value, list) and all(isinstance(file, dict) for file in value)):
        raise LapeError("Files come as a list, as the page's upload gives it.")
    found = []
    for path, name in ((file.get("path"), file.get("orig_name")) for file in value or []):
        if not isinstance(path, str) or not _is_upload(Path(path)):
            raise LapeError(say("said.upload_again"))
        found.append(Upload(Path(path), name if isinstance(name, str) and name else Path(path).name))
    return found


def take(value: Any, most: int) -> list[tuple[str, bytes]]:
    """Names and contents of uploaded texts, which stay where they are: the same file of another lies there too.

    Args:
        value: What a component that takes files gave to an event without preprocessing.
        most: Files at once.

    Raises:
        LapeError: There are none, or too many or too large ones.
    """
    found = files_of(value)
    if not found:
        raise LapeError(say("said.no_file"))
    if len(found) > most:
        raise LapeError(say("said.too_many_files", count=len(found), most=most))
    if any(file.path.stat().st_size > TEXT_BYTES for file in found):
        raise LapeError(say("said.too_large_file", size=TEXT_BYTES // 1_000_000))
    return [(file.name, file.path.read_bytes()) for file in found]


def _is_upload(path: Path) -> bool:
    """Whether a path is a file in the folder of uploads, and no link that leads elsewhere."""
    folder = Path(get_upload_folder()).resolve()
    try:
        return path.is_file() and path.absolute() == path.resolve() and path.is_relative_to(folder)
    except (OSError, ValueError, RuntimeError):  # a name no file can have
        return False


def _all_uploaded(block: Any, value: Any, known: Container[str]) -> bool:
    """Whether a value is files that were uploaded here; gradio would fetch one named by an address."""
    try:
        data = block.data_model.model_validate(value, context={"validate_meta": True})
    except (ValidationError, AttributeError, RecursionError):
        return False
    files = data.root if isinstance(data, ListFiles) else [data]
    return len(files) <= UPLOADS and all(file.path in known for file in files)


def _looks_like_file(value: Any) -> bool:
    return isinstance(value, dict) and "path" in value and "meta" in value


def _refuse_file(_: Any) -> None:
    refuse("Files are not accepted here.")
