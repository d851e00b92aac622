"""Commands that show neurons at work and one by one: look, neurons."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from lape.cli.common import add, add_model, codes, emit, load_model, table
from lape.cli.layers import add_layers, look_at_layers
from lape.errors import LapeError

SORTS = ("entropy", "probability", "mean", "layer")  # written out: importing them takes a second
TEXT_DECIMALS, JSON_DECIMALS = 2, 4


def register(commands: Any) -> None:
    """Adds the commands of this module."""
    look = add(commands, "look", _look, "say for each token of a text which language's neurons fire most")
    add_model(look)
    look.add_argument("text", metavar="TEXT")
    look.add_argument("--mask", type=Path, help="folder with mask.safetensors (default: the model's bundled one)")
    add_layers(look)
    neurons = add(commands, "neurons", _neurons, "list the neurons of a mask one by one")
    neurons.add_argument("mask", type=Path, metavar="DIR", help="folder with mask.safetensors")
    neurons.add_argument("--languages", type=codes, help="codes to list (default: all)")
    neurons.add_argument("--shared", action="store_true", help="list those that all of these languages share")
    neurons.add_argument("--sort", default="entropy", help=f"{', '.join(SORTS)} (default: %(default)s)")
    neurons.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (default: %(default)s)")


def _look(options: argparse.Namespace) -> None:
    if options.layers:
        look_at_layers(options)
        return
    if options.off or options.on:
        raise LapeError("--off and --on are of --layers: lape look --layers --off fr --on es TEXT.")
    from lape.inspection.activations import activations
    from lape.inspection.firing import firing, mask_neurons
    from lape.masks.bundled import bundled_folder
    from lape.recording.beginnings import check_beginning

    mask, statistics = _read(options.mask or bundled_folder(options.model))
    model, tokenizer = load_model(options)
    mask.check(model)
    check_beginning(mask.metadata, tokenizer)
    pieces = firing(activations(model, tokenizer, options.text, mask_neurons(mask)), mask, statistics)
    found = {
        "text": options.text,
        "compared_with_statistics": statistics is not None,
        "pieces": [
            {
                "text": piece.text,
                "tokens": piece.tokens,
                "language": piece.language,
                "shares": {code: round(share, JSON_DECIMALS) for code, share in piece.shares.items()},
                "levels": {code: round(level, JSON_DECIMALS) for code, level in piece.levels.items()},
            }
            for piece in pieces
        ],
    }
    rows = []
    for piece in pieces:
        best = sorted(piece.levels, key=lambda code: -piece.levels[code])[:3]
        shown = "  ".join(f"{code} {piece.levels[code]:.{TEXT_DECIMALS}f}" for code in best)
        rows.append((repr(piece.text), piece.language or "-", shown))
    lines = table(rows)
    tally = Counter(piece.language or "none" for piece in pieces)
    lines.append(", ".join(f"{code} {count}" for code, count in tally.most_common()))
    usual = "0: as in other languages, 1: as in its own" if statistics else "share of its neurons that are active"
    emit(options, found, "\n".join([f"token, language, highest levels ({usual})", *lines]))


def _neurons(options: argparse.Namespace) -> None:
    from lape.inspection.table import chosen_neurons, neuron_table

    mask, statistics = _read(options.mask)
    languages = [mask.known(code) for code in options.languages] if options.languages else None
    listed = neuron_table(mask, statistics)
    rows = chosen_neurons(listed, languages, options.sort, options.limit, shared=options.shared)
    total = len(chosen_neurons(listed, languages, shared=options.shared))
    found = [
        {
            "language": row.language,
            "layer": row.layer,
            "neuron": row.neuron,
            "name": row.name,
            "entropy_nats": _rounded(row.entropy_nats),
            "mean": _rounded(row.mean),
            "probabilities": {code: _rounded(value) for code, value in row.probabilities.items()},
        }
        for row in rows
    ]
    place = ("layer", "neuron") if mask.experts == 1 else ("layer", "expert", "neuron")
    head = ("language", *place, "entropy", "mean", *mask.languages)
    cells = []
    for row in rows:
        shares = (_text(row.probabilities.get(code), 2) for code in mask.languages)
        cells.append((row.language, *row.name.split("."), _text(row.entropy_nats, 3), _text(row.mean, 3), *shares))
    lines = table([head, *cells], right=range(1, len(head)))
    routed = "" if mask.experts == 1 else ", of those routed to the expert,"
    lines.append(
        f"{len(rows)} of {total} neurons. Under a language: share of its tokens{routed} with the neuron active."
    )
    emit(options, {"neurons": found, "shown": len(rows), "total": total}, "\n".join(lines))


def _read(folder: Path) -> tuple[Any, Any]:
    """The mask of a folder or file, and the statistics beside it if there are any."""
    from lape.masks.mask import NeuronMask
    from lape.recording.statistics import statistics_beside

    return NeuronMask.load(folder), statistics_beside(folder)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, JSON_DECIMALS)


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
