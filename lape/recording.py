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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from tqdm import tqdm
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.architectures import ActivationSites, activation_sites, input_device
from lape.corpora import Source, check_label, describe, document_end, token_blocks
from lape.errors import CheckpointMismatch, HookNotFired, LapeError, NotEnoughText
from lape.files import load_tensors, save_tensors
from lape.models import identity
from lape.statistics import ActivationStatistics
from lape.version import __version__

CHECKPOINT_EVERY_TOKENS = 20_000
MAX_BATCH_TOKENS = 2**24  # a float32 count stays exact up to here


@dataclass(frozen=True)
class _Tally:
    """What has been counted of one language; replaced as a whole after each batch."""

    active: torch.Tensor  # int64 [layers, neurons]
    sum: torch.Tensor  # float64 [layers, neurons]
    positive_sum: torch.Tensor  # float64 [layers, neurons]
    blocks: int = 0
    sha256: str = hashlib.sha256().hexdigest()  # of the token ids of these blocks

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> _Tally:
        zeros = torch.zeros(shape, dtype=torch.float64)
        return cls(zeros.long(), zeros, zeros.clone())  # a file cannot hold one tensor twice

    def add(self, batch: torch.Tensor, blocks: int, sha256: str) -> _Tally:
        """Adds one batch's `[layers, 3, neurons]` of counts, sums and positive sums."""
        active, sums, positive_sums = batch.double().unbind(1)
        return _Tally(
            self.active + active.long(),
            self.sum + sums,
            self.positive_sum + positive_sums,
            self.blocks + blocks,
            sha256,
        )


@dataclass
class _Progress:
    """The tallies of a recording under way; a checkpoint is this, written to a file."""

    settings: Mapping[str, Any]
    date: str
    tallies: dict[str, _Tally] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        tensors = {}
        for code, tally in self.tallies.items():
            for name in ("active", "sum", "positive_sum"):
                tensors[f"{name}.{code}"] = getattr(tally, name)
        done = {code: {"blocks": tally.blocks, "sha256": tally.sha256} for code, tally in self.tallies.items()}
        save_tensors(path, tensors, {"kind": "checkpoint", "settings": self.settings, "date": self.date, "done": done})

    @classmethod
    def load(cls, path: Path, settings: Mapping[str, Any]) -> _Progress:
        tensors, metadata = load_tensors(path, "checkpoint")
        for key in settings:
            if metadata["settings"].get(key) != settings[key]:
                raise CheckpointMismatch(
                    f"The checkpoint {str(path)!r} was recorded with {key} {metadata['settings'].get(key)!r}, "
                    f"not {settings[key]!r}. Use the same settings, or delete it to begin again."
                )
        tallies = {
            code: _Tally(tensors[f"active.{code}"], tensors[f"sum.{code}"], tensors[f"positive_sum.{code}"], **done)
            for code, done in metadata["done"].items()
        }
        return cls(settings, metadata["date"], tallies)


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
    sites = activation_sites(model)
    device = input_device(model)
    batch = (2 if device.type == "cpu" else 8) if batch is None else batch
    _check_settings(corpora, tokens, block, batch, getattr(model.config, "max_position_embeddings", None))
    blocks = math.ceil(tokens / block)
    settings = {
        **asdict(identity(model)),
        "architecture": model.config.model_type,
        "special_tokens": {"document_end": document_end(tokenizer), "bos": False},
        "languages": list(corpora),
        "blocks": blocks,
        "block": block,
        "batch": batch,
    }
    if checkpoint is not None and checkpoint.exists():
        state = _Progress.load(checkpoint, settings)
    else:
        state = _Progress(settings, datetime.datetime.now(datetime.UTC).date().isoformat())
        if not allow_short:
            _check_length(tokenizer, corpora, blocks, block)

    try:
        with (
            tqdm(total=blocks * block * len(corpora), unit="token", unit_scale=True, disable=not progress) as bar,
            _counting(sites) as take_counts,
        ):
            unsaved_tokens = 0
            for code, source in corpora.items():
                bar.set_description(code)
                tally = state.tallies.setdefault(code, _Tally.empty(sites.shape))
                bar.update(tally.blocks * block)
                for inputs, sha256 in _batches(tokenizer, source, tally, code, settings):
                    with torch.no_grad():
                        sites.decoder(input_ids=inputs.to(device), use_cache=False)
                    tally = state.tallies[code] = tally.add(take_counts(), len(inputs), sha256)
                    bar.update(inputs.numel())
                    unsaved_tokens += inputs.numel()
                    if checkpoint is not None and unsaved_tokens >= CHECKPOINT_EVERY_TOKENS:
                        state.save(checkpoint)
                        unsaved_tokens = 0
    except torch.OutOfMemoryError as error:
        raise LapeError(
            f"Out of memory with batch={batch} of {block} tokens; give a smaller batch or block."
        ) from error
    finally:
        if checkpoint is not None and state.tallies:
            state.save(checkpoint)
    statistics = _finish(state, corpora, allow_short)
    if checkpoint is not None:
        checkpoint.unlink()
    return statistics


