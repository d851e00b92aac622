"""Many prompts from a file, for `lape generate --prompts`."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, astuple, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lape.cli.common import beginning, emit, load_model, table
from lape.errors import BadFile

if TYPE_CHECKING:
    from lape.evaluation.metrics.cells import Cells, Task
    from lape.evaluation.metrics.language import Chooser
    from lape.evaluation.metrics.many import TextRow
    from lape.generation.interventions import Intervention

LARGEST_BYTES = 50_000_000  # of a file of prompts
KEPT_ENDING = ".cells.jsonl"  # beside the CSV that it becomes


def generate_many(
    options: argparse.Namespace, variants: Mapping[str, Intervention | None], settings: Mapping[str, Any]
) -> None:
    """Continues the prompts of a file; with `--csv`, the same command goes on where it was stopped."""
    from lape.evaluation.metrics.language import LanguageIdentifier
    from lape.evaluation.metrics.many import TextRow
    from lape.storage.tables import write_csv

    prompts = read_prompts(options.prompts)
    edits = [variant for variant in variants.values() if variant is not None]
    judge = LanguageIdentifier(edits[0].mask.languages if edits else ["en"])
    model, tokenizer = load_model(options)
    rows = _written(options, model, tokenizer, prompts, variants, judge, settings)
    if options.csv is not None:
        write_csv(options.csv, [field.name for field in fields(TextRow)], map(astuple, rows))
        kept_beside(options.csv).unlink(missing_ok=True)
    emit(options, [asdict(row) for row in rows], "\n".join(_table(rows)))


def read_prompts(path: Path) -> list[str]:
    """The prompts of a file, one a line; empty lines are left out.

    Raises:
        BadFile: There is no such file, it is no UTF-8 text, or holds no prompt.
    """
    from lape.storage.text import filled_lines, read_text

    prompts = filled_lines(read_text(path, repr(str(path)), LARGEST_BYTES))
    if not prompts:
        raise BadFile(f"{str(path)!r} holds no prompt; write one a line.")
    return prompts


def kept_beside(path: Path) -> Path:
    """Where what is written is kept until the CSV is."""
    return path.with_name(path.name + KEPT_ENDING)


def _written(
    options: argparse.Namespace,
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    variants: Mapping[str, Intervention | None],
    judge: Chooser,
    settings: Mapping[str, Any],
) -> list[TextRow]:
    """The rows, with a bar; what is written is kept beside the CSV after every batch."""
    from tqdm import tqdm

    from lape.evaluation.metrics.cells import fresh
    from lape.evaluation.metrics.many import as_it_is, as_message, continue_many
    from lape.evaluation.runs.ledger import Ledger
    from lape.models.identity import identity

    with ExitStack() as stack:
        keep: Cells = fresh
        bar = stack.enter_context(tqdm(total=len(prompts), unit="prompt"))
        if options.csv is not None:
            about = {
                "loaded": asdict(identity(model)),
                "prompts": hashlib.sha256("\n".join(prompts).encode()).hexdigest(),
                "variants": {name: _fingerprint(variant) for name, variant in variants.items()},
                "settings": {**settings, "chat": options.chat},
            }
            ledger = stack.enter_context(Ledger(kept_beside(options.csv), about))
            bar.update(ledger.kept)
            keep = ledger.cells

        def computed(task: Task) -> Mapping[str, Any]:
            found = task.compute()
            bar.update(len(found))
            return found

        def cells(tasks: Sequence[Task]) -> dict[str, Any]:
            return keep([replace(task, compute=partial(computed, task)) for task in tasks])

        prompt_of = as_message if options.chat else as_it_is
        return continue_many(
            model, tokenizer, prompts, variants, judge.identify, prompt_of=prompt_of, cells=cells, **settings
        )


def _fingerprint(variant: Intervention | None) -> str | None:
    """A hash of what an intervention does, whichever files and options say so."""
    if variant is None:
        return None
    hashed = hashlib.sha256(variant.positions.encode())
    for operation in variant.operations():
        hashed.update(operation.name.encode())
        for numbers in (operation.neurons, operation.values, operation.ranges):
            if numbers is not None:
                hashed.update(numbers.numpy().tobytes())
    return hashed.hexdigest()


def _table(rows: Sequence[TextRow]) -> list[str]:
    """A row for each text, of which the beginning is shown."""
    lines = [("prompt", "variant", "language", "quality", "text")]
    for row in rows:
        told = row.language or "-"
        lines.append((beginning(row.prompt, 30), row.variant, told, row.quality or "-", beginning(row.text)))
    return table(lines)
