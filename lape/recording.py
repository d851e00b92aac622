"""Record activation statistics of a model over text in several languages, in one pass.

The pass runs the decoder without the language-model head, counts on the device where each activation
lives, and copies one small tensor per batch to the CPU. A recording writes checkpoints and resumes
exactly: counts after a kill equal those of an undisturbed run.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.architectures import activation_sites, input_device
from lape.corpora import Source, check_label, document_end, token_blocks
from lape.counting import counting
from lape.errors import CheckpointMismatch, LapeError, NotEnoughText
from lape.groups import BlockGroups, snapshot_blocks
from lape.models import identity
from lape.statistics import ActivationStatistics
from lape.tallies import Progress, Tally

CHECKPOINT_EVERY_TOKENS = 20_000
MAX_BATCH_TOKENS = 2**24  # a float32 count stays exact up to here
MAX_GROUPED_TOKENS = 2**30  # groups and halves are counted in int32
GROUPS = 16

Until = Callable[[BlockGroups, int], bool]


@dataclass(frozen=True)
class _Grouping:
    """What a recording keeps beside totals: how many groups, snapshots in tokens, when to stop."""

    groups: int = 0
    snapshots: Sequence[int] | None = ()
    until: Until | None = None


def record(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    tokens: int = 100_000,
    block: int = 512,
    batch: int | None = None,
    checkpoint: Path | None = None,
    progress: bool = True,
    allow_short: bool = False,
) -> ActivationStatistics:
    """Counts how often every neuron is active in each language, and sums its activation.

    Args:
        model: A causal language model with an activation module per layer.
        tokenizer: Its tokenizer.
        corpora: Language code to documents: a sequence, or a function that opens them.
        tokens: Tokens per language, rounded up to whole blocks.
        block: Tokens per block, the context each token is seen in.
        batch: Blocks per forward pass. None takes 2 on a CPU and 8 on a GPU.
        checkpoint: File to write progress to every 20,000 tokens and on any interruption, and to resume from;
            removed at the end.
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
    given = (tokens, block, batch, checkpoint, progress, allow_short)
    return _record(model, tokenizer, corpora, _Grouping(), *given).statistics(corpora)


def record_groups(
    model: PreTrainedModel,
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
    progress: bool = True,
    allow_short: bool = False,
) -> tuple[ActivationStatistics, BlockGroups]:
    """The same as `record`, keeping counts of groups of blocks too, in the same pass: see `lape.groups`.

    Args:
        model: As for `record`.
        tokenizer: As for `record`.
        corpora: As for `record`.
        groups: Of blocks, an even number.
        snapshots: Tokens per language at which to keep the counts of the two halves, each rounded up to an even
            number of blocks; None takes 1,000, 1,500, 2,000, 3,000, 5,000, 7,000, 10,000 and on.
        until: Ends the recording when it returns true. It is called with the groups so far and the number of
            blocks, at each snapshot once every language has passed it: the languages are then recorded in step.
            It must depend on nothing else, so that a resumed recording ends where an undisturbed one does.
        tokens: As for `record`; the most that is recorded, with `until`.
        block: As for `record`.
        batch: As for `record`.
        checkpoint: As for `record`.
        progress: As for `record`.
        allow_short: As for `record`.

    Returns:
        The statistics, the same as those of `record` over as many tokens, and the groups.

    Raises:
        LapeError: The number of groups is not even, or there are too many tokens for their counts.
    """
    if groups < 2 or groups % 2:
        raise LapeError(f"groups is an even number from 2 on, not {groups}: the halves are of whole groups.")
    if tokens > MAX_GROUPED_TOKENS:
        raise LapeError(f"At most {MAX_GROUPED_TOKENS:,} tokens a language can be kept in groups, not {tokens:,}.")
    given = (tokens, block, batch, checkpoint, progress, allow_short)
    state = _record(model, tokenizer, corpora, _Grouping(groups, snapshots, until), *given)
    return state.statistics(corpora), state.groups(corpora)