@contextmanager
def _counting(sites: ActivationSites) -> Iterator[Callable[[], torch.Tensor]]:
    """Hooks every activation; gives a function that takes the last pass's counts.

    Yields:
        A function that returns float32 `[layers, 3, neurons]` on the CPU: the active count, sum and positive
        sum of each neuron over the pass, and forgets them.
    """
    counts: dict[int, torch.Tensor] = {}
    ones: dict[torch.device, torch.Tensor] = {}

    def hook(layer: int) -> Callable[..., None]:
        def count(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            values = output.reshape(-1, output.shape[-1]).float()
            if (one := ones.get(values.device)) is None or one.shape[1] != len(values):
                one = ones[values.device] = torch.ones((1, len(values)), device=values.device)
            # A product with ones is the fastest column sum on CPUs; the sign of the positive part, taken in
            # place, is 1 exactly where the neuron is active.
            positive = torch.relu(values)
            sums, positive_sums = one @ values, one @ positive
            counts[layer] = torch.cat([one @ positive.sign_(), sums, positive_sums])

        return count

    def take() -> torch.Tensor:
        missing = sorted(set(range(len(sites.modules))) - set(counts))
        if missing:
            raise HookNotFired(f"The decoder ran, but the activations of layers {missing} did not pass their hooks.")
        taken = torch.stack([counts[layer].cpu() for layer in range(len(sites.modules))])
        counts.clear()
        if not taken.isfinite().all():
            raise LapeError("The model's activations are not finite; load it in another dtype (float32 or bfloat16).")
        return taken

    with ExitStack() as stack:
        for layer, module in enumerate(sites.modules):
            stack.callback(module.register_forward_hook(hook(layer)).remove)
        yield take


def _batches(
    tokenizer: Tokenizer, source: Source, done: _Tally, code: str, settings: Mapping[str, Any]
) -> Iterator[tuple[torch.Tensor, str]]:
    """Batches of the blocks not yet counted, each with the hash of all token ids up to its end."""
    hashed = hashlib.sha256()
    blocks = itertools.islice(token_blocks(tokenizer, source, settings["block"]), settings["blocks"])
    for skipped in itertools.islice(blocks, done.blocks):
        hashed.update(skipped.to(torch.int32).numpy().tobytes())
    if hashed.hexdigest() != done.sha256:
        raise CheckpointMismatch(
            f"The text of {code!r} is not the one the checkpoint was made from. Restore it, or delete the checkpoint."
        )
    while pending := list(itertools.islice(blocks, settings["batch"])):
        inputs = torch.stack(pending)
        hashed.update(inputs.to(torch.int32).numpy().tobytes())
        yield inputs, hashed.hexdigest()


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


def _finish(state: _Progress, corpora: Mapping[str, Source], allow_short: bool) -> ActivationStatistics:
    block, blocks = state.settings["block"], state.settings["blocks"]
    for code, tally in state.tallies.items():
        if tally.blocks == 0 or (tally.blocks < blocks and not allow_short):
            raise _not_enough(code, tally.blocks, blocks, block)
    tokens = {code: state.tallies[code].blocks * block for code in corpora}
    described = {
        code: [{"source": describe(source), "sha256": state.tallies[code].sha256, "tokens": tokens[code]}]
        for code, source in corpora.items()
    }
    kept = ("model", "revision", "architecture", "dtype", "quantization", "special_tokens", "block")
    metadata = {
        **{key: state.settings[key] for key in kept},
        "tokens": tokens,
        "corpora": described,
        "library": {"lape": __version__, "torch": torch.__version__, "transformers": transformers.__version__},
        "date": state.date,
    }
    return ActivationStatistics(
        {code: state.tallies[code].active for code in corpora},
        {code: state.tallies[code].sum for code in corpora},
        {code: state.tallies[code].positive_sum for code in corpora},
        tokens,
        metadata,
    )


def _not_enough(code: str, found: int, blocks: int, block: int) -> NotEnoughText:
    return NotEnoughText(
        f"{code!r} has text for {found * block} tokens in blocks of {block}, but {blocks * block} were asked for. "
        "Add text, ask for fewer tokens, or allow a short language (allow_short, --allow-short)."
    )
