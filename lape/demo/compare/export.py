"""A run as a file: JSON with all that is needed to run it again, a table, and what is on a picture of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from lape.demo.compare.chat import Talks, instruction
from lape.demo.compare.columns import expected_language, kind_of, title_of, told_of
from lape.demo.compare.comparison import Column
from lape.demo.compare.request import CompareRequest
from lape.demo.loaded import Loaded
from lape.demo.words import say
from lape.evaluation.runs.evidence import environment
from lape.languages import language
from lape.masks.mask import NeuronMask
from lape.models.architectures import input_device
from lape.models.identity import identity
from lape.storage.tables import csv_text

FORMAT = 1


@dataclass(frozen=True)
class Comparison:
    """A comparison that is on show.

    Attributes:
        request: What was asked.
        columns: What was answered.
        talks: What was said before, in a chat.
        about: Model, mask and versions.
    """

    request: CompareRequest
    columns: Mapping[str, Column]
    talks: Talks
    about: Mapping[str, Any]

    def __hash__(self) -> int:
        """For gradio, which tells by it whether the run on show has changed."""
        return hash((self.request, *((name, column.text) for name, column in self.columns.items())))


def about(loaded: Loaded) -> dict[str, Any]:
    """Which model and mask are in use, and the versions of what runs them; nothing that names the machine."""
    mask = loaded.known_mask
    return {
        "model": {**asdict(identity(loaded.model)), "model": loaded.public_name},
        "mask": {
            "sha256": fingerprint(mask),
            "method": mask.metadata.get("method"),
            "settings": mask.metadata.get("settings"),
            "neurons": {code: mask.count(code) for code in mask.languages},
        },
        "environment": environment(str(input_device(loaded.model))),
    }


def fingerprint(mask: NeuronMask) -> str:
    """SHA-256 of a mask's shape, languages and neurons, wherever it comes from."""
    hashed = hashlib.sha256(json.dumps([list(mask.shape), list(mask.languages)]).encode())
    for code in mask.languages:
        hashed.update(mask.flat(code).to(torch.int64).numpy().tobytes())
    return hashed.hexdigest()


def exported(run: Comparison) -> str:
    """A run as JSON text."""
    settings = asdict(run.request)
    columns = {name: plain(column) for name, column in run.columns.items()}
    if "plain" in columns:
        columns["plain"]["instruction"] = instruction(run.request)
    for name, said in run.talks.items():
        if name in columns and run.request.chat:
            columns[name]["said_before"] = list(said)
    found = {"kind": "lape comparison", "format": FORMAT, **run.about, "settings": settings, "columns": columns}
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def table(run: Comparison) -> str:
    """The columns of a run as CSV text, one a row, with its prompt."""
    rows = [
        {"prompt": run.request.prompt, "column": name, "title": title_of(name, run.request), **plain(column)}
        for name, column in run.columns.items()
    ]
    return csv_text(list(rows[0]), [list(row.values()) for row in rows])


def card(run: Comparison) -> str:
    """What the picture of a run shows, as JSON text for `card.js`: all that is written on it is text."""
    columns = [
        {
            "title": title_of(name, run.request),
            "kind": kind_of(name),
            "told": told_of(column, run.request),
            "text": column.text.strip(),
            "rtl": language(column.language.language or expected_language(name, run.request)).rtl,
        }
        for name, column in run.columns.items()
    ]
    return json.dumps(
        {
            "heading": say("sharing.heading"),
            "model": run.about["model"]["model"],
            "prompt": run.request.prompt.strip(),
            "rtl": language(run.request.source).rtl,
            "columns": columns,
        },
        ensure_ascii=False,
    )


def plain(column: Column) -> dict[str, Any]:
    """A column as JSON has it."""
    found = asdict(column)
    found["language"] = None if column.language.gibberish else column.language.language
    found["confidence"] = round(column.language.confidence, 4)
    judged = column.quality
    found["quality"] = judged and judged.word
    found["quality_because"] = list(judged.reasons) if judged else []
    found["cost_nats"] = judged and judged.cost_nats
    found["neurons_off"], found["neurons_on"] = found.pop("off"), found.pop("on")
    return found
