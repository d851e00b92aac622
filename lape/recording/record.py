"""Record activation statistics of a model over text in several languages: to the end, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.processes import ALONE, Processes
from lape.recording.counters import ActivationCounter
from lape.recording.groups import BlockGroups
from lape.recording.recorder import Recording, Until
from lape.recording.sources import Source
from lape.recording.statistics import ActivationStatistics

GROUPS = 16


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
    processes: Processes = ALONE,
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
        processes: That share the recording, from `lape.processes.joined`; each gets all that was counted.

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
    given |= {"keep_checkpoint": keep_checkpoint, "allow_short": allow_short, "processes": processes}
    recording = Recording(model, tokenizer, corpora, **given)
    recording.finish(progress)
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
    processes: Processes = ALONE,
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
        processes: That share the recording, from `lape.processes.joined`; each gets all that was counted.

    Returns:
        The statistics, the same as those of `record` over as many tokens, and the groups.

    Raises:
        LapeError: The number of groups is not even or too large, or there are too many tokens for their counts.
    """
    given: dict[str, Any] = {"tokens": tokens, "block": block, "batch": batch, "checkpoint": checkpoint}
    given |= {"keep_checkpoint": keep_checkpoint, "allow_short": allow_short, "processes": processes}
    given |= {"groups": groups, "snapshots": snapshots, "until": until}
    recording = Recording(model, tokenizer, corpora, **given)
    recording.finish(progress)
    return recording.statistics(), recording.groups()
