"""Commands about this machine: models, doctor."""

from __future__ import annotations

import argparse
from typing import Any

from lape.cli.common import add, emit, table


def register(commands: Any) -> None:
    """Adds the commands of this module."""
    models = add(commands, "models", _models, "list the models known by a short name")
    models.add_argument("--families", action="store_true", help="list the families of transformers, and which work")
    doctor = add(commands, "doctor", _doctor, "show versions, device, cache and masks, for bug reports")
    doctor.add_argument("--clear-cache", action="store_true", help="delete the converted embedded models")


def _models(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    if options.families:
        _families(options)
        return
    from lape.masks.bundled import bundled_masks
    from lape.masks.released import RELEASED
    from lape.models.embedded import GEMMA
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
    head = ("name", "model", "params", "16-bit", "4-bit", "here", "mask", "chat", "gated", "licence", "note")
    cells = [
        (
            row["name"],
            row["model"],
            f"{row['parameters_billions']:.2f} B",
            f"{row['memory_16bit_gb']:.1f} GB",
            f"{row['memory_4bit_gb']:.1f} GB",
            row["fits_here"],
            row["mask"],
            "chat" if row["chat"] else None,
            "gated" if row["gated"] else None,
            row["licence"],
            row["note"],
        )
        for row in rows
    ]
    lines = table([head, *cells], right=range(2, 5))
    lines.append(
        "here: the highest precision that fits this machine. import: `lape import NAME` gets the paper's mask."
    )
    lines.append(GEMMA.notice_text)
    emit(options, rows, "\n".join(lines))


def _families(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from lape.models.families import families

    version, found = families()
    cells = [
        (family.model_type, family.neurons or "-", family.why or ("" if family.all_layers else "not in every layer"))
        for family in found
    ]
    supported = sum(family.neurons is not None for family in found)
    lines = table([("model type", "neurons", ""), *cells])
    lines.append(f"{supported} of {len(found)} causal families of transformers {version}, tried on tiny random models.")
    emit(options, {"transformers": version, "families": [asdict(one) for one in found]}, "\n".join(lines))


def _doctor(options: argparse.Namespace) -> None:
    from lape.doctor import report
    from lape.models.embedded import clear_cache

    if options.clear_cache:
        freed = clear_cache()
        emit(options, {"freed_bytes": freed}, f"Freed {freed / 1e6:.0f} MB.")
        return
    found = report()
    rows = []
    for key, value in found.items():
        shown = [f"{name} {each}" for name, each in value.items()] if isinstance(value, dict) else value
        rows.append((key, ", ".join(shown) if isinstance(shown, list) else shown))
    emit(options, found, "\n".join(table(rows)))
