"""A recording: reads batches of blocks, counts where each activation lives, and goes on exactly where it was stopped.

A counter hands over one small tensor per batch. Several processes take turns of one batch: each reads all text, which
costs next to nothing, and counts its own batches. The batches are the same for any number of processes, and counts
add up in any order, so the statistics are too.
"""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.models.inputs import check_ids
from lape.processes import ALONE, Processes
from lape.recording.beginnings import prefix_of
from lape.recording.blocks import document_end
from lape.recording.counters import ActivationCounter, ModelCounter
from lape.recording.groups import BlockGroups, snapshot_blocks
from lape.recording.progress import Progress
from lape.recording.reading import Done, Reader, check_groups, check_settings, check_text, not_enough
from lape.recording.sources import Source
from lape.recording.statistics import ActivationStatistics
from lape.recording.tallies import Tally
from lape.storage.names import of_rank, of_ranks

CHECKPOINT_EVERY_TOKENS = 20_000

Until = Callable[[BlockGroups, int], bool]


@dataclass(frozen=True)
class Step:
    """How far a recording is at a moment. Where several processes share it, a batch of another one counts as read.

    Attributes:
        language: The one that is being read.
        tokens: Of it.
        total_tokens: Of all languages.
    """

    language: str
    tokens: int
    total_tokens: int


