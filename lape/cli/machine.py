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

    from lape.masks.bundled import bundled_masks
    from lape.masks.released import RELEASED
    from lape.models.machine import this_machine
    from lape.models.memory import fits
    from lape.models.presets import PRESETS

    bundled = {path.parts[-3].replace("--", "/") for path in bundled_masks()}
    released = {entry.model for entry in RELEASED.values()}
    here = fits(this_machine())
    rows = [
        {
            **asdict(preset),
            "memory_16bit_gb": round(preset.memory_gb(16), 2),
            "memory_4bit_gb": round(preset.memory_gb(4), 2),
            "fits_here": here[preset.name],
            "mask": "bundled" if preset.model in bundled else "import" if preset.model in released else None,
        }
        for preset in PRESETS
    ]
    columns = "{:22}{:38}{:>8}{:>10}{:>9}  {:8}{:9}{:6}{:7}{:25}{}"
    lines = [
        columns.format("name", "model", "params", "16-bit", "4-bit", "here", "mask", "chat", "gated", "licence", "note")
    ]
    for row in rows:
        size = (
            f"{row['parameters_billions']:.2f} B",
            f"{row['memory_16bit_gb']:.1f} GB",
            f"{row['memory_4bit_gb']:.1f} GB",
        )
        marks = "chat" if row["chat"] else "", "gated" if row["gated"] else ""
        lines.append(
            columns.format(
                row["name"],
                row["model"],
                *size,
                row["fits_here"],
                row["mask"] or "",
                *marks,
                row["licence"],
                row["note"],
            ).rstrip()
        )
    lines.append(
        "here: the highest precision that fits this machine. import: `lape import NAME` gets the paper's mask."
    )
    emit(options, rows, "\n".join(lines))


def _doctor(options: argparse.Namespace) -> None:
    from lape.doctor import report
    from lape.models.embedded import clear_cache

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
