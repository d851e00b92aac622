"""From work to a file of evidence: cells that are kept, progress, and going on after a stop."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lape.evaluation.runs.evidence import environment, read_evidence, write_evidence
from lape.evaluation.runs.ledger import Ledger
from lape.evaluation.runs.work import Work
from lape.storage.placing import placed

LEDGER_ENDING = ".cells.jsonl"  # beside the evidence it becomes


def measured_before(kind: str, work: Work, out: Path) -> bool:
    """Whether the file of evidence is there already, with these settings."""
    if not (out / f"{kind}.json").is_file():
        return False
    found = read_evidence(out).get(kind, {})
    return found.get("settings") == json.loads(json.dumps(work.settings))


def run(kind: str, work: Work, out: Path, *, command: str, device: str, progress: bool = True) -> Path:
    """Measures and writes `<out>/<kind>.json`; what an earlier run had measured is not measured again.

    Cells are kept in `<out>/<kind>.cells.jsonl`, which is removed at the end.

    Args:
        kind: Of evidence, and name of its file.
        work: What to measure.
        out: Folder of evidence.
        command: That makes the file again.
        device: Of the model.
        progress: Whether to show a bar on standard error.

    Raises:
        CheckpointMismatch: Cells of other settings are there.
        KeyboardInterrupt: After saying how many cells are kept.
    """
    path = out / f"{kind}{LEDGER_ENDING}"
    with Ledger(path, work.settings) as ledger:
        bar = tqdm(total=work.cells, initial=ledger.kept, unit="cell", desc=kind, disable=not progress)

        def cell(key: str, compute: Callable[[], Any]) -> Any:
            known = key in ledger
            bar.set_postfix_str(key.removeprefix(f"{kind} "), refresh=False)
            value = ledger.cell(key, compute)
            bar.update(not known)
            return value

        try:
            results = work.measure(cell)
            bar.total = bar.n  # some cells are the same
        except KeyboardInterrupt:
            bar.close()
            print(f"lape: {bar.n} of {work.cells} cells of {kind} are kept; the same command goes on.", file=sys.stderr)
            raise
        finally:
            bar.close()
        seconds = ledger.seconds
    with placed(out, without=[path.name]) as staged:
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
    return out / f"{kind}.json"