def _record(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    grouping: _Grouping,
    tokens: int,
    block: int,
    batch: int | None,
    checkpoint: Path | None,
    progress: bool,
    allow_short: bool,
) -> Progress:
    """Counts until there are enough tokens, or until it is told to stop."""
    sites = activation_sites(model)
    device = input_device(model)
    batch = (2 if device.type == "cpu" else 8) if batch is None else batch
    _check_settings(corpora, tokens, block, batch, getattr(model.config, "max_position_embeddings", None))
    blocks = math.ceil(tokens / block)
    snapshots = snapshot_blocks(grouping.snapshots, block, blocks)
    in_step = grouping.until is not None
    kept = {"groups": grouping.groups, "in_step": in_step, "snapshots": list(snapshots)}
    settings = {
        **asdict(identity(model)),
        "architecture": model.config.model_type,
        "special_tokens": {"document_end": document_end(tokenizer), "bos": False},
        "languages": list(corpora),
        "blocks": blocks,
        "block": block,
        "batch": batch,
        "groups": kept if grouping.groups else None,
    }
    if checkpoint is not None and checkpoint.exists():
        state = Progress.load(checkpoint, settings)
    else:
        state = Progress(settings, datetime.datetime.now(datetime.UTC).date().isoformat())
        if not allow_short:
            _check_length(tokenizer, corpora, blocks, block)

    readers: dict[str, Iterator[tuple[torch.Tensor, str]]] = {}
    try:
        with (
            tqdm(total=blocks * block * len(corpora), unit="token", unit_scale=True, disable=not progress) as bar,
            counting(sites, block if grouping.groups else None) as take_counts,
        ):
            unsaved_tokens = 0
            for goal in (*snapshots, blocks) if in_step else (blocks,):  # reached by whole batches, as without stages
                for code, source in corpora.items():
                    bar.set_description(code)
                    if code not in readers:
                        tally = state.tallies.setdefault(code, Tally.empty(sites.shape, grouping.groups))
                        readers[code] = _batches(tokenizer, source, tally, code, settings)
                        bar.update(tally.blocks * block)
                    while state.tallies[code].blocks < goal and (read := next(readers[code], None)):
                        inputs, sha256 = read
                        with torch.no_grad():
                            sites.decoder(input_ids=inputs.to(device), use_cache=False)
                        state.tallies[code] = state.tallies[code].add(take_counts(), len(inputs), sha256, snapshots)
                        bar.update(inputs.numel())
                        unsaved_tokens += inputs.numel()
                        if checkpoint is not None and unsaved_tokens >= CHECKPOINT_EVERY_TOKENS:
                            state.save(checkpoint)
                            unsaved_tokens = 0
                    if goal == blocks:
                        readers[code] = iter(())  # closes what it reads from
                if goal < blocks and grouping.until and grouping.until(state.groups(corpora), goal):
                    break
    except torch.OutOfMemoryError as error:
        raise LapeError(
            f"Out of memory with batch={batch} of {block} tokens; give a smaller batch or block."
        ) from error
    finally:
        if checkpoint is not None and state.tallies:
            state.save(checkpoint)
    for code, tally in state.tallies.items():
        if tally.blocks == 0 or (tally.blocks < goal and not allow_short):
            raise _not_enough(code, tally.blocks, blocks, block)
    if checkpoint is not None:
        checkpoint.unlink()
    return state


def _batches(
    tokenizer: Tokenizer, source: Source, done: Tally, code: str, settings: Mapping[str, Any]
) -> Iterator[tuple[torch.Tensor, str]]:
    """Batches of the blocks not yet counted, each with the hash of all token ids up to its end.

    Raises:
        CheckpointMismatch: At once, when the blocks already counted are not those of this text.
    """
    hashed = hashlib.sha256()
    blocks = itertools.islice(token_blocks(tokenizer, source, settings["block"]), settings["blocks"])
    for skipped in itertools.islice(blocks, done.blocks):
        hashed.update(skipped.to(torch.int32).numpy().tobytes())
    if hashed.hexdigest() != done.sha256:
        raise CheckpointMismatch(
            f"The text of {code!r} is not the one the checkpoint was made from. Restore it, or delete the checkpoint."
        )

    def rest() -> Iterator[tuple[torch.Tensor, str]]:
        while pending := list(itertools.islice(blocks, settings["batch"])):
            inputs = torch.stack(pending)
            hashed.update(inputs.to(torch.int32).numpy().tobytes())
            yield inputs, hashed.hexdigest()

    return rest()


def _check_settings(corpora: Mapping[str, Source], tokens: int, block: int, batch: int, context: int | None) -> None:
    if not corpora:
        raise LapeError("There is nothing to record: name at least one language.")
    for code in corpora:
        check_label(code)
    if tokens < 1 or block < 1 or batch < 1:
        raise LapeError(f"tokens ({tokens}), block ({block}) and batch ({batch}) must be at least 1.")
    if context is not None and block > context:
        raise LapeError(f"A block of {block} tokens is longer than the model's context of {context}.")
    if block * batch > MAX_BATCH_TOKENS:
        raise LapeError(f"block x batch is {block * batch} tokens; at most {MAX_BATCH_TOKENS} fit one pass.")


def _check_length(tokenizer: Tokenizer, corpora: Mapping[str, Source], blocks: int, block: int) -> None:
    """Counts the text of every language first: tokenising is about a thousand times cheaper than the model."""
    for code, source in corpora.items():
        if getattr(source, "streamed", False):
            continue  # reading it twice would download it twice; its end is met while recording
        found = sum(1 for _ in itertools.islice(token_blocks(tokenizer, source, block), blocks))
        if found < blocks:
            raise _not_enough(code, found, blocks, block)


def _not_enough(code: str, found: int, blocks: int, block: int) -> NotEnoughText:
    return NotEnoughText(
        f"{code!r} has text for {found * block} tokens in blocks of {block}, but {blocks * block} were asked for. "
        "Add text, ask for fewer tokens, or allow a short language (allow_short, --allow-short)."
    )
