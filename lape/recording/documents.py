"""Documents from text files and datasets: how each format is read, where a document ends, what is held out.

In a text file a blank line ends a document. Corpora of sentences (FLORES, NTREX, OPUS) have none: there every line
is a document. A text is read so when its first 1,000 lines, or all of at least 20, have no blank line between them.

A text file may have any size and a line any length: it is read in parts, and a document longer than a piece is handed
on in pieces while it is read (`lape.recording.pieces`).
"""

from __future__ import annotations

import codecs
import glob
import gzip
import itertools
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lape.errors import BadFile
from lape.recording.pieces import LONGEST_PIECE, Piece, pieces
from lape.storage.schema import shown

# What a file's name ends in -> how `datasets` reads it; None is plain text, read here.
FORMATS: dict[str, tuple[str, dict[str, Any]] | None] = {
    ".txt": None,
    ".jsonl": ("json", {}),
    ".json": ("json", {}),
    ".csv": ("csv", {"keep_default_na": False}),  # the words "NA" and "null" are text
    ".tsv": ("csv", {"keep_default_na": False, "sep": "\t"}),
    ".parquet": ("parquet", {}),
}
COMPRESSED = ".gz"
READABLE = f"{', '.join(FORMATS)}, or one of these and {COMPRESSED}"
VALID_EVERY = 10  # one document in ten is held out where no <code>.valid file exists
FEWEST_LINES = 20  # that are documents of their own; twice as many as leave one held out on average
LINES_LOOKED_AT = 1000
CHARACTERS_LOOKED_AT = FEWEST_LINES * LONGEST_PIECE  # so the fewest lines are seen, unless they are cut in pieces
PART = 4 * LONGEST_PIECE  # bytes: a line that is shorter than a piece is one part, in any script
BY_LINE = ", a document a line"  # in descriptions


@dataclass(frozen=True)
class TextFile:
    """A local file as a source of documents.

    Attributes:
        path: Its name ends in one of `FORMATS`, `.gz` or not; all but `.txt` have a column `text`.
        split: None takes every document; `"train"` and `"valid"` divide them by a hash of their text, of a long one's
            first piece.
        by_line: Whether every line of a `.txt` file is a document; else a blank line ends one.
    """

    path: Path
    split: str | None = None
    by_line: bool = False

    @classmethod
    def of(cls, path: Path, split: str | None = None) -> TextFile:
        """A file with its documents as its lines are, which are looked at.

        Raises:
            BadFile: It cannot be read.
        """
        is_text = FORMATS[format_of(path.name) or ""] is None
        return cls(path, split, is_text and each_line_is_a_document(_lines(path, errors="replace")))

    def __call__(self) -> Iterator[str]:
        reader = FORMATS[format_of(self.path.name) or ""]
        if reader is None:
            documents = text_documents(_lines(self.path), self.by_line)
        else:
            builder, settings = reader
            # Names may hold the marks of a pattern.
            documents = rows(self.path.name, builder, data_files=glob.escape(str(self.path)), **settings)
        return divided(documents, self.split)

    @property
    def description(self) -> str:
        return self.path.name + BY_LINE * self.by_line


@dataclass(frozen=True)
class HubDataset:
    """A Hugging Face dataset, streamed, as a source of documents.

    Attributes:
        name: Dataset id, such as `wikimedia/wikipedia`.
        config: Configuration, such as `20231101.fr`.
        split: `"train"` or `"valid"`, divided by a hash of each document's text.
    """

    name: str
    config: str | None = None
    split: str = "train"
    streamed = True

    def __call__(self) -> Iterator[str]:
        return divided(rows(self.description, self.name, name=self.config), self.split)

    @property
    def description(self) -> str:
        return f"hf:{self.name}" + (f":{self.config}" if self.config else "")


def format_of(name: str) -> str | None:
    """What a file's name ends in, such as `.txt`, in either case and before `.gz`; None when it cannot be read."""
    suffix = Path(name.lower().removesuffix(COMPRESSED)).suffix
    return suffix if suffix in FORMATS else None


