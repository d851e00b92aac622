"""Text that is at hand, such as pasted or uploaded: its documents, how much it is, and the block that suits it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO

from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.recording.blocks import token_blocks
from lape.recording.documents import BY_LINE, each_line_is_a_document, text_documents
from lape.recording.pieces import whole
from lape.recording.sources import Source, open_pieces

SHORTEST_BLOCK = 8  # tokens
LONGEST_BLOCK = 512
BLOCKS_AT_LEAST = 4  # so that a short text can still be told apart in halves


@dataclass(frozen=True)
class Texts:
    """Documents in memory, as a source.

    Attributes:
        documents: In order; one may be in pieces.
        description: What a recording says of where they come from.
    """

    documents: tuple[str, ...]
    description: str = "texts"

    def __call__(self) -> Iterator[str]:
        return iter(self.documents)

    @classmethod
    def of(cls, text: str) -> Texts:
        """The documents of one text, as in a `.txt` corpus: a blank line ends one, else every line of many."""
        text = text.replace("\r\n", "\n")
        by_line = each_line_is_a_document(StringIO(text))
        return cls(tuple(whole(text_documents(StringIO(text), by_line))), f"texts{BY_LINE * by_line}")


def taken(source: Source, characters: int, language: str | None = None) -> Iterator[str]:
    """The first documents of a source, until there is enough text; long ones in pieces.

    Args:
        source: Such as a dataset that is streamed.
        characters: How many are enough; the document that has the last of them is cut there.
        language: Whose text it is, for errors.

    Raises:
        LapeError: The source cannot be read, or a document is not text.
    """
    for piece in open_pieces(source, language):
        if len(piece) >= characters:
            yield piece[:characters]
            return
        yield piece
        characters -= len(piece)


def count_tokens(tokenizer: Tokenizer, source: Source, most: int, language: str | None = None) -> int:
    """Tokens of a source in whole shortest blocks, document ends included; no more than `most` is read.

    Args:
        tokenizer: The model's own.
        source: A list of documents, or a function that opens them.
        most: Tokens to stop at, rounded up to a block.
        language: Whose text it is, for errors.

    Raises:
        LapeError: The source cannot be read, or a document is not text.
    """
    blocks = token_blocks(tokenizer, source, SHORTEST_BLOCK, language)
    return sum(len(block) for block in itertools.islice(blocks, -(-most // SHORTEST_BLOCK)))


def fitting_block(tokens: int, longest: int = LONGEST_BLOCK) -> int:
    """The block in which a text of so many tokens can be recorded: at least four fit, and it is a power of two.

    Args:
        tokens: Of the shortest text of a recording.
        longest: The block to take when there is text enough, such as the model's context when that is small.

    Example:
        >>> fitting_block(200), fitting_block(1_000), fitting_block(100_000)
        (32, 128, 512)
    """
    fits = max(tokens // BLOCKS_AT_LEAST, SHORTEST_BLOCK)
    return min(1 << (fits.bit_length() - 1), LONGEST_BLOCK, 1 << (longest.bit_length() - 1))