class Recording:
    """A recording to watch and to stop: iterate over it to count, leave the loop to stop.

    There is a step when a language's turn comes and one after every batch. The model is hooked until the iterator
    is closed. Iterating again goes on where the last loop was left.

    Args:
        model: A causal language model, or an engine's (`lape.serving`).
        tokenizer: Its tokenizer.
        corpora: Language code to documents: a list, or a function that opens them.
        in_turn: Whether languages take turns of one batch, so that all have been read when the loop is left. Of a
            recording that runs to its end, the counts are the same, bit for bit.
        groups: Of blocks whose counts are kept, an even number up to 1,024; None keeps none.
        snapshots: Tokens per language at which to keep the counts of the two halves, each rounded up to an even
            number of blocks; None takes 1,000, 1,500, 2,000, 3,000, 5,000, 7,000, 10,000 and on.
        until: Ends the recording when it returns true, given the groups so far and the number of blocks; asked at
            each snapshot.
        tokens: Tokens per language, rounded up to whole blocks.
        block: Tokens per block, the context each token is seen in; what the tokenizer puts before text is read before
            each and not counted.
        batch: Blocks per forward pass. None takes 2 on a CPU, what fits on a GPU; 64 of an engine.
        checkpoint: File to write progress to every 20,000 tokens and on any interruption, and to resume from;
            removed at the end, kept when the loop is left. Further processes write `<name>-<rank>` beside it.
        keep_checkpoint: Whether it stays at the end too, for who has yet to save what came out.
        allow_short: Take a language that has less text than asked, rather than raise.
        processes: That share the recording, from `lape.processes.joined`; all of them iterate to the end. What is
            counted is then the same in each, and until then what this one has.

    Raises:
        LapeError: What was asked for cannot be recorded, at once; or, in the loop, the text or memory is short.

    Example:
        >>> recording = Recording(model, tokenizer, corpora, in_turn=True)  # doctest: +SKIP
        >>> for step in recording:  # doctest: +SKIP
        ...     if step.total_tokens > 5000:
        ...         break
        >>> stats = recording.statistics()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: PreTrainedModel | ActivationCounter,
        tokenizer: Tokenizer,
        corpora: Mapping[str, Source],
        *,
        in_turn: bool = False,
        groups: int | None = None,
        snapshots: Sequence[int] | None = (),
        until: Until | None = None,
        tokens: int = 100_000,
        block: int = 512,
        batch: int | None = None,
        checkpoint: Path | None = None,
        keep_checkpoint: bool = False,
        allow_short: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self._counter = counter = model if isinstance(model, ActivationCounter) else ModelCounter.of(model)
        before = prefix_of(tokenizer)
        check_settings(corpora, tokens, block, 1 if batch is None else batch, counter.context, len(before))
        if groups is not None:
            check_groups(groups, tokens)
        end = document_end(tokenizer)
        check_ids(counter.rows, torch.tensor(before if end is None else [*before, end]), tokenizer)
        self._tokenizer, self._corpora, self._checkpoint = tokenizer, corpora, checkpoint
        self._groups, self._until, self._allow_short = groups or 0, until, allow_short
        self._keep_checkpoint, self._before, self._processes = keep_checkpoint, before, processes
        found = {}
        for rank, path in ({} if checkpoint is None else of_ranks(checkpoint)).items():
            if rank == processes.rank or (processes.first and rank >= processes.number):  # nobody else's
                found[path] = Progress.load(path, counter.library)
        batch = _common_batch(found.values(), counter.batch(block), processes) if batch is None else batch
        self._block, self._blocks = block, math.ceil(tokens / block)
        self._snapshots = snapshot_blocks(snapshots, block, self._blocks)
        self._stages = self._snapshots if until else range(batch, self._blocks, batch) if in_turn else ()
        kept = {"groups": groups, "in_step": until is not None, "snapshots": list(self._snapshots)}
        settings = {
            **asdict(counter.identity),
            "architecture": counter.architecture,
            **counter.layout,
            "special_tokens": {"document_end": end, "bos": before or False},
            "languages": list(corpora),
            "blocks": self._blocks,
            "block": block,
            "batch": batch,
            "groups": kept if groups else None,
        }
        for path, progress in found.items():
            progress.check(settings, path)
        if not found:
            check_text(tokenizer, corpora, self._blocks, block, allow_short)
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        own = None if checkpoint is None else found.pop(of_rank(checkpoint, processes.rank), None)
        self._own = own or Progress(settings, date, counter.library)
        self._others = reduce(Progress.merged, found.values(), Progress(settings, date, counter.library))
        self._all: Progress | None = None  # at the end, of all processes
        self._passed = {code: tally.blocks for code, tally in self.state.tallies.items()}

    @property
    def state(self) -> Progress:
        """All counts so far."""
        return self._all or self._own.merged(self._others)

    def statistics(self) -> ActivationStatistics:
        """What is counted so far, of the languages that have a block.

        Raises:
            NotEnoughText: None has.
        """
        return self.state.statistics(self._corpora)

    def groups(self) -> BlockGroups:
        """The groups of blocks so far, of the same languages."""
        return self.state.groups(self._corpora)

    @property
    def asked_tokens(self) -> int:
        """Of all languages together, in whole blocks."""
        return len(self._corpora) * self._blocks * self._block

    @property
    def tokens(self) -> int:
        """Read so far, of all languages."""
        return sum(self._passed.values()) * self._block

    def __iter__(self) -> Generator[Step, None, None]:
        own = None if self._checkpoint is None else of_rank(self._checkpoint, self._processes.rank)
        saved_tokens = self._own_tokens()
        self._all = None
        try:
            with closing(self._count()) as steps:
                for step in steps:
                    if own is not None and (tokens := self._own_tokens()) - saved_tokens >= CHECKPOINT_EVERY_TOKENS:
                        self._own.save(own)
                        saved_tokens = tokens
                    yield step
        finally:
            if own is not None and self._own.tallies:
                self._own.save(own)
        self._all = self.state.summed(self._processes)
        if self._checkpoint is not None and not self._keep_checkpoint:
            self.remove_checkpoints()

    def finish(self, progress: bool = True) -> None:
        """Records to the end.

        Args:
            progress: Whether to show a bar on standard error; of several processes the first does.
        """
        shown = progress and self._processes.first
        bar = tqdm(total=self.asked_tokens, unit="token", unit_scale=True, disable=not shown)
        with bar, closing(iter(self)) as steps:
            for step in steps:
                bar.set_description(step.language)
                bar.update(step.total_tokens - bar.n)

    def remove_checkpoints(self) -> None:
        """Removes this process's checkpoint, and the first process those of all that can be seen here."""
        if self._checkpoint is not None:
            for rank, path in of_ranks(self._checkpoint).items():
                if self._processes.rank in (0, rank):
                    path.unlink(missing_ok=True)

    def _own_tokens(self) -> int:
        return sum(tally.blocks for tally in self._own.tallies.values()) * self._block

    def _count(self) -> Generator[Step, None, None]:
        """The one loop: counts until there are enough tokens, or until it is told to stop."""
        before, turns, own = self.state.done(self._processes), itertools.count(), self._own.tallies
        self._passed = {code: done.blocks for code, done in before.items()}
        readers: dict[str, Reader] = {}
        with self._counter.counting(self._block, self._before, apart=self._groups > 0) as count:
            for goal in itertools.chain(self._stages, (self._blocks,)):  # reached by whole batches, as without stages
                for code, source in self._corpora.items():
                    if code not in readers:
                        own.setdefault(code, Tally.empty(self._counter, self._groups))
                        self._passed.setdefault(code, 0)
                        done = before.get(code, Done())
                        readers[code] = Reader(self._tokenizer, source, code, self._own.settings, done)
                    yield self._step(code)
                    while readers[code].at < goal and (batch := next(readers[code], None)):
                        if next(turns) % self._processes.number == self._processes.rank:
                            check_ids(self._counter.rows, batch.blocks, self._tokenizer)
                            own[code] = own[code].add(count(batch.blocks), batch, self._snapshots)
                        self._passed[code] += len(batch.blocks)
                        yield self._step(code)
                    if goal == self._blocks:
                        del readers[code]  # closes what it reads from
                if goal < self._blocks and self._until and self._agreed(self._until, goal):
                    break
        for code in self._corpora:
            passed = self._passed[code]
            if passed == 0 or (passed < goal and not self._allow_short):
                raise not_enough(code, passed, self._blocks, self._block)

    def _step(self, code: str) -> Step:
        return Step(code, self._passed[code] * self._block, self.tokens)

    def _agreed(self, until: Until, goal: int) -> bool:
        """Whether the recording ends here; the first process says so, should the others compute otherwise."""
        ends = until(self.state.summed(self._processes).groups(self._corpora), goal)
        return self._processes.gathered(bool(ends))[0]


def _common_batch(found: Iterable[Progress], fitting: int, processes: Processes) -> int:
    """Blocks per batch, alike in all processes: as in a recording that is gone on with, else what fits all of them."""
    before = next((progress.settings["batch"] for progress in found), None)
    said = processes.gathered([before, fitting])
    return next((before for before, _ in said if before), min(fitting for _, fitting in said))
