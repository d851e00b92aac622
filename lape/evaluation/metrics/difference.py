"""Where two texts begin to differ."""

from __future__ import annotations

import unicodedata


def first_difference(text: str, other: str, *, growing: bool = False) -> int | None:
    """The first character of a text that is not the same in the other; that of a word where there are spaces.

    Args:
        text: The text to look at.
        other: What it is compared with.
        growing: Both may go on, so that the end of one of them is no difference yet.

    Returns:
        An index into `text`, which is its length when the other only goes on; None when they do not differ.

    Example:
        >>> first_difference("Il vivait dans", "Il vivra dans")
        3
    """
    shortest = min(len(text), len(other))
    at = next((index for index in range(shortest) if text[index] != other[index]), shortest)
    if at == shortest and (growing or len(text) == len(other)):
        return None
    while at > 0 and (_goes_on(text, at) or _goes_on(other, at)):
        at -= 1
    return at


def _goes_on(text: str, at: int) -> bool:
    """Whether a letter with its marks, or a word of a script with spaces, began before and goes on here."""
    if at >= len(text):
        return False
    if unicodedata.category(text[at])[0] == "M":
        return True
    return all(unicodedata.category(sign)[0] in "LM" and _spaced(sign) for sign in text[at - 1 : at + 1])


def _spaced(letter: str) -> bool:
    """Whether its script has spaces between words; ideographs, kana, Thai and some more have none."""
    return unicodedata.east_asian_width(letter) not in "WF" and not unicodedata.name(letter, "").startswith(
        ("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
    )
