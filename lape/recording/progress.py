"""The state of a recording under way, the checkpoints it is kept in, and what comes out of it.

Each process of a recording writes a checkpoint of its own, with what it has counted itself. The next recording reads
all that are there: a process goes on with the one of its rank, and the first has the counts of ranks that are no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from lape.errors import BadFile, CheckpointMismatch, LapeError, NotEnoughText
from lape.processes import Processes
from lape.recording.groups import BlockGroups
from lape.recording.reading import Done
from lape.recording.sources import Source, describe
from lape.recording.statistics import ActivationStatistics
from lape.recording.tallies import Tally
from lape.storage.files import load_tensors, save_tensors
from lape.storage.metadata import COUNTED_UNDER
from lape.storage.schema import COUNT, LABELLED, TEXT, mapping, misfit, record
from lape.version import __version__

CHECKPOINT = record(
    {
        "settings": record({"batch": COUNT}),
        "date": TEXT,
        "done": mapping(record({"blocks": COUNT, "read": COUNT, "sha256": TEXT}), LABELLED),
    }
)


@dataclass
class Progress:
    """The tallies of a recording under way; a checkpoint is this, written to a file.

    Attributes:
        settings: What a checkpoint must agree in.
        date: When it began.
        library: Of the packages that count: name to version.
        tallies: By language code.
    """

    settings: Mapping[str, Any]
    date: str
    library: Mapping[str, str]
    tallies: dict[str, Tally] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Writes the checkpoint, whole."""
        tensors, done = {}, {}
        for code, tally in self.tallies.items():
            for name in ("active", "sum", "positive_sum", "batches"):
                tensors[f"{name}.{code}"] = getattr(tally, name)
            if tally.routed is not None:
                tensors[f"routed.{code}"] = tally.routed
            for name, kept in (("groups", tally.groups), ("segments", tally.segments)):
                if kept:
                    tensors[f"{name}.{code}"] = torch.stack(kept)
            done[code] = {"blocks": tally.blocks, "read": tally.read, "sha256": tally.sha256}
        save_tensors(path, tensors, {"kind": "checkpoint", "settings": self.settings, "date": self.date, "done": done})

    @classmethod
    def load(cls, path: Path, library: Mapping[str, str]) -> Progress:
        """Reads a checkpoint; the packages that go on with it may be others.

        Raises:
            BadFile: It is damaged, or no checkpoint.
        """
        tensors, metadata = load_tensors(path, "checkpoint")
        if missing := {"settings", "date", "done"} - set(metadata):
            raise BadFile(f"The checkpoint {str(path)!r} lacks {', '.join(sorted(missing))}. Delete it to begin again.")
        if wrong := misfit(metadata, CHECKPOINT):
            raise BadFile(f"The checkpoint {str(path)!r} does not say its {wrong}. Delete it to begin again.")
        settings = metadata["settings"]
        needed = ("active", "sum", "positive_sum", "batches", *(["routed"] if "experts" in settings else []))
        for code in metadata["done"]:
            if lost := [name for name in needed if f"{name}.{code}" not in tensors]:
                raise BadFile(f"The checkpoint {str(path)!r} lacks {lost[0]}.{code}. Delete it to begin again.")
        tallies = {
            code: Tally(
                tensors[f"active.{code}"],
                tensors[f"sum.{code}"],
                tensors[f"positive_sum.{code}"],
                done["blocks"],
                tensors[f"batches.{code}"],
                done["read"],
                done["sha256"],
                tuple(tensors.get(f"groups.{code}", ())),
                tuple(tensors.get(f"segments.{code}", ())),
                tensors.get(f"routed.{code}"),
            )
            for code, done in metadata["done"].items()
        }
        return cls(settings, metadata["date"], library, tallies)

    def check(self, settings: Mapping[str, Any], path: Path) -> None:
        """Refuses to go on under other settings.

        Args:
            settings: Of the recording.
            path: Of the checkpoint, for the error.

        Raises:
            CheckpointMismatch: It was written with other settings; names the first.
        """
        if key := _difference(self.settings, settings):
            raise CheckpointMismatch(
                f"The checkpoint {str(path)!r} was recorded with {key} {self.settings.get(key)!r}, "
                f"not {settings[key]!r}. Use the same settings, or delete it to begin again."
            )

    def merged(self, other: Progress) -> Progress:
        """With what another process of the same recording has counted."""
        both = {code: self.tallies[code].merged(other.tallies[code]) for code in self.tallies if code in other.tallies}
        return replace(self, date=min(self.date, other.date), tallies={**self.tallies, **other.tallies, **both})

    def summed(self, processes: Processes) -> Progress:
        """What all processes have counted, as each of them calls it."""
        if processes.number == 1:
            return self
        said = processes.gathered([self.date, {code: tally.described() for code, tally in self.tallies.items()}])
        tallies = {
            code: self.tallies[code].summed(processes, [described[code] for _, described in said])
            for code in sorted(self.tallies)  # in the same order in all of them
        }
        return replace(self, date=min(date for date, _ in said), tallies=tallies)

    def done(self, processes: Processes) -> dict[str, Done]:
        """What all processes together have counted of each language, as each of them calls it.

        Raises:
            LapeError: Another process has other settings.
            CheckpointMismatch: Two have counted the same.
        """
        own = {code: tally.described() for code, tally in self.tallies.items()}
        said = processes.gathered([self.settings, own])
        for rank, (settings, _) in enumerate(said):
            if key := _difference(settings, said[0][0]):
                raise LapeError(
                    f"Process {rank} records with {key} {settings.get(key)!r}, and process 0 with "
                    f"{said[0][0].get(key)!r}. Start all of them alike."
                )
        found = {}
        for code in {code: None for _, described in said for code in described}:
            tallies = [described[code] for _, described in said if code in described]
            numbers = [number for tally in tallies for number in tally["batches"]]
            if len(batches := frozenset(numbers)) < len(numbers):
                raise CheckpointMismatch(
                    f"Two of the checkpoints have counted the same text of {code!r}: they are not of one recording. "
                    "Delete them to begin again."
                )
            marks = tuple((tally["read"], tally["sha256"]) for tally in tallies)
            found[code] = Done(batches, sum(tally["blocks"] for tally in tallies), marks)
        return found

    def statistics(self, corpora: Mapping[str, Source]) -> ActivationStatistics:
        """What was counted of every language that has a block.

        Raises:
            NotEnoughText: None has.
        """
        corpora, tallies = self._begun(corpora)
        return ActivationStatistics(
            {code: tally.active for code, tally in tallies.items()},
            {code: tally.sum for code, tally in tallies.items()},
            {code: tally.positive_sum for code, tally in tallies.items()},
            {code: tally.blocks * self.settings["block"] for code, tally in tallies.items()},
            self._metadata(corpora),
            {code: tally.routed for code, tally in tallies.items() if tally.routed is not None},
        )

    def groups(self, corpora: Mapping[str, Source]) -> BlockGroups:
        """The counts of groups of blocks.

        Raises:
            LapeError: The recording keeps none.
        """
        if not self.settings["groups"]:
            raise LapeError("This recording keeps no groups of blocks: begin it with groups=16, or --groups 16.")
        corpora, tallies = self._begun(corpora)
        snapshots = tuple(self.settings["groups"]["snapshots"])
        none = torch.zeros((0, 2, *next(iter(tallies.values())).groups[0].shape), dtype=torch.int32)
        halves = {code: tally.halves(snapshots, self.settings["batch"]) for code, tally in tallies.items()}
        return BlockGroups(
            {code: torch.stack(tally.groups) for code, tally in tallies.items()},
            {code: torch.stack(kept) if kept else none for code, kept in halves.items()},
            {code: tally.blocks for code, tally in tallies.items()},
            snapshots,
            self._metadata(corpora),
        )

    def _begun(self, corpora: Mapping[str, Source]) -> tuple[dict[str, Source], dict[str, Tally]]:
        """The languages of which there is a block: their sources and tallies."""
        begun = {code: self.tallies[code] for code in corpora if code in self.tallies and self.tallies[code].blocks}
        if not begun:
            raise NotEnoughText("Nothing has been counted yet: not one block of text of any language.")
        return {code: corpora[code] for code in begun}, begun

    def _metadata(self, corpora: Mapping[str, Source]) -> dict[str, Any]:
        tokens = {code: self.tallies[code].blocks * self.settings["block"] for code in corpora}
        described = {
            code: [{"source": describe(source), "sha256": self.tallies[code].sha256, "tokens": tokens[code]}]
            for code, source in corpora.items()
        }
        return {
            **{key: self.settings[key] for key in COUNTED_UNDER if key in self.settings},
            "tokens": tokens,
            "corpora": described,
            "library": {"lape": __version__, "torch": torch.__version__, **self.library},
            "date": self.date,
        }


def _difference(settings: Mapping[str, Any], others: Mapping[str, Any]) -> str | None:
    """The first of the others that differs here."""
    return next((key for key in others if settings.get(key) != others[key]), None)
