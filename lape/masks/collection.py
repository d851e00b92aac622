"""Collections of masks: the bundled one, and those on the Hub. List them, find a mask, pull a copy.

A collection is one *model* repo on the Hub with the same folders as `precomputed/`:
`<org>--<model>/<method>/` with `mask.safetensors`, `mask.json` and, where it is small enough to share,
`statistics.safetensors`. `LAPE_MASKS_REPO` names collections, separated by commas, to look in when none is given.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lape.errors import BadFile, HubError, LapeError, leave_out
from lape.hub import snapshots
from lape.hub.client import reachable
from lape.masks.bundled import bundled_folder, bundled_masks
from lape.masks.summaries import (
    PLACE,
    SUMMARY_PLACE,
    MaskEntry,
    entries_of,
    mask_path,
    odd_places,
    summary_in,
)
from lape.models.presets import resolve_name
from lape.storage.files import load_tensors, sha256_of, write_json
from lape.storage.json import read_json
from lape.storage.metadata import check_metadata
from lape.storage.names import (
    EVIDENCE_NAME,
    MASK_NAME,
    ORIGIN_NAME,
    PICTURE_NAME,
    README_NAME,
    RESIDUALS_NAME,
    STATISTICS_NAME,
    SUMMARY_NAME,
    TOP_TEXTS_NAME,
    VOCABULARY_NAME,
)
from lape.storage.placing import placed, prepare, settle
from lape.storage.schema import is_text

RECORDED = (STATISTICS_NAME, RESIDUALS_NAME, TOP_TEXTS_NAME, VOCABULARY_NAME)
PULLED = (MASK_NAME, SUMMARY_NAME, *RECORDED, README_NAME, PICTURE_NAME, EVIDENCE_NAME)
PULL_ELSEWHERE = "pull into another folder"
LARGEST_BYTES = 2_000_000_000


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


def bundled_entries(left_out: list[str] | None = None) -> list[MaskEntry]:
    """The masks that are on this machine: bundled, or pulled into `precomputed/`.

    Args:
        left_out: Gets a sentence for each mask that is damaged; None warns of it instead.
    """
    paths = [file for path in bundled_masks() if (file := path.with_name(SUMMARY_NAME)).is_file()]
    return entries_of(paths, left_out)


def list_masks(collection: str, revision: str | None = None, *, left_out: list[str] | None = None) -> list[MaskEntry]:
    """The masks that a collection on the Hub holds, by model and method.

    Args:
        collection: Repo on the Hub.
        revision: Branch, tag or commit of it.
        left_out: Gets a sentence for each mask that is damaged; None warns of it instead.

    Raises:
        HubError: The Hub refuses, or cannot be reached and the collection is not cached.
    """
    found = snapshots.snapshot(collection, revision, SUMMARY_PLACE.fullmatch, largest=LARGEST_BYTES)
    for reason in odd_places(found.paths):
        leave_out("One mask", reason, left_out)
    paths = sorted(found.folder / path for path in found.paths if SUMMARY_PLACE.fullmatch(path))
    return entries_of(paths, left_out, collection, found.commit)


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
    wanted = {f"{path}/{name}" for name in PULLED if statistics or name not in RECORDED}.__contains__
    snapshot = snapshots.snapshot(collection, revision, wanted, largest=LARGEST_BYTES)
    folder = snapshot.folder / path
    if not os.path.isfile(folder / MASK_NAME):
        held = sorted("{}/{} {}".format(*place.groups()) for place in map(PLACE.fullmatch, snapshot.paths) if place)
        raise BadFile(f"{collection} has no {method!r} mask for {model}. It has: {'; '.join(held) or 'none'}.")
    try:
        _check(folder, collection, path)
    except BadFile:  # the cache may be what is damaged
        if not reachable():
            raise
        snapshots.snapshot(collection, snapshot.commit, wanted, largest=LARGEST_BYTES, force_download=True)
        _check(folder, collection, path)
    _, metadata = load_tensors(folder / MASK_NAME, "mask")
    check_metadata(metadata, str(folder / MASK_NAME))
    for made_for in (summary_in(folder / SUMMARY_NAME)["model"], metadata.get("model")):
        if made_for != model:
            raise BadFile(f"{collection} has a mask of {made_for} in the place of one for {model}.")
    return FoundMask(folder, {"collection": collection, "commit": snapshot.commit})


def _check(folder: Path, collection: str, path: str) -> None:
    """Refuses a mask that is not the one its summary is about."""
    if summary_in(folder / SUMMARY_NAME)["sha256"] != sha256_of(folder / MASK_NAME):
        raise BadFile(f"The mask {path} of {collection} is damaged: its {SUMMARY_NAME} names another SHA-256.")


def _origin(folder: Path) -> dict[str, str]:
    """Where a pulled mask is from; empty for one that was not pulled, or is another one by now."""
    try:
        origin = read_json(folder / ORIGIN_NAME)
        if origin["sha256"] != sha256_of(folder / MASK_NAME):
            return {}
        return {key: origin[key] for key in ("collection", "commit", "revision") if is_text(origin.get(key))}
    except (BadFile, OSError, KeyError, TypeError, AttributeError):
        return {}
