"""Text in, blocks of tokens out.

A source is anything that can be opened again: a list of documents, or a function that returns an
iterator over them. `read_corpora` makes sources from files, folders and Hugging Face datasets;
`token_blocks` packs one source into fixed blocks of the model's own tokens, without padding.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import BadFile, LapeError, unknown_label
from lape.storage.names import LABEL, check_label

Source = Callable[[], Iterable[str]] | Sequence[str]

SPLITS = ("train", "valid")
SUFFIXES = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
VALID_EVERY = 10  # one document in ten is held out where no <code>.valid file exists
# What separates documents in training data, where it is not the tokenizer's eos token (chat models end a
# turn with eos). In order of preference.
DOCUMENT_ENDS = ("<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>")


@dataclass(frozen=True)
class TextFile:
    """A local file as a source of documents.

    Attributes:
        path: `.txt` (a blank line ends a document), `.jsonl` or `.parquet` (a `text` column).
        split: None takes every document; `"train"` and `"valid"` divide them by a hash of their text.
    """

    path: Path
    split: str | None = None

    def __call__(self) -> Iterator[str]:
        documents: Iterable[str] = ()
        if self.path.suffix == ".txt":
            documents = _paragraph_documents(self.path)
        elif self.path.stat().st_size > 0:  # datasets trips over an empty file
            documents = _rows(self.path.name, SUFFIXES[self.path.suffix], data_files=str(self.path))
        return _split(documents, self.split)

    @property
    def description(self) -> str:
        return self.path.name


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
        return _split(_rows(self.description, self.name, name=self.config), self.split)

    @property
    def description(self) -> str:
        return f"hf:{self.name}" + (f":{self.config}" if self.config else "")


def read_corpora(corpus: str, languages: Sequence[str] | None = None, *, split: str = "train") -> dict[str, Source]:
    """Opens a corpus as one source per language.

    Args:
        corpus: A folder of `<code>.train.txt`, `<code>.txt`, `.jsonl` or `.parquet` files; one such file
            (for one language); or `hf:ID[:config]`, where `{language}` in the config stands for the code.
        languages: The codes to open. None takes every language of a folder, or the file's own.
        split: `"train"` or `"valid"`. A `<code>.valid.*` file is used when there is one; otherwise one
            document in ten is held out, chosen by a hash of its text.

    Returns:
        Sources by language code, in the order of `languages`, else sorted.

    Raises:
        LapeError: The split does not exist, a language is missing, or `languages` is needed and absent.
        BadFile: There is nothing to read at that path.

    Example:
        >>> read_corpora("corpora/", ["fr"], split="valid")  # doctest: +SKIP
        {'fr': TextFile(path=PosixPath('corpora/fr.valid.txt'), split=None)}
    """
    if split not in SPLITS:
        raise unknown_label("split", split, SPLITS)
    for label in languages or ():
        check_label(label)
    if corpus.startswith("hf:"):
        return _hub_corpora(corpus, languages, split)
    path = Path(corpus)
    if path.is_dir():
        return _folder_corpora(path, languages, split)
    if not path.is_file():
        raise BadFile(f"There is no corpus at {corpus!r}. Give a folder, a file, or hf:ID[:config].")
    if path.suffix not in SUFFIXES:
        raise BadFile(f"{path.name!r} is not a text corpus; it must end in {', '.join(SUFFIXES)}.")
    found = languages or [path.name.partition(".")[0]]
    if len(found) != 1:
        raise LapeError(f"{path.name!r} is one file, so it holds one language; {len(found)} were named.")
    return {check_label(found[0]): TextFile(path, split)}


def document_end(tokenizer: Tokenizer) -> int | None:
    """The token id that ends a document in training data, or None when the tokenizer has none.

    Not always eos: SmolLM2's eos `<|im_end|>` ends a chat turn and `<|endoftext|>` a document.
    """
    added = tokenizer.get_added_vocab()
    for token in DOCUMENT_ENDS:
        if token in added:
            return added[token]
    return tokenizer.eos_token_id


def token_blocks(tokenizer: Tokenizer, source: Source, block: int) -> Iterator[torch.Tensor]:
    """Packs documents into blocks of exactly `block` tokens.

    Every document is followed by the tokenizer's document end; no BOS token, no padding. The tokens after
    the last full block are dropped.

    Args:
        tokenizer: The model's own tokenizer.
        source: Documents, re-openable.
        block: Tokens per block.

    Yields:
        int64 tensors `[block]`.
    """
    end = document_end(tokenizer)
    pending: list[int] = []
    for documents in _batches(source() if callable(source) else source, 64):
        for ids in tokenizer(documents, add_special_tokens=False, verbose=False)["input_ids"]:
            pending.extend(ids)
            if end is not None:
                pending.append(end)
        full = len(pending) // block * block
        yield from torch.tensor(pending[:full], dtype=torch.long).view(-1, block)
        pending = pending[full:]


def paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Documents from the lines of a text: a blank line ends one."""
    document: list[str] = []
    for line in lines:
        if line.strip():
            document.append(line)
        elif document:
            yield "".join(document).strip()
            document = []
    if document:
        yield "".join(document).strip()


