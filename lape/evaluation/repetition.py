"""How much of a text repeats itself, the first sign of too strong an intervention."""

from __future__ import annotations

NGRAM_CHARACTERS = 8
LOOP_SHARE = 0.3  # above this a reader sees a loop


def repeated_share(text: str) -> float:
    """Share of a text's character 8-grams that occurred before in it, from 0 to 1.

    Characters, not words, so that scripts without spaces count the same.

    Example:
        >>> round(repeated_share("abcdefgh" * 2), 3)  # one of nine
        0.111
    """
    ngrams = [text[start : start + NGRAM_CHARACTERS] for start in range(len(text) - NGRAM_CHARACTERS + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else 0.0
