"""Files of a repo on the Hub at one commit: from the cache where they are all there, else downloaded."""

from __future__ import annotations

import errno
import os
import re
import reprlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import constants, get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError
from tqdm.auto import tqdm

from lape.errors import BadFile, HubError
from lape.hub.client import explained, reachable, retried

COMMIT = re.compile(r"[0-9a-f]{40}")
REVISION = re.compile(r"(?!.*\.\.)[\w@+#][\w@+#./-]{0,199}")


class _NoBar(tqdm):
    """For what takes a moment."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})


def snapshot(
    repo: str, revision: str | None, patterns: Sequence[str], *, largest: int, force_download: bool = False
) -> Path:
    """The files of a collection that match, in a folder that is named by the commit.

    A branch or tag is looked up on the Hub, unless that cannot be reached; a full commit that is cached asks nothing.

    Args:
        repo: The collection, `owner/name`.
        revision: Branch, tag or commit; None is the newest.
        patterns: Such as `*/*/mask.json`.
        largest: Bytes; more are not downloaded.
        force_download: Whether to download what is cached already, because that is damaged.

    Raises:
        HubError: The Hub refuses, or cannot be reached, or the disk has too little space; then nothing is downloaded.
        BadFile: The files are too large; nothing is downloaded.
    """
    if revision is not None and not REVISION.fullmatch(revision):
        raise HubError(f"{reprlib.repr(revision)} is not the name of a branch, tag or commit.")
    wanted: dict[str, Any] = {"repo_id": repo, "revision": revision, "allow_patterns": [*patterns]}
    with explained(repo, "collection", revision=revision):
        pinned = COMMIT.fullmatch(revision or "") is not None
        if not force_download and (pinned or not reachable()):
            try:
                get_cached_repo_tree(repo, revision=revision)  # else nobody knows whether all is there
                return Path(snapshot_download(**wanted, local_files_only=True))
            except (CachedRepoTreeNotFoundError, LocalEntryNotFoundError):
                if not pinned or not reachable():
                    raise
        planned = retried(lambda: snapshot_download(**wanted, dry_run=True, tqdm_class=_NoBar))
        if planned:
            wanted["revision"] = planned[0].commit_hash  # a branch may move in between
        if (size := sum(file.file_size for file in planned)) > largest:
            raise BadFile(
                f"{repo} holds {size / 1e9:.1f} GB of mask files; more than {largest / 1e9:g} GB are not downloaded."
            )
        if sum(file.file_size for file in planned if file.will_download) > _free_bytes():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        folder = Path(retried(lambda: snapshot_download(**wanted, force_download=force_download)))
        # When the Hub stops answering in between, huggingface_hub returns what it has, without an error.
        if missing := [file.filename for file in planned if not (folder / file.filename).is_file()]:
            raise HubError(f"The download of {repo} broke off before {missing[0]}. Try again.")
        return folder


def paths(repo: str, commit: str) -> list[str]:
    """The paths of all files of a commit that was asked for before; none when the cache could not be written."""
    try:
        return [file.path for file in get_cached_repo_tree(repo, revision=commit)]
    except CachedRepoTreeNotFoundError:
        return []


def _free_bytes() -> int:
    """What the disk has left that holds the cache, which need not exist."""
    cache = Path(constants.HF_HUB_CACHE)
    return shutil.disk_usage(next(place for place in (cache, *cache.parents) if place.exists())).free
