"""The loop that reads text for the recordings beside activation statistics, language by language.

They read what statistics are recorded from: blocks of tokens, each after what the tokenizer puts before text. What they
make of a language is kept when it is done, so that after a kill no language is read twice.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from tqdm import tqdm
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import CheckpointMismatch
from lape.models.architectures import input_device
from lape.models.identity import identity
from lape.models.inputs import check_ids, context_length, embedding_rows
from lape.recording.beginnings import prefix_of
from lape.recording.blocks import document_end, token_blocks
from lape.recording.reading import check_settings, check_text, not_enough
from lape.recording.sources import Source, describe
from lape.storage.files import load_tensors, save_tensors
from lape.version import __version__

Made = Mapping[str, torch.Tensor]  # of one language's text
Make = Callable[[Iterator[torch.Tensor]], Made]

LIBRARY = {"lape": __version__, "torch": torch.__version__, "transformers": transformers.__version__}


class TextPasses:
    """Text of some languages that a model reads, once or more often, always in the same blocks.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        corpora: Language code to documents: a sequence, or a function that opens them.
        tokens: Tokens per language, rounded up to whole blocks.
        block: Tokens per block, the context each token is seen in.
        batch: Blocks per forward pass; None takes 2 on a CPU and 8 on a GPU.
        progress: Whether to show a progress bar on standard error.
        allow_short: Take a language that has less text than asked, rather than raise.
        kept: Folder for what is made of each language as soon as it is done; what is there already is not made again.
            None keeps nothing.
        settings: What else decides what is made; what was kept under others is refused.

    Attributes:
        before: Number of tokens at the beginning of each row, which are there to be read, not to be recorded.
        block: Tokens of each row after them.
        tokens: Language code to tokens, of the languages that were read to their end.

    Raises:
        NotEnoughText: A language has fewer tokens than asked; says how many.
        LapeError: A setting is out of range.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        corpora: Mapping[str, Source],
        *,
        tokens: int,
        block: int,
        batch: int | None = None,
        progress: bool = True,
        allow_short: bool = False,
        kept: Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        before, end = prefix_of(tokenizer), document_end(tokenizer)
        self._device, self._rows = input_device(model), embedding_rows(model)
        self._batch = (2 if self._device.type == "cpu" else 8) if batch is None else batch
        check_settings(corpora, tokens, block, self._batch, context_length(model), len(before))
        check_ids(self._rows, torch.tensor(before if end is None else [*before, end]), tokenizer)
        self.before, self.block, self.tokens = len(before), block, dict[str, int]()
        self._prefix, self._blocks = torch.tensor(before, dtype=torch.long), math.ceil(tokens / block)
        check_text(tokenizer, corpora, self._blocks, block, allow_short)
        self._tokenizer, self._corpora, self._allow_short = tokenizer, corpora, allow_short
        self._progress, self._kept = progress, kept
        self._date = today()
        self._described: dict[str, dict[str, Any]] = {}
        self._model = read_by(model, tokenizer, block)
        self._settings = {**self._model, "languages": list(corpora), "blocks": self._blocks, **(settings or {})}

    @property
    def metadata(self) -> dict[str, Any]:
        """Where a recording of the languages that were read comes from; the keys are those of statistics."""
        return {
            **self._model,
            "tokens": dict(self.tokens),
            "corpora": {code: [found] for code, found in self._described.items()},
            "library": LIBRARY,
            "date": self._date,
        }

    def by_language(self, step: str, make: Make) -> dict[str, Made]:
        """Reads every language's text and gives what is made of each.

        Args:
            step: What is made, for the progress bar and in the names of what is kept.
            make: Called with a language's batches, int64 `[blocks, before + block]` on the model's device; it has to
                read them all, and returns named tensors on the CPU.

        Raises:
            NotEnoughText: A language has less text than asked.
            CheckpointMismatch: What was kept is of other settings or of another text.
        """
        total = len(self._corpora) * self._blocks * self.block
        made: dict[str, Made] = {}
        with tqdm(total=total, unit="token", unit_scale=True, disable=not self._progress) as bar:
            for code in self._corpora:
                bar.set_description(f"{step} {code}")
                file = None if self._kept is None else self._kept / f"{step}.{code}.safetensors"
                if file is not None and file.exists():
                    made[code] = self._load(file, code)
                    bar.update(self.tokens[code])
                    continue
                made[code] = make(self._batches(code, bar))
                if file is not None:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    described = {"kind": "step", "settings": self._settings, "date": self._date}
                    save_tensors(file, made[code], {**described, "corpus": self._described[code]})
        return made

    def _batches(self, code: str, bar: tqdm) -> Iterator[torch.Tensor]:
        """A language's blocks in batches, each after the prefix."""
        hashed, read, blocks = hashlib.sha256(), 0, self._text(code)
        while some := list(itertools.islice(blocks, self._batch)):
            inputs = torch.stack(some)
            check_ids(self._rows, inputs, self._tokenizer)
            hashed.update(_bytes(inputs))
            yield torch.cat([self._prefix.expand(len(some), -1), inputs], dim=1).to(self._device)
            read += len(some)
            bar.update(inputs.numel())
        if read < (1 if self._allow_short else self._blocks):
            raise not_enough(code, read, self._blocks, self.block)
        self._done(code, read, hashed.hexdigest())

    def _text(self, code: str) -> Iterator[torch.Tensor]:
        return itertools.islice(token_blocks(self._tokenizer, self._corpora[code], self.block, code), self._blocks)

    def _done(self, code: str, blocks: int, sha256: str) -> None:
        self.tokens[code] = tokens = blocks * self.block
        self._described[code] = {"source": describe(self._corpora[code]), "sha256": sha256, "tokens": tokens}

    def _load(self, file: Path, code: str) -> Made:
        """What was kept of a language, when it is of these settings and of this text."""
        tensors, metadata = load_tensors(file, "step")
        way_out = f"Record as before, or delete {str(file.parent)!r}."
        if metadata.get("settings") != self._settings:
            raise CheckpointMismatch(f"{str(file)!r} was recorded with other settings. {way_out}")
        self._done(code, *counted_and_hashed(self._text(code)))
        if metadata.get("corpus") != self._described[code]:
            raise CheckpointMismatch(f"The text of {code!r} is not the one {str(file)!r} was made from. {way_out}")
        self._date = min(self._date, str(metadata.get("date")))
        return tensors


def read_by(model: PreTrainedModel, tokenizer: Tokenizer, block: int) -> dict[str, Any]:
    """What metadata says of the model that reads blocks of so many tokens, and of what stands before them."""
    return {
        **asdict(identity(model)),
        "architecture": model.config.model_type,
        "block": block,
        "special_tokens": {"document_end": document_end(tokenizer), "bos": prefix_of(tokenizer) or False},
    }


def today() -> str:
    """The date of a recording that is made now."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def counted_and_hashed(blocks: Iterable[torch.Tensor]) -> tuple[int, str]:
    """The number of blocks, and the SHA-256 of their ids as metadata has it."""
    hashed, number = hashlib.sha256(), 0
    for found in blocks:
        hashed.update(_bytes(found))
        number += 1
    return number, hashed.hexdigest()


def _bytes(ids: torch.Tensor) -> bytes:
    return ids.to(torch.int32).numpy().tobytes()
