"""What has been counted of a language: by one process, by several, and of which batches."""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from lape.processes import Processes
from lape.recording.counters import ActivationCounter
from lape.recording.counting import Counts
from lape.recording.reading import Batch


@dataclass(frozen=True)
class Tally:
    """What has been counted of one language; replaced as a whole after each batch.

    Tallies of different batches add up, in any order, to the tally of all of them.

    Attributes:
        active: int64 `[layers, neurons]`, tokens at which the activation was above 0.
        sum: float64 `[layers, neurons]`, of the activation.
        positive_sum: float64 `[layers, neurons]`, of the positive part.
        blocks: Blocks counted.
        batches: int64, the numbers of the batches that these blocks are of.
        read: Blocks of the text up to the end of the last of these batches.
        sha256: Of the token ids of the text up to there.
        groups: The counts of every group of blocks, int32 `[layers, neurons]` each and, of a mixture of experts, with
            the routed tokens after them, `[layers, neurons + experts]`; block i is in group i modulo their number.
            Empty when the recording keeps none.
        segments: int32 `[2, layers, neurons]` or as wide as a group for each stretch between two snapshots: the counts
            of its even and of its odd blocks. Those up to a snapshot are the halves there.
        routed: int64 `[layers, experts]`, the tokens that went to each expert; None for a dense model.
    """

    active: torch.Tensor
    sum: torch.Tensor
    positive_sum: torch.Tensor
    blocks: int = 0
    batches: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    read: int = 0
    sha256: str = hashlib.sha256().hexdigest()
    groups: tuple[torch.Tensor, ...] = ()
    segments: tuple[torch.Tensor, ...] = ()
    routed: torch.Tensor | None = None

    @classmethod
    def empty(cls, counter: ActivationCounter, groups: int) -> Tally:
        zeros = torch.zeros(counter.shape, dtype=torch.float64)
        layers, experts = counter.shape[0], counter.experts
        routed = torch.zeros((layers, experts), dtype=torch.long) if experts > 1 else None
        grouped = zeros.int() if routed is None else torch.cat([zeros.int(), routed.int()], dim=1)
        return cls(zeros.long(), zeros, zeros.clone(), groups=(grouped,) * groups, routed=routed)

    def add(self, counted: Counts, batch: Batch, snapshots: Sequence[int]) -> Tally:
        """Adds one pass.

        Args:
            counted: What `counting` took from it, block by block when there are groups.
            batch: What was read.
            snapshots: Numbers of blocks, ascending, at which to tell the counts of the two halves.
        """
        active, (sums, positive_sums) = counted.neurons[:, :-2], counted.neurons[:, -2:].double().unbind(1)
        groups, segments = list(self.groups), list(self.segments)
        if groups:
            grouped = active if counted.routed is None else torch.cat([active, counted.routed], dim=-1)
            for number, of_block in enumerate(grouped.int().unbind(1), start=batch.first):
                groups[number % len(groups)] = groups[number % len(groups)] + of_block
                if (segment := bisect(snapshots, number)) < len(snapshots):
                    segments = _padded(segments, segment + 1, of_block)
                    half = torch.tensor([number % 2])
                    segments[segment] = segments[segment].index_add(0, half, of_block[None])
        read, sha256 = max((self.read, self.sha256), (batch.end, batch.sha256))
        return Tally(
            self.active + active.long().sum(1),
            self.sum + sums,
            self.positive_sum + positive_sums,
            self.blocks + len(batch.blocks),
            torch.cat([self.batches, torch.tensor([batch.number])]),
            read,
            sha256,
            tuple(groups),
            tuple(segments),
            None if self.routed is None or counted.routed is None else self.routed + counted.routed.long().sum(1),
        )

    def merged(self, other: Tally) -> Tally:
        """With the batches of another tally of the same language, which has none of these."""
        most = max(len(self.segments), len(other.segments))
        read, sha256 = max((self.read, self.sha256), (other.read, other.sha256))
        mine, theirs = (_padded(each.segments, most, *each.groups[:1]) for each in (self, other))
        return Tally(
            self.active + other.active,
            self.sum + other.sum,
            self.positive_sum + other.positive_sum,
            self.blocks + other.blocks,
            torch.cat([self.batches, other.batches]),
            read,
            sha256,
            tuple(one + another for one, another in zip(self.groups, other.groups, strict=True)),
            tuple(one + another for one, another in zip(mine, theirs, strict=True)),
            None if self.routed is None or other.routed is None else self.routed + other.routed,
        )

    def described(self) -> dict[str, Any]:
        """What it is of, as JSON holds it."""
        about = {"blocks": self.blocks, "read": self.read, "sha256": self.sha256, "segments": len(self.segments)}
        return {**about, "batches": self.batches.tolist()}

    def summed(self, processes: Processes, described: Sequence[Mapping[str, Any]]) -> Tally:
        """The tallies of several processes together, as each of them calls it.

        Args:
            processes: They all.
            described: Their tallies.
        """
        most = max(tally["segments"] for tally in described)
        segments = _padded(self.segments, most, *self.groups[:1])
        read, sha256 = max((tally["read"], tally["sha256"]) for tally in described)
        return Tally(
            processes.summed(self.active),
            processes.summed(self.sum),
            processes.summed(self.positive_sum),
            sum(tally["blocks"] for tally in described),
            torch.tensor([number for tally in described for number in tally["batches"]], dtype=torch.long),
            read,
            sha256,
            tuple(map(processes.summed, self.groups)),
            tuple(map(processes.summed, segments)),
            None if self.routed is None else processes.summed(self.routed),
        )

    def halves(self, snapshots: Sequence[int], batch: int) -> tuple[torch.Tensor, ...]:
        """The counts of the even and of the odd blocks up to each snapshot that was passed, as a segment has them.

        Args:
            snapshots: See `add`.
            batch: Blocks of each batch but the last.
        """
        numbers = self.batches.sort().values
        gaps = (numbers != torch.arange(len(numbers))).nonzero()
        without_gap = min(int(gaps[0]) * batch if len(gaps) else self.blocks, self.blocks)
        passed = bisect(snapshots, without_gap)
        segments = _padded(self.segments, passed, *self.groups[:1])[:passed]
        return tuple(itertools.accumulate(segments))


def _padded(segments: Sequence[torch.Tensor], count: int, *like: torch.Tensor) -> list[torch.Tensor]:
    """As many segments, those that were not met empty; each half is as a group."""
    missing = count - len(segments)
    return [*segments, *([torch.zeros((2, *like[0].shape), dtype=torch.int32)] * missing if missing > 0 else ())]