def each_line_is_a_document(lines: Iterable[str]) -> bool:
    """Whether a text has a document a line: many lines, and no blank one between the first thousand.

    Args:
        lines: With their line breaks, or parts of them; no more than two million characters are looked at.
    """
    written = blank = characters = 0
    inside = False  # a line that is in parts
    for part in itertools.islice(lines, LINES_LOOKED_AT):
        if not (inside or part.strip()):
            blank += 1
        elif not inside:
            if written and blank:
                return False
            written, blank = written + 1, 0
        inside = not part.endswith("\n")
        characters += len(part)
        if characters >= CHARACTERS_LOOKED_AT:
            break
    return written >= FEWEST_LINES


def text_documents(lines: Iterable[str], by_line: bool) -> Iterator[str]:
    """Documents from the lines of a text, long ones in pieces.

    Args:
        lines: With their line breaks, or parts of them: a long line that begins with a blank part is a blank line.
        by_line: Whether each is a document, unless it is blank; else a blank line ends one.
    """
    held: list[str] = []  # of the document, and not handed on
    length = 0
    inside = False  # a line that is in parts
    for part in lines:
        blank = not (inside or part.strip())
        inside = not part.endswith("\n")
        if not blank and (text := part if held else part.lstrip()):
            held.append(text)
            length += len(text)
            if length > LONGEST_PIECE:
                *ready, rest = _pieces_so_far("".join(held))
                yield from ready
                held, length = [rest], len(rest)
        if held and (blank or (by_line and not inside)):
            yield "".join(held).rstrip()
            held, length = [], 0
    if held:
        yield "".join(held).rstrip()


def _pieces_so_far(text: str) -> list[str]:
    """The pieces of a document that may go on; blanks at its end do not count, unless they are a piece themselves."""
    body = text.rstrip()
    if len(text) - len(body) > LONGEST_PIECE:
        return list(pieces(text))
    *ready, rest = pieces(body)
    return [*ready, rest + text[len(body) :]]


def rows(description: str, builder: str, **arguments: Any) -> Iterator[str]:
    """The `text` column of a dataset, streamed through `datasets`, whether local or on the Hub.

    Raises:
        BadFile: It cannot be read, or has no such column.
    """
    import datasets  # heavy, and not needed for plain text

    try:
        for row in datasets.load_dataset(builder, split="train", streaming=True, **arguments):
            if "text" not in row:
                listed = ", ".join(map(shown, map(str, row)))
                raise BadFile(f"{description} has no text column 'text'; its columns are {listed}.")
            text = row["text"]
            if text is None:
                continue  # a row whose text is missing
            if not isinstance(text, str):
                raise BadFile(f"{description} has no text column 'text': there is {type(text).__name__} in it.")
            yield text
    except StopIteration:
        return  # what `datasets` raises for an empty file
    except (ConnectionError, OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise BadFile(f"{description} could not be read: {str(error).partition(chr(10))[0]}") from error


def divided(documents: Iterable[str], split: str | None) -> Iterator[str]:
    """The documents of a split: one in ten is for validation, whatever the order; its first piece decides."""
    held_out = goes_on = False
    for document in documents:
        if not goes_on:
            held_out = zlib.crc32(document.encode(errors="surrogatepass")) % VALID_EVERY == 0
        goes_on = isinstance(document, Piece)
        if split is None or held_out == (split == "valid"):
            yield document


def _lines(path: Path, errors: str = "strict") -> Iterator[str]:
    """The lines of a file of UTF-8 text, compressed or not, with their line breaks; long ones in parts."""
    opened = gzip.open if path.name.lower().endswith(COMPRESSED) else open
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors)
    number, kept = 1, ""
    try:
        with opened(path, "rb") as file:
            while True:
                raw = file.readline(PART)
                text = kept + decoder.decode(raw, final=not raw)
                kept = "\r" if raw and text.endswith("\r") else ""  # its line feed may be in the next part
                if text := text.removesuffix(kept).replace("\r\n", "\n"):
                    yield text
                if not raw:
                    return
                number += raw.endswith(b"\n")
    except UnicodeDecodeError as error:
        raise BadFile(f"{str(path)!r} is not UTF-8 text (line {number}).") from error
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(f"{str(path)!r} could not be read: {error}") from error
