"""Documents from text files and datasets: how each format is read, where a document ends, what is held out.

In a text file a blank line ends a document. Corpora of sentences (FLORES, NTREX, OPUS) have none: there every line
is a document. A text is read so when its first 1,000 lines, or all of at least 20, have no blank line between them.
"""

from __future__ import annotations

import glob
import gzip
import itertools
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lape.errors import BadFile
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
BY_LINE = ", a document a line"  # in descriptions


@dataclass(frozen=True)
class TextFile:
    """A local file as a source of documents.

    Attributes:
        path: Its name ends in one of `FORMATS`, `.gz` or not; all but `.txt` have a column `text`.
        split: None takes every document; `"train"` and `"valid"` divide them by a hash of their text.
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
    """Whether a text has a document a line: many lines, and no blank one between the first thousand."""
    written = blank = 0
    for line in itertools.islice(lines, LINES_LOOKED_AT):
        if not line.strip():
            blank += 1
        elif written and blank:
            return False
        else:
            written, blank = written + 1, 0
    return written >= FEWEST_LINES


def text_documents(lines: Iterable[str], by_line: bool) -> Iterator[str]:
    """Documents from the lines of a text.

    Args:
        lines: With their line breaks.
        by_line: Whether each is a document, unless it is blank; else a blank line ends one.
    """
    document: list[str] = []
    for line in lines:
        if line.strip():
            document.append(line)
        if document and (by_line or not line.strip()):
            yield "".join(document).strip()
            document = []
    if document:
        yield "".join(document).strip()


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
    """The documents of a split: one in ten is for validation, whatever the order."""
    for document in documents:
        held_out = zlib.crc32(document.encode(errors="surrogatepass")) % VALID_EVERY == 0
        if split is None or held_out == (split == "valid"):
            yield document


def _lines(path: Path, errors: str = "strict") -> Iterator[str]:
    """The lines of a file of UTF-8 text, compressed or not, with their line breaks."""
    opened = gzip.open if path.name.lower().endswith(COMPRESSED) else open
    try:
        with opened(path, "rb") as lines:
            for number, raw in enumerate(lines, start=1):
                try:
                    text = raw.decode("utf-8-sig" if number == 1 else "utf-8", errors)
                except UnicodeDecodeError as error:
                    raise BadFile(f"{str(path)!r} is not UTF-8 text (line {number}).") from error
                yield text.replace("\r\n", "\n")
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(f"{str(path)!r} could not be read: {error}") from error
