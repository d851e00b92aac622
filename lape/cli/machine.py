"""Commands about this machine: models, doctor."""

from __future__ import annotations

import argparse
from typing import Any

from lape.cli.common import add, emit


def register(commands: Any) -> None:
    """Adds the commands of this module."""
    add(commands, "models", _models, "list the models known by a short name")
    doctor = add(commands, "doctor", _doctor, "show versions, device, cache and masks, for bug reports")
    doctor.add_argument("--clear-cache", action="store_true", help="delete the converted embedded model")


def _models(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from lape.bundled import bundled_masks
    from lape.models import PRESETS

    with_mask = {path.parts[-3].replace("--", "/") for path in bundled_masks()}
    rows = [{**asdict(preset), "mask_bundled": preset.model in with_mask} for preset in PRESETS]
    lines = [
        f"{row['name']:14} {row['model']:36} {row['parameters_billions']:6g} B  "
        f"{'mask' if row['mask_bundled'] else '':5} {row['note']}"
        for row in rows
    ]
    emit(options, rows, "\n".join(lines))


def _doctor(options: argparse.Namespace) -> None:
    from lape.doctor import report
    from lape.models import clear_cache

    if options.clear_cache:
        freed = clear_cache()
        emit(options, {"freed_bytes": freed}, f"Freed {freed / 1e6:.0f} MB.")
        return
    found = report()
    lines = []
    for key, value in found.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        lines.append(f"{key:15} {', '.join(shown) if isinstance(shown, list) else shown}")
    emit(options, found, "\n".join(lines))
