"""Commands that measure a mask and show what came out: evaluate, tune, report."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lape.cli.common import add, add_model, codes, emit, load_model

if TYPE_CHECKING:
    from lape.evaluation.metrics.conditions import Setting
    from lape.evaluation.runs.run import Subject, Work
    from lape.masks.mask import NeuronMask

# In the order `all` measures them: what is quick first, and how to steer before steering. Options of each.
OF_ALL = ("model", "quantization", "dtype", "device", "revision", "mask", "languages")
OF_OUTPUTS = ("prompts", "identifier", "max_new_tokens")
OF_KIND = {
    "layers": ("compare",),
    "stability": (),
    "perplexity": ("corpus", "tokens", "block", "seeds"),
    "tuning": ("source", "top_rates", "strengths", "offs", *OF_OUTPUTS),
    "steering": ("corpus", "source", "mode", "strength", "top_rate", "off", *OF_OUTPUTS),
    "harm": ("corpus", "items"),
}


def register(commands: Any) -> None:
    """Adds the commands of this module."""
    evaluate = add(commands, "evaluate", _evaluate, "measure what switching neurons does, against controls")
    evaluate.add_argument(
        "what",
        choices=(*(kind for kind in OF_KIND if kind != "tuning"), "all"),
        metavar="WHAT",
        help="perplexity, steering, layers, stability, harm, or all of them with tuning",
    )
    _add_subject(evaluate)
    evaluate.add_argument(
        "--tokens", type=int, default=2048, help="held-out tokens per language (default: %(default)s)"
    )
    evaluate.add_argument("--block", type=int, default=128, help="tokens per block (default: %(default)s)")
    evaluate.add_argument("--seeds", type=int, default=5, help="random masks as a control (default: %(default)s)")
    evaluate.add_argument("--items", type=int, default=20, help="questions per language of harm (default: %(default)s)")
    evaluate.add_argument(
        "--mode", help="of steering: replace, add or scale (default: what tuning chose, else replace)"
    )
    evaluate.add_argument("--strength", type=float, help="of steering (default: what tuning chose, else 2)")
    evaluate.add_argument(
        "--top-rate", type=float, help="of the mask that steers (default: what tuning chose, else its own)"
    )
    evaluate.add_argument(
        "--off",
        choices=("source", "others"),
        help="of steering: what goes off (default: what tuning chose, else source)",
    )
    evaluate.add_argument(
        "--compare",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="of layers: another mask, such as the base model's",
    )

    tune = add(commands, "tune", _tune, "choose how to steer on half of the prompts, and report on the other half")
    _add_subject(tune)

    report = add(commands, "report", _report, "make a page and README tables from evidence")
    report.add_argument("folder", type=Path, metavar="DIR", help="folder with mask.safetensors, or its evidence folder")
    report.add_argument("--html", type=Path, help="page to write (default: report.html in the working directory)")
    report.add_argument("--readme", type=Path, help="README whose part between the lape:evidence marks is renewed")


def _add_subject(parser: argparse.ArgumentParser) -> None:
    """What is measured, and on what."""
    add_model(parser)
    parser.add_argument("--mask", type=Path, help="folder with mask.safetensors (default: the model's bundled one)")
    parser.add_argument("--corpus", help="held-out text: folder, file, or hf:ID[:config]; its valid split is read")
    parser.add_argument("--languages", type=codes, default=[], help="codes, such as fr,es (default: all of the mask)")
    parser.add_argument("--prompts", help="openings to continue: JSON file, or folder of <code>.txt (default: ours)")
    parser.add_argument("--identifier", default="py3langid", help="py3langid or lingua (default: %(default)s)")
    parser.add_argument("--max-new-tokens", type=int, default=32, help="of each output (default: %(default)s)")
    parser.add_argument("--source", default="en", help="language that tuning steers from (default: %(default)s)")
    parser.add_argument(
        "--top-rates",
        type=_numbers,
        help="of masks that tuning tries beside the given one (default: 0.01,0.02,0.03,0.05)",
    )
    parser.add_argument(
        "--strengths",
        type=_strengths,
        action="append",
        metavar="MODE=NUMBERS",
        help="that tuning tries, such as replace=1,1.5,2; may be repeated (default: a grid over all modes)",
    )
    parser.add_argument("--offs", type=codes, help="what goes off in tuning: source, others (default: both)")
    parser.add_argument("--out", type=Path, help="folder to write to (default: evidence beside the mask)")
    parser.add_argument("--again", action="store_true", help="measure again what has been measured")


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in codes(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers, such as 0.01,0.02") from None


def _strengths(text: str) -> tuple[str, list[float]]:
    mode, _, numbers = text.partition("=")
    if mode not in ("replace", "add", "scale") or not (found := _numbers(numbers)):
        raise argparse.ArgumentTypeError(f"{text!r} is not MODE=NUMBERS, such as replace=1,1.5,2")
    return mode, found


def _evaluate(options: argparse.Namespace) -> None:
    _measure(options, tuple(OF_KIND) if options.what == "all" else (options.what,))


def _tune(options: argparse.Namespace) -> None:
    _measure(options, ("tuning",))


def _report(options: argparse.Namespace) -> None:
    from lape.report import write_page, write_readme

    folder = options.folder / "evidence" if (options.folder / "evidence").is_dir() else options.folder
    written = []
    if options.html or not options.readme:
        written.append(write_page(folder, options.html or Path("report.html")))
    if options.readme:
        written.append(write_readme(folder, options.readme))
    emit(options, {"written": [str(path) for path in written]}, f"Wrote {' and '.join(map(str, written))}.")


def _measure(options: argparse.Namespace, wanted: Sequence[str]) -> None:
    """Checks everything that is wanted, then measures what is not there yet."""
    from lape.evaluation.runs.evidence import read_evidence
    from lape.evaluation.runs.run import measured_before, run

    subject, out = _subject(options)
    if len(wanted) > 1:
        reasons = {kind: _left_out(kind, subject, options) for kind in wanted}
        for kind, reason in reasons.items():
            if reason:
                _note(f"{kind} is left out: {reason}")
        wanted = [kind for kind in wanted if not reasons[kind]]
    for kind in wanted:
        _work(kind, options, subject, out)  # what is wrong with the last is said before the first takes an hour
    done = []
    for kind in wanted:
        work = _work(kind, options, subject, out)  # how to steer may have been chosen meanwhile
        if measured_before(kind, work, out) and not options.again:
            _note(f"{out / kind}.json has these figures already; --again measures them again.")
        else:
            run(kind, work, out, command=_command(kind, options), device=_device(kind, subject))
        found = read_evidence(out)[kind]
        done.append({"path": str(out / f"{kind}.json"), "summary": found["summary"], "seconds": found["seconds"]})
    seconds = sum(each["seconds"] for each in done)
    lines = [f"{each['path']}: {each['summary']}" for each in done]
    emit(options, {"evidence": done, "seconds": seconds}, "\n".join([*lines, f"{seconds:,.0f} s of computation."]))


def _subject(options: argparse.Namespace) -> tuple[Subject, Path]:
    """What is measured, and the folder of evidence."""
    from lape.evaluation.runs.run import Subject
    from lape.masks.bundled import bundled_folder
    from lape.recording.corpora import read_corpora

    folder = options.mask or bundled_folder(options.model)
    subject = Subject(folder, lambda: load_model(options), languages=tuple(options.languages))
    if options.corpus is not None:
        asked = options.languages or (list(subject.mask.languages) if options.corpus.startswith("hf:") else None)
        subject = replace(subject, corpora=read_corpora(options.corpus, asked, split="valid"))
    return subject, options.out or folder / "evidence"


def _left_out(kind: str, subject: Subject, options: argparse.Namespace) -> str | None:
    """Why `all` cannot measure a kind here; None when it can."""
    if kind in ("perplexity", "harm") and not subject.corpora:
        return "it is measured on held-out text; name it with --corpus."
    if kind == "stability" and subject.groups is None:
        return "there are no groups of blocks beside the mask; record with --groups 16."
    if kind in ("tuning", "steering") and set(subject.mask.languages) - set(subject.mask.means):
        return "the mask has no mean activations for some languages; make them with `lape calibrate`."
    if kind == "tuning" and options.source not in subject.mask.languages:
        return f"{options.source!r} is not in the mask; name another language with --source."
    return None


def _work(kind: str, options: argparse.Namespace, subject: Subject, out: Path) -> Work:
    """A kind of measurement with the command's options."""
    from lape.evaluation.kinds import measured as kinds
    from lape.evaluation.kinds import steered
    from lape.evaluation.metrics.continuations import Decoding
    from lape.evaluation.runs.run import Options

    if kind in ("tuning", "steering"):
        decoding = Decoding(max_new_tokens=options.max_new_tokens)
        how = steered.SteeringOptions(options.prompts, options.identifier, decoding, shift_source=options.source)
        if kind == "tuning":
            asked = {"top_rates": options.top_rates, "strengths": options.strengths and dict(options.strengths)}
            given = {name: value for name, value in {**asked, "offs": options.offs}.items() if value is not None}
            return steered.tuning_of(subject, how, options.source, (), **given)
        return steered.steering_of(subject, how, _setting(options, subject, out))
    much = Options(options.tokens, options.block, options.seeds, options.items)
    if kind == "layers":
        return kinds.layers_of(subject, _others(options.compare))
    measures = {"perplexity": kinds.perplexity, "harm": kinds.harm, "stability": kinds.stability_of}
    return measures[kind](subject, much)


