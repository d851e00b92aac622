"""Text altered before it is read: in Latin letters, or with its words shuffled.

What a mask keeps of its neurons when the text changes tells what they stand for: neurons of a script are not those of
the same language in Latin letters, and neurons of a vocabulary do not heed the order of words. After "Multilingual
Language Models Encode Script Over Linguistic Structure" (arXiv 2604.05090).
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lape.errors import LapeError, unknown_label
from lape.recording.pieces import Piece, pieces
from lape.recording.sources import Source, describe, open_pieces

HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
# All but Latin letters with their marks, and the spaces, punctuation, symbols and emoji that text in any script has.
ROMANISED = re.compile(f"[{HAN}]+|[^\0-\u036f\u1e00-\u1eff\u2000-\u200a\u2010-\u2bff\U0001f000-\U0001faff]")
# Scripts without spaces between words: Thai, Lao, Tibetan, Burmese; Khmer; kana; Han.
UNSPACED = f"\u0e00-\u109f\u1780-\u17ff\u3041-\u30ff\u31f0-\u31ff{HAN}"
MARKS = "".join(mark for mark in map(chr, range(0x0E00, 0x3100)) if unicodedata.category(mark).startswith("M"))
WORD = re.compile(f"[{UNSPACED}][{MARKS}]*|[^\\s{UNSPACED}]+")


def romanised(text: str) -> str:
    """Text in Latin letters, character by character as anyascii writes them; Latin text stays as it is.

    Scripts without case are written small. The readings of Han characters are Chinese ones, with spaces between them.

    Raises:
        LapeError: anyascii is not installed.

    Example:
        >>> romanised("«Члены» für 国民议会, AM")
        '«Chleny» für guo min yi hui, AM'
    """
    try:
        from anyascii import anyascii
    except ImportError as error:
        raise LapeError("What writes text in Latin letters is not installed: pip install 'lape[anyascii]'.") from error

    def latin(character: str) -> str:
        cased = character.lower() != character.upper()
        return anyascii(character) if cased else anyascii(character).lower()

    return ROMANISED.sub(lambda found: " ".join(map(latin, found[0])), text)


def shuffled(text: str) -> str:
    r"""Text with the words of each line in random order; spaces and line breaks stay where they are.

    A word is what stands between spaces, with its punctuation. In scripts without spaces every character is one, with
    its marks. A line is the seed of its own order, so that the same line is always shuffled alike.

    Example:
        >>> shuffled("one two, three\n国民 AM")
        'two, one three\nAM国 民'
    """

    def line(found: re.Match[str]) -> str:
        words = WORD.findall(found[0])
        random.Random(found[0]).shuffle(words)
        return WORD.sub(lambda _: words.pop(), found[0])

    return re.sub(r"[^\r\n]+", line, text)


ALTERATIONS: Mapping[str, Callable[[str], str]] = {"romanised": romanised, "shuffled": shuffled}


@dataclass(frozen=True)
class Altered:
    """A source whose documents are altered when they are read.

    Attributes:
        source: The documents as they are.
        alteration: Of `ALTERATIONS`.
    """

    source: Source
    alteration: str

    def __call__(self) -> Iterator[str]:
        alter = ALTERATIONS[self.alteration]
        for piece in open_pieces(self.source):
            *parts, last = pieces(alter(piece))  # which may be longer than it was
            yield from parts
            yield Piece(last) if isinstance(piece, Piece) else last

    @property
    def description(self) -> str:
        return f"{describe(self.source)}, {self.alteration}"

    @property
    def streamed(self) -> bool:
        return getattr(self.source, "streamed", False)


def altered(corpora: Mapping[str, Source], alteration: str) -> dict[str, Source]:
    """The same languages with their text altered.

    Args:
        corpora: Language code to documents.
        alteration: Of `ALTERATIONS`: `"romanised"` or `"shuffled"`.

    Raises:
        UnknownLabel: There is no such alteration.
        LapeError: It needs a package that is not installed.
    """
    if alteration not in ALTERATIONS:
        raise unknown_label("alteration", alteration, ALTERATIONS)
    ALTERATIONS[alteration]("")  # says now what is missing
    return {code: Altered(source, alteration) for code, source in corpora.items()}
