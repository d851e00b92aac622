"""Text of any size is read in bounded memory: long lines in parts, long documents in pieces, and nothing in vain."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import oracle
import pytest
import text_oracle
from families import DOCUMENT_END
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import BadFile, LapeError, read_corpora, record
from lape.recording import documents
from lape.recording import pieces as cutting
from lape.recording.blocks import DOCUMENTS_AT_ONCE, token_blocks
from lape.recording.documents import PART, TextFile, text_documents
from lape.recording.pieces import LONGEST_PIECE, Piece, pieces, whole
from lape.recording.sources import open_source
from lape.recording.texts import Texts, taken

MEGABYTE = 1_000_000
SENTENCE = "Il était une fois une petite fille qui aimait la forêt.\n"
SENTENCES = [f"Phrase numéro {number}, 这是一些文字." for number in range(300)]
WRITTEN = {
    "blank lines": "\n\n".join(f"{one}\n  {other}  " for one, other in itertools.pairwise(SENTENCES)),
    "a document a line": "\n \n" + "\n".join(SENTENCES) + "\n\n",
    "one document": "\n".join(SENTENCES[:19]),
    "a blank line far down": "\n".join([*SENTENCES * 3, "\t", *SENTENCES]),
    "a blank line too far down": "\n".join([*SENTENCES * 4, "", *SENTENCES]),
    "lines ended by two characters": "\r\n".join([*SENTENCES[:9], "", "a\rb\r", "\r", *SENTENCES]),
    "a byte order mark": "\ufeffUn.\n\nDeux.\ufeff\n\n",
    "blanks of all kinds": "a\x0b\n\x0c\nb\x1c\n\xa0\u3000\n c\x85\n\n\n\u2003d",
    "nothing": "\n \n",
}


def words(characters: int, end: str) -> str:
    """Random words, and what stands at the end of a line of some of them."""
    draw = random.Random(characters)
    lines = (" ".join(f"{draw.randrange(10**6):x}" for _ in range(draw.randint(1, 30))) for _ in range(characters))
    return "".join(itertools.takewhile(bool, itertools.islice((line + end for line in lines), characters // 90)))


LONG = {
    "lines": "Titre\n\n" + words(250_000, ".\n"),
    "one line": words(250_000, "  "),
    "no blanks": "森" * 150_000,
    "many blanks": "a" + " " * 450_000 + "b\n" + " " * 90_000 + "c\n",
    "two of them": words(120_000, " ") + "\n" + "\n" * 9 + words(150_000, ";\n"),
    "lines that are long": "\n".join([*SENTENCES[:30], "x" * 120_000, words(150_000, " "), *SENTENCES]),
    "exactly a piece": "x" * (LONGEST_PIECE - 1) + "y \n\t\n" + "z" * (LONGEST_PIECE + 1),
}


class Spy(PreTrainedTokenizerFast):
    """A tokenizer that remembers what it was given at once."""

    given: list[list[str]]

    def __call__(self, texts: list[str], **settings: Any) -> Any:
        self.given.append(texts)
        return super().__call__(texts, **settings)


@pytest.fixture
def spy(tokenizer: PreTrainedTokenizerFast) -> Spy:
    spying = Spy(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|im_end|>")
    spying.add_special_tokens({"additional_special_tokens": ["<|endoftext|>"]})
    spying.given = []
    return spying


def blocks_of(tokenizer: PreTrainedTokenizerFast, source: Any, block: int) -> list[list[int]]:
    return [tensor.tolist() for tensor in token_blocks(tokenizer, source, block)]


# What is read is what was always read


@pytest.mark.parametrize("ending", ["txt", "txt.gz"])
@pytest.mark.parametrize("written", WRITTEN)
def test_documents_splits_and_blocks_are_those_of_a_plain_reading(
    written: str, ending: str, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    data = WRITTEN[written].encode()
    file = tmp_path / f"fr.{ending}"
    file.write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    expected = text_oracle.documents(data)
    source = TextFile.of(file)
    assert list(source()) == expected
    assert not any(isinstance(text, Piece) for text in source())
    assert blocks_of(tokenizer, source, 100) == oracle.blocks(tokenizer, expected, 100)
    for which in ("train", "valid"):
        assert list(read_corpora(file, split=which)["fr"]()) == text_oracle.split(expected, which)
    text = WRITTEN[written].removeprefix("\ufeff")
    assert list(Texts.of(text)()) == expected


@pytest.mark.parametrize("part", [1, 2, 3, 4, 5, 7, 16, 64])
@pytest.mark.parametrize("written", ["blank lines", "a byte order mark", "lines ended by two characters"])
def test_where_a_part_ends_changes_nothing(
    part: int, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A character of several bytes, a line's two ends and the mark at the beginning may be in two parts."""
    text = WRITTEN[written].replace("\n  ", "\n")  # for a part that is blank begins a blank line
    (tmp_path / "fr.txt").write_bytes(text.encode())
    monkeypatch.setattr(documents, "PART", part)
    assert list(TextFile(tmp_path / "fr.txt")()) == ["\n".join(found) for found in plain_paragraphs(text)]


