"""What the commands share: their options, the model they load, how they print."""

from __future__ import annotations

import argparse
import json
from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lape.processes import Processes

ANOTHER_OUT = "name another folder with --out"  # what to do when it cannot be written


def add(commands: Any, name: str, run: Any, description: str, deferred: Any = None) -> argparse.ArgumentParser:
    """Adds a command that `run` carries out; `deferred` adds options to it, once it is named."""
    parser = commands.add_parser(name, help=description, description=description)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print JSON alone on standard output")
    parser.deferred = deferred
    return parser


def add_model(parser: argparse.ArgumentParser, *, cpu_form: str | None = None) -> None:
    """Adds the options that say which model to load, and how; also what it generates with on a CPU, given a default."""
    parser.add_argument("--model", help="Hub id, folder, or preset (default: the embedded one)")
    parser.add_argument("--quantization", help="4bit, 8bit or auto")
    parser.add_argument("--dtype", help="float32, bfloat16 or float16")
    parser.add_argument("--device", help="such as cpu or cuda:0")
    parser.add_argument("--revision", help="branch, tag or commit of the model")
    parser.set_defaults(cpu_form="float32")
    if cpu_form is not None:
        parser.add_argument(
            "--cpu-form",
            default=cpu_form,
            help="weights that a CPU generates with: float32, float16, int8 or auto, the smallest it reads fast "
            "(default: %(default)s)",
        )


def codes(text: str) -> list[str]:
    """The language codes of a comma-separated list."""
    return [code.strip() for code in text.split(",") if code.strip()]


def load_model(options: argparse.Namespace) -> tuple[Any, Any]:
    """Loads the model that the options name, and its tokenizer."""
    from lape.models.loading import load_model
    from lape.processes import take_gpus

    if options.device in (None, "cuda"):
        take_gpus()
    return load_model(
        options.model,
        quantization=options.quantization,
        dtype=options.dtype,
        device=options.device,
        cpu_form=options.cpu_form,
        revision=options.revision,
    )


def prepare_out(folder: Path, processes: Processes) -> None:
    """Makes sure that each of several processes can write in the folder of `--out`, before any work.

    One after another, for a folder that is not there yet is made and taken away again.
    """
    from lape.storage.placing import prepare

    for rank in range(processes.number):
        if rank == processes.rank:
            prepare(folder, ANOTHER_OUT)
        processes.gathered(None)


def emit(options: argparse.Namespace, value: Any, text: str) -> None:
    """Prints a result: JSON alone with `--json`, else as text."""
    print(json.dumps(value, ensure_ascii=False) if options.json else text)


def beginning(text: str, characters: int = 60) -> str:
    """The beginning of a text, on one line.

    Example:
        >>> beginning("Il était une fois", 10)
        'Il était …'
    """
    line = " ".join(text.split())
    return line if len(line) <= characters else f"{line[: characters - 1]}…"


def table(rows: Sequence[Sequence[object]], *, right: Container[int] = ()) -> list[str]:
    """The lines of a table, each column as wide as its widest cell.

    Args:
        rows: With as many cells each; None is an empty one.
        right: Places of the columns that are aligned on the right, as numbers are.

    Example:
        >>> table([("code", "count"), ("fr", 12)], right=[1])
        ['code  count', 'fr       12']
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
