"""Carries a plan out: model by model, and whatever becomes of one, the next is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lape.collection import steps
from lape.collection.plan import ModelPlan
from lape.collection.state import Condition, MaskRow, State, Step
from lape.errors import LapeError
from lape.sharing.push import check_collection, push, write_token

Changed = Callable[[Sequence[MaskRow]], None]
LONGEST_WHY = 2_000  # characters of somebody else's message


def collect(
    plans: Sequence[ModelPlan],
    repo: str,
    out: Path,
    *,
    private: bool | None = None,
    changed: Changed = lambda rows: None,
) -> list[MaskRow]:
    """Records, identifies, measures and pushes every mask of a plan that is not on the Hub as it is asked for.

    After a kill the same call goes on: recordings from their checkpoints, evidence from its cells. A mask is pushed
    when all of it is there, and not again while neither it nor what the plan asks of it has changed.

    Args:
        plans: Of `lape.collection.reading.read_plan`.
        repo: The collection on the Hub; made when there is none.
        out: The work folder.
        private: Whether a new collection is private; None is the owner's default.
        changed: Told the rows at every step.

    Returns:
        What became of each mask.

    Raises:
        LapeError: There is no token, the name of the collection is none, or somebody else works in the folder;
            nothing was started. What goes wrong with one model is said in its rows.
    """
    check_collection(repo)
    write_token()
    with State(out, plans) as state:
        for plan in plans:
            work = _ModelWork(plan, repo, out, private, state, changed)
            if waiting := [name for name in plan.methods if not work.is_done(name)]:
                work.carry_out(waiting)
        return state.rows


@dataclass(frozen=True)
class _ModelWork:
    """The work on one model of a plan."""

    plan: ModelPlan
    repo: str
    out: Path
    private: bool | None
    state: State
    changed: Changed

    def is_done(self, name: str) -> bool:
        """Whether a mask was pushed as it is, and as the plan asks."""
        row, folder = self.state[self.plan.place(name)], self._folder(name)
        asked = row.condition == "done" and row.asked == self.plan.mask_id(name)
        return asked and row.pushed == steps.contents_id(folder, self.repo)

    def carry_out(self, names: Sequence[str]) -> None:
        """All of it, for some of the model's masks."""
        with steps.LoadedWhenNeeded(self.plan) as load:
            with self._attempt(names, "record", then="waiting"):
                recording = steps.record_step(self.plan, self.out, load)
            for name in names:
                if self.state[self.plan.place(name)].condition == "waiting":
                    with self._attempt([name], "identify", then="done"):
                        self._of_mask(name, recording, load)

    def _of_mask(self, name: str, recording: Path, load: steps.LoadedWhenNeeded) -> None:
        plan, folder = self.plan, self._folder(name)
        steps.identify_step(plan.methods[name], recording, folder)
        if plan.evidence.kinds:
            self._change([name], step="evidence")
            measured = steps.evidence_id(plan, recording, folder)
            if self.state[plan.place(name)].measured != measured or not steps.evidence_is_there(plan, folder):
                steps.evidence_step(plan, name, recording, folder, load)
                self._change([name], measured=measured)
        self._change([name], step="push")
        steps.pack_step(plan, recording, folder)
        contents = steps.contents_id(folder, self.repo)
        row = self.state[plan.place(name)]
        if row.pushed != contents:
            pushed = push(folder, self.repo, private=self.private)
            self._change([name], pushed=contents, commit=pushed.commit, url=pushed.url)
        self._change([name], asked=plan.mask_id(name))

    @contextmanager
    def _attempt(self, names: Sequence[str], step: Step, then: Condition) -> Iterator[None]:
        """Writes down what becomes of some masks in the block, its time for the first; what goes wrong ends there."""
        began = time.perf_counter()

        def end(condition: Condition, why: str | None = None) -> None:
            first = self.plan.place(names[0])
            self.state.change(first, seconds=round(self.state[first].seconds + time.perf_counter() - began, 1))
            self._change(names, condition=condition, why=why)

        self._change(names, condition="running", step=step)
        try:
            yield
        except LapeError as error:
            end("failed", _one_line(str(error)))
        except Exception as error:  # a fault with one model is not one with the others
            end("failed", _one_line(f"unexpected {type(error).__name__}: {error}"))
        except BaseException:
            end("stopped")
            raise
        else:
            end(then)

    def _change(self, names: Sequence[str], **changes: object) -> None:
        for name in names:
            self.state.change(self.plan.place(name), **changes)
        self.changed(self.state.rows)

    def _folder(self, name: str) -> Path:
        return self.out / steps.MASKS / self.plan.place(name)


def _one_line(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:LONGEST_WHY])
    return " ".join(shown.split())