def describe(source: Source) -> str:
    """A short name of a source for metadata: the file or dataset, else `texts`."""
    return getattr(source, "description", "texts")


def _folder_corpora(folder: Path, languages: Sequence[str] | None, split: str) -> dict[str, Source]:
    found: dict[str, dict[str | None, Path]] = {}
    for path in sorted(folder.iterdir()):
        parts = path.name.split(".")
        if path.suffix in SUFFIXES and len(parts) in (2, 3) and LABEL.fullmatch(parts[0]):
            kind = parts[1] if len(parts) == 3 else None
            if kind in (None, *SPLITS):
                found.setdefault(parts[0], {}).setdefault(kind, path)
    if not found:
        raise BadFile(f"{str(folder)!r} holds no corpus; name its files <code>.train.txt, such as fr.train.txt.")
    sources: dict[str, Source] = {}
    for language in languages or sorted(found):
        if language not in found:
            raise unknown_label("language in the corpus", language, found)
        sources[language] = _choose_file(language, found[language], split)
    return sources


def _choose_file(language: str, files: Mapping[str | None, Path], split: str) -> TextFile:
    if split in files:
        # With a held-out file beside it, all of the train file is for training.
        return TextFile(files[split], None if set(SPLITS) <= set(files) or split == "valid" else split)
    undivided = files.get(None) or files.get("train")
    if undivided is None:
        raise BadFile(f"There is no {split} text for {language!r} beside {files['valid'].name!r}.")
    return TextFile(undivided, None if "valid" in files else split)


def _hub_corpora(corpus: str, languages: Sequence[str] | None, split: str) -> dict[str, Source]:
    _, _, rest = corpus.partition("hf:")
    name, _, config = rest.partition(":")
    if not name:
        raise LapeError("A Hugging Face corpus is written hf:ID[:config], such as hf:wikimedia/wikipedia.")
    if not languages:
        raise LapeError(f"Say which languages to take from {corpus!r}, such as --languages fr,es.")
    if name == "wikimedia/wikipedia" and "." not in config and "{language}" not in config:
        config = f"{config or '20231101'}.{{language}}"
    if len(languages) > 1 and "{language}" not in config:
        raise LapeError(f"{corpus!r} is one text for {len(languages)} languages; put {{language}} into its config.")
    return {code: HubDataset(name, config.replace("{language}", code) or None, split) for code in languages}


def _paragraph_documents(path: Path) -> Iterator[str]:
    with path.open("rb") as lines:
        yield from paragraphs(_decoded(lines, repr(str(path))))


def _decoded(lines: Iterable[bytes], name: str) -> Iterator[str]:
    for number, raw in enumerate(lines, start=1):
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise BadFile(f"{name} is not UTF-8 text (line {number}).") from error


def _rows(description: str, builder: str, **arguments: Any) -> Iterator[str]:
    """The `text` column of a dataset, streamed through `datasets`, whether local or on the Hub."""
    import datasets  # heavy, and not needed for plain text

    try:
        rows = datasets.load_dataset(builder, split="train", streaming=True, **arguments)
        for row in rows:
            text = row.get("text", NotImplemented)
            if text is None:
                continue  # a row whose text is missing
            if not isinstance(text, str):
                raise BadFile(f"{description} has no text column 'text'; its columns are {', '.join(row)}.")
            yield text
    except (ConnectionError, OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise BadFile(f"{description} could not be read: {str(error).partition(chr(10))[0]}") from error


def _split(documents: Iterable[str], split: str | None) -> Iterator[str]:
    for document in documents:
        held_out = zlib.crc32(document.encode()) % VALID_EVERY == 0
        if split is None or held_out == (split == "valid"):
            yield document


def _batches(documents: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for document in documents:
        batch.append(document)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
