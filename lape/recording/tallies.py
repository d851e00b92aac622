"""The state of a recording under way, the checkpoint it is kept in, and what comes out of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lape.errors import BadFile, CheckpointMismatch, LapeError, NotEnoughText
from lape.recording.counters import ActivationCounter
from lape.recording.counting import Counts
from lape.recording.groups import BlockGroups, halves_of
from lape.recording.sources import Source, describe
from lape.recording.statistics import ActivationStatistics
from lape.storage.files import load_tensors, save_tensors
from lape.storage.metadata import COUNTED_UNDER
from lape.storage.schema import COUNT, LABELLED, TEXT, mapping, misfit, record
from lape.version import __version__

CHECKPOINT = record(
    {
        "settings": record({}),
        "date": TEXT,
        "done": mapping(record({"blocks": COUNT, "sha256": TEXT}), LABELLED),
    }
)


@dataclass(frozen=True)
class Tally:
    """What has been counted of one language; replaced as a whole after each batch.

    Attributes:
        active: int64 `[layers, neurons]`, tokens at which the activation was above 0.
        sum: float64 `[layers, neurons]`, of the activation.
        positive_sum: float64 `[layers, neurons]`, of the positive part.
        blocks: Blocks counted.
        sha256: Of the token ids of these blocks.
        groups: The counts of every group of blocks, int32 `[layers, neurons]` each and, of a mixture of experts, with
            the routed tokens after them, `[layers, neurons + experts]`; block i is in group i modulo their number.
            Empty when the recording keeps none.
        halves: int32 `[2, layers, neurons]` or as wide as a group for each snapshot that was passed: the counts of the
            even and of the odd blocks up to there.
        routed: int64 `[layers, experts]`, the tokens that went to each expert; None for a dense model.
    """

    active: torch.Tensor
    sum: torch.Tensor
    positive_sum: torch.Tensor
    blocks: int = 0
    sha256: str = hashlib.sha256().hexdigest()
    groups: tuple[torch.Tensor, ...] = ()
    halves: tuple[torch.Tensor, ...] = ()
    routed: torch.Tensor | None = None

    @classmethod
    def empty(cls, counter: ActivationCounter, groups: int) -> Tally:
        zeros = torch.zeros(counter.shape, dtype=torch.float64)
        layers, experts = counter.shape[0], counter.experts
        routed = torch.zeros((layers, experts), dtype=torch.long) if experts > 1 else None
        grouped = zeros.int() if routed is None else torch.cat([zeros.int(), routed.int()], dim=1)
        return cls(zeros.long(), zeros, zeros.clone(), groups=(grouped,) * groups, routed=routed)

    def add(self, counted: Counts, blocks: int, sha256: str, snapshots: Sequence[int]) -> Tally:
        """Adds one pass.

        Args:
            counted: What `counting` took from it, block by block when there are groups.
            blocks: Of the pass.
            sha256: Of the token ids of all blocks, those of the pass included.
            snapshots: Numbers of blocks at which to keep the counts of the two halves.
        """
        active, (sums, positive_sums) = counted.neurons[:, :-2], counted.neurons[:, -2:].double().unbind(1)
        groups, halves = list(self.groups), list(self.halves)
        if groups:
            grouped = active if counted.routed is None else torch.cat([active, counted.routed], dim=-1)
            for number, of_block in enumerate(grouped.int().unbind(1), start=self.blocks):
                groups[number % len(groups)] = groups[number % len(groups)] + of_block
                if number + 1 in snapshots:
                    halves.append(halves_of(torch.stack(groups)))
        return Tally(
            self.active + active.long().sum(1),
            self.sum + sums,
            self.positive_sum + positive_sums,
            self.blocks + blocks,
            sha256,
            tuple(groups),
            tuple(halves),
            None if self.routed is None or counted.routed is None else self.routed + counted.routed.long().sum(1),
        )


@dataclass(frozen=True)
class Step:
    """What has been counted at a moment of a recording.

    Attributes:
        language: The one that is being read.
        tokens: Counted of it.
        total_tokens: Counted of all languages.
    """

    language: str
    tokens: int
    total_tokens: int


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
        tensors = {}
        for code, tally in self.tallies.items():
            for name in ("active", "sum", "positive_sum"):
                tensors[f"{name}.{code}"] = getattr(tally, name)
            if tally.routed is not None:
                tensors[f"routed.{code}"] = tally.routed
            for name, kept in (("groups", tally.groups), ("halves", tally.halves)):
                if kept:
                    tensors[f"{name}.{code}"] = torch.stack(kept)
        done = {code: {"blocks": tally.blocks, "sha256": tally.sha256} for code, tally in self.tallies.items()}
        save_tensors(path, tensors, {"kind": "checkpoint", "settings": self.settings, "date": self.date, "done": done})

    @classmethod
    def load(cls, path: Path, settings: Mapping[str, Any], library: Mapping[str, str]) -> Progress:
        """Reads a checkpoint of these settings; the packages that go on with it may be others.

        Raises:
            BadFile: It is damaged, or no checkpoint.
            CheckpointMismatch: It was written with other settings; names the first.
        """
        tensors, metadata = load_tensors(path, "checkpoint")
        if missing := {"settings", "date", "done"} - set(metadata):
            raise BadFile(f"The checkpoint {str(path)!r} lacks {', '.join(sorted(missing))}. Delete it to begin again.")
        if wrong := misfit(metadata, CHECKPOINT):
            raise BadFile(f"The checkpoint {str(path)!r} does not say its {wrong}. Delete it to begin again.")
        needed = ("active", "sum", "positive_sum", *(["routed"] if "experts" in settings else []))
        for code in metadata["done"]:
            if lost := [name for name in needed if f"{name}.{code}" not in tensors]:
                raise BadFile(f"The checkpoint {str(path)!r} lacks {lost[0]}.{code}. Delete it to begin again.")
        for key in settings:
            if metadata["settings"].get(key) != settings[key]:
                raise CheckpointMismatch(
                    f"The checkpoint {str(path)!r} was recorded with {key} {metadata['settings'].get(key)!r}, "
                    f"not {settings[key]!r}. Use the same settings, or delete it to begin again."
                )
        tallies = {
            code: Tally(
                tensors[f"active.{code}"],
                tensors[f"sum.{code}"],
                tensors[f"positive_sum.{code}"],
                done["blocks"],
                done["sha256"],
                tuple(tensors.get(f"groups.{code}", ())),
                tuple(tensors.get(f"halves.{code}", ())),
                tensors.get(f"routed.{code}"),
            )
            for code, done in metadata["done"].items()
        }
        return cls(settings, metadata["date"], library, tallies)

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
        none = torch.zeros((0, 2, *next(iter(tallies.values())).groups[0].shape), dtype=torch.int32)
        return BlockGroups(
            {code: torch.stack(tally.groups) for code, tally in tallies.items()},
            {code: torch.stack(tally.halves) if tally.halves else none for code, tally in tallies.items()},
            {code: tally.blocks for code, tally in tallies.items()},
            tuple(self.settings["groups"]["snapshots"]),
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
