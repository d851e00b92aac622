"""What holds for every text: nothing is lost, pieces make the document again, and the split divides."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import oracle
import pytest
import text_oracle
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from lape import BadFile
from lape.recording import blocks, documents
from lape.recording import pieces as cutting
from lape.recording.blocks import token_blocks
from lape.recording.documents import TextFile, divided, each_line_is_a_document, text_documents
from lape.recording.pieces import Piece, pieces, whole
from lape.recording.sources import open_pieces, open_source
from lape.recording.texts import Texts, taken

# Few characters, most of them blanks of some kind, so that blank lines, ends of lines and cuts meet.
TEXT = st.text(st.sampled_from("ab.é森😀 \t\n\n\n\r\x0b\x1c\xa0\u3000\ufeff"), max_size=120) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=60
)
LONGEST = st.integers(1, 12)  # characters of a piece
WITHOUT_CUTS = 1000


@contextmanager
def pieces_of(longest: int, part: int = documents.PART) -> Iterator[None]:
    """Short pieces and parts, so that a short text has many."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (cutting, documents, blocks):
            patch.setattr(module, "LONGEST_PIECE", longest)
        patch.setattr(documents, "PART", part)
        yield


def in_parts(text: str, size: int) -> Iterator[str]:
    """The lines of a text in parts; the first holds the line's first letter, as in a line that is no bomb."""
    for line in StringIO(text):
        first = len(line) - len(line.lstrip()) + size
        yield line[:first]
        yield from (line[start : start + size] for start in range(first, len(line), size))


@given(text=TEXT)
def test_documents_hold_every_line_that_is_not_blank(text: str) -> None:
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    for by_line in (True, False):
        found = list(text_documents(StringIO(text), by_line))
        assert [line.strip() for document in found for line in document.split("\n")] == lines
        assert found == [document.strip() for document in found]
    assert list(text_documents(StringIO(text), True)) == lines
    unmarked = text.removeprefix("\ufeff")
    assert list(Texts.of(unmarked)()) == text_oracle.documents(unmarked.encode())


@given(text=TEXT, longest=LONGEST)
def test_pieces_of_a_text_joined_are_the_text(text: str, longest: int) -> None:
    with pieces_of(longest):
        cut = list(pieces(text))
    assert "".join(cut) == text
    assert max(map(len, cut)) <= longest
    assert [isinstance(piece, Piece) for piece in cut] == [True] * (len(cut) - 1) + [False]
    assert all(cut) or text == ""
    assert list(whole(cut)) == [text]


@given(text=TEXT, longest=LONGEST, part=st.integers(1, 9), by_line=st.booleans())
def test_documents_cut_while_reading_are_the_documents(text: str, longest: int, part: int, by_line: bool) -> None:
    expected = list(text_documents(StringIO(text), by_line))
    assert list(text_documents(in_parts(text, part), by_line)) == expected
    with pieces_of(longest):
        found = list(text_documents(in_parts(text, part), by_line))
        cut = [piece for document in expected for piece in pieces(document)]
    assert max(map(len, found), default=0) <= longest
    assert [document.rstrip() for document in whole(found)] == expected
    if max(map(len, re.findall(r"\s+", text)), default=0) <= longest:  # more blanks at an end are pieces themselves
        assert found == cut


@given(lines=st.lists(st.sampled_from(["a", " bb b", "ccccccc"] * 9 + [" "]), max_size=40), part=st.integers(1, 9))
def test_lines_in_parts_are_documents_as_whole_lines_are(lines: list[str], part: int) -> None:
    text = "\n".join(lines)
    assert each_line_is_a_document(in_parts(text, part)) == each_line_is_a_document(StringIO(text))


@given(texts=st.lists(TEXT, max_size=8), longest=LONGEST, block=st.integers(1, 40))
def test_blocks_do_not_depend_on_the_pieces(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], longest: int, block: int
) -> None:
    """A token is a byte here, so that every cut is between two tokens."""
    expected = oracle.blocks(tokenizer, texts, block)
    with pieces_of(longest):
        for source in (texts, list(open_pieces(texts))):
            assert [ids.tolist() for ids in token_blocks(tokenizer, source, block)] == expected


@given(texts=st.lists(TEXT, max_size=30), longest=LONGEST)
def test_the_split_divides(texts: list[str], longest: int) -> None:
    with pieces_of(longest):
        for documents in (texts, list(open_pieces(texts))):
            train, valid = ([*whole(divided(documents, split))] for split in ("train", "valid"))
            assert sorted(train + valid) == sorted(texts)
            assert not set(train) & set(valid)
            assert list(whole(divided(documents, None))) == texts
    assert list(divided(texts, "valid")) == text_oracle.split(texts, "valid")
    assert list(divided(texts, "train")) == text_oracle.split(texts, "train")


@given(texts=st.lists(TEXT, max_size=8), longest=LONGEST, characters=st.integers(1, 300))
def test_what_is_taken_is_the_beginning(texts: list[str], longest: int, characters: int) -> None:
    with pieces_of(longest):
        found = list(taken(texts, characters))
        documents = list(open_source(found))
    assert "".join(found) == "".join(texts)[:characters]
    assert documents[:-1] == texts[: len(documents) - 1]
    assert not found or not isinstance(found[-1], Piece)


@given(data=TEXT.map(str.encode) | st.binary(max_size=60), longest=LONGEST, part=st.integers(1, 9))
def test_any_bytes_are_text_or_a_bad_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, longest: int, part: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.txt"
    file.write_bytes(data)
    text = data.removeprefix(codecs.BOM_UTF8)
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        with pieces_of(longest, part), pytest.raises(BadFile, match=rf"any\.txt' is not UTF-8 text \(line {line}\)\."):
            list(TextFile(file)())
        return
    data = codecs.BOM_UTF8 + "\n".join(line.lstrip() for line in lines).encode()  # a blank part begins a blank line
    file.write_bytes(data)
    expected = text_oracle.documents(data)
    with pieces_of(WITHOUT_CUTS, part):
        assert list(TextFile.of(file)()) == expected
    with pieces_of(longest, part):
        assert [document.rstrip() for document in whole(TextFile.of(file)())] == expected
