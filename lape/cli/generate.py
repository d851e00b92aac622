"""The command that shows what a mask does: generate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lape.cli.common import add, add_model, beginning, codes, emit, load_model, table
from lape.errors import LapeError
from lape.generation.settings import (
    MAX_NEW_TOKENS,
    MODE,
    REPETITION_PENALTY,
    SEED,
    SETTINGS,
    STRENGTH,
    TEMPERATURE,
    TOP_P,
    check_sampling,
    layer_range,
)

if TYPE_CHECKING:
    from lape.evaluation.metrics.strengths import StrengthSweep
    from lape.generation.interventions import Intervention
    from lape.generation.prompts import Prompt
    from lape.masks.mask import NeuronMask


def register(commands: Any) -> None:
    """Adds the command."""
    generate = add(commands, "generate", _generate, "continue a prompt with neurons on, off and steered")
    add_model(generate, cpu_form="auto")
    generate.add_argument("prompt", metavar="PROMPT", nargs="?")
    generate.add_argument("--prompts", type=Path, metavar="FILE", help="many prompts, one a line, in place of PROMPT")
    generate.add_argument(
        "--sweep",
        action="store_true",
        help="steer at many strengths at once: 0 to 4 by quarters, with --mode scale 1 to 9 by halves",
    )
    generate.add_argument("--csv", type=Path, metavar="FILE", help="write the texts of --prompts or --sweep as CSV")
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
    generate.add_argument("--layers", default="", help="change neurons of these alone, such as 5-12, from 0 on")
    generate.add_argument(
        "--positions", default="all", help="change them at all positions, of the prompt, or generated (default: all)"
    )
    generate.add_argument(
        "--method",
        help="another method's neurons, as many of each language as the mask has; reads what was recorded beside it",
    )
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
    settings = {name: getattr(options, name) for name in SETTINGS}
    check_sampling(**settings)  # before a model is loaded
    _check(options)
    if options.prompts is not None:
        from lape.cli.prompts import generate_many

        generate_many(options, _variants(options), settings)
    elif options.sweep:
        _sweep(options, settings)
    else:
        _side_by_side(options, settings)


def _check(options: argparse.Namespace) -> None:
    """Refuses what does not go together, before anything is loaded."""
    from lape.generation.prompts import NO_PROMPT
    from lape.storage.placing import prepare

    if options.prompts is not None and (options.prompt is not None or options.sweep):
        raise LapeError("--prompts takes the place of PROMPT, and goes without --sweep.")
    if options.prompts is None and not options.prompt and not (options.chat and options.prompt is not None):
        raise LapeError(NO_PROMPT)
    if options.csv is not None and options.prompts is None and not options.sweep:
        raise LapeError("--csv holds the texts of --prompts or --sweep; without them use --json.")
    if options.sweep and not options.on:
        raise LapeError("--sweep needs a language to steer to: --on es.")
    if options.csv is not None:
        prepare(options.csv.parent)


def _variants(options: argparse.Namespace) -> dict[str, Intervention | None]:
    """What the options do to the model, by name."""
    from lape.generation.interventions import Intervention
    from lape.masks.bundled import bundled_folder
    from lape.masks.mask import NeuronMask

    variants: dict[str, Intervention | None] = {"on": None}
    if options.off or options.on:
        folder = options.mask or bundled_folder(options.model)
        mask = _with_what_off_needs(_by_method(NeuronMask.load(folder), folder, options.method), folder, options)
        names = ("off", "off_value", "off_mode", "off_within", "positions")
        off = {name: getattr(options, name) for name in names}
        off["layers"] = layer_range(options.layers, mask.shape[0])
        if options.off:
            variants["off"] = Intervention(mask, **off)
        if options.on:
            variants["steered"] = Intervention(mask, **off, on=options.on, mode=options.mode, strength=options.strength)
    return variants


def _prompt(options: argparse.Namespace) -> Prompt:
    return [{"role": "user", "content": options.prompt}] if options.chat else options.prompt


def _side_by_side(options: argparse.Namespace, settings: dict[str, Any]) -> None:
    from lape.generation.generate import side_by_side

    variants = _variants(options)
    model, tokenizer = load_model(options)
    *_, last = side_by_side(model, tokenizer, _prompt(options), variants, **settings)
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


def _sweep(options: argparse.Namespace, settings: dict[str, Any]) -> None:
    from lape.evaluation.metrics.language import LanguageIdentifier
    from lape.evaluation.metrics.strengths import sweep
    from lape.storage.tables import write_csv

    steered = _variants(options)["steered"]
    assert steered is not None
    judge = LanguageIdentifier(steered.mask.languages)
    model, tokenizer = load_model(options)
    found = sweep(model, tokenizer, _prompt(options), steered, judge.identify, **settings)
    if options.csv is not None:
        steps = [step.values() for step in found.steps]
        write_csv(options.csv, list(steps[0]), [list(step.values()) for step in steps])
    emit(options, {"prompt": options.prompt, **found.values()}, "\n".join(_table(found)))


def _table(found: StrengthSweep) -> list[str]:
    """The steps of a sweep, one a line, with what they come to below."""
    rows = [("strength", "language", found.target, "nats/token", "quality", "text")]
    for step in found.steps:
        share = "-" if step.target_share is None else f"{step.target_share:.0%}"
        cost = "-" if step.cost_nats is None else f"{step.cost_nats:.2f}"
        told = "-" if step.language.gibberish else step.language.language or "-"
        rows.append(
            (f"{step.strength:g}", told, share, cost, step.quality.word if step.quality else "-", beginning(step.text))
        )
    flips = "does not flip" if found.flip is None else f"flips at {found.flip:g}"
    breaks = "" if found.breaks is None else f", broken from {found.breaks:g} on"
    return [*table(rows, right=[0, 2, 3]), f"The language {flips}{breaks}."]


def _by_method(mask: NeuronMask, folder: Path, method: str | None) -> NeuronMask:
    """The mask with the neurons of another method, if one is named."""
    from lape.identify import load_recorded
    from lape.identify.rivals import with_neurons_of

    return mask if method is None else with_neurons_of(mask, load_recorded(folder, method), method)


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
