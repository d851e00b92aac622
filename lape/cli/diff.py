"""The command that compares two masks: diff."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lape.cli.common import add, emit, table


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
    shared = pair(overlap)
    lines = table([shared.head, *shared.rows], right=range(1, len(shared.head)))
    lines += [f"only in A: {', '.join(overlap['first_only'])}"] if overlap["first_only"] else []
    lines += [f"only in B: {', '.join(overlap['second_only'])}"] if overlap["second_only"] else []
    emit(options, {"overlap": overlap, "first": depth(one), "second": depth(other)}, "\n".join(lines))
