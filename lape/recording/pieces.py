"""Long documents in pieces, so that one of any length is read and tokenised in bounded memory.

A piece ends where tokenizers end a token too: after the last line break between two lines of text, else before the
last blank that text follows; only a piece without either is cut anywhere. Where it ends depends on the document alone,
not on how it was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# Characters. A tokenizer takes about 200 bytes for each, so 20 MB; nearly all documents are shorter, and stay whole.
LONGEST_PIECE = 100_000
AFTER_A_LINE = re.compile(r".*\S\n(?=\S)", re.DOTALL)
BEFORE_A_WORD = re.compile(r".+(?=\s\S)", re.DOTALL)


class Piece(str):
    """The beginning of a document, or what follows it: the document goes on. Its last piece is a plain string."""

    __slots__ = ()


def pieces(document: str) -> Iterator[str]:
    """A document in pieces of `LONGEST_PIECE` characters at most; joined they are the document.

    Args:
        document: A short one is its own only piece, and a piece stays as it is.
    """
    start = 0
    while len(document) - start > LONGEST_PIECE:
        window = document, start, start + LONGEST_PIECE
        found = AFTER_A_LINE.match(*window) or BEFORE_A_WORD.match(*window)
        end = found.end() if found else start + LONGEST_PIECE
        yield Piece(document[start:end])
        start = end
    yield document[start:] if start else document


def whole(parts: Iterable[str]) -> Iterator[str]:
    """The documents that pieces are of."""
    held: list[str] = []
    for part in parts:
        held.append(part)
        if not isinstance(part, Piece):
            yield "".join(held)
            held = []
    if held:
        yield "".join(held)
