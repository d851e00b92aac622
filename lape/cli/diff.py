"""The command that compares two masks: diff."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lape.cli.common import add, emit


def register(commands: Any) -> None:
    """Adds the command of this module."""
    diff = add(commands, "diff", _diff, "compare two masks: what they share in each language, and where it lies")
    diff.add_argument("first", type=Path, metavar="A", help="folder with mask.safetensors, or the file")
    diff.add_argument("second", type=Path, metavar="B", help="another one, for a model of the same shape")


def _diff(options: argparse.Namespace) -> None:
    from lape.evaluation.kinds.layers import pair
    from lape.evaluation.metrics.layers import depth, mask_overlap
    from lape.masks.mask import NeuronMask

    one, other = NeuronMask.load(options.first), NeuronMask.load(options.second)
    overlap = mask_overlap(one, other)
    table = pair(overlap)
    rows = [table.head, *table.rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(table.head))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    lines += [f"only in A: {', '.join(overlap['first_only'])}"] if overlap["first_only"] else []
    lines += [f"only in B: {', '.join(overlap['second_only'])}"] if overlap["second_only"] else []
    emit(options, {"overlap": overlap, "first": depth(one), "second": depth(other)}, "\n".join(lines))
