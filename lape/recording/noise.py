"""Random tokens, recorded beside languages: a neuron that fires on them as on a language is not a neuron of it.

The idea is LangFIR's (arXiv 2604.03532), which keeps features of a sparse autoencoder that are active on a language and
not on sequences of random tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.recording.blocks import special_ids
from lape.recording.sources import TokenSource


@dataclass(frozen=True, eq=False)
class RandomTokens(TokenSource):
    """An endless text of tokens, each drawn alike from some ids and without regard to the others.

    Attributes:
        ids: int64 `[n]`, the ids to draw from.
        seed: The same seed gives the same tokens.
    """

    ids: torch.Tensor
    seed: int = 0

    @classmethod
    def of(cls, tokenizer: Tokenizer, seed: int = 0) -> RandomTokens:
        """Of all of a tokenizer's tokens but the special ones, which are no text."""
        return cls(torch.tensor(sorted(set(tokenizer.get_vocab().values()) - special_ids(tokenizer))), seed)

    @property
    def description(self) -> str:
        """Its name in metadata."""
        return f"random tokens, seed {self.seed}"

    def blocks(self, block: int) -> Iterator[torch.Tensor]:
        """Blocks of tokens, from the first and without an end."""
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            yield self.ids[torch.randint(len(self.ids), (block,), generator=generator)]
