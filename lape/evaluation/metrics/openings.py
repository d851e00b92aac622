"""Sentence openings to continue, in two halves: settings are chosen on one and reported on the other.

The 1st, 3rd, 5th ... opening of a language is for tuning, the 2nd, 4th, 6th ... for reporting.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from lape.errors import BadFile, unknown_label
from lape.languages import base_language, language
from lape.storage.json import read_json
from lape.storage.text import filled_lines, read_text

DEV, TEST = "dev", "test"  # settings are chosen on one half, and reported on the other
HALVES = (DEV, TEST)
Prompted = TypeVar("Prompted")
FEWEST = 2 * len(HALVES)  # openings per language: an interval needs two in each half


def openings(code: str) -> list[str]:
    """The 20 sentence openings in a language that were written for this project; a variety has those of its base.

    Raises:
        UnknownLabel: There are none in that language, or in its script.
    """
    everything: Mapping[str, list[str]] = _data("openings.json")
    if (written := _written(code)) not in everything:
        raise unknown_label("language with sentence openings", code, everything)
    return everything[written]


def half(prompts: Sequence[Prompted], name: str) -> tuple[Prompted, ...]:
    """Those of a language's openings that settings are chosen on, or those that are for reporting."""
    if name not in HALVES:
        raise unknown_label("half of the openings", name, HALVES)
    return tuple(prompts[HALVES.index(name) :: len(HALVES)])


def read_openings(path: str, languages: Iterable[str]) -> dict[str, list[str]]:
    """Reads openings from a file or a folder of your own.

    Args:
        path: A JSON file, `{"fr": ["Il était", ...], ...}`, or a folder of `<code>.txt` with one opening a line.
        languages: Codes to read; other ones in the file are left out.

    Returns:
        Openings by language code.

    Raises:
        BadFile: There is no such file, or it does not hold at least 4 different openings for each language.
        UnknownLabel: A language is missing.
    """
    place = Path(path)
    if place.is_dir():
        files_there = sorted(place.glob("*.txt"))
        found: Any = {file.stem: filled_lines(read_text(file, repr(file.name))) for file in files_there}
        if not found:
            raise BadFile(f"{path!r} holds no openings; name its files <code>.txt, such as fr.txt.")
    elif place.is_file():
        found = _json(place)
    else:
        raise BadFile(f"There are no openings at {path!r}. Give a JSON file or a folder of <code>.txt files.")
    chosen = {}
    for code in languages:
        if code not in found:
            raise unknown_label(f"language in {place.name!r}", code, found)
        chosen[code] = [text.strip() if isinstance(text, str) else "" for text in found[code]]
        if not all(chosen[code]):
            raise BadFile(f"{place.name!r} has an opening for {code!r} that is empty or no text.")
        if len(set(chosen[code])) < max(FEWEST, len(chosen[code])):
            raise BadFile(f"{place.name!r} needs at least {FEWEST} openings for {code!r}, all of them different.")
    return chosen


def instructions(target: str) -> dict[str, str]:
    """What a plain prompt says to get a language: in English, and in the language itself where that was written."""
    native: Mapping[str, str] = _data("instructions.json")
    said = {"english": f"Continue this text in {language(target).name}."}
    written = _written(target)
    return {**said, "native": native[written]} if written in native and written != "en" else said


def _written(label: str) -> str:
    """The code that a label's texts are under: its base language, unless it is written in another script."""
    base = base_language(label)
    return base if language(label).script == language(base).script else label


def _data(name: str) -> Any:
    return json.loads((files("lape.evaluation.metrics") / name).read_text("utf-8"))


def _json(file: Path) -> dict[str, list[Any]]:
    found = read_json(file, name=repr(file.name))
    if not isinstance(found, dict) or not all(isinstance(texts, list) for texts in found.values()):
        raise BadFile(f'{file.name!r} must be like {{"fr": ["Il était", ...], ...}}: language code to a list of texts.')
    return found
