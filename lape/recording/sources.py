"""Sources of text: documents that can be read again, and the check that every one of them passes.

A source is a list of documents, or a function that opens them anew, such as one that reads a file. A resumed
recording must read the same blocks again, so a source that can be read only once is refused. One that reads while it
goes may hand on a long document in pieces (`lape.recording.pieces`).
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import torch

from lape.errors import LapeError
from lape.recording.pieces import Piece, pieces, whole
from lape.storage.names import check_label


class TokenSource(ABC):
    """A source of tokens that no text gives."""

    @property
    @abstractmethod
    def description(self) -> str:
        """Its name in metadata."""

    @abstractmethod
    def blocks(self, block: int) -> Iterator[torch.Tensor]:
        """Blocks of tokens from the first, int64 `[block]` each; as many as are taken."""


Source = Callable[[], Iterable[str]] | Sequence[str] | TokenSource

ALLOWED = "Give a list of documents, or a function that opens them anew"


def check_sources(corpora: Mapping[str, Source]) -> None:
    """Refuses what is no mapping from language labels to sources, before anything is read.

    Raises:
        LapeError: It is no mapping, a label is not one, or a source cannot be read again and again.
    """
    if not isinstance(corpora, Mapping):
        raise LapeError(
            "Texts are given as a mapping from language code to documents, such as "
            f'{{"fr": ["Bonjour.", ...]}}, not as {_kind(corpora)}.'
        )
    for code, source in corpora.items():
        check_label(code)
        check_source(source, code)


def check_source(source: object, language: str | None = None) -> None:
    """Refuses what is neither a list of documents nor a function that opens them.

    Args:
        source: What was given.
        language: Whose text it is, for the error.

    Raises:
        LapeError: Says what was given and what to give instead.
    """
    if callable(source) or isinstance(source, TokenSource):
        return
    whose = _whose(language)
    if isinstance(source, str | bytes):
        raise LapeError(f"The text{whose} is one string. {ALLOWED}; for a single document, [text].")
    if isinstance(source, Iterator):
        raise LapeError(
            f"The text{whose} is {_kind(source)}, which can be read only once. {ALLOWED}: the function that makes "
            "the iterator, not the iterator."
        )
    if isinstance(source, Mapping | AbstractSet) or not isinstance(source, Iterable):
        raise LapeError(f"The text{whose} is {_kind(source)}. {ALLOWED}.")


def open_source(source: Source, language: str | None = None) -> Iterator[str]:
    """The documents of a source from the first, each checked when its turn comes.

    Args:
        source: A list of documents, or a function that opens them.
        language: Whose text it is, for errors.

    Raises:
        LapeError: The source cannot be read, or a document is not text; says which one.
    """
    return whole(open_pieces(source, language))


def open_pieces(source: Source, language: str | None = None) -> Iterator[str]:
    """The same in pieces, for who needs no document as a whole: of a long one only the piece whose turn it is.

    Args:
        source: A list of documents, or a function that opens them.
        language: Whose text it is, for errors.

    Raises:
        LapeError: The source cannot be read, or a document is not text; says which one.
    """
    check_source(source, language)
    if isinstance(source, TokenSource):
        raise LapeError(f"{language or 'This source'} has tokens and no text to read: {source.description}.")
    opened = source() if callable(source) else source
    if callable(opened):
        raise LapeError(f"The function that opens the text{_whose(language)} returned a function, not documents.")
    if opened is not source and not isinstance(opened, Iterator):
        check_source(opened, language)
    if isinstance(opened, Generator) and inspect.getgeneratorstate(opened) != inspect.GEN_CREATED:
        raise LapeError(
            f"The function that opens the text{_whose(language)} returned a generator that was read before. Make a "
            "new one each time it is called."
        )
    return _checked(opened, language)


def describe(source: Source) -> str:
    """A short name of a source for metadata: the file or dataset, else `texts`."""
    return getattr(source, "description", "texts")


def _checked(documents: Iterable[Any], language: str | None) -> Iterator[str]:
    number, read = 1, 0  # the document, and characters of it
    for document in documents:
        if not isinstance(document, str):
            raise LapeError(
                f"Document {number}{_whose(language)} is {_kind(document)}, not text. Leave out documents that are "
                "missing, and make strings of the others."
            )
        for piece in pieces(document):
            try:
                piece.encode()
            except UnicodeEncodeError as error:
                raise LapeError(
                    f"Document {number}{_whose(language)} holds half a character (a lone surrogate) at character "
                    f"{read + error.start + 1}. Decode it as UTF-8 again, or remove that character."
                ) from error
            yield piece
            number, read = (number, read + len(piece)) if isinstance(piece, Piece) else (number + 1, 0)


def _whose(language: str | None) -> str:
    return f" of {language!r}" if language else ""


def _kind(value: object) -> str:
    """What a value is, in a few words: itself where it is short, else its type."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"
