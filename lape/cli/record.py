"""Commands that make masks: record, identify."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lape.cli.common import add, add_model, codes, emit, load_model
from lape.errors import LapeError


def register(commands: Any) -> None:
    """Adds the commands of this module."""
    record = add(commands, "record", _record, "count how often every neuron is active in each language")
    add_model(record)
    record.add_argument("--corpus", required=True, help="folder, file, or hf:ID[:config]")
    record.add_argument("--languages", type=codes, help="codes, such as fr,es (default: all of the folder)")
    record.add_argument("--tokens", type=int, default=100_000, help="tokens per language (default: %(default)s)")
    record.add_argument("--block", type=int, default=512, help="tokens per block (default: %(default)s)")
    record.add_argument("--batch", type=int, help="blocks per forward pass (default: 2 on a CPU, 8 on a GPU)")
    record.add_argument("--out", type=Path, required=True, help="folder to write statistics.safetensors to")
    record.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    record.add_argument("--allow-short", action="store_true", help="take languages with less text than asked")

    identify = add(commands, "identify", _identify, "select the neurons of each language from statistics")
    identify.add_argument("statistics", type=Path, metavar="DIR", help="folder with statistics.safetensors")
    identify.add_argument("--method", default="lape", help="identification method (default: %(default)s)")
    identify.add_argument("--top-rate", type=float, help="share of all neurons to keep")
    identify.add_argument("--filter-rate", type=float, help="order statistic of activity a neuron must exceed")
    identify.add_argument("--bar", type=float, dest="activation_bar_ratio", help="order statistic of membership")
    identify.add_argument("--languages", type=codes, help="codes to tell apart (default: all that were recorded)")
    identify.add_argument("--out", type=Path, help="folder to write mask.safetensors to (default: DIR)")


def _record(options: argparse.Namespace) -> None:
    from lape.bundled import STATISTICS_NAME
    from lape.corpora import read_corpora
    from lape.recording import record

    corpora = read_corpora(options.corpus, options.languages)
    checkpoint = options.out / "checkpoint.safetensors"
    if checkpoint.exists() and not options.resume:
        raise LapeError(f"{str(checkpoint)!r} is an unfinished recording. Add --resume to go on, or delete it.")
    model, tokenizer = load_model(options)
    statistics = record(
        model,
        tokenizer,
        corpora,
        tokens=options.tokens,
        block=options.block,
        batch=options.batch,
        checkpoint=checkpoint,
        allow_short=options.allow_short,
    )
    path = options.out / STATISTICS_NAME
    statistics.save(path)
    total, languages = sum(statistics.tokens.values()), len(statistics.tokens)
    found = {"path": str(path), "tokens": dict(statistics.tokens), "shape": statistics.shape}
    emit(options, found, f"Wrote {path}: {total:,} tokens in {languages} languages.")


def _identify(options: argparse.Namespace) -> None:
    from lape.bundled import MASK_NAME, STATISTICS_NAME
    from lape.identify import identify
    from lape.statistics import ActivationStatistics

    statistics = ActivationStatistics.load(options.statistics / STATISTICS_NAME)
    rates = {name: getattr(options, name) for name in ("top_rate", "filter_rate", "activation_bar_ratio")}
    settings = {name: rate for name, rate in rates.items() if rate is not None}
    mask = identify(statistics, options.method, options.languages, **settings)
    folder = options.out or options.statistics
    mask.save(folder)
    counts = {code: mask.count(code) for code in mask.languages}
    listed = ", ".join(f"{code} {count}" for code, count in counts.items())
    found = {"path": str(folder / MASK_NAME), "settings": mask.metadata["settings"], "counts": counts}
    emit(options, found, f"Wrote {folder / MASK_NAME}: {listed}.")
