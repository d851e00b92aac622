"""The command that makes a mask from a recording: identify."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lape.cli.common import ANOTHER_OUT, add, codes, emit
from lape.errors import LapeError

if TYPE_CHECKING:
    from lape.masks.mask import NeuronMask
    from lape.recording.recorded import Recorded


OPTIONS = {
    "--top-rate": "top_rate",
    "--filter-rate": "filter_rate",
    "--bar": "activation_bar_ratio",
    "--noise": "noise",
}


def register(commands: Any) -> None:
    """Adds the command of this module."""
    about = "select the neurons of each language from a recording"
    add(commands, "identify", _identify, about, deferred=_add_options)


def _add_options(identify: argparse.ArgumentParser) -> None:
    from lape.identify import METHODS, SETTINGS

    identify.add_argument(
        "recording",
        type=Path,
        metavar="DIR",
        help="folder with statistics.safetensors, or with what else the method reads",
    )
    identify.add_argument("--method", default="lape", help=f"{', '.join(METHODS)} (default: %(default)s)")
    for option, name in OPTIONS.items():
        identify.add_argument(option, type=float, dest=name, help=SETTINGS[name].text)
    identify.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        dest="others",
        metavar="NAME=NUMBER",
        help=f"any setting of the method: {', '.join(SETTINGS)}; may be repeated",
    )
    identify.add_argument(
        "--per-language", type=int, metavar="N", help="as many neurons for every language, the most specific ones"
    )
    identify.add_argument("--languages", type=codes, help="codes to tell apart (default: all that were recorded)")
    identify.add_argument(
        "--selection",
        action="store_true",
        help="also keep how often each neuron is selected from resampled text, which reads groups.safetensors beside "
        "the statistics (record with --groups 16)",
    )
    identify.add_argument("--out", type=Path, help="folder to write mask.safetensors to (default: DIR)")


def _setting(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER, such as weight=0.1") from None


def _identify(options: argparse.Namespace) -> None:
    from lape.identify import identify, load_recorded
    from lape.masks.mask import NeuronMask
    from lape.storage.names import MASK_NAME
    from lape.storage.placing import prepare

    folder = options.out or options.recording
    recorded = load_recorded(options.recording, options.method)
    prepare(folder, ANOTHER_OUT)
    rates = {name: getattr(options, name) for name in OPTIONS.values()}
    settings = {name: rate for name, rate in rates.items() if rate is not None} | dict(options.others)
    mask = identify(recorded, options.method, options.languages, per_language=options.per_language, **settings)
    if options.selection:
        mask = _with_selection(mask, recorded, options.recording)
    if options.out is None and (folder / MASK_NAME).exists():
        there = NeuronMask.load(folder).metadata.get("method")
        if there != options.method:
            raise LapeError(f"{str(folder)!r} holds a {there!r} mask. Say where the new one goes, with --out.")
    mask.save(folder)
    counts = {code: mask.count(code) for code in mask.languages}
    listed = ", ".join(f"{code} {count}" for code, count in counts.items())
    found = {"path": str(folder / MASK_NAME), "settings": mask.metadata["settings"], "counts": counts}
    emit(options, found, f"Wrote {folder / MASK_NAME}: {listed}.")


def _with_selection(mask: NeuronMask, recorded: Recorded, folder: Path) -> NeuronMask:
    """The mask with how often each neuron is selected, from the groups of blocks beside its statistics."""
    from lape.evaluation.metrics.stability import selection
    from lape.recording.groups import BlockGroups
    from lape.recording.statistics import ActivationStatistics
    from lape.storage.names import GROUPS_NAME

    if not isinstance(recorded, ActivationStatistics):
        raise LapeError(
            f"--selection resamples {ActivationStatistics.what}; {mask.metadata['method']!r} reads {recorded.what}."
        )
    groups = BlockGroups.load(folder / GROUPS_NAME)
    groups.check(recorded)
    return replace(mask, selection=selection(groups, mask))
