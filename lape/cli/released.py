"""Commands for masks of the paper: import, calibrate."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lape.cli.common import ANOTHER_OUT, add, add_model, codes, emit, load_model
from lape.errors import LapeError

if TYPE_CHECKING:
    from lape.masks.mask import NeuronMask
    from lape.recording.statistics import ActivationStatistics


def register(commands: Any) -> None:
    """Adds the commands of this module."""
    released = add(commands, "import", _import, "read a mask the paper's authors released, or one their script wrote")
    released.add_argument("source", metavar="FILE|NAME", help=".pth file, or a name to download, such as llama-2-7b")
    released.add_argument("--model", help="Hub id of the model the file was made for")
    released.add_argument("--languages", type=codes, help="codes, one per list (default: en,zh,fr,es,vi,id,ja)")
    released.add_argument("--shape", type=_shape, help="layers x neurons of a model not in the paper, such as 32x11008")
    released.add_argument("--out", type=Path, help="folder to write to (default: precomputed/MODEL/lape-released)")

    calibrate = add(commands, "calibrate", _calibrate, "measure the means that switch a mask's languages on")
    add_model(calibrate)
    calibrate.add_argument("mask", type=Path, metavar="DIR", help="folder with mask.safetensors")
    calibrate.add_argument("--corpus", help="folder, file, or hf:ID[:config]")
    calibrate.add_argument("--languages", type=codes, help="codes, such as fr,es (default: all of the mask)")
    calibrate.add_argument("--tokens", type=int, default=5_000, help="tokens per language (default: %(default)s)")
    calibrate.add_argument("--block", type=int, default=512, help="tokens per block (default: %(default)s)")
    calibrate.add_argument("--out", type=Path, help="folder to write to (default: DIR)")


def _shape(text: str) -> tuple[int, int]:
    if not (found := re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})", text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not layers x neurons, such as 32x11008")
    return int(found[1]), int(found[2])


def _import(options: argparse.Namespace) -> None:
    from lape.errors import unknown_label
    from lape.masks.released import RELEASED, fetch_released, read_released
    from lape.models.presets import resolve_name
    from lape.storage.names import MASK_NAME
    from lape.storage.placing import prepare

    path, model, shape = Path(options.source), options.model, options.shape
    if known := RELEASED.get(options.source):
        model, shape = model or known.model, shape or known.shape
    elif not path.is_file() and path.suffix != ".pth":
        raise unknown_label("file or released mask", options.source, RELEASED)
    if model is None:
        raise LapeError(f"Say which model {options.source!r} was made for, such as --model meta-llama/Llama-2-7b-hf.")
    name = resolve_name(model)
    folder = options.out or Path("precomputed", name.replace("/", "--"), "lape-released")
    prepare(folder, ANOTHER_OUT)
    path = fetch_released(options.source) if known else path
    mask = read_released(path, model, languages=options.languages, shape=shape)
    mask.save(folder)
    counts = {code: mask.count(code) for code in mask.languages}
    found = {"path": str(folder / MASK_NAME), "model": name, "shape": mask.shape, "counts": counts}
    listed = ", ".join(f"{code} {count}" for code, count in counts.items())
    emit(
        options,
        {**found, "released": mask.metadata["released"]},
        f"Wrote {folder / MASK_NAME}: {listed}.\nIt switches languages off. To switch them on, measure their means:\n"
        f"lape calibrate {folder} --model {name} --corpus hf:wikimedia/wikipedia",
    )


def _calibrate(options: argparse.Namespace) -> None:
    from lape.masks.calibration import calibrate
    from lape.masks.mask import NeuronMask
    from lape.recording.corpora import read_corpora
    from lape.storage.names import MASK_NAME, STATISTICS_NAME
    from lape.storage.placing import prepare

    folder = options.out or options.mask
    mask = NeuronMask.load(options.mask)
    languages = [mask.known(code) for code in options.languages or mask.languages]
    prepare(folder, ANOTHER_OUT)
    statistics = _at_hand(options.mask / STATISTICS_NAME, mask, languages, options.tokens)
    recorded = statistics is None
    if statistics is None:
        if options.corpus is None:
            raise LapeError("Say which text to read, such as --corpus texts/ or --corpus hf:wikimedia/wikipedia.")
        corpora = read_corpora(options.corpus, languages)
        model, tokenizer = load_model(options)
        settings = {"languages": languages, "tokens": options.tokens, "block": options.block}
        mask, statistics = calibrate(mask, model, tokenizer, corpora, **settings)
    else:
        mask = mask.with_means(statistics, languages)
    # The statistics go first: when the mask cannot be written, the next try finds them. Statistics without some
    # of the mask's languages would leave the page without a random control.
    if not (folder / STATISTICS_NAME).exists() and set(mask.languages) <= set(statistics.tokens):
        statistics.save(folder / STATISTICS_NAME)
    mask.save(folder)
    tokens = {code: statistics.tokens[code] for code in languages}
    found = {"path": str(folder / MASK_NAME), "tokens": tokens, "recorded": recorded}
    source = "recorded" if recorded else f"taken from {options.mask / STATISTICS_NAME}, nothing was recorded"
    listed = ", ".join(f"{code} {count:,}" for code, count in tokens.items())
    emit(options, found, f"Wrote {folder / MASK_NAME} with means ({source}). Tokens: {listed}.")


def _at_hand(path: Path, mask: NeuronMask, languages: list[str], tokens: int) -> ActivationStatistics | None:
    """The statistics in a file, where they are of the mask's model and have as many tokens as asked."""
    from lape.recording.statistics import ActivationStatistics

    if not path.exists():
        return None
    statistics = ActivationStatistics.load(path)
    same_model = statistics.metadata.get("model") == mask.metadata.get("model")
    enough = all(statistics.tokens.get(code, 0) >= tokens for code in languages)
    return statistics if same_model and enough else None