def _others(folders: Sequence[Path]) -> dict[str, NeuronMask]:
    """Masks to compare with, named by model and method, or by their folder where two have the same."""
    from lape.masks.mask import NeuronMask

    masks: dict[str, NeuronMask] = {}
    for folder in folders:
        mask = NeuronMask.load(folder)
        name = f"{Path(str(mask.metadata.get('model'))).name} {mask.metadata.get('method')}"
        masks[folder.name if name in masks else name] = mask
    return masks


def _setting(options: argparse.Namespace, subject: Subject, out: Path) -> Setting:
    """How to steer: what is said, else what tuning chose for this mask, else what the page does."""
    from lape.evaluation.kinds.steered import own_rate, tuned_setting
    from lape.evaluation.metrics.conditions import Setting
    from lape.evaluation.runs.evidence import read_evidence

    tuning = read_evidence(out).get("tuning") if out.is_dir() else None
    chosen = tuned_setting(tuning, subject) if tuning else None
    chosen = chosen or Setting("replace", 2.0, own_rate(subject))
    said = {name: getattr(options, name) for name in ("mode", "strength", "top_rate", "off")}
    return replace(chosen, **{name: value for name, value in said.items() if value is not None})


def _device(kind: str, subject: Subject) -> str:
    """Where the model was, or the CPU for what needs none."""
    from lape.models.architectures import input_device

    return "cpu" if kind in ("layers", "stability") else str(input_device(subject.loaded[0]))


def _command(kind: str, options: argparse.Namespace) -> str:
    """The command line that measures the same again, defaults written out, with no folder of this machine."""
    words = ["lape", "tune"] if kind == "tuning" else ["lape", "evaluate", kind]
    for name in (*OF_ALL, *OF_KIND[kind]):
        value = getattr(options, name)
        several = value if name in ("compare", "strengths") else [value]
        for each in several or ():
            if each not in (None, []):
                words += [f"--{name.replace('_', '-')}", _shown(each)]
    return shlex.join(words)


def _shown(value: object) -> str:
    """A value as it is written on the command line; a folder of this machine by its own name."""
    if isinstance(value, tuple):
        return f"{value[0]}={_shown(value[1])}"
    if isinstance(value, list):
        return ",".join(map(_shown, value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return Path(text).name if Path(text).is_absolute() else text


def _note(text: str) -> None:
    print(f"lape: note: {text}", file=sys.stderr)
