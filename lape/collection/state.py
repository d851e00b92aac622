"""What has been done of a collection, in a file of its work folder: a row for each mask, written at every change."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from lape.collection.plan import ModelPlan
from lape.errors import BadFile
from lape.storage.files import write_json
from lape.storage.json import read_json
from lape.storage.placing import alone
from lape.storage.schema import LONG_TEXT, NUMBER, TEXT, Form, mapping, misfit, nullable, record

STATE_NAME, LOCK_NAME = "state.json", "collect.lock"

Condition = Literal["waiting", "running", "done", "failed", "stopped"]
Step = Literal["record", "identify", "evidence", "push"]


@dataclass(frozen=True)
class MaskRow:
    """What has been done of one mask.

    Attributes:
        model: Id on the Hub.
        name: Of the mask's folder.
        condition: What became of it so far.
        step: The one under way, or the last that was begun.
        why: What is wrong, of one that failed.
        seconds: Of work on it, over all runs; a recording counts for the first mask made from it.
        asked: What the plan asked of it when it was done, as a hash; and so the next ones, None before.
        measured: What its evidence was measured of.
        pushed: What was pushed: the collection's name and the contents.
        commit: Of the collection.
        url: Of the mask's folder there.
    """

    model: str
    name: str
    condition: Condition = "waiting"
    step: Step | None = None
    why: str | None = None
    seconds: float = 0.0
    asked: str | None = None
    measured: str | None = None
    pushed: str | None = None
    commit: str | None = None
    url: str | None = None


_CONDITION = Form("one of its conditions", get_args(Condition).__contains__)
_STEP = Form("one of the steps", get_args(Step).__contains__)
_OPTIONAL = dict.fromkeys(("asked", "measured", "pushed", "commit", "url"), nullable(TEXT))
_ROW = {"model": TEXT, "name": TEXT, "condition": _CONDITION, "step": nullable(_STEP), "why": nullable(LONG_TEXT)}
FORM = record({"rows": mapping(record({**_ROW, "seconds": NUMBER, **_OPTIONAL}))})


class State:
    """The rows of a work folder; a context, in which no other process works there.

    Args:
        folder: Made when missing.
        plans: The models of the plan; the rows of others stay in the file.

    Raises:
        BadFile: The file of the state is damaged.
        LapeError: Another process works in the folder, or it cannot be written.
    """

    def __init__(self, folder: Path, plans: Iterable[ModelPlan]) -> None:
        self._path, self._held = folder / STATE_NAME, ExitStack()
        self._held.enter_context(alone(folder / LOCK_NAME))
        try:
            self._all = _read(self._path)
            self._places = [(plan.place(name), plan.model, name) for plan in plans for name in plan.methods]
            for place, model, name in self._places:
                row = self._all.setdefault(place, MaskRow(model, name))
                if row.condition != "done":  # one that was running was killed
                    self._all[place] = replace(row, condition="waiting", why=None)
            self._write()
        except BaseException:
            self._held.close()
            raise

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def __getitem__(self, place: str) -> MaskRow:
        return self._all[place]

    @property
    def rows(self) -> list[MaskRow]:
        """Those of the plan, in its order."""
        return [self._all[place] for place, _, _ in self._places]

    def change(self, place: str, **changes: Any) -> None:
        """Changes a row, on the disk too."""
        self._all[place] = replace(self._all[place], **changes)
        self._write()

    def _write(self) -> None:
        write_json(self._path, {"rows": {place: asdict(row) for place, row in self._all.items()}})


def _read(path: Path) -> dict[str, MaskRow]:
    if not path.exists():
        return {}
    content = read_json(path)
    if wrong := misfit(content, FORM):
        raise BadFile(f"{str(path)!r} does not say its {wrong}. Delete it: what is made is found without it.")
    return {
        place: MaskRow(**{name: row[name] for name in MaskRow.__annotations__})
        for place, row in content["rows"].items()
    }