def plain_paragraphs(text: str) -> Iterator[list[str]]:
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    for written, group in itertools.groupby(lines, lambda line: bool(line.strip())):
        if written:
            yield "\n".join(group).strip().split("\n")


@pytest.mark.parametrize("written", LONG)
def test_a_long_document_in_pieces_is_the_document(
    written: str, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    data = LONG[written].encode()
    (tmp_path / "fr.txt").write_bytes(data)
    expected = text_oracle.documents(data)
    found = list(TextFile.of(tmp_path / "fr.txt")())
    assert max(map(len, found)) <= LONGEST_PIECE
    assert len(found) > len(expected)
    assert list(whole(found)) == expected == list(open_source(TextFile.of(tmp_path / "fr.txt")))
    # Read from memory they are cut at the same places, and have one end each.
    assert found == [piece for document in expected for piece in pieces(document)]
    blocks = blocks_of(tokenizer, TextFile.of(tmp_path / "fr.txt"), 512)
    assert blocks == blocks_of(tokenizer, expected, 512) == oracle.blocks(tokenizer, expected, 512)
    assert blocks_of(tokenizer, Texts.of(LONG[written]), 512) == blocks
    assert Texts.of(LONG[written]).documents == tuple(expected)


@pytest.mark.parametrize("written", ["lines", "one line", "two of them"])
@pytest.mark.parametrize(
    "pattern",
    [
        r" ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ],
    ids=["GPT-2", "Llama 3"],
)
def test_tokens_are_those_of_the_document_read_as_a_whole(written: str, pattern: str) -> None:
    """SmolLM2 splits words nearly as GPT-2 does, Qwen as Llama 3."""
    trained = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    trained.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<|endoftext|>"], show_progress=False)
    trained.train_from_iterator([LONG[written][:20_000]], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained, eos_token="<|endoftext|>")
    assert DOCUMENT_END == 0
    expected = text_oracle.documents(LONG[written].encode())
    assert blocks_of(tokenizer, expected, 512) == oracle.blocks(tokenizer, expected, 512)


@pytest.mark.parametrize(
    ("document", "cut"),
    [
        ("Une ligne.\nDeux mots encore.", "Une ligne.\n"),
        ("Une ligne.\n\nDeux mots.", "Une ligne.\n\nDeux"),  # tokens of several line breaks stay whole
        ("Une ligne. \nDeuxmotsencore.", "Une ligne. "),
        ("Une ligne.  Deux.                ", "Une ligne. "),
        ("Unelignesansblancsdutout", "Unelignesansblancsdu"),
        (" Unelignesansblancsdutout", " Unelignesansblancsd"),
        ("\nUnelignesansblancsdutout", "\nUnelignesansblancsd"),
    ],
)
def test_a_piece_ends_with_a_line_or_before_a_word(document: str, cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "LONGEST_PIECE", 20)
    first, *others = pieces(document)
    assert first == cut
    assert [type(piece) for piece in (first, *others)] == [Piece] * len(others) + [str]
    assert "".join([first, *others]) == document


@pytest.mark.parametrize(("length", "by_line"), [(LONGEST_PIECE - 1, True), (2 * LONGEST_PIECE, False)])
def test_twenty_lines_are_looked_at_unless_they_are_pieces(length: int, by_line: bool, tmp_path: Path) -> None:
    (tmp_path / "fr.txt").write_text("\n".join(["x" * length] * 20))
    assert TextFile.of(tmp_path / "fr.txt").by_line == by_line


@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
def test_a_long_document_is_held_out_or_not_as_a_whole(suffix: str, tmp_path: Path) -> None:
    texts = [f"{number} " + SENTENCE * (2500 if number % 4 == 3 else 1) for number in range(200)]
    file = tmp_path / f"fr.{suffix}"
    lines = [json.dumps({"text": text}) for text in texts]
    file.write_text("\n".join(lines) if suffix == "jsonl" else "\n\n".join(texts))
    found = {which: list(open_source(read_corpora(file, split=which)["fr"])) for which in ("train", "valid")}
    assert sorted(text.strip() for text in found["train"] + found["valid"]) == sorted(text.strip() for text in texts)
    long = {which: sum(len(text) > LONGEST_PIECE for text in found[which]) for which in found}
    assert long["train"] + long["valid"] == 50
    assert long["valid"] > 0


def test_an_error_in_a_long_line_names_its_line(tmp_path: Path) -> None:
    for at, line in {PART + 9: 2, 3 * PART: 2, 3 * PART + 3: 3}.items():
        data = bytearray(b"x\n" + b"y" * (3 * PART) + b"\n" + b"z" * 99)
        data[at] = 0xE9
        (tmp_path / "fr.txt").write_bytes(data)
        with pytest.raises(BadFile, match=rf"is not UTF-8 text \(line {line}\)"):
            list(TextFile(tmp_path / "fr.txt")())
    (tmp_path / "fr.txt").write_bytes(b"x\ncaf\xc3")
    with pytest.raises(BadFile, match=r"is not UTF-8 text \(line 2\)"):
        list(TextFile(tmp_path / "fr.txt")())


def test_half_a_character_in_a_late_piece_is_found_where_it_is() -> None:
    texts = ["x" * (2 * LONGEST_PIECE), "x" * (3 * LONGEST_PIECE) + "\ud83d"]
    with pytest.raises(LapeError, match=rf"Document 2 of 'fr' .* at character {3 * LONGEST_PIECE + 1}\."):
        list(open_source(texts, "fr"))


# As much is read as is asked for

SIZE = 100 * MEGABYTE


def repeated(text: str, head: str = "") -> Callable[[Path], None]:
    """Writes 100 MB of a text; an archive has as many, so that what is read of it can be counted."""

    def write(path: Path) -> None:
        compressed = partial(gzip.compress, compresslevel=0) if path.suffix == ".gz" else bytes
        once = compressed(text.encode() * (MEGABYTE // len(text.encode())))
        with path.open("wb") as file:
            file.write(compressed(head.encode()))
            for _ in range(SIZE // MEGABYTE):
                file.write(once)

    return write


def sparse(path: Path) -> None:
    """A line of zeros that take no place on the disk."""
    with path.open("wb") as file:
        file.truncate(SIZE)


LINE = SENTENCE.replace("\n", " ")
LARGE: dict[str, Callable[[Path], None]] = {
    "a document a line.txt": repeated(SENTENCE),
    "a document of lines.txt": repeated(SENTENCE, "Titre\n\n"),
    "a line.txt": repeated(LINE),
    "zeros.txt": sparse,
    "a document of lines.txt.gz": repeated(SENTENCE, "Titre\n\n"),
    "a line.txt.gz": repeated(LINE),
    "blanks in a line.txt.gz": repeated(" ", "Titre" * LONGEST_PIECE),
}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("large")
    for name, write in LARGE.items():
        write(folder / name)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", LARGE)
def test_a_short_recording_reads_the_beginning(
    name: str, large: Path, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, monkeypatch: Any
) -> None:
    """Of 100 MB; the file is looked at, its text is counted and then recorded."""
    read = []

    class Counted(io.FileIO):
        def readinto(self, buffer: Any) -> int | None:
            read.append(super().readinto(buffer))
            return read[-1]

    def counting(path: Any, mode: str = "r", *others: Any, **settings: Any) -> Any:
        if path == large / name:
            return io.BufferedReader(Counted(path, mode))
        return plain(path, mode, *others, **settings)

    plain = open
    monkeypatch.setattr("builtins.open", counting)
    source = TextFile.of(large / name)
    assert sum(read) <= (large / name).stat().st_size * 0.03
    recorded = record(tiny_model, tokenizer, {"fr": source}, tokens=512, block=16, progress=False)
    assert recorded.tokens == {"fr": 512}
    assert 0 < sum(read) <= (large / name).stat().st_size * 0.05


@pytest.mark.slow
def test_memory_does_not_grow_with_the_text(large: Path, tiny_folder: Path) -> None:
    """In a process of its own, where what the tokenizer takes is counted too."""
    code = """
        import itertools, json, resource, sys
        from pathlib import Path
        from transformers import AutoTokenizer
        from lape.recording.blocks import token_blocks
        from lape.recording.documents import TextFile

        def taken():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

        tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
        list(token_blocks(tokenizer, ["x" * 300_000], 512))
        grown = {}
        for path in Path(sys.argv[2]).iterdir():
            before = taken()
            assert len(list(itertools.islice(token_blocks(tokenizer, TextFile.of(path), 512), 1))) == 1
            assert path.suffix == ".gz" or sum(map(len, TextFile.of(path)())) > 9_000_000
            grown[path.name] = taken() - before
        print(json.dumps(grown))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tiny_folder), str(large)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    grown = json.loads(ran.stdout)
    assert set(grown) == set(LARGE)
    assert max(grown.values()) < 50 * MEGABYTE, grown


SOURCES: dict[str, Callable[[str, Path], Any]] = {
    "list": lambda text, _: [text, "b"],
    "function": lambda text, _: lambda: iter([text, "b"]),
    "text at hand": lambda text, _: Texts.of(text),
    "taken": lambda text, _: list(taken([text], len(text) - 1)),
    "rows": lambda text, folder: rows_of(folder / "fr.jsonl", text),
    "file": lambda text, folder: (folder / "fr.txt").write_text(text) and TextFile.of(folder / "fr.txt"),
}


def rows_of(path: Path, text: str) -> TextFile:
    path.write_text(json.dumps({"text": text}) + "\n")
    return TextFile.of(path)


@pytest.mark.parametrize("given", SOURCES)
def test_the_tokenizer_is_given_pieces(given: str, tmp_path: Path, spy: Spy) -> None:
    source = SOURCES[given](LINE * 20_000, tmp_path)
    assert len(next(token_blocks(spy, source, 512))) == 512
    assert len(spy.given) == 1
    assert LONGEST_PIECE / 2 < sum(map(len, spy.given[0])) <= 2 * LONGEST_PIECE


@pytest.mark.parametrize(
    ("length", "most"), [(1, DOCUMENTS_AT_ONCE), (LONGEST_PIECE // 64, 64), (LONGEST_PIECE // 8, 8), (LONGEST_PIECE, 1)]
)
def test_documents_given_at_once_are_bounded_in_number_and_length(length: int, most: int, spy: Spy) -> None:
    documents = ["x" * length] * (most + 2)
    assert blocks_of(spy, documents, 64) == oracle.blocks(spy, documents, 64)
    at_once = [given for given in spy.given if isinstance(given, list)]
    assert len(at_once[0]) == most == max(map(len, at_once))


def test_blanks_without_end_are_handed_on() -> None:
    """A document of few letters may be an archive of a gigabyte of blanks."""
    parts = itertools.chain(["a"], iter([" " * PART] * 50))
    first, second, *_ = itertools.islice(text_documents(parts, False), 2)
    assert (first[0], first[1:].strip(), second.strip()) == ("a", "", "")
    assert len(list(parts)) >= 48


def test_what_is_taken_ends_where_a_piece_does() -> None:
    """The document that is cut there has an end, and one."""
    found = list(taken(["x" * (2 * LONGEST_PIECE), "y"], LONGEST_PIECE))
    assert [(type(piece), len(piece)) for piece in found] == [(str, LONGEST_PIECE)]


def test_a_blank_line_of_any_length_divides_documents(tmp_path: Path) -> None:
    (tmp_path / "fr.txt").write_text("Un.\n" + " " * (3 * PART) + "\nDeux.\n" + "\t" * (3 * PART))
    assert list(TextFile.of(tmp_path / "fr.txt")()) == ["Un.", "Deux."]
