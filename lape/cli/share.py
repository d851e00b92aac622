"""Commands for collections of masks on the Hugging Face Hub: list, pull, push."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lape.cli.common import add, emit, table


def register(commands: Any) -> None:
    """Adds the commands of this module."""
    listing = add(commands, "list", _list, "list the masks on this machine, or of a collection on the Hub")
    listing.add_argument(
        "collection", nargs="?", metavar="ORG/NAME", help="collection (default: those on this machine)"
    )
    listing.add_argument("--revision", help="branch, tag or commit")

    pull = add(commands, "pull", _pull, "copy a mask from a collection on the Hub into precomputed/")
    pull.add_argument("collection", metavar="ORG/NAME")
    pull.add_argument("--model", help="Hub id or preset (default: the embedded one)")
    pull.add_argument("--method", default="lape", help="the mask's folder (default: %(default)s)")
    pull.add_argument("--revision", help="branch, tag or commit")
    pull.add_argument("--out", type=Path, default=Path("precomputed"), help="folder of masks (default: %(default)s)")

    push = add(commands, "push", _push, "push a mask with its card to a collection on the Hub, in one commit")
    push.add_argument("folder", type=Path, metavar="DIR", help="folder with mask.safetensors and mask.json")
    push.add_argument("--repo", required=True, metavar="ORG/NAME", help="collection; made when there is none")
    push.add_argument("--private", action="store_true", help="make a new collection private")
    push.add_argument("--create-pr", action="store_true", help="propose the change in a pull request")
    push.add_argument("--tag", help="name for the commit, such as v1")
    push.add_argument("--message", help="first line of the commit")
    push.add_argument("--dry-run", action="store_true", help="check everything here, and say what would be pushed")


def _list(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from lape.masks.collection import bundled_entries, list_masks

    entries = bundled_entries() if options.collection is None else list_masks(options.collection, options.revision)
    lines = table(
        [
            (entry.model, entry.method, ", ".join(f"{code} {count}" for code, count in entry.counts.items()))
            for entry in entries
        ]
    )
    if options.collection is not None and entries:
        lines.append(f"{options.collection} at {entries[0].commit}")
    none = f"{options.collection} holds no masks." if options.collection else "There are no masks on this machine."
    emit(options, [asdict(entry) for entry in entries], "\n".join(lines) or none)


def _pull(options: argparse.Namespace) -> None:
    from lape.masks.collection import pull
    from lape.masks.mask import NeuronMask

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


def _push(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from lape.sharing.push import checked, push

    asked = {
        "private": options.private or None,
        "create_pr": options.create_pr,
        "tag": options.tag,
        "message": options.message,
    }
    if options.dry_run:
        parcel = checked(options.folder, options.repo, **asked)
        sizes = {name: file.stat().st_size for name, file in parcel.files.items()}
        listed = ", ".join(f"{name} ({size:,} bytes)" for name, size in sizes.items())
        text = f"Would push to {options.repo}/{parcel.path}: {listed}, and the cards and the picture that go with them."
        emit(options, {"repo": options.repo, "path": parcel.path, "files": sizes}, text)
        return
    pushed = push(options.folder, options.repo, **asked)
    emit(options, asdict(pushed), pushed.sentence)
