"""Text from files and datasets, and its packing into blocks of tokens."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from families import DOCUMENT_END, EOS
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from lape import BadFile, LapeError, LapeWarning, UnknownLabel, read_corpora
from lape.recording import documents
from lape.recording.blocks import document_end, token_blocks
from lape.recording.documents import HubDataset, TextFile
from lape.recording.sources import describe
from lape.recording.texts import Texts
from lape.storage.names import check_label

DOCUMENTS = [f"Document {number}\nof two lines." for number in range(300)]


def write_text(path: Path, documents: Iterable[str]) -> None:
    path.write_text("\n\n".join(documents), encoding="utf-8")


def write_jsonl(path: Path, documents: Iterable[str]) -> None:
    path.write_text("".join(json.dumps({"text": text, "title": "t"}) + "\n" for text in documents), encoding="utf-8")


def write_parquet(path: Path, documents: Iterable[str], column: str = "text") -> None:
    texts = list(documents)
    pq.write_table(pa.table({"title": ["t"] * len(texts), column: texts}), path)


WRITERS: dict[str, Callable[[Path, Iterable[str]], None]] = {
    "txt": write_text,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}


def texts_of(corpus: Path | str, language: str = "fr", **settings: Any) -> list[str]:
    """Every document of one language of a corpus, opened twice."""
    source = read_corpora(str(corpus), [language], **settings)[language]
    texts = list(source())
    assert list(source()) == texts
    return texts


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_file_is_split_by_a_hash_of_each_document(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"fr.{suffix}"
    WRITERS[suffix](file, DOCUMENTS)
    assert list(TextFile(file)()) == DOCUMENTS
    train, valid = texts_of(file), texts_of(file, split="valid")
    assert sorted(train + valid) == sorted(DOCUMENTS)
    assert 15 < len(valid) < 45
    WRITERS[suffix](file, reversed(DOCUMENTS))
    assert texts_of(file, split="valid") == valid[::-1]


def test_blank_lines_divide_documents(tmp_path: Path) -> None:
    file = tmp_path / "fr.txt"
    file.write_text("\n \nUne ligne.\n  Une autre.\n\n\t\n\nLa suite.", encoding="utf-8")
    assert list(TextFile(file)()) == ["Une ligne.\n  Une autre.", "La suite."]


@pytest.mark.parametrize(
    "suffix",
    ["txt", "jsonl"],
)
def test_an_empty_file_has_no_documents(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"fr.{suffix}").touch()
    assert texts_of(tmp_path) == []


def test_a_row_without_text_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "fr.jsonl").write_text('{"text": "Oui."}\n{"text": null}\n{"text": "Non."}\n')
    assert list(TextFile(tmp_path / "fr.jsonl")()) == ["Oui.", "Non."]


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "fr.txt").write_text("Oui.\n\nNon.", encoding="utf-8-sig")
    assert list(TextFile(tmp_path / "fr.txt")()) == ["Oui.", "Non."]


def test_where_a_file_is_not_utf8_is_exact(tmp_path: Path) -> None:
    (tmp_path / "fr.txt").write_bytes(b"Oui.\n" * 5000 + b"caf\xe9\n")
    with pytest.raises(BadFile, match=r"\((byte 25003|line 5001)\)"):
        list(TextFile(tmp_path / "fr.txt")())


def test_a_held_out_file_beside_it_leaves_all_of_the_other_for_training(tmp_path: Path) -> None:
    write_text(tmp_path / "fr.train.txt", DOCUMENTS)
    write_jsonl(tmp_path / "fr.valid.jsonl", ["Retenu."])
    write_parquet(tmp_path / "de.parquet", DOCUMENTS)
    write_text(tmp_path / "de.valid.txt", ["Einbehalten."])
    for language, held_out in {"fr": "Retenu.", "de": "Einbehalten."}.items():
        assert texts_of(tmp_path, language) == DOCUMENTS
        assert texts_of(tmp_path, language, split="valid") == [held_out]


def test_a_train_file_alone_is_divided(tmp_path: Path) -> None:
    write_text(tmp_path / "fr.train.txt", DOCUMENTS)
    train, valid = texts_of(tmp_path), texts_of(tmp_path, split="valid")
    assert train
    assert valid
    assert sorted(train + valid) == sorted(DOCUMENTS)


def test_a_held_out_file_alone_is_nothing_to_train_on(tmp_path: Path) -> None:
    write_text(tmp_path / "fr.valid.txt", DOCUMENTS)
    assert texts_of(tmp_path, split="valid") == DOCUMENTS
    with pytest.raises(BadFile, match=r"no train text for 'fr' beside 'fr\.valid\.txt'"):
        read_corpora(str(tmp_path))


def test_languages_of_a_folder(tmp_path: Path) -> None:
    for name in ("fr.train.txt", "de.txt", "zh.jsonl", "README.md", "fr.notes.txt", "no label.txt", "ja.test.txt"):
        (tmp_path / name).touch()
    with pytest.warns(LapeWarning, match=r"Left out .*: fr\.notes\.txt, ja\.test\.txt, no label\.txt\. Name files by"):
        assert list(read_corpora(str(tmp_path))) == ["de", "fr", "zh"]
    assert list(read_corpora(str(tmp_path), ["zh", "de"])) == ["zh", "de"]
    with pytest.raises(UnknownLabel, match=r"No language in the corpus 'fra'\. Did you mean 'fr'\?"):
        read_corpora(str(tmp_path), ["de", "fra"])


@pytest.mark.parametrize(
    "name", ["DE.TXT", "DE.Train.Txt", "DE.txt.gz", "DE.CSV", "DE.tsv", "DE.jsonl.gz", "DE.csv.gz"]
)
def test_endings_are_read_in_either_case_and_compressed(tmp_path: Path, name: str) -> None:
    texts = [f'Ein "Satz", Nummer {number}.' for number in range(60)]
    ending = name.lower().removeprefix("de.")
    content = "\n\n".join(texts)
    if "json" in ending:
        content = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    elif "sv" in ending:
        quoted = [text.replace('"', '""') for text in texts]
        content = "n,text\n" + "".join(f'1,"{text}"\n' for text in quoted)
        content = content.replace("n,text", "n\ttext").replace('1,"', '1\t"') if "tsv" in ending else content
    data = content.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if ending.endswith("gz") else data)
    assert sorted(texts_of(tmp_path, "DE") + texts_of(tmp_path, "DE", split="valid")) == sorted(texts)
    assert list(read_corpora(tmp_path / name)) == ["DE"]


def test_a_file_that_cannot_be_read_is_never_left_out_in_silence(tmp_path: Path) -> None:
    for name in ("fr.txt", "fr.jsonl", "pt.docx", "ru.txt.zip", "README.md", ".hidden.txt"):
        (tmp_path / name).touch()
    with pytest.warns(LapeWarning, match=r"fr\.txt \(beside fr\.jsonl\), pt\.docx, ru\.txt\.zip\. .* must end in"):
        assert list(read_corpora(tmp_path)) == ["fr"]
    with (
        pytest.warns(LapeWarning, match=r": pt\.docx\."),
        pytest.raises(UnknownLabel, match="No language in the corpus 'pt'"),
    ):
        read_corpora(tmp_path, "pt")


@pytest.mark.parametrize("folder", ["a[b]c", "a*", "a?c"])
def test_a_folder_is_no_pattern(tmp_path: Path, folder: str) -> None:
    for name, text in {folder: "Right.", "abc": "Wrong."}.items():
        (tmp_path / name).mkdir()
        write_jsonl(tmp_path / name / "fr.jsonl", [text])
        write_text(tmp_path / name / "fr.valid.txt", ["-"])
    assert texts_of(tmp_path / folder) == ["Right."]


SENTENCES = [f"Phrase numéro {number}." for number in range(997)]


def test_a_file_of_sentences_has_a_document_a_line(tmp_path: Path) -> None:
    file = tmp_path / "fr.txt"
    for ending in ("", "\n", "\n\n"):
        file.write_text("\n".join(SENTENCES) + ending, encoding="utf-8")
        train, valid = texts_of(file), texts_of(file, split="valid")
        assert sorted(train + valid) == sorted(SENTENCES)
        assert 60 < len(valid) < 140
        assert describe(read_corpora(file)["fr"]) == "fr.txt, a document a line"
    assert list(Texts.of("\n".join(SENTENCES))()) == SENTENCES


@pytest.mark.parametrize(("lines", "documents"), [(19, 1), (20, 20)])
def test_few_lines_are_one_document(tmp_path: Path, lines: int, documents: int) -> None:
    (tmp_path / "fr.txt").write_text("\n".join(SENTENCES[:lines]))
    (tmp_path / "fr.valid.txt").write_text("-")
    assert len(texts_of(tmp_path)) == documents


def test_a_blank_line_anywhere_in_the_beginning_divides_documents(tmp_path: Path) -> None:
    (tmp_path / "fr.txt").write_text("\n".join([*SENTENCES[:900], "", *SENTENCES[900:]]))
    (tmp_path / "fr.valid.txt").write_text("-")
    assert texts_of(tmp_path) == ["\n".join(SENTENCES[:900]), "\n".join(SENTENCES[900:])]


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "fr.txt.gz").write_bytes(gzip.compress(b"Oui." * 999)[:-9])
    with pytest.raises(BadFile, match=r"fr\.txt\.gz' could not be read"):
        texts_of(tmp_path)


def test_a_file_is_one_language(tmp_path: Path) -> None:
    file = tmp_path / "fr.train.txt"
    write_text(file, DOCUMENTS)
    assert list(read_corpora(str(file))) == ["fr"]
    assert list(read_corpora(str(file), ["legal_FR"])) == ["legal_FR"]
    with pytest.raises(LapeError, match=r"holds one language; 2 were named"):
        read_corpora(str(file), ["fr", "de"])


def test_sources_say_what_they_are() -> None:
    assert describe(TextFile(Path("corpora/fr.train.txt"))) == "fr.train.txt"
    assert describe(HubDataset("org/data", "fr")) == "hf:org/data:fr"
    assert describe(HubDataset("org/data")) == "hf:org/data"
    assert describe(["Bonjour."]) == "texts"


# Datasets of the Hub


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str | None]]:
    """What is asked of the Hub; a local parquet file answers, through the same call of `datasets`."""
    load, asked = datasets.load_dataset, []

    def answer(path: str, *, name: str | None, split: str, streaming: bool) -> datasets.IterableDataset:
        asked.append((path, name))
        write_parquet(tmp_path / "answer.parquet", [f"{name} {number}" for number in range(200)])
        return load("parquet", data_files=str(tmp_path / "answer.parquet"), split=split, streaming=streaming)

    monkeypatch.setattr(datasets, "load_dataset", answer)
    return asked


@pytest.mark.parametrize(
    ("corpus", "languages", "configs"),
    [
        ("hf:wikimedia/wikipedia", ["fr", "de"], ["20231101.fr", "20231101.de"]),
        ("hf:wikimedia/wikipedia:20220301", ["fr"], ["20220301.fr"]),
        ("hf:wikimedia/wikipedia:20220301.{language}", ["fr"], ["20220301.fr"]),
        ("hf:wikimedia/wikipedia:20220301.fr", ["fr"], ["20220301.fr"]),
        ("hf:org/data:{language}-text", ["fr", "de"], ["fr-text", "de-text"]),
        ("hf:org/data:everything", ["fr"], ["everything"]),
        ("hf:org/data", ["fr"], [None]),
    ],
)
def test_a_configuration_per_language_is_streamed(
    asked: list, corpus: str, languages: list[str], configs: list[str | None]
) -> None:
    sources = read_corpora(corpus, languages)
    assert list(sources) == languages
    assert asked == []  # nothing is fetched before it is read
    texts = [list(source()) for source in sources.values()]
    name = corpus.split(":")[1]
    assert asked == [(name, config) for config in configs]
    held_out = [list(source()) for source in read_corpora(corpus, languages, split="valid").values()]
    for config, train, valid in zip(configs, texts, held_out, strict=True):
        assert sorted(train + valid) == sorted(f"{config} {number}" for number in range(200))
        assert len(train) > 150


def test_several_languages_need_several_configurations() -> None:
    with pytest.raises(LapeError, match=r"one text for 2 languages; put \{language\} into its config"):
        read_corpora("hf:org/data:everything", ["fr", "de"])


@pytest.mark.parametrize(
    ("corpus", "languages", "match"),
    [("hf:", ["fr"], "hf:ID"), ("hf::config", ["fr"], "hf:ID"), ("hf:org/data", None, "Say which languages")],
)
def test_an_incomplete_name_is_refused(corpus: str, languages: list[str] | None, match: str) -> None:
    with pytest.raises(LapeError, match=match):
        read_corpora(corpus, languages)


def test_without_network_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = read_corpora("hf:wikimedia/wikipedia", ["fr"])["fr"]
    with pytest.raises(BadFile, match=r"^hf:wikimedia/wikipedia:20231101\.fr could not be read: .+$") as error:
        next(iter(source()))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("fr.jsonl", b'{"body": "a", "title": "b"}\n', r"has no text column 'text'; its columns are body, title\."),
        ("fr.jsonl", b'{"text": 7}\n', r"has no text column 'text': there is int in it\.$"),
        ("fr.jsonl", b'{"text": "a"}\n{"text": \n', r"^fr\.jsonl could not be read: .+$"),
        ("fr.jsonl", b'{"text": "caf\xe9"}\n', r"^fr\.jsonl could not be read: .*utf-8"),
        ("fr.parquet", b"PAR1", r"^fr\.parquet could not be read: .+$"),
        ("fr.txt", b"caf\xe9\n", r"fr\.txt' is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, match: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadFile, match=match) as error:
        list(TextFile(tmp_path / name)())
    assert "\n" not in str(error.value)


def test_a_parquet_file_without_text_names_its_columns(tmp_path: Path) -> None:
    write_parquet(tmp_path / "fr.parquet", DOCUMENTS, column="content")
    with pytest.raises(BadFile, match=r"no text column 'text'; its columns are title, content\."):
        list(TextFile(tmp_path / "fr.parquet")())


@pytest.mark.parametrize(
    ("name", "match"),
    [("nowhere", "There is no corpus at"), ("fr.pdf", r"must end in \.txt, \.jsonl"), ("empty", "holds no corpus")],
)
def test_a_path_with_no_text_is_refused(tmp_path: Path, name: str, match: str) -> None:
    (tmp_path / "fr.pdf").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadFile, match=match):
        read_corpora(str(tmp_path / name))


# What may lie in a folder


def a_folder(path: Path) -> None:
    path.mkdir()


def a_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere.txt"))


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket is short
        try:
            opened.bind(path.name)
        finally:
            os.chdir(here)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


ODD: dict[Callable[[Path], None], str] = {
    os.mkfifo: "a pipe, socket or device",
    a_socket: "a pipe, socket or device",
    a_device: "a pipe, socket or device",
    a_folder: "a folder",
    a_dangling_link: "a broken link",
    a_link_to_itself: "a broken link",
}


@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", ["de.txt", "de.train.jsonl", "de.csv.gz"])
def test_only_regular_files_of_a_folder_are_read(
    make: Callable[[Path], None], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe keeps its reader waiting for ever, so it is named without being opened."""
    monkeypatch.setattr(documents, "open", _never_odd(tmp_path / name), raising=False)
    (tmp_path / "fr.txt").write_text("Oui.")
    make(tmp_path / name)
    with pytest.warns(LapeWarning, match=rf"Left out of the corpus .*: {re.escape(name)} \({ODD[make]}\)\. Name files"):
        assert list(read_corpora(tmp_path)) == ["fr"]
    with (
        pytest.warns(LapeWarning, match=ODD[make]),
        pytest.raises(UnknownLabel, match="No language in the corpus 'de'"),
    ):
        read_corpora(tmp_path, "de")


