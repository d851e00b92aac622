"""The `lape` command: record, identify, generate, models, doctor.

Exit codes: 0 on success, 1 for a fault of ours, 2 for bad input (one line on standard error), 130 for Ctrl-C.
With `--json` standard output holds JSON alone; progress and notes go to standard error.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from lape.errors import LapeError, LapeWarning
from lape.version import __version__


class _Parser(argparse.ArgumentParser):
    """Says what was wrong in one line; argparse would print the whole usage first."""

    def error(self, message: str) -> NoReturn:
        raise LapeError(f"{message} (see `{self.prog} --help`)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line.

    Args:
        arguments: The words after `lape`; None takes those of the process.

    Returns:
        The exit code.
    """
    verbose = False
    try:
        options = _parser().parse_args(arguments)
        verbose = options.verbose
        _quieten(verbose)
        options.run(options)
    except LapeError as error:
        print(f"lape: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lape: stopped.", file=sys.stderr)
        return 130
    except Exception as error:
        if verbose:
            raise
        print(f"lape: unexpected {type(error).__name__}: {error} (-v shows where; please report it)", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="lape", description="See and switch the language neurons of large language models.")
    parser.add_argument("--version", action="version", version=f"lape {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="show logs of the libraries, and tracebacks")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    record = _add(commands, "record", _record, "count how often every neuron is active in each language")
    _add_model(record)
    record.add_argument("--corpus", required=True, help="folder, file, or hf:ID[:config]")
    record.add_argument("--languages", type=_codes, help="codes, such as fr,es (default: all of the folder)")
    record.add_argument("--tokens", type=int, default=100_000, help="tokens per language (default: %(default)s)")
    record.add_argument("--block", type=int, default=512, help="tokens per block (default: %(default)s)")
    record.add_argument("--batch", type=int, help="blocks per forward pass (default: 2 on a CPU, 8 on a GPU)")
    record.add_argument("--out", type=Path, required=True, help="folder to write statistics.safetensors to")
    record.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    record.add_argument("--allow-short", action="store_true", help="take languages with less text than asked")

    identify = _add(commands, "identify", _identify, "select the neurons of each language from statistics")
    identify.add_argument("statistics", type=Path, metavar="DIR", help="folder with statistics.safetensors")
    identify.add_argument("--method", default="lape", help="identification method (default: %(default)s)")
    identify.add_argument("--top-rate", type=float, help="share of all neurons to keep")
    identify.add_argument("--filter-rate", type=float, help="order statistic of activity a neuron must exceed")
    identify.add_argument("--bar", type=float, dest="activation_bar_ratio", help="order statistic of membership")
    identify.add_argument("--languages", type=_codes, help="codes to tell apart (default: all that were recorded)")
    identify.add_argument("--out", type=Path, help="folder to write mask.safetensors to (default: DIR)")

    generate = _add(commands, "generate", _generate, "continue a prompt with neurons on, off and steered")
    _add_model(generate)
    generate.add_argument("prompt", metavar="PROMPT")
    generate.add_argument("--mask", type=Path, help="folder with mask.safetensors (default: the model's bundled one)")
    generate.add_argument("--off", type=_codes, default=[], help="languages to switch off, such as en")
    generate.add_argument("--on", help="language to steer to")
    generate.add_argument("--mode", default="replace", help="replace, add or scale (default: %(default)s)")
    generate.add_argument("--strength", type=float, default=1.0, help="factor of the mode (default: %(default)s)")
    generate.add_argument("--max-new-tokens", type=int, default=64, help="(default: %(default)s)")
    generate.add_argument("--temperature", type=float, default=0.0, help="0 is greedy (default: %(default)s)")
    generate.add_argument("--top-p", type=float, default=1.0, help="(default: %(default)s)")
    generate.add_argument("--repetition-penalty", type=float, default=1.0, help="(default: %(default)s)")
    generate.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    generate.add_argument("--chat", action="store_true", help="send the prompt through the model's chat template")

    _add(commands, "models", _models, "list the models known by a short name")
    doctor = _add(commands, "doctor", _doctor, "show versions, device, cache and masks, for bug reports")
    doctor.add_argument("--clear-cache", action="store_true", help="delete the converted embedded model")
    return parser


def _add(commands: Any, name: str, run: Any, description: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=description, description=description)
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print JSON alone on standard output")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="Hub id, folder, or preset (default: the embedded SmolLM2-135M-Instruct)")
    parser.add_argument("--quantization", help="4bit or 8bit")
    parser.add_argument("--dtype", help="float32, bfloat16 or float16")
    parser.add_argument("--device", help="such as cpu or cuda:0")
    parser.add_argument("--revision", help="branch, tag or commit of the model")


def _codes(text: str) -> list[str]:
    return [code.strip() for code in text.split(",") if code.strip()]


def _quieten(verbose: bool) -> None:
    """Our warnings as one line each; the libraries' logs only when asked for."""

    def one_line(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if verbose or issubclass(category, LapeWarning):
            print(f"lape: note: {message}", file=sys.stderr)

    warnings.showwarning = one_line
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, stream=sys.stderr)


def _load_model(options: argparse.Namespace) -> tuple[Any, Any]:
    from lape.models import load_model

    return load_model(
        options.model,
        quantization=options.quantization,
        dtype=options.dtype,
        device=options.device,
        revision=options.revision,
    )


def _print(options: argparse.Namespace, value: Any, text: str) -> None:
    print(json.dumps(value, ensure_ascii=False) if options.json else text)


def _record(options: argparse.Namespace) -> None:
    from lape.bundled import STATISTICS_NAME
    from lape.corpora import read_corpora
    from lape.recording import record

    corpora = read_corpora(options.corpus, options.languages)
    checkpoint = options.out / "checkpoint.safetensors"
    if checkpoint.exists() and not options.resume:
        raise LapeError(f"{str(checkpoint)!r} is an unfinished recording. Add --resume to go on, or delete it.")
    model, tokenizer = _load_model(options)
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
    _print(options, found, f"Wrote {path}: {total:,} tokens in {languages} languages.")


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
    _print(options, found, f"Wrote {folder / MASK_NAME}: {listed}.")


def _generate(options: argparse.Namespace) -> None:
    from lape.bundled import bundled_folder
    from lape.generation import side_by_side
    from lape.interventions import Intervention
    from lape.masks import NeuronMask

    variants: dict[str, Intervention | None] = {"on": None}
    if options.off or options.on:
        mask = NeuronMask.load(options.mask or bundled_folder(options.model))
        if options.off:
            variants["off"] = Intervention(mask, off=options.off)
        if options.on:
            variants["steered"] = Intervention(
                mask, off=options.off, on=options.on, mode=options.mode, strength=options.strength
            )
    model, tokenizer = _load_model(options)
    prompt = [{"role": "user", "content": options.prompt}] if options.chat else options.prompt
    *_, last = side_by_side(
        model,
        tokenizer,
        prompt,
        variants,
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        top_p=options.top_p,
        repetition_penalty=options.repetition_penalty,
        seed=options.seed,
    )
    found = {
        "prompt": options.prompt,
        "neurons_changed": {name: variant.count if variant else 0 for name, variant in variants.items()},
        "texts": last.texts,
        "new_tokens": last.new_tokens,
        "finished": last.finished,
        "elapsed_seconds": round(last.elapsed_seconds, 3),
    }
    columns = [f"{name} ({found['neurons_changed'][name]} neurons changed):\n{last.texts[name]}" for name in variants]
    _print(options, found, "\n\n".join(columns))


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
    _print(options, rows, "\n".join(lines))


def _doctor(options: argparse.Namespace) -> None:
    from lape.doctor import report
    from lape.models import clear_cache

    if options.clear_cache:
        freed = clear_cache()
        _print(options, {"freed_bytes": freed}, f"Freed {freed / 1e6:.0f} MB.")
        return
    found = report()
    lines = []
    for key, value in found.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        lines.append(f"{key:15} {', '.join(shown) if isinstance(shown, list) else shown}")
    _print(options, found, "\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
