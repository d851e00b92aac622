"""The command that makes a mask from two: combine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lape.cli.common import ANOTHER_OUT, add, codes, emit
from lape.errors import LapeError

WAYS = ("union", "intersection", "difference", "pure", "compound", "generic")


def register(commands: Any) -> None:
    """Adds the command of this module."""
    combine = add(commands, "combine", _combine, "make a mask from two: their union, or cultures apart from languages")
    combine.add_argument("first", type=Path, metavar="A", help="folder with mask.safetensors, or the file")
    combine.add_argument("second", type=Path, metavar="B", help="another one, for a model of the same shape")
    combine.add_argument(
        "--how",
        choices=WAYS,
        required=True,
        help="union, intersection or difference label by label; A's cultures' neurons that are none of B's languages' "
        "(pure) or are too (compound); or the pure neurons that all cultures have (generic)",
    )
    combine.add_argument(
        "--spoken",
        type=_spoken,
        action="append",
        default=[],
        metavar="CULTURE=CODES",
        help="the languages of a culture, such as ch=de,fr (default: the one of its label); may be repeated",
    )
    combine.add_argument("--out", type=Path, required=True, help="folder to write mask.safetensors to")


def _spoken(text: str) -> tuple[str, list[str]]:
    culture, sign, spoken = text.partition("=")
    if not sign or not codes(spoken):
        raise argparse.ArgumentTypeError(f"{text!r} is not CULTURE=CODES, such as ch=de,fr")
    return culture.strip(), codes(spoken)


def _combine(options: argparse.Namespace) -> None:
    from lape.masks.cultures import compound, generic, pure
    from lape.masks.mask import NeuronMask
    from lape.storage.names import MASK_NAME
    from lape.storage.placing import prepare

    spoken = dict(options.spoken)
    if spoken and options.how not in ("pure", "compound", "generic"):
        raise LapeError("--spoken goes with --how pure, compound or generic.")
    prepare(options.out, ANOTHER_OUT)
    one, other = NeuronMask.load(options.first), NeuronMask.load(options.second)
    ways = {
        "union": lambda: one | other,
        "intersection": lambda: one & other,
        "difference": lambda: one - other,
        "pure": lambda: pure(one, other, spoken),
        "compound": lambda: compound(one, other, spoken),
        "generic": lambda: generic(pure(one, other, spoken)),
    }
    mask = ways[options.how]()
    mask.save(options.out)
    counts = {code: mask.count(code) for code in mask.languages}
    listed = ", ".join(f"{code} {count}" for code, count in counts.items())
    path = options.out / MASK_NAME
    emit(options, {"path": str(path), "how": options.how, "counts": counts}, f"Wrote {path}: {listed}.")