def _never_odd(odd: Path) -> Callable[..., Any]:
    def opened(path: Path, mode: str) -> Any:
        assert path != odd
        return open(path, mode)

    return opened


@pytest.mark.parametrize("make", [make for make in ODD if make is not a_folder], ids=lambda make: make.__name__)
def test_what_is_no_regular_file_is_refused_by_name(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "fr.txt")
    with pytest.raises(BadFile, match=rf"fr\.txt' is {ODD[make]}, not a corpus\. Give a folder, a file, or hf:"):
        read_corpora(tmp_path / "fr.txt")


def test_names_that_are_left_out_are_few_and_plain(tmp_path: Path) -> None:
    for name in ("fr.txt", "de\n.txt", "de\u202etxt.jsonl", *(f"xx.{number:03}.txt" for number in range(100))):
        (tmp_path / name).touch()
    with pytest.warns(LapeWarning) as warned:
        read_corpora(tmp_path)
    said = str(warned[0].message)
    assert said.isprintable()
    assert r"'de\n.txt', 'de\u202etxt.jsonl', xx.000.txt" in said
    assert "xx.017.txt and 82 more. Name files" in said


def test_a_link_to_a_text_is_the_text(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    write_text(tmp_path / "text" / "one.txt", DOCUMENTS)
    (tmp_path / "fr.train.txt").symlink_to(tmp_path / "text" / "one.txt")
    write_text(tmp_path / "fr.valid.txt", ["Retenu."])
    assert texts_of(tmp_path) == DOCUMENTS


@pytest.mark.parametrize("corpus", ["", " ", "\t\n"])
def test_an_empty_name_is_not_the_current_folder(corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "fr.txt", DOCUMENTS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LapeError, match=r"The name of the corpus is empty\. Give a folder, a file, or hf:"):
        read_corpora(corpus)


@pytest.mark.parametrize(
    "corpus",
    ["a" * 5000, "a/" * 2500 + "fr.txt", "fr\0.txt", "hf:" + "a" * 5000, "hf:org/data:a\0", "hf:org/" + "../" * 999],
)
def test_an_impossible_name_is_one_short_sentence(corpus: str) -> None:
    with pytest.raises(LapeError, match=r"There is no corpus at '.*'|is written hf:ID") as error:
        read_corpora(corpus, "fr")
    assert len(str(error.value)) < 400
    assert "\0" not in str(error.value)


def test_a_label_of_any_length_is_refused_in_a_short_sentence() -> None:
    with pytest.raises(LapeError, match="cannot be a language label") as error:
        check_label("a" * 5000)
    assert len(str(error.value)) < 200


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: Path) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(BadFile, match=rf"{tmp_path.name}' could not be read: Permission denied\."):
        read_corpora(tmp_path)


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownLabel, match=r"No split 'valdi'\. Did you mean 'valid'\?"):
        read_corpora(str(tmp_path), split="valdi")


