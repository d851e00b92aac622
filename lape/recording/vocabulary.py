"""Which tokens a language's text is made of: how often each occurs in it, and so which language a token is of.

File `vocabulary.safetensors`, per language code: `tokens.<code>` int32 `[n]`, the ascending ids that occur in its text,
and `counts.<code>` int32 `[n]`, how often. Besides, `special` int32, the ids of tokens that are no text, and `size`
int32 `[1]`, the number of ids there are. One metadata key `lape` with the keys of statistics
(`lape/recording/statistics.py`) and `kind` "vocabulary".
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import BadFile, MaskMismatch, unknown_label
from lape.models.identity import identity, warn_of_another
from lape.models.inputs import embedding_rows
from lape.recording.blocks import special_ids, token_blocks
from lape.recording.passes import Made, TextPasses
from lape.recording.reading import check_settings, not_enough
from lape.recording.sources import Source
from lape.storage.brief import brief
from lape.storage.files import FORMAT_VERSION, load_tensors, save_tensors
from lape.storage.metadata import check_metadata, warn_of_newer
from lape.storage.names import INTEGERS, VOCABULARY_NAME

BLOCK = 512
LARGEST_VOCABULARY = 2**24
OWN_SHARE, LEAST = 2 / 3, 2  # of a token that is a language's own


@dataclass(frozen=True, eq=False)
class TokenLanguages:
    """Which language each token is of.

    Attributes:
        languages: Language codes.
        owners: int64 `[token ids]`: places in `languages`, -1 for a token of no one language.
    """

    __repr__ = brief

    languages: tuple[str, ...]
    owners: torch.Tensor

    def of(self, token: int) -> str | None:
        """The language of a token; None where it is of no one language, or was not there to be counted."""
        owner = int(self.owners[token]) if token < len(self.owners) else -1
        return self.languages[owner] if owner >= 0 else None


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """How often each token occurs in text of some languages.

    Attributes:
        file: The name of its file in a folder.
        counts: Language code to int64 `[token ids]`.
        special: Ids of tokens that are no text, such as the one that ends a document.
        metadata: Where they come from; the keys are those of statistics. Empty for those that are in no file.
    """

    file: ClassVar[str] = VOCABULARY_NAME

    __repr__ = brief

    counts: Mapping[str, torch.Tensor]
    special: tuple[int, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def languages(self) -> tuple[str, ...]:
        """Language codes, sorted."""
        return tuple(sorted(self.counts))

    def known(self, language: str) -> str:
        """Returns a language code, or raises when its tokens were not counted."""
        if language not in self.counts:
            raise unknown_label("language in these token counts", language, self.counts)
        return language

    def outside(self, language: str, least: int = 1) -> torch.Tensor:
        """The tokens that a language's text does not use.

        Args:
            language: Its code.
            least: How often a token must occur there to be used.

        Returns:
            bool `[token ids]`; False for special tokens, which are of no language.
        """
        rare = self.counts[self.known(language)] < least
        rare[[token for token in self.special if token < len(rare)]] = False
        return rare

    def token_languages(self) -> TokenLanguages:
        """The language that each token is of: it is over twice as frequent there as in all the others together.

        Frequencies are shares of each language's tokens, so that every language counts the same, however much of its
        text was counted. A token that occurs only once there is of no language; nor is a special one.
        """
        counts = torch.stack([self.counts[code] for code in self.languages])
        shares = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
        largest, owner = shares.max(0)
        own = (largest > OWN_SHARE * shares.sum(0)) & (counts.gather(0, owner[None])[0] >= LEAST)
        own[[token for token in self.special if token < len(own)]] = False
        return TokenLanguages(self.languages, owner.where(own, -1))

    def check(self, model: PreTrainedModel) -> None:
        """Refuses a model with fewer tokens; warns when it is another model or revision.

        Raises:
            MaskMismatch: Tokens were counted that the model does not have.
        """
        given, rows, size = identity(model), embedding_rows(model), len(next(iter(self.counts.values())))
        if size > rows:
            name = self.metadata.get("model", "an unnamed model")
            raise MaskMismatch(f"The counts are of {size:,} tokens of {name}, but {given.model} has {rows:,}.")
        warn_of_another("The counts of tokens were", self.metadata, given)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `vocabulary.safetensors`; the same counts give the same bytes."""
        size = len(next(iter(self.counts.values())))
        tensors = {"special": torch.tensor(self.special, dtype=torch.int32), "size": torch.tensor([size]).int()}
        for code, counted in self.counts.items():
            ids = counted.nonzero()[:, 0]
            tensors |= {f"tokens.{code}": ids.int(), f"counts.{code}": counted[ids].int()}
        save_tensors(path, tensors, {**self.metadata, "kind": "vocabulary", "format": FORMAT_VERSION})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TokenCounts:
        """Reads `vocabulary.safetensors`.

        Raises:
            BadFile: It is missing or damaged, or its tensors do not fit each other.
        """
        tensors, metadata = load_tensors(path, "vocabulary")
        check_metadata(metadata, str(path))
        warn_of_newer(metadata, str(path), FORMAT_VERSION)
        damaged = BadFile(f"The counts of tokens in {str(path)!r} do not fit each other.")
        codes = sorted(metadata.get("tokens", {}))
        names = ["size", "special", *(f"{kind}.{code}" for code in codes for kind in ("tokens", "counts"))]
        if not codes or not {*names} <= tensors.keys():
            raise damaged
        if any(tensors[name].dim() != 1 or tensors[name].dtype not in INTEGERS for name in names):
            raise damaged
        if len(tensors["size"]) != 1 or not 0 < (size := int(tensors["size"])) <= LARGEST_VOCABULARY:
            raise damaged
        found = {}
        for code in codes:
            ids, counts = tensors[f"tokens.{code}"].long(), tensors[f"counts.{code}"].long()
            if len(ids) == 0 or len(ids) != len(counts) or counts.min() < 1 or ids[0] < 0 or ids[-1] >= size:
                raise damaged
            if (ids.diff() < 1).any():
                raise damaged
            found[code] = torch.zeros(size, dtype=torch.long).scatter(0, ids, counts)
        return cls(found, tuple(tensors["special"].tolist()), metadata)


