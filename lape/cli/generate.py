"""The command that shows what a mask does: generate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lape.cli.common import add, add_model, codes, emit, load_model
from lape.errors import LapeError
from lape.generation.settings import MAX_NEW_TOKENS, MODE, REPETITION_PENALTY, SEED, STRENGTH, TEMPERATURE, TOP_P

if TYPE_CHECKING:
    from lape.masks.mask import NeuronMask


def register(commands: Any) -> None:
    """Adds the command."""
    generate = add(commands, "generate", _generate, "continue a prompt with neurons on, off and steered")
    add_model(generate, cpu_form="auto")
    generate.add_argument("prompt", metavar="PROMPT")
    generate.add_argument("--mask", type=Path, help="folder with mask.safetensors (default: the model's bundled one)")
    generate.add_argument("--off", type=codes, default=[], help="languages to switch off, such as en")
    generate.add_argument(
        "--off-value",
        type=_number_or_name,
        default=0.0,
        help="activation of a neuron that is off, or mean: its mean over other languages (default: %(default)s)",
    )
    generate.add_argument(
        "--off-mode", default="set", help="set to the off value, or scale by it (default: %(default)s)"
    )
    generate.add_argument(
        "--off-within",
        type=float,
        metavar="DEVIATIONS",
        help="switch a neuron off only where its activation is so near to its mean in the language, such as 2; reads "
        "histograms.safetensors beside the mask (record with --histograms)",
    )
    generate.add_argument("--on", help="language to steer to")
    generate.add_argument("--mode", default=MODE, help="replace, add or scale (default: %(default)s)")
    generate.add_argument("--strength", type=float, default=STRENGTH, help="factor of the mode (default: %(default)s)")
    generate.add_argument("--max-new-tokens", type=int, default=MAX_NEW_TOKENS, help="(default: %(default)s)")
    generate.add_argument("--temperature", type=float, default=TEMPERATURE, help="0 is greedy (default: %(default)s)")
    generate.add_argument("--top-p", type=float, default=TOP_P, help="(default: %(default)s)")
    generate.add_argument("--repetition-penalty", type=float, default=REPETITION_PENALTY, help="(default: %(default)s)")
    generate.add_argument("--seed", type=int, default=SEED, help="(default: %(default)s)")
    generate.add_argument("--chat", action="store_true", help="send the prompt through the model's chat template")


def _number_or_name(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _generate(options: argparse.Namespace) -> None:
    from lape.generation.generate import side_by_side
    from lape.generation.interventions import Intervention
    from lape.generation.prompts import NO_PROMPT
    from lape.generation.settings import SETTINGS, check_sampling
    from lape.masks.bundled import bundled_folder
    from lape.masks.mask import NeuronMask

    settings = {name: getattr(options, name) for name in SETTINGS}
    check_sampling(**settings)  # before a model is loaded
    if not options.prompt and not options.chat:
        raise LapeError(NO_PROMPT)
    variants: dict[str, Intervention | None] = {"on": None}
    if options.off or options.on:
        folder = options.mask or bundled_folder(options.model)
        mask = _with_what_off_needs(NeuronMask.load(folder), folder, options)
        off = {name: getattr(options, name) for name in ("off", "off_value", "off_mode", "off_within")}
        if options.off:
            variants["off"] = Intervention(mask, **off)
        if options.on:
            variants["steered"] = Intervention(mask, **off, on=options.on, mode=options.mode, strength=options.strength)
    model, tokenizer = load_model(options)
    prompt = [{"role": "user", "content": options.prompt}] if options.chat else options.prompt
    *_, last = side_by_side(model, tokenizer, prompt, variants, **settings)
    found = {
        "prompt": options.prompt,
        "neurons_changed": {name: variant.count if variant else 0 for name, variant in variants.items()},
        "texts": last.texts,
        "new_tokens": last.new_tokens,
        "finished": last.finished,
        "elapsed_seconds": round(last.elapsed_seconds, 3),
    }
    columns = [f"{name} ({found['neurons_changed'][name]} neurons changed):\n{last.texts[name]}" for name in variants]
    emit(options, found, "\n\n".join(columns))


def _with_what_off_needs(mask: NeuronMask, folder: Path, options: argparse.Namespace) -> NeuronMask:
    """The mask with the numbers that switching off as asked takes, from the recordings beside it."""
    from lape.masks.calibration import with_deviations, with_other_means
    from lape.recording.histograms import ActivationHistograms
    from lape.recording.statistics import ActivationStatistics

    off = {mask.known(code) for code in options.off}
    if options.off_value == "mean" and not off <= mask.other_means.keys():
        mask = with_other_means(mask, ActivationStatistics.load_from(folder, "--off-value mean"))
    if options.off_within is not None and not off <= mask.deviations.keys():
        mask = with_deviations(mask, ActivationHistograms.load_from(folder, "--off-within"))
    return mask
