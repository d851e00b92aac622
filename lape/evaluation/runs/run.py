"""From work to a file of evidence: cells that are kept, progress, and going on after a stop."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lape.evaluation.metrics.cells import Task
from lape.evaluation.runs.evidence import environment, read_evidence, write_evidence
from lape.evaluation.runs.ledger import Ledger
from lape.evaluation.runs.work import Work
from lape.processes import ALONE, Processes
from lape.storage.names import of_rank, of_ranks
from lape.storage.placing import placed

LEDGER_ENDING = ".cells.jsonl"  # beside the evidence it becomes


def measured_before(kind: str, work: Work, out: Path) -> bool:
    """Whether the file of evidence is there already, with these settings."""
    if not (out / f"{kind}.json").is_file():
        return False
    found = read_evidence(out).get(kind, {})
    return found.get("settings") == json.loads(json.dumps(work.settings))


def run(
    kind: str,
    work: Work,
    out: Path,
    *,
    command: str,
    device: str,
    progress: bool = True,
    processes: Processes = ALONE,
) -> Path:
    """Measures and writes `<out>/<kind>.json`; what an earlier run had measured is not measured again.

    Cells are kept in `<out>/<kind>.cells.jsonl`, by further processes beside it, which is removed at the end.

    Args:
        kind: Of evidence, and name of its file.
        work: What to measure.
        out: Folder of evidence.
        command: That makes the file again.
        device: Of the model.
        progress: Whether to show a bar on standard error; of several processes the first does.
        processes: That divide the cells; the first writes the evidence.

    Raises:
        CheckpointMismatch: Cells of other settings are there.
        KeyboardInterrupt: After saying how many cells are kept.
    """
    path = out / f"{kind}{LEDGER_ENDING}"
    with Ledger(path, work.settings, processes) as ledger:
        shown = progress and processes.first
        bar = tqdm(total=work.cells, initial=ledger.kept, unit="cell", desc=kind, disable=not shown)

        def computed(task: Task) -> Mapping[str, Any]:
            bar.update(len(ledger) - bar.n)
            bar.set_postfix_str(task.keys[0].removeprefix(f"{kind} "))
            return task.compute()

        def cells(tasks: Sequence[Task]) -> dict[str, Any]:
            found = ledger.cells([replace(task, compute=partial(computed, task)) for task in tasks])
            bar.update(len(ledger) - bar.n)
            return found

        try:
            results = work.measure(cells)
            bar.total = len(ledger)  # some cells are the same
        except KeyboardInterrupt:
            bar.close()
            if processes.first:
                said = f"{len(ledger)} of {work.cells} cells of {kind} are kept; the same command goes on."
                print(f"lape: {said}", file=sys.stderr)
            raise
        finally:
            bar.close()
        seconds = ledger.seconds
    if processes.first:
        with placed(out, without=[kept.name for kept in of_ranks(path).values()]) as staged:
            write_evidence(
                staged,
                kind,
                kind=kind,
                title=work.title,
                summary=work.summary(results),
                settings=work.settings,
                environment=environment(device),
                command=command,
                seconds=seconds,
                results=results,
            )
    processes.gathered("written")  # before anybody's cells go
    of_rank(path, processes.rank).unlink(missing_ok=True)
    return out / f"{kind}.json"