def count_tokens(
    tokenizer: Tokenizer, corpora: Mapping[str, Source], *, tokens: int = 100_000, allow_short: bool = False
) -> TokenCounts:
    """Counts how often each token occurs in each language's text; needs no model.

    Args:
        tokenizer: Of the model.
        corpora: Language code to documents: a sequence, or a function that opens them.
        tokens: Tokens per language, rounded up to whole blocks of 512 (of all of them, if they are fewer).
        allow_short: Take a language that has less text than asked, rather than raise.

    Raises:
        NotEnoughText: A language has fewer tokens than asked; says how many.
    """
    block = min(BLOCK, tokens)
    check_settings(corpora, tokens, block, 1, None)
    wanted = math.ceil(tokens / block)
    counts = {}
    for code, source in corpora.items():
        found = list(itertools.islice(token_blocks(tokenizer, source, block, code), wanted))
        if len(found) < (1 if allow_short else wanted):
            raise not_enough(code, len(found), wanted, block)
        counts[code] = torch.cat(found).bincount(minlength=len(tokenizer))
    return TokenCounts(counts, tuple(sorted(special_ids(tokenizer))))


def record_vocabulary(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    tokens: int,
    block: int = BLOCK,
    allow_short: bool = False,
    kept: Path | None = None,
) -> TokenCounts:
    """Counts the tokens of the text that a model's statistics are recorded from; the model only gives its name.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        corpora: Language code to documents.
        tokens: Per language, rounded up to whole blocks.
        block: Tokens per block.
        allow_short: Take a language that has less text than asked, rather than raise.
        kept: Folder for what is made of each language, as for `TextPasses`.

    Raises:
        NotEnoughText: A language has fewer tokens than asked; says how many.
    """
    text = TextPasses(
        model, tokenizer, corpora, tokens=tokens, block=block, allow_short=allow_short, kept=kept, progress=False
    )
    size = len(tokenizer)

    def counted(batches: Iterator[torch.Tensor]) -> Made:
        total = torch.zeros(size, dtype=torch.long)
        for batch in batches:
            total += batch[:, text.before :].flatten().cpu().bincount(minlength=size)
        return {"counts": total}

    counts = {code: made["counts"] for code, made in text.by_language("vocabulary", counted).items()}
    return TokenCounts(counts, tuple(sorted(special_ids(tokenizer))), text.metadata)


def vocabulary_beside(mask: str | os.PathLike[str]) -> TokenCounts | None:
    """The counts of tokens that lie beside a mask, or None where there are none.

    Args:
        mask: A mask's folder or file.

    Raises:
        BadFile: They are damaged.
    """
    folder = Path(mask) if Path(mask).is_dir() else Path(mask).parent
    file = folder / VOCABULARY_NAME
    return TokenCounts.load(file) if file.is_file() else None
