"""Commands for collections of masks on the Hugging Face Hub: list, pull."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lape.cli.common import add, emit


def register(commands: Any) -> None:
    """Adds the commands of this module."""
    listing = add(commands, "list", _list, "list the masks on this machine, or of a collection on the Hub")
    listing.add_argument(
        "collection", nargs="?", metavar="ORG/NAME", help="collection (default: those on this machine)"
    )
    listing.add_argument("--revision", help="branch, tag or commit")

    pull = add(commands, "pull", _pull, "copy a mask from a collection on the Hub into precomputed/")
    pull.add_argument("collection", metavar="ORG/NAME")
    pull.add_argument("--model", help="Hub id or preset (default: the embedded SmolLM2-135M-Instruct)")
    pull.add_argument("--method", default="lape", help="the mask's folder (default: %(default)s)")
    pull.add_argument("--revision", help="branch, tag or commit")
    pull.add_argument("--out", type=Path, default=Path("precomputed"), help="folder of masks (default: %(default)s)")


def _list(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from lape.collection import bundled_entries, list_masks

    if options.collection is None:
        entries = bundled_entries()
    else:
        entries = list_masks(options.collection, options.revision)
    lines = [
        f"{entry.model:40} {entry.method:16} {', '.join(f'{code} {count}' for code, count in entry.counts.items())}"
        for entry in entries
    ]
    if options.collection is not None and entries:
        lines.append(f"{options.collection} at {entries[0].commit}")
    none = f"{options.collection} holds no masks." if options.collection else "There are no masks on this machine."
    emit(options, [asdict(entry) for entry in entries], "\n".join(lines) or none)


def _pull(options: argparse.Namespace) -> None:
    from lape.collection import pull
    from lape.masks import NeuronMask

    folder = pull(
        options.collection,
        model=options.model,
        method=options.method,
        revision=options.revision,
        into=options.out,
    )
    mask = NeuronMask.load(folder)
    counts = {code: mask.count(code) for code in mask.languages}
    listed = ", ".join(f"{code} {count}" for code, count in counts.items())
    emit(
        options, {"path": str(folder), "counts": counts}, f"Pulled {mask.metadata.get('model')} to {folder}: {listed}."
    )
