"""A recording that is kept in a folder: it goes on from the checkpoint there, and ends as a file of statistics."""

from __future__ import annotations

from collections.abc import Mapping
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
from lape.storage.names import BESIDE_STATISTICS, CHECKPOINT_NAME, GROUPS_NAME, STATISTICS_NAME, of_ranks
from lape.storage.placing import WAY_OUT, placed


def record_into(
    folder: Path,
    model: PreTrainedModel | ActivationCounter,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    tokens: int,
    block: int,
    batch: int | None = None,
    allow_short: bool = False,
    groups: int | None = None,
    until: Until | None = None,
    way_out: str = WAY_OUT,
    processes: Processes = ALONE,
) -> tuple[ActivationStatistics, BlockGroups | None]:
    """Records and writes `statistics.safetensors`, with `groups.safetensors` where groups are kept.

    The checkpoint lies in the folder until the files are in their places: a kill at any moment costs no more than
    the tokens since the last one.

    Args:
        folder: Made when missing; a checkpoint that is there is gone on from.
        model: As for `lape.recording.record.record_groups`, and so the other arguments.
        tokenizer: See there.
        corpora: See there.
        tokens: See there.
        block: See there.
        batch: See there.
        allow_short: See there.
        groups: See there; None keeps none.
        until: See there; with groups only.
        way_out: What the user can do when the folder cannot be written.
        processes: See there; the first writes the files.

    Raises:
        LapeError: As there; or the folder cannot be written.
    """
    settings: dict[str, Any] = {"tokens": tokens, "block": block, "batch": batch, "allow_short": allow_short}
    settings |= {"checkpoint": folder / CHECKPOINT_NAME, "keep_checkpoint": True}  # until all is where it belongs
    if groups is not None:
        settings |= {"groups": groups, "snapshots": None, "until": until}
    recording = Recording(model, tokenizer, corpora, **settings, processes=processes)
    recording.finish()
    statistics, kept = recording.statistics(), None if groups is None else recording.groups()
    if processes.first:
        gone = [path.name for path in of_ranks(folder / CHECKPOINT_NAME).values()]
        with placed(folder, without=[*gone, *BESIDE_STATISTICS], way_out=way_out) as staged:
            statistics.save(staged / STATISTICS_NAME)
            if kept:
                kept.save(staged / GROUPS_NAME)
    processes.gathered("written")  # before anybody's counts go
    recording.remove_checkpoints()
    return statistics, kept
