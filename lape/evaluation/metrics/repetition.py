"""How much of a text repeats itself, the first sign of too strong an intervention."""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Sequence

NGRAM_CHARACTERS = 8
NGRAM_TOKENS = 4
LOOP_SHARE = 0.3  # of repeated character 8-grams; above this a reader sees a loop


def repeated_share(text: str) -> float:
    """Share of a text's character 8-grams that occurred before in it, from 0 to 1.

    Characters, not words, so that scripts without spaces count the same.

    Example:
        >>> round(repeated_share("abcdefgh" * 2), 3)  # one of nine
        0.111
    """
    return repeated_ngrams(text, NGRAM_CHARACTERS)


def repeated_ngrams(items: Sequence[Hashable], length: int = NGRAM_TOKENS) -> float:
    """Share of the n-grams of a sequence, such as token ids, that occurred before in it; 0 when there is none.

    Example:
        >>> repeated_ngrams([1, 2, 3, 4, 1, 2, 3, 4, 1])  # two of six
        0.3333333333333333
    """
    ngrams = [tuple(items[start : start + length]) for start in range(len(items) - length + 1)]
    return (len(ngrams) - len(set(ngrams))) / len(ngrams) if ngrams else 0.0


def compression_ratio(text: str) -> float:
    """Bytes of the UTF-8 text over those of it compressed by zlib: high for a text that repeats itself.

    Compare texts of about the same length: the header alone is 8 bytes, so that a sentence stays near or under 1.

    Example:
        >>> round(compression_ratio("no " * 100), 1)
        20.0
    """
    written = text.encode()
    return len(written) / len(zlib.compress(written, level=9))
