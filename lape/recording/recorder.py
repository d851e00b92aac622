"""Record activation statistics of a model over text in several languages, in one pass.

A counter reads batches of blocks, counts where each activation lives, and hands over one small tensor per batch. A
recording writes checkpoints and resumes exactly, also after a kill.
"""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.models.inputs import check_ids
from lape.recording.beginnings import prefix_of
from lape.recording.blocks import document_end
from lape.recording.counters import ActivationCounter, ModelCounter
from lape.recording.groups import BlockGroups, snapshot_blocks
from lape.recording.reading import batches, check_groups, check_settings, check_text, not_enough
from lape.recording.sources import Source
from lape.recording.statistics import ActivationStatistics
from lape.recording.tallies import Progress, Step, Tally

CHECKPOINT_EVERY_TOKENS = 20_000
GROUPS = 16

Until = Callable[[BlockGroups, int], bool]


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
            removed at the end, kept when the loop is left.
        keep_checkpoint: Whether it stays at the end too, for who has yet to save what came out.
        allow_short: Take a language that has less text than asked, rather than raise.

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
        self._keep_checkpoint, self._before = keep_checkpoint, before
        batch = counter.batch(block) if batch is None else batch
        self._block, self._blocks = block, math.ceil(tokens / block)
        self._snapshots = snapshot_blocks(snapshots, block, self._blocks)
        self._stages = self._snapshots if until else range(batch, self._blocks, batch) if in_turn else ()
        kept = {"groups": groups, "in_step": until is not None, "snapshots": list(self._snapshots)}
        self._settings = {
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
        if checkpoint is not None and checkpoint.exists():
            self.state = Progress.load(checkpoint, self._settings, counter.library)
        else:
            date = datetime.datetime.now(datetime.UTC).date().isoformat()
            self.state = Progress(self._settings, date, counter.library)
            check_text(tokenizer, corpora, self._blocks, block, allow_short)

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
        """Counted so far, of all languages."""
        return sum(tally.blocks for tally in self.state.tallies.values()) * self._block

    def __iter__(self) -> Generator[Step, None, None]:
        saved_tokens = self.tokens
        try:
            with closing(self._count()) as steps:
                for step in steps:
                    if self._checkpoint is not None and step.total_tokens - saved_tokens >= CHECKPOINT_EVERY_TOKENS:
                        self.state.save(self._checkpoint)
                        saved_tokens = step.total_tokens
                    yield step
        finally:
            if self._checkpoint is not None and self.state.tallies:
                self.state.save(self._checkpoint)
        if self._checkpoint is not None and not self._keep_checkpoint:
            self._checkpoint.unlink()

    def _count(self) -> Generator[Step, None, None]:
        """The one loop: counts until there are enough tokens, or until it is told to stop."""
        tallies = self.state.tallies
        readers: dict[str, Iterator[tuple[torch.Tensor, str]]] = {}
        with self._counter.counting(self._block, self._before, apart=self._groups > 0) as count:
            for goal in itertools.chain(self._stages, (self._blocks,)):  # reached by whole batches, as without stages
                for code, source in self._corpora.items():
                    if code not in readers:
                        tally = tallies.setdefault(code, Tally.empty(self._counter, self._groups))
                        readers[code] = batches(self._tokenizer, source, tally, code, self._settings)
                    yield Step(code, tallies[code].blocks * self._block, self.tokens)
                    while tallies[code].blocks < goal and (read := next(readers[code], None)):
                        blocks, sha256 = read
                        check_ids(self._counter.rows, blocks, self._tokenizer)
                        tallies[code] = tallies[code].add(count(blocks), len(blocks), sha256, self._snapshots)
                        yield Step(code, tallies[code].blocks * self._block, self.tokens)
                    if goal == self._blocks:
                        readers[code] = iter(())  # closes what it reads from
                if goal < self._blocks and self._until and self._until(self.groups(), goal):
                    break
        for code, tally in tallies.items():
            if tally.blocks == 0 or (tally.blocks < goal and not self._allow_short):
                raise not_enough(code, tally.blocks, self._blocks, self._block)


def record(
    model: PreTrainedModel | ActivationCounter,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    tokens: int = 100_000,
    block: int = 512,
    batch: int | None = None,
    checkpoint: Path | None = None,
    keep_checkpoint: bool = False,
    progress: bool = True,
    allow_short: bool = False,
) -> ActivationStatistics:
    """Counts how often every neuron is active in each language, and sums its activation.

    Args:
        model: A causal language model, or an engine's (`lape.serving`).
        tokenizer: Its tokenizer.
        corpora: Language code to documents: a sequence, or a function that opens them.
        tokens: Tokens per language, rounded up to whole blocks.
        block: Tokens per block, the context each token is seen in.
        batch: Blocks per forward pass. None takes 2 on a CPU, what fits on a GPU; 64 of an engine.
        checkpoint: File to write progress to every 20,000 tokens and on any interruption, and to resume from;
            removed at the end.
        keep_checkpoint: Whether it stays at the end too, for who has yet to save what came out.
        progress: Whether to show a progress bar on standard error.
        allow_short: Take a language that has less text than asked, rather than raise.

    Returns:
        The statistics, on the CPU.

    Raises:
        UnsupportedArchitecture: The model cannot be hooked.
        NotEnoughText: A language has fewer tokens than asked; says how many.
        CheckpointMismatch: The checkpoint has other settings or was made from another text.

    Example:
        >>> stats = record(model, tokenizer, {"fr": ["Bonjour le monde."]}, tokens=4, block=4)  # doctest: +SKIP
    """
    given: dict[str, Any] = {"tokens": tokens, "block": block, "batch": batch, "checkpoint": checkpoint}
    given |= {"keep_checkpoint": keep_checkpoint, "allow_short": allow_short}
    recording = Recording(model, tokenizer, corpora, **given)
    _finish(recording, progress)
    return recording.statistics()


def record_groups(
    model: PreTrainedModel | ActivationCounter,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    groups: int = GROUPS,
    snapshots: Sequence[int] | None = None,
    until: Until | None = None,
    tokens: int = 100_000,
    block: int = 512,
    batch: int | None = None,
    checkpoint: Path | None = None,
    keep_checkpoint: bool = False,
    progress: bool = True,
    allow_short: bool = False,
) -> tuple[ActivationStatistics, BlockGroups]:
    """Records activation statistics and, in the same pass, counts of groups of blocks; see `lape.recording.groups`.

    Args:
        model: A causal language model, or an engine's (`lape.serving`).
        tokenizer: Its tokenizer.
        corpora: Language code to documents: a list, or a function that opens them.
        groups: Of blocks, an even number up to 1,024.
        snapshots: Tokens per language at which to keep the counts of the two halves, each rounded up to an even
            number of blocks; None takes 1,000, 1,500, 2,000, 3,000, 5,000, 7,000, 10,000 and on.
        until: Ends the recording when it returns true. It is called with the groups so far and the number of
            blocks, at each snapshot once every language has passed it: the languages are then recorded in step.
            It must depend on nothing else, so that a resumed recording ends where an undisturbed one does.
        tokens: Tokens per language, rounded up to whole blocks; with `until` the most that is recorded.
        block: Tokens per block, the context each token is seen in.
        batch: Blocks per forward pass. None takes 2 on a CPU, what fits on a GPU; 64 of an engine.
        checkpoint: File to write progress to every 20,000 tokens and on any interruption, and to resume from;
            removed at the end.
        keep_checkpoint: Whether it stays at the end too, for who has yet to save what came out.
        progress: Whether to show a progress bar on standard error.
        allow_short: Take a language that has less text than asked, rather than raise.

    Returns:
        The statistics, the same as those of `record` over as many tokens, and the groups.

    Raises:
        LapeError: The number of groups is not even or too large, or there are too many tokens for their counts.
    """
    given: dict[str, Any] = {"tokens": tokens, "block": block, "batch": batch, "checkpoint": checkpoint}
    given |= {"keep_checkpoint": keep_checkpoint, "allow_short": allow_short}
    given |= {"groups": groups, "snapshots": snapshots, "until": until}
    recording = Recording(model, tokenizer, corpora, **given)
    _finish(recording, progress)
    return recording.statistics(), recording.groups()


def _finish(recording: Recording, progress: bool) -> None:
    """Records to the end, with a bar."""
    bar = tqdm(total=recording.asked_tokens, unit="token", unit_scale=True, disable=not progress)
    with bar, closing(recording.__iter__()) as steps:
        for step in steps:
            bar.set_description(step.language)
            bar.update(step.total_tokens - bar.n)