@pytest.mark.parametrize("label", ["", "../fr", "fr.de", "français", "a b", "a" * 33, "fr\n"])
def test_labels_are_plain(tmp_path: Path, label: str) -> None:
    with pytest.raises(LapeError, match="cannot be a language label"):
        check_label(label)
    for corpus in (str(tmp_path), "hf:org/data"):
        with pytest.raises(LapeError, match="cannot be a language label"):
            read_corpora(corpus, [label])


@pytest.mark.parametrize("label", ["fr", "zh-Hant", "legal_2", "a" * 32])
def test_any_other_label_will_do(label: str) -> None:
    assert check_label(label) == label


# Blocks of tokens


def blocks_of(tokenizer: PreTrainedTokenizerFast, source: Any, block: int) -> list[list[int]]:
    return [tensor.tolist() for tensor in token_blocks(tokenizer, source, block)]


def test_documents_are_packed_and_divided_by_their_end(tokenizer: PreTrainedTokenizerFast) -> None:
    a, b, c, d, e, f = tokenizer("abcdef")["input_ids"]
    end = DOCUMENT_END
    assert blocks_of(tokenizer, ["ab", "c", "", "def"], 3) == [[a, b, end], [c, end, end], [d, e, f]]
    assert blocks_of(tokenizer, ["ab", "c"], 5) == [[a, b, end, c, end]]
    assert blocks_of(tokenizer, ["ab", "c"], 6) == []
    assert blocks_of(tokenizer, [], 3) == []


