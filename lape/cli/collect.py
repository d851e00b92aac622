"""The command that makes a whole collection: collect."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lape.cli.common import ANOTHER_OUT, add, emit, table

if TYPE_CHECKING:
    from lape.collection.estimate import Estimate
    from lape.collection.state import MaskRow

FAILED = 1  # exit code


def register(commands: Any) -> None:
    """Adds the command of this module."""
    collect = add(
        commands, "collect", _collect, "record, identify, measure and push the masks of many models, as a plan says"
    )
    collect.add_argument("plan", type=Path, metavar="PLAN.toml", help="models, languages, text and methods")
    collect.add_argument("--repo", required=True, metavar="ORG/NAME", help="collection; made when there is none")
    collect.add_argument("--private", action="store_true", help="make a new collection private")
    collect.add_argument(
        "--out",
        type=Path,
        default=Path("collection"),
        help="work folder, to go on in after a stop (default: %(default)s)",
    )
    collect.add_argument(
        "--dry-run", action="store_true", help="check the plan, and estimate memory and time; nothing is started"
    )


def _collect(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from lape.collection.collecting import collect
    from lape.collection.estimate import estimate
    from lape.collection.reading import read_plan
    from lape.sharing.push import check_collection
    from lape.storage.placing import prepare

    plans = read_plan(options.plan)
    check_collection(options.repo)
    if options.dry_run:
        found = estimate(plans)
        emit(options, asdict(found), "\n".join(_estimated(found)))
        return FAILED if any(model.refused for model in found.models) else 0
    prepare(options.out, ANOTHER_OUT)
    shown: list[str] = []

    def changed(rows: Sequence[MaskRow]) -> None:
        nonlocal shown
        before, shown = shown, _lines(rows, times=False)
        for line in shown:
            if line not in before:
                print(line, file=sys.stderr)

    rows = collect(plans, options.repo, options.out, private=options.private or None, changed=changed)
    emit(options, {"repo": options.repo, "masks": [asdict(row) for row in rows]}, "\n".join(_lines(rows)))
    return 0 if all(row.condition == "done" for row in rows) else FAILED


def _lines(rows: Sequence[MaskRow], *, times: bool = True) -> list[str]:
    """The table of masks, then what went wrong with each that failed."""
    from lape.drawing.words import seconds_text

    cells = [
        (
            row.model,
            row.name,
            row.condition,
            row.step if row.condition != "done" else row.url,
            seconds_text(row.seconds) if times and row.seconds else None,
        )
        for row in rows
    ]
    lines = table([("model", "mask", "", "step", "time"[: 4 * times]), *cells], right=[4])
    return lines + [f"{row.model} {row.name}: {row.why}" for row in rows if row.why]


def _estimated(found: Estimate) -> list[str]:
    """The table of models, what was counted, and what stands against a model."""
    from lape.drawing.words import seconds_text

    cells = [
        (
            model.model,
            ", ".join(model.masks),
            len(model.languages),
            f"{model.tokens:,}",
            f"{model.needed_bytes / 1e9:.1f} GB" if model.needed_bytes else "",
            seconds_text(model.seconds) if model.seconds else "",
        )
        for model in found.models
    ]
    head = ("model", "masks", "languages", "tokens", "memory", "time")
    lines = table([head, *cells], right=range(2, 6))
    lines += [f"{model.model}: {sentence}" for model in found.models for sentence in model.notes]
    lines += [f"{model.model} cannot be done here: {model.refused}" for model in found.models if model.refused]
    return [*lines, f"All of it: {seconds_text(found.seconds)}. {found.basis}"]
