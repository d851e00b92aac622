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
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lape.errors import BadFile, HubError, LapeError, LapeWarning
from lape.hub import snapshots
from lape.hub.client import reachable
from lape.masks.bundled import bundled_folder, bundled_masks
from lape.models.presets import resolve_name
from lape.storage.files import load_tensors, sha256_of, write_json
from lape.storage.names import (
    EVIDENCE_NAME,
    MASK_NAME,
    ORIGIN_NAME,
    PICTURE_NAME,
    README_NAME,
    STATISTICS_NAME,
    SUMMARY_NAME,
)
from lape.storage.placing import placed, prepare, settle

PULLED = (MASK_NAME, SUMMARY_NAME, STATISTICS_NAME, README_NAME, PICTURE_NAME, EVIDENCE_NAME)
PULL_ELSEWHERE = "pull into another folder"
LARGEST_BYTES = 2_000_000_000
LARGEST_SUMMARY_BYTES = 10_000_000
PLACE = re.compile(rf"([\w.-]+?)--([\w.-]+)/([\w.-]+)/{re.escape(MASK_NAME)}")


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


def bundled_entries(left_out: list[str] | None = None) -> list[MaskEntry]:
    """The masks that are on this machine: bundled, or pulled into `precomputed/`.

    Args:
        left_out: Gets a sentence for each mask that is damaged; None warns of it instead.
    """
    paths = [file for path in bundled_masks() if (file := path.with_name(SUMMARY_NAME)).is_file()]
    return _entries(paths, left_out)


def list_masks(collection: str, revision: str | None = None, *, left_out: list[str] | None = None) -> list[MaskEntry]:
    """The masks that a collection on the Hub holds, by model and method.

    Args:
        collection: Repo on the Hub.
        revision: Branch, tag or commit of it.
        left_out: Gets a sentence for each mask that is damaged; None warns of it instead.

    Raises:
        HubError: The Hub refuses, or cannot be reached and the collection is not cached.
    """
    folder = snapshots.snapshot(collection, revision, [f"*/*/{SUMMARY_NAME}"], largest=LARGEST_BYTES)
    return _entries(sorted(folder.glob(f"*/*/{SUMMARY_NAME}")), left_out, collection, folder.name)


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
        LapeError: There is a mask of your own in that place, or it cannot be written; nothing is overwritten.
        BadFile: The collection has no such mask, or it is damaged; nothing is written.
        HubError: The Hub refuses, or cannot be reached; nothing is written.
    """
    name = resolve_name(model)
    target = Path(into) / mask_path(name, method)
    settle(target)
    if os.path.exists(target / MASK_NAME) and not _origin(target):  # and not Path's, which stumbles over long names
        raise LapeError(
            f"{str(target)!r} holds a mask that was not pulled, or was changed. Move it away, or pull into another "
            "folder."
        )
    prepare(target, PULL_ELSEWHERE)
    _place(_fetch(collection, name, method, revision, statistics=True), target, revision)
    return target


def _place(found: FoundMask, target: Path, revision: str | None) -> None:
    """Copies a mask to where it belongs: all of it, or nothing."""
    there = [file for file in PULLED if (found.folder / file).is_file()]
    prepare(target, PULL_ELSEWHERE, size=sum((found.folder / file).stat().st_size for file in there))
    with placed(target, without=PULLED, way_out=PULL_ELSEWHERE) as staged:
        for file in there:
            shutil.copyfile(found.folder / file, staged / file)
        origin = {**found.origin, "revision": revision, "sha256": sha256_of(found.folder / MASK_NAME)}
        write_json(staged / ORIGIN_NAME, origin)


def _fetch(collection: str, model: str, method: str, revision: str | None, statistics: bool) -> FoundMask:
    """Downloads a mask into the cache, checks it, and says where it is."""
    path = mask_path(model, method)
    patterns = [f"{path}/{name}" for name in PULLED if statistics or name != STATISTICS_NAME]
    snapshot = snapshots.snapshot(collection, revision, patterns, largest=LARGEST_BYTES)
    folder = snapshot / path
    if not os.path.isfile(folder / MASK_NAME):
        held = _held(collection, snapshot.name)
        raise BadFile(f"{collection} has no {method!r} mask for {model}. It has: {'; '.join(held) or 'none'}.")
    try:
        _check(folder, collection, path)
    except BadFile:  # the cache may be what is damaged
        if not reachable():
            raise
        snapshots.snapshot(collection, snapshot.name, patterns, largest=LARGEST_BYTES, force_download=True)
        _check(folder, collection, path)
    _, metadata = load_tensors(folder / MASK_NAME, "mask")
    for made_for in (_summary(folder / SUMMARY_NAME)["model"], metadata.get("model")):
        if made_for != model:
            raise BadFile(f"{collection} has a mask of {made_for} in the place of one for {model}.")
    return FoundMask(folder, {"collection": collection, "commit": snapshot.name})


def _held(collection: str, commit: str) -> list[str]:
    """The masks of a commit that was just looked at, by their places."""
    places = map(PLACE.fullmatch, snapshots.paths(collection, commit))
    return sorted("{}/{} {}".format(*place.groups()) for place in places if place)


def _check(folder: Path, collection: str, path: str) -> None:
    """Refuses a mask that is not the one its summary is about."""
    if _summary(folder / SUMMARY_NAME)["sha256"] != sha256_of(folder / MASK_NAME):
        raise BadFile(f"The mask {path} of {collection} is damaged: its {SUMMARY_NAME} names another SHA-256.")


def _entries(
    paths: Iterable[Path], left_out: list[str] | None, collection: str | None = None, commit: str | None = None
) -> list[MaskEntry]:
    """The masks whose summaries are at these paths; one that is damaged does not hide the others."""
    entries = []
    for path in paths:
        try:
            summary = _summary(path)
            if commit and mask_path(summary["model"], path.parent.name) != "/".join(path.parts[-3:-1]):
                raise BadFile(f"{'/'.join(path.parts[-3:])} is of {summary['model']}, which is not its folder's model.")
        except BadFile as error:
            if left_out is None:
                warnings.warn(f"One mask is left out. {error}", LapeWarning, stacklevel=3)
            else:
                left_out.append(str(error))
            continue
        entries.append(MaskEntry(summary["model"], path.parent.name, summary["counts"], collection, commit))
    return entries


def _summary(path: Path) -> dict[str, Any]:
    """Reads a `mask.json`."""
    try:
        if path.stat().st_size > LARGEST_SUMMARY_BYTES:
            raise ValueError("too large for a summary")
        summary = json.loads(path.read_text(encoding="utf-8"))
        if not "".join((summary["model"], summary["sha256"], *summary["counts"])).isprintable():
            raise ValueError("model, sha256 and languages are one line of text")
        if not all(type(count) is int and 0 <= count < 10**12 for count in summary["counts"].values()):
            raise TypeError("counts are whole numbers by language")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        where = "/".join(path.parts[-3:])
        raise BadFile(f"{where} is missing, damaged or was not written by lape ({type(error).__name__}).") from error
    return summary


def _origin(folder: Path) -> dict[str, str]:
    """Where a pulled mask is from; empty for one that was not pulled, or is another one by now."""
    try:
        origin = json.loads((folder / ORIGIN_NAME).read_text(encoding="utf-8"))
        if origin["sha256"] != sha256_of(folder / MASK_NAME):
            return {}
        return {key: origin[key] for key in ("collection", "commit", "revision") if isinstance(origin.get(key), str)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
