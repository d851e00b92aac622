"""Files of a repo on the Hub at one commit: from the cache where they are all there, else downloaded."""

from __future__ import annotations

import errno
import os
import re
import reprlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import (
    constants,
    get_cached_repo_tree,
    list_repo_tree,
    model_info,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.constants import DEFAULT_REVISION
from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError
from huggingface_hub.hf_api import RepoFile

from lape.errors import BadFile, HubError
from lape.hub.client import explained, reachable, retried
from lape.storage.placing import atomic_write

COMMIT = re.compile(r"[0-9a-f]{40}")
REVISION = re.compile(r"(?!.*\.\.)[\w@+#][\w@+#./-]{0,199}")


# What is asked for: huggingface_hub and file systems stumble over other names, such as `..`, `a\\b` or 300 letters.
PLAIN = re.compile(r"(?:(?!\.\.?/)[\w.-]{1,200}/)*(?!\.\.?$)[\w.-]{1,200}", re.ASCII)


@dataclass(frozen=True)
class Fetched:
    """Files of a repo at one commit.

    Attributes:
        folder: Holds those that were asked for; it is named by the commit.
        paths: Of all files of the commit, whatever they are called.
    """

    folder: Path
    paths: tuple[str, ...]

    @property
    def commit(self) -> str:
        """Its id."""
        return self.folder.name


def snapshot(
    repo: str, revision: str | None, wanted: Callable[[str], Any], *, largest: int, force_download: bool = False
) -> Fetched:
    """The files of a collection that are wanted, all at one commit.

    A branch or tag is looked up on the Hub, unless that cannot be reached; a full commit that is cached asks nothing.

    Args:
        repo: The collection, `owner/name`.
        revision: Branch, tag or commit; None is the newest.
        wanted: Whether a path is; only those of plain names are asked for.
        largest: Bytes; more are not downloaded.
        force_download: Whether to download what is cached already, because that is damaged.

    Raises:
        HubError: The Hub refuses, or cannot be reached, or the disk has too little space; then nothing is downloaded.
        BadFile: The files are too large; nothing is downloaded.
    """
    if revision is not None and not REVISION.fullmatch(revision):
        raise HubError(f"{reprlib.repr(revision)} is not the name of a branch, tag or commit.")
    with explained(repo, "collection", revision=revision):
        pinned = revision if COMMIT.fullmatch(revision or "") else None
        if not force_download and (pinned or not reachable()):
            try:
                there = get_cached_repo_tree(repo, revision=revision)  # else nobody knows whether all is there
                names = _asked(there, wanted)
                folder = Path(snapshot_download(repo, revision=revision, allow_patterns=names, local_files_only=True))
                return Fetched(folder, tuple(file.path for file in there))
            except (CachedRepoTreeNotFoundError, LocalEntryNotFoundError):
                if not pinned or not reachable():
                    raise
        branch = revision or DEFAULT_REVISION
        commit = pinned or str(retried(lambda: model_info(repo, revision=branch)).sha)  # a branch may move in between
        there = retried(lambda: _tree(repo, commit))
        names = _asked(there, wanted)
        if (size := sum(file.size for file in there if file.path in names)) > largest:
            raise BadFile(
                f"{repo} holds {size / 1e9:.1f} GB of mask files; more than {largest / 1e9:g} GB are not downloaded."
            )
        new = [
            file for file in there if file.path in names and (force_download or not _cached(repo, commit, file.path))
        ]
        if sum(file.size for file in new) > _free_bytes():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        folder = Path(
            retried(
                lambda: snapshot_download(repo, revision=commit, allow_patterns=names, force_download=force_download)
            )
        )
        # When the Hub stops answering in between, huggingface_hub returns what it has, without an error.
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise HubError(f"The download of {repo} broke off before {missing[0]}. Try again.")
        if not pinned:  # where huggingface_hub looks it up when the Hub cannot be asked
            with atomic_write(folder.parents[1] / "refs" / branch) as looked_up:
                looked_up.write_text(commit)
        return Fetched(folder, tuple(file.path for file in there))


def _tree(repo: str, commit: str) -> list[RepoFile]:
    """What the Hub says of each file of a commit, which it says once."""
    try:
        return get_cached_repo_tree(repo, revision=commit)
    except CachedRepoTreeNotFoundError:
        return [each for each in list_repo_tree(repo, recursive=True, revision=commit) if isinstance(each, RepoFile)]


def _asked(there: Iterable[RepoFile], wanted: Callable[[str], Any]) -> list[str]:
    return [file.path for file in there if PLAIN.fullmatch(file.path) and wanted(file.path)]


def _cached(repo: str, commit: str, path: str) -> bool:
    return isinstance(try_to_load_from_cache(repo, path, revision=commit), str)


def _free_bytes() -> int:
    """What the disk has left that holds the cache, which need not exist."""
    cache = Path(constants.HF_HUB_CACHE)
    return shutil.disk_usage(next(place for place in (cache, *cache.parents) if place.exists())).free
