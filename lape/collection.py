"""Collections of masks: the bundled one, and those on the Hub. List them, find a mask, pull a copy.

A collection is one *model* repo on the Hub with the same folders as `precomputed/`:
`<org>--<model>/<method>/` with `mask.safetensors`, `mask.json` and, where it is small enough to share,
`statistics.safetensors`. `LAPE_MASKS_REPO` names collections, separated by commas, to look in when none is given.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

from lape.bundled import MASK_NAME, STATISTICS_NAME, SUMMARY_NAME, bundled_folder, bundled_masks
from lape.errors import BadFile, HubError, LapeError
from lape.files import sha256_of, whole, write_json
from lape.hub import explained, reachable, retried
from lape.models import resolve_name

README_NAME = "README.md"
ORIGIN_NAME = "origin.json"  # beside a pulled mask: where it is from
PULLED = (MASK_NAME, SUMMARY_NAME, STATISTICS_NAME, README_NAME)
LARGEST_BYTES = 2_000_000_000
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class MaskEntry:
    """A mask that a collection holds.

    Attributes:
        model: Hub id of its model.
        method: Name of its folder: the method, or a slug such as `lape-top0.01`.
        counts: Language code to number of neurons.
        collection: Repo on the Hub, or None for a bundled mask.
        commit: Commit of that repo.
    """

    model: str
    method: str
    counts: Mapping[str, int]
    collection: str | None = None
    commit: str | None = None


@dataclass(frozen=True)
class FoundMask:
    """A folder with a mask.

    Attributes:
        folder: It holds `mask.safetensors`.
        origin: `collection` and `commit`, or empty for a mask that was never on the Hub.
    """

    folder: Path
    origin: Mapping[str, str] = field(default_factory=dict)


def collections() -> tuple[str, ...]:
    """The collections named in `LAPE_MASKS_REPO`."""
    return tuple(name.strip() for name in os.environ.get("LAPE_MASKS_REPO", "").split(",") if name.strip())


def mask_path(model: str, method: str) -> str:
    """The folder of a mask inside a collection: `<org>--<model>/<method>`."""
    return f"{model.replace('/', '--')}/{method}"


def bundled_entries() -> list[MaskEntry]:
    """The masks that are on this machine: bundled, or pulled into `precomputed/`."""
    return [_entry(path.with_name(SUMMARY_NAME)) for path in bundled_masks() if path.with_name(SUMMARY_NAME).is_file()]


def list_masks(collection: str, revision: str | None = None) -> list[MaskEntry]:
    """The masks that a collection on the Hub holds, by model and method.

    Raises:
        HubError: The Hub refuses, or cannot be reached and the collection is not cached.
        BadFile: A summary in it is damaged.
    """
    folder = _snapshot(collection, revision, [f"*/*/{SUMMARY_NAME}"])
    return [_entry(path, collection, folder.name) for path in sorted(folder.glob(f"*/*/{SUMMARY_NAME}"))]


def find_mask(
    model: str | None = None,
    method: str = "lape",
    *,
    collection: str | None = None,
    revision: str | None = None,
    statistics: bool = False,
) -> FoundMask:
    """Finds the mask of a model, downloading it when it must.

    Without a collection: a bundled or pulled mask, then those of `LAPE_MASKS_REPO`. With one: the copy
    that was pulled from it at this revision, then the cache and the Hub. A branch or tag is looked up on the
    Hub, unless that cannot be reached; a full commit that is cached asks nothing.

    Args:
        model: Hub id or preset; None is the embedded default.
        method: Folder of the mask under the model's.
        collection: Repo on the Hub.
        revision: Branch, tag or commit of it.
        statistics: Whether to download the statistics too, where there are some.

    Raises:
        BadFile: There is none, or it is damaged, or of another model.
        HubError: The Hub refuses, or cannot be reached.
    """
    name = resolve_name(model)
    try:
        folder = bundled_folder(model, method)
    except BadFile:
        if collection is None and not collections():
            raise
    else:
        origin = _origin(folder)
        pulled_as = origin.pop("revision", None)
        if collection is None:
            return FoundMask(folder, origin)
        if origin.get("collection") == collection and revision in (pulled_as, origin.get("commit")):
            return FoundMask(folder, origin)
    if collection is not None:
        return _fetch(collection, name, method, revision, statistics)
    refused = []
    for collection in collections():
        try:
            return _fetch(collection, name, method, revision, statistics)
        except (HubError, BadFile) as error:
            refused.append(str(error))
    raise BadFile(f"No {method!r} mask for {name} is here. " + " ".join(refused))


def pull(
    collection: str,
    *,
    model: str | None = None,
    method: str = "lape",
    revision: str | None = None,
    into: str | os.PathLike[str] = "precomputed",
) -> Path:
    """Copies a mask, its statistics and its card from the Hub into `precomputed/`, where everything finds it.

    Args:
        collection: Repo on the Hub.
        model: Hub id or preset; None is the embedded default.
        method: Folder of the mask under the model's.
        revision: Branch, tag or commit.
        into: The folder that holds masks.

    Returns:
        The folder of the copy. `origin.json` in it says which commit of which collection it is.

    Raises:
        LapeError: There is a mask of your own in that place; nothing is overwritten.
        BadFile: The collection has no such mask, or it is damaged; nothing is written.
        HubError: The Hub refuses, or cannot be reached; nothing is written.
    """
    name = resolve_name(model)
    target = Path(into) / mask_path(name, method)
    if (target / MASK_NAME).exists() and not (target / ORIGIN_NAME).exists():
        raise LapeError(f"{str(target)!r} holds a mask that was not pulled. Move it away, or pull into another folder.")
    found = _fetch(collection, name, method, revision, statistics=True)
    for file in PULLED:
        if (found.folder / file).is_file():
            with whole(target / file) as temporary:
                shutil.copyfile(found.folder / file, temporary)
        else:
            (target / file).unlink(missing_ok=True)
    write_json(target / ORIGIN_NAME, {**found.origin, "revision": revision})
    return target


def _fetch(collection: str, model: str, method: str, revision: str | None, statistics: bool) -> FoundMask:
    """Downloads a mask into the cache, checks it, and says where it is."""
    path = mask_path(model, method)
    names = [name for name in PULLED if statistics or name != STATISTICS_NAME]
    snapshot = _snapshot(collection, revision, [f"{path}/{name}" for name in names])
    folder = snapshot / path
    if not (folder / MASK_NAME).is_file():
        there = [f"{entry.model} {entry.method}" for entry in list_masks(collection, snapshot.name)]
        raise BadFile(f"{collection} has no {method!r} mask for {model}. It has: {'; '.join(there) or 'none'}.")
    summary = _summary(folder / SUMMARY_NAME)
    if summary.get("sha256") != sha256_of(folder / MASK_NAME):
        raise BadFile(f"The mask {path} of {collection} is damaged: its {SUMMARY_NAME} has another SHA-256.")
    if summary.get("model") != model:
        raise BadFile(f"{collection} has a mask of {summary.get('model')} in the place of one for {model}.")
    return FoundMask(folder, {"collection": collection, "commit": snapshot.name})


def _snapshot(collection: str, revision: str | None, patterns: list[str]) -> Path:
    """The cached files of a revision that match, downloaded when they must be; the folder is named by the commit."""
    wanted: dict[str, Any] = {"repo_id": collection, "revision": revision, "allow_patterns": patterns}
    with explained(collection, "collection", revision=revision):
        if COMMIT.fullmatch(revision or "") or not reachable():
            try:
                return Path(snapshot_download(**wanted, local_files_only=True))
            except LocalEntryNotFoundError:
                if not reachable():
                    raise
        planned = retried(lambda: snapshot_download(**wanted, dry_run=True))
        if (size := sum(file.file_size for file in planned)) > LARGEST_BYTES:
            raise BadFile(f"{collection} holds {size / 1e9:.1f} GB of mask files; more than 2 GB are not downloaded.")
        return Path(retried(lambda: snapshot_download(**wanted)))


def _entry(path: Path, collection: str | None = None, commit: str | None = None) -> MaskEntry:
    summary = _summary(path)
    return MaskEntry(str(summary.get("model")), path.parent.name, dict(summary["counts"]), collection, commit)


def _summary(path: Path) -> dict[str, Any]:
    """Reads a `mask.json`."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        counts = summary["counts"]
        if not all(isinstance(code, str) and isinstance(count, int) for code, count in counts.items()):
            raise TypeError("counts are whole numbers by language")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        where = "/".join(path.parts[-3:])
        raise BadFile(f"{where} is missing, damaged or was not written by lape ({type(error).__name__}).") from error
    return summary


def _origin(folder: Path) -> dict[str, str]:
    """Where a pulled mask is from; empty for one that was not pulled."""
    try:
        origin = json.loads((folder / ORIGIN_NAME).read_text(encoding="utf-8"))
        return {key: origin[key] for key in ("collection", "commit", "revision") if isinstance(origin.get(key), str)}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
