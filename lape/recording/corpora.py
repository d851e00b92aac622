"""Corpora as their users name them: a folder of files, one file, or a Hugging Face dataset; a source a language."""

from __future__ import annotations

import os
import re
import reprlib
import stat
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from lape.errors import BadFile, LapeError, LapeWarning, unknown_label
from lape.recording.documents import READABLE, HubDataset, TextFile, format_of
from lape.recording.sources import Source
from lape.storage.names import LABEL, check_label

SPLITS = ("train", "valid")
WAYS = "Give a folder, a file, or hf:ID[:config]."
NAMED = f"Name files by language and split, such as fr.txt or fr.train.txt; they must end in {READABLE}."
MOST_NAMED = 20  # files that are left out
LONGEST_HUB_NAME = 300  # an id has two words of up to 96 characters, and a config is a file's name
LANGUAGE_NAME = re.compile(r"[a-z]{2,3}([-_][a-z0-9]+)*\.", re.IGNORECASE)  # how a file named by its language begins


def read_corpora(
    corpus: str | os.PathLike[str], languages: str | Sequence[str] | None = None, *, split: str = "train"
) -> dict[str, Source]:
    """Opens a corpus as one source per language.

    Args:
        corpus: A folder of files such as `<code>.txt`, `<code>.train.jsonl` or `<code>.valid.csv.gz`; one such file
            (for one language); or `hf:ID[:config]`, where `{language}` in the config stands for the code. Formats
            are `.txt` (see `lape.recording.documents` for where a document ends), and `.jsonl`, `.json`, `.csv`,
            `.tsv` and `.parquet` with a column `text`; each may be compressed, as `.gz`.
        languages: The codes to open. None takes every language of a folder, or the file's own.
        split: `"train"` or `"valid"`. A `<code>.valid.*` file is used when there is one; otherwise one
            document in ten is held out, chosen by a hash of its text.

    Returns:
        Sources by language code, in the order of `languages`, else sorted.

    Raises:
        LapeError: The split does not exist, a language is missing, or `languages` is needed and absent.
        BadFile: There is nothing to read at that path, or no regular file.

    Warns:
        LapeWarning: A file of the folder looks like text of a language and is not read; names it and says why.

    Example:
        >>> read_corpora("corpora/", ["fr"], split="valid")  # doctest: +SKIP
        {'fr': TextFile(path=PosixPath('corpora/fr.valid.txt'), split=None, by_line=False)}
    """
    if split not in SPLITS:
        raise unknown_label("split", split, SPLITS)
    corpus = os.fspath(corpus)
    languages = [languages] if isinstance(languages, str) else languages
    for label in languages or ():
        check_label(label)
    if not corpus.strip():
        raise LapeError(f"The name of the corpus is empty. {WAYS}")
    if corpus.startswith("hf:"):
        return _hub_corpora(corpus, languages, split)
    path = Path(corpus)
    if os.path.isdir(corpus):  # unlike the path's own, it takes a name of any length
        return _folder_corpora(path, languages, split)
    if not os.path.lexists(corpus):
        raise BadFile(f"There is no corpus at {_shown(corpus)}. {WAYS}")
    if odd := _irregular(path):
        raise BadFile(f"{_shown(corpus)} is {odd}, not a corpus. {WAYS}")
    if format_of(path.name) is None:
        raise BadFile(f"{path.name!r} is not a text corpus; it must end in {READABLE}.")
    found = languages or [path.name.partition(".")[0]]
    if len(found) != 1:
        raise LapeError(f"{path.name!r} is one file, so it holds one language; {len(found)} were named.")
    return {check_label(found[0]): TextFile.of(path, split)}


def _folder_corpora(folder: Path, languages: Sequence[str] | None, split: str) -> dict[str, Source]:
    found: dict[str, dict[str | None, Path]] = {}
    left_out: list[tuple[str, str]] = []  # a file's name, and why where its name does not say it
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise BadFile(f"{str(folder)!r} could not be read: {error.strerror}.") from error
    for path in entries:
        if path.name.startswith("."):
            continue
        if odd := _irregular(path):
            if format_of(path.name):
                left_out.append((path.name, f" ({odd})"))
        elif place := _place(path.name):
            language, kind = place
            if found.setdefault(language, {}).setdefault(kind, path) != path:
                left_out.append((path.name, f" (beside {found[language][kind].name})"))
        elif format_of(path.name) or LANGUAGE_NAME.match(path.name):
            left_out.append((path.name, ""))
    if languages:
        left_out = [(name, why) for name, why in left_out if name.partition(".")[0] in languages]
    if left_out:
        names = ", ".join(f"{name if name.isprintable() else repr(name)}{why}" for name, why in left_out[:MOST_NAMED])
        more = f" and {len(left_out) - MOST_NAMED:,} more" if len(left_out) > MOST_NAMED else ""
        warnings.warn(f"Left out of the corpus {str(folder)!r}: {names}{more}. {NAMED}", LapeWarning, stacklevel=3)
    if not found:
        raise BadFile(f"{str(folder)!r} holds no corpus. {NAMED}")
    sources: dict[str, Source] = {}
    for language in languages or sorted(found):
        if language not in found:
            raise unknown_label("language in the corpus", language, found)
        sources[language] = _choose_file(language, found[language], split)
    return sources


def _irregular(path: Path) -> str | None:
    """What is there instead of a regular file; it is not opened, since a pipe may keep its reader waiting for ever."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return "a broken link" if path.is_symlink() else f"out of reach ({error.strerror})"
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"


def _shown(name: str) -> str:
    """A name as an error repeats it: the ends of a long one."""
    shown = reprlib.Repr()
    shown.maxstring = 200
    return shown.repr(name)


def _place(name: str) -> tuple[str, str | None] | None:
    """The language of a file and its split, or None for both, by its name; None when it is no corpus."""
    suffix = format_of(name)
    if suffix is None:
        return None
    language, *kind = name[: name.lower().rindex(suffix)].split(".")
    if not LABEL.fullmatch(language) or len(kind) > 1 or (kind and kind[0].lower() not in SPLITS):
        return None
    return language, kind[0].lower() if kind else None


def _choose_file(language: str, files: Mapping[str | None, Path], split: str) -> TextFile:
    if split in files:
        # With a held-out file beside it, all of the train file is for training.
        return TextFile.of(files[split], None if set(SPLITS) <= set(files) or split == "valid" else split)
    undivided = files.get(None) or files.get("train")
    if undivided is None:
        raise BadFile(f"There is no {split} text for {language!r} beside {files['valid'].name!r}.")
    return TextFile.of(undivided, None if "valid" in files else split)


def _hub_corpora(corpus: str, languages: Sequence[str] | None, split: str) -> dict[str, Source]:
    _, _, rest = corpus.partition("hf:")
    name, _, config = rest.partition(":")
    if not name or len(rest) > LONGEST_HUB_NAME or not rest.isprintable():
        raise LapeError("A Hugging Face corpus is written hf:ID[:config], such as hf:wikimedia/wikipedia.")
    if not languages:
        raise LapeError(f"Say which languages to take from {corpus!r}, such as --languages fr,es.")
    if name == "wikimedia/wikipedia" and "." not in config and "{language}" not in config:
        config = f"{config or '20231101'}.{{language}}"
    if len(languages) > 1 and "{language}" not in config:
        raise LapeError(f"{corpus!r} is one text for {len(languages)} languages; put {{language}} into its config.")
    return {code: HubDataset(name, config.replace("{language}", code) or None, split) for code in languages}
