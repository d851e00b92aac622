"""Files put into place whole, one alone or several at once.

A process may be killed at any moment, the disk may be full, and several processes may write in one folder. What is
written lies under a temporary name, `.lape-` and eight characters, in the same folder until it is whole. One file is
then renamed into place. Several are renamed together, as a folder `.lape-placed`: from that moment they count, and
whoever reads or writes there next moves them to their places, should the writer be gone. While a process lives it
holds a lock on what is temporary; what nobody holds is removed by the next one that writes in the folder.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from lape.errors import LapeError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PREFIX = ".lape-"
TEMPORARY = re.compile(r"\.lape-[a-z0-9_]{8}")
PLACED = ".lape-placed"
WAY_OUT = "name another folder"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNLOCKED_SECONDS = 86_400  # without locks, what is temporary and older than this is nobody's


@contextmanager
def writing(path: str | os.PathLike[str], way_out: str = WAY_OUT) -> Iterator[None]:
    """Says in one sentence that something cannot be written, and why.

    Args:
        path: What is being written.
        way_out: What the user can do when the place cannot be had.

    Raises:
        LapeError: In the place of an `OSError` of the block.
    """
    try:
        yield
    except OSError as error:
        way = f"Free some space, or {way_out}" if error.errno in FULL else way_out[0].upper() + way_out[1:]
        raise LapeError(f"{str(path)!r} cannot be written ({error.strerror or error}). {way}.") from error


def prepare(folder: str | os.PathLike[str], way_out: str = WAY_OUT, size: int = 0) -> None:
    """Makes sure, before any work, that files can be written in a folder; it need not exist, and is not made.

    What killed processes left there is finished or removed.

    Args:
        folder: Where files are to be written.
        way_out: What the user can do when it cannot be had.
        size: Bytes that will be written, as far as they are known.

    Raises:
        LapeError: Nothing can be written there, or not as much; says why.
    """
    target = Path(folder)
    missing = [place for place in (target, *target.parents) if not os.path.lexists(place)]
    with writing(target, way_out):
        try:
            _make(target)
            if (free := shutil.disk_usage(target).free) < size:
                raise OSError(errno.ENOSPC, f"{size / 1e6:,.0f} MB are needed, and {free / 1e6:,.0f} MB are free")
            with temporary_folder(target) as made:
                (made / "tried").write_bytes(bytes(4096))
                _sync(made / "tried")
        finally:
            for place in missing:
                with suppress(OSError):  # by now another process may have made it, or written there
                    place.rmdir()


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary path in a folder beside `path` and renames it into place on success.

    Args:
        path: The file to write; its folder is made when missing.

    Yields:
        The temporary path to write to. It is removed when the block raises.

    Raises:
        LapeError: It cannot be written; says why.
    """
    target = Path(path)
    # In a folder of its own, since who writes may make temporary files beside it, as safetensors does.
    with writing(target), temporary_folder(target.parent) as made:
        temporary = made / target.name
        yield temporary
        _sync(temporary)
        temporary.chmod(0o644)
        temporary.replace(target)


@contextmanager
def placed(folder: str | os.PathLike[str], *, without: Iterable[str] = (), way_out: str = WAY_OUT) -> Iterator[Path]:
    """Gives an empty folder, and on success puts the files written there into `folder`: all of them, or none.

    Args:
        folder: Where the files go; made when missing. Its other files stay.
        without: Names of files that are gone afterwards, unless they were written.
        way_out: What the user can do when the folder cannot be written.

    Yields:
        The folder to write to.

    Raises:
        LapeError: They cannot be written; says why.
    """
    target = Path(folder)
    with writing(target, way_out), temporary_folder(target) as temporary:
        staged = temporary / "files"
        staged.mkdir()
        yield staged
        for file in staged.iterdir():
            if (target / file.name).is_dir():  # said now: once the files count, there is no way back
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            file.chmod(0o644)
            _sync(file)
        for name in without:
            if not (staged / name).exists():
                (staged / name).mkdir()  # says that there is to be no such file
        _sync(staged)
        with _locked(target, wait=True):
            _finish(target)
            staged.rename(target / PLACED)
            _sync(target)
            _finish(target)


def settle(folder: str | os.PathLike[str]) -> None:
    """Finishes or removes what killed processes left in a folder, before something is read there."""
    with suppress(OSError, ValueError):  # it is missing, can only be read, or has a name that no folder can have
        _clear(Path(folder))


@contextmanager
def alone(path: str | os.PathLike[str]) -> Iterator[None]:
    """Works in a folder that no other process works in; the system itself ends the claim of one that is killed.

    Args:
        path: A file of the folder by which processes know of each other; it stays, empty.

    Raises:
        LapeError: Another process does, or the file cannot be written. On Windows, which has no such locks, and on
            file systems without them nobody is refused.
    """
    file = Path(path)
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    with ExitStack() as held:
        if fcntl is not None:
            try:
                held.enter_context(_locked(file, wait=False))
            except BlockingIOError as error:
                raise LapeError(f"Another process works in {str(file.parent)!r}. Wait for it, or {WAY_OUT}.") from error
            except OSError:  # no locks here
                pass
        yield


@contextmanager
def temporary_folder(parent: str | os.PathLike[str]) -> Iterator[Path]:
    """Makes a folder in `parent`, which is made when missing, and removes it at the end, or when its process is gone.

    Yields:
        The folder; what is to stay is renamed out of it.
    """
    _make(Path(parent))
    with ExitStack() as held:
        while True:
            path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            with suppress(FileNotFoundError):
                held.enter_context(_locked(path, wait=True))
            if path.exists():  # else it was swept before it was locked
                break
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _make(folder: Path) -> None:
    """Makes a folder that is to be written in, if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder)


def _clear(folder: Path) -> None:
    """Finishes what killed processes have put into a folder, and removes what they had not."""
    if (folder / PLACED).is_dir():
        with _locked(folder, wait=True):
            _finish(folder)
    for path in folder.iterdir():
        if TEMPORARY.fullmatch(path.name):
            with suppress(OSError), _locked(path, wait=False):
                _remove(path)


def _finish(folder: Path) -> None:
    """Moves placed files to their places; begun and killed, it goes on where it was."""
    waiting = folder / PLACED
    if waiting.is_symlink() or not waiting.is_dir():
        return
    for file in sorted(waiting.iterdir()):
        if file.is_dir() and not file.is_symlink():
            (folder / file.name).unlink(missing_ok=True)
            file.rmdir()
        else:
            file.replace(folder / file.name)
    _sync(folder)
    waiting.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Holds the lock of a file or folder, which ends with the process at the latest.

    Raises:
        OSError: It does not wait, and another holds the lock, or perhaps does.
    """
    if fcntl is None:
        if not wait and time.time() - path.lstat().st_mtime < UNLOCKED_SECONDS:
            raise BlockingIOError
        yield
        return
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            if not wait:  # else the file system has no locks, and nothing is swept there
                raise
        yield
    finally:
        os.close(opened)


def _sync(path: Path) -> None:
    """Waits until a file, or which files a folder has, is on the disk."""
    if path.is_dir() and os.name == "nt":  # which opens no folders
        return
    opened = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
