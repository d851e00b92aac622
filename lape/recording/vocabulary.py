"""Which tokens a language's text is made of: how often each occurs in it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import unknown_label
from lape.recording.blocks import special_ids, token_blocks
from lape.recording.reading import check_settings, not_enough
from lape.recording.sources import Source
from lape.storage.brief import brief

BLOCK = 512


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """How often each token occurs in text of some languages.

    Attributes:
        counts: Language code to int64 `[token ids]`.
        special: Ids of tokens that are no text, such as the one that ends a document.
    """

    __repr__ = brief

    counts: Mapping[str, torch.Tensor]
    special: tuple[int, ...]

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
