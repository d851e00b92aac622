"""Summaries: the `mask.json` of each mask of a collection, and where it may lie, `<org>--<model>/<method>/`.

They may be anybody's. One that is damaged, or lies where no mask can, is left out by name and hides no other.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lape.errors import BadFile, leave_out
from lape.hub.snapshots import PLAIN
from lape.storage.json import read_json
from lape.storage.names import MASK_NAME, SUMMARY_NAME
from lape.storage.schema import COUNT, TEXT, mapping, misfit, record

_PLACE = r"((?!\.)[\w.-]{1,96}?)--([\w.-]{1,96})/((?!\.)[\w.-]{1,64})/"
PLACE = re.compile(_PLACE + re.escape(MASK_NAME), re.ASCII)
SUMMARY_PLACE = re.compile(_PLACE + re.escape(SUMMARY_NAME), re.ASCII)
MOST_NAMED = 20  # of the files that lie where no mask can
_SHORT = reprlib.Repr()
_SHORT.maxstring = 100
SUMMARY = record({"model": TEXT, "sha256": TEXT, "counts": mapping(COUNT)})


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


def mask_path(model: str, method: str) -> str:
    """The folder of a mask inside a collection: `<org>--<model>/<method>`."""
    return f"{model.replace('/', '--')}/{method}"


def entries_of(
    paths: Iterable[Path], left_out: list[str] | None, collection: str | None = None, commit: str | None = None
) -> list[MaskEntry]:
    """The masks whose summaries are at these paths; one that is damaged does not hide the others."""
    entries = []
    for path in paths:
        try:
            summary = summary_in(path)
            if commit and mask_path(summary["model"], path.parent.name) != "/".join(path.parts[-3:-1]):
                raise BadFile(f"{'/'.join(path.parts[-3:])} is of {summary['model']}, which is not its folder's model.")
        except BadFile as error:
            leave_out("One mask", str(error), left_out)
            continue
        entries.append(MaskEntry(summary["model"], path.parent.name, summary["counts"], collection, commit))
    return entries


def odd_places(paths: Iterable[str]) -> list[str]:
    """A sentence for each file that looks like a mask's summary and has a name that no mask's has."""
    alike = [path for path in paths if path.endswith((f"/{SUMMARY_NAME}", f"\\{SUMMARY_NAME}"))]
    odd = [path for path in alike if path.count("/") == 2 or not PLAIN.fullmatch(path)]
    odd = [path for path in odd if not SUMMARY_PLACE.fullmatch(path)]
    said = [f"{_SHORT.repr(path)} is not the place of a mask, ORG--MODEL/METHOD." for path in odd[:MOST_NAMED]]
    return said + ([f"{len(odd) - MOST_NAMED:,} more files lie where no mask can."] if odd[MOST_NAMED:] else [])


def summary_in(path: Path) -> dict[str, Any]:
    """Reads a `mask.json`.

    Raises:
        BadFile: It is missing or damaged; says where it is and what is wrong.
    """
    where = "/".join(path.parts[-3:])
    called = f"{where if where.isprintable() else ascii(where)} is missing, damaged or was not written by lape: it"
    return checked_summary(read_json(path, name=called), called)


def checked_summary(found: Any, name: str) -> dict[str, Any]:
    """What a `mask.json` says, when it says what a list of masks needs.

    Raises:
        BadFile: Names the key.
    """
    if wrong := misfit(found, SUMMARY):
        raise BadFile(f"{name} does not say its {wrong}.")
    return found
