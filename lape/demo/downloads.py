"""Files made for a visitor to download: in a folder of their own, deleted when the visitor leaves."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryDirectory

from gradio.utils import get_upload_folder

KEPT = 32  # visitors with a folder; past them, the oldest is deleted
KEPT_SECONDS = 3600


class Downloads:
    """One folder per visitor, with a name nobody can guess; none outlives the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: OrderedDict[str, tuple[float, TemporaryDirectory[str]]] = OrderedDict()

    def folder(self, visitor: str) -> Path:
        """A new, empty folder in place of the one the visitor had; old ones of others are deleted."""
        self.leave(visitor)
        parent = Path(get_upload_folder())  # what lies elsewhere, gradio copies to here and keeps
        parent.mkdir(parents=True, exist_ok=True)
        made = TemporaryDirectory(prefix="lape-", dir=parent)
        with self._lock:
            self._folders[visitor] = (time.monotonic(), made)
            too_many = len(self._folders) - KEPT
            old = [
                name
                for at, (name, (since, _)) in enumerate(self._folders.items())
                if at < too_many or time.monotonic() - since > KEPT_SECONDS
            ]
        for name in old:
            self.leave(name)
        return Path(made.name)

    def leave(self, visitor: str) -> None:
        """Deletes what a visitor has."""
        with self._lock:
            _, folder = self._folders.pop(visitor, (0.0, None))
        if folder is not None:
            folder.cleanup()