def test_packing_goes_on_over_any_number_of_documents(tokenizer: PreTrainedTokenizerFast) -> None:
    stream = [token for text in DOCUMENTS for token in [*tokenizer(text)["input_ids"], DOCUMENT_END]]
    blocks = blocks_of(tokenizer, DOCUMENTS, 64)
    assert len(blocks) == len(stream) // 64 > 100
    assert [token for block in blocks for token in block] == stream[: len(blocks) * 64]


def test_a_source_opens_again(tokenizer: PreTrainedTokenizerFast) -> None:
    expected = blocks_of(tokenizer, DOCUMENTS, 32)
    for source in (DOCUMENTS, tuple(DOCUMENTS), lambda: iter(DOCUMENTS), lambda: DOCUMENTS):
        assert blocks_of(tokenizer, source, 32) == blocks_of(tokenizer, source, 32) == expected


def test_the_document_end_comes_before_eos(tokenizer: PreTrainedTokenizerFast) -> None:
    assert document_end(tokenizer) == DOCUMENT_END != tokenizer.eos_token_id == EOS


@pytest.mark.parametrize(
    ("eos", "added", "expected"),
    [
        ("</s>", ["<s>", "<unk>"], "</s>"),  # Llama 2, Mistral, BLOOM
        ("<|im_end|>", ["</s>"], "</s>"),  # chat models made of them
        ("<eos>", ["<end_of_turn>", "</s>"], "<eos>"),  # Gemma, whose </s> is a tag of HTML
        ("<end_of_turn>", ["</s>", "<eos>"], "<eos>"),
        ("<|end_of_text|>", ["<|eot_id|>"], "<|end_of_text|>"),  # Llama 3
        ("<|eot_id|>", ["<|end_of_text|>"], "<|end_of_text|>"),
        ("<|im_end|>", ["<|endoftext|>"], "<|endoftext|>"),  # Qwen, SmolLM2, StableLM
        ("<|endoftext|>", [], "<|endoftext|>"),  # GPT-2, Falcon, OLMo
        ("<|END_OF_TURN_TOKEN|>", ["<EOS_TOKEN>"], "<EOS_TOKEN>"),  # Cohere
        ("<|end|>", ["</s>", "<|endoftext|>"], "<|endoftext|>"),  # Phi-3
        ("</s>", ["<|endoftext|>"], "</s>"),  # its eos is known to end documents
        ("<｜end▁of▁sentence｜>", ["<|EOT|>"], "<｜end▁of▁sentence｜>"),  # DeepSeek
        ("[|endofturn|]", ["[EOS]"], "[EOS]"),
    ],
)
def test_the_end_of_a_turn_is_no_document_end(eos: str, added: list[str], expected: str) -> None:
    known = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0}, [])), eos_token=eos)
    known.add_special_tokens({"additional_special_tokens": added})
    assert document_end(known) == known.convert_tokens_to_ids(expected)


def test_eos_where_there_is_no_document_end() -> None:
    vocabulary = Tokenizer(models.BPE({"a": 0, "<|im_end|>": 1}, []))
    with_eos = PreTrainedTokenizerFast(tokenizer_object=vocabulary, eos_token="<|im_end|>")
    assert document_end(with_eos) == 1
    assert blocks_of(with_eos, ["aa", "a"], 5) == [[0, 0, 1, 0, 1]]
    without = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0}, [])))
    assert document_end(without) is None
    assert blocks_of(without, ["aa", "a"], 3) == [[0, 0, 0]]
