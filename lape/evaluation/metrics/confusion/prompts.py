"""The prompts of the Language Confusion Benchmark, read from a folder in its own layout.

    <task>/<source>/<code>.csv    prompts, column `prompt`; the task is monolingual or crosslingual
    words                         an English dictionary, one word a line; may be missing

Monolingual prompts ask in the language that the answer is to be in, cross-lingual ones ask in English for an answer
in it.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lape.errors import BadFile
from lape.evaluation.metrics.confusion.rates import english_words
from lape.languages import base_language
from lape.storage.text import read_text

LANGUAGES = ("ar", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "pt", "ru", "tr", "vi", "zh")
TASKS = ("monolingual", "crosslingual")
DICTIONARY = "words"
LONGEST_PROMPT = 1_000  # characters; the longest have 18,000, and a batch takes as long as its longest prompt
GET_IT = (
    "Unpack test_sets.zip of the public repository for-ai/language-confusion, put its file `words` beside the folders "
    "monolingual and crosslingual, and name the folder with --prompts."
)

Place = tuple[str, str, str]  # task, source, language


@dataclass(frozen=True)
class Benchmark:
    """What is asked.

    Attributes:
        prompts: Task, source and language to the prompts that are asked.
        too_long: Prompts of these places that are left out because they have more than 1,000 characters.
        dictionary: English words; None where the folder has none.
    """

    prompts: Mapping[Place, tuple[str, ...]]
    too_long: int
    dictionary: frozenset[str] | None


def is_benchmark(folder: str | None) -> bool:
    """Whether there is a folder with a task of the benchmark."""
    return folder is not None and any((Path(folder) / task).is_dir() for task in TASKS)


def read_benchmark(folder: str | None, languages: Collection[str], count: int, seed: int = 0) -> Benchmark:
    """Reads the prompts of some languages, of every file some that are chosen by chance.

    Args:
        folder: The benchmark's.
        languages: Labels; one counts as its base language.
        count: Prompts of each file, at least 2; of a shorter file all.
        seed: Of the choice; the same seed gives the same prompts for every model.

    Raises:
        BadFile: There is no benchmark, it has no prompts in these languages, or a file is damaged.
    """
    if not is_benchmark(folder):
        said = "no --prompts were named" if folder is None else f"{folder!r} has no folder {' or '.join(TASKS)}"
        raise BadFile(f"This is measured on the Language Confusion Benchmark, and {said}. {GET_IT}")
    root = Path(str(folder))
    prompts: dict[Place, tuple[str, ...]] = {}
    there, too_long = set(), 0
    for task, source, file in _files(root):
        there.add(file.stem)
        for label in (label for label in languages if base_language(label) == file.stem):
            found = _prompts(file)
            short = [prompt for prompt in found if len(prompt) <= LONGEST_PROMPT]
            too_long += len(found) - len(short)
            if len(short) < 2:
                raise BadFile(f"{_name(file)} has {len(short)} prompts of up to {LONGEST_PROMPT:,} characters, not 2.")
            chosen = random.Random(f"{seed} {task} {source} {file.stem}").sample(short, min(count, len(short)))
            prompts[task, source, label] = tuple(chosen)
    if not prompts:
        raise BadFile(f"The benchmark has no prompts in {', '.join(languages)}, only in {', '.join(sorted(there))}.")
    words = root / DICTIONARY
    dictionary = english_words(read_text(words, _name(words)).splitlines()) if words.exists() else None
    return Benchmark(prompts, too_long, dictionary)


def _files(root: Path) -> Iterator[tuple[str, str, Path]]:
    for task in TASKS:
        for file in sorted((root / task).glob("*/*.csv")):
            yield task, file.parent.name, file


def _prompts(file: Path) -> list[str]:
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(file, _name(file)), newline=""), strict=True))
    except csv.Error as error:
        raise BadFile(f"{_name(file)} is not CSV ({error}).") from error
    if not rows or not all((row.get("prompt") or "").strip() for row in rows):
        raise BadFile(f"{_name(file)} must have a column `prompt` with text in every row.")
    return list(dict.fromkeys(row["prompt"].strip() for row in rows))


def _name(file: Path) -> str:
    return repr("/".join(file.parts[-3:]))
