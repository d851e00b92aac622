"""Commands that measure a mask and show what came out: evaluate, tune, report."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from lape.cli.common import add, add_model, codes, emit, load_model, prepare_out
from lape.generation.settings import MODE, STRENGTH, Mode

if TYPE_CHECKING:
    from lape.evaluation.runs.subject import Subject
    from lape.evaluation.runs.work import Options


def register(commands: Any) -> None:
    """Adds the commands of this module."""
    about = "measure what switching neurons does, against controls"
    add(commands, "evaluate", _evaluate, about, deferred=_add_options)

    tune = add(commands, "tune", _tune, "choose how to steer on half of the prompts, and report on the other half")
    add_subject(tune)
    _add_tuning(tune)

    report = add(commands, "report", _report, "make a page and tables from evidence")
    report.add_argument("folder", type=Path, metavar="DIR", help="folder with mask.safetensors, or its evidence folder")
    report.add_argument("--html", type=Path, help="page to write (default: report.html in the working directory)")
    report.add_argument("--tables", type=Path, help="Markdown file for all tables, such as EVIDENCE.md beside the mask")
    report.add_argument("--readme", type=Path, help="README whose table between the lape:evidence marks is renewed")


def _add_options(evaluate: argparse.ArgumentParser) -> None:
    from lape.evaluation.kinds import KINDS

    kinds = [name for name, kind in KINDS.items() if kind.command == f"lape evaluate {name}"]
    evaluate.add_argument(
        "what",
        choices=(*kinds, "all"),
        metavar="WHAT",
        help=f"{', '.join(kinds)}, or all of them with tuning",
    )
    add_subject(evaluate)
    _add_tuning(evaluate)
    evaluate.add_argument(
        "--tokens", type=int, default=2048, help="held-out tokens per language (default: %(default)s)"
    )
    evaluate.add_argument("--block", type=int, default=128, help="tokens per block (default: %(default)s)")
    evaluate.add_argument("--seeds", type=int, default=5, help="random masks as a control (default: %(default)s)")
    evaluate.add_argument(
        "--rivals",
        type=codes,
        help="masks whose costs are measured beside: exclusive, equal count, methods, or none (default: all)",
    )
    evaluate.add_argument(
        "--items",
        type=int,
        default=20,
        help="questions of harm and lines of firing a language, prompts a file of confusion (default: %(default)s)",
    )
    evaluate.add_argument(
        "--facts", help="of relations: JSON file of questions, the one that `lape relations` asked (default: ours)"
    )
    evaluate.add_argument(
        "--sources", type=codes, default=[], help="codes that steering starts from (default: all with openings)"
    )
    evaluate.add_argument(
        "--shift-items",
        type=int,
        default=20,
        help="paragraphs per pair of the language-shift score (default: %(default)s)",
    )
    evaluate.add_argument(
        "--mode",
        help=f"of steering and confusion: replace, add or scale (default: {MODE}; steering takes what tuning chose)",
    )
    evaluate.add_argument(
        "--strength",
        type=float,
        help=f"of steering and confusion (default: {STRENGTH:g}; steering takes what tuning chose)",
    )
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


def add_subject(parser: argparse.ArgumentParser) -> None:
    """What is measured, and on what."""
    add_model(parser, cpu_form="float32")
    parser.add_argument("--mask", type=Path, help="folder with mask.safetensors (default: the model's bundled one)")
    parser.add_argument("--corpus", help="held-out text: folder, file, or hf:ID[:config]; its valid split is read")
    parser.add_argument("--languages", type=codes, default=[], help="codes, such as fr,es (default: all of the mask)")
    parser.add_argument(
        "--prompts",
        help="openings to continue: JSON file, or folder of <code>.txt (default: ours); of confusion: folder of the "
        "Language Confusion Benchmark",
    )
    parser.add_argument(
        "--identifier", default="py3langid", help="py3langid, fasttext or lingua (default: %(default)s)"
    )
    parser.add_argument("--max-new-tokens", type=int, default=32, help="of each output (default: %(default)s)")
    parser.add_argument(
        "--source", default="en", help="language that tuning and a comparison steer from (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, help="folder to write to (default: evidence beside the mask)")
    parser.add_argument("--again", action="store_true", help="measure again what has been measured")


def _add_tuning(parser: argparse.ArgumentParser) -> None:
    """What tuning tries."""
    parser.add_argument(
        "--top-rates",
        type=_numbers,
        help="of masks that tuning tries beside the given one (default: 0.01,0.02,0.03,0.05)",
    )
    parser.add_argument(
        "--strengths",
        type=partial(named_strengths, get_args(Mode)),
        action="append",
        metavar="MODE=NUMBERS",
        help="that tuning tries, such as replace=1,1.5,2; may be repeated (default: a grid over all modes)",
    )
    parser.add_argument("--offs", type=codes, help="what goes off in tuning: source, others (default: both)")
    parser.add_argument(
        "--most-cost",
        type=float,
        help="fluency cost, in nats per token, that the one setting for all may have in tuning (default: any)",
    )


def _numbers(text: str) -> list[float]:
    try:
        return [float(number) for number in codes(text)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers, such as 0.01,0.02") from None


def named_strengths(names: Collection[str], text: str) -> tuple[str, list[float]]:
    """A name with the strengths to try, such as `replace=1,1.5,2`."""
    name, _, numbers = text.partition("=")
    if name not in names or not (found := _numbers(numbers)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a name and numbers, such as replace=1,1.5,2; names are {', '.join(names)}"
        )
    return name, found


def _evaluate(options: argparse.Namespace) -> None:
    from lape.evaluation.kinds import KINDS

    everything = tuple(name for name in KINDS if name != "bench")  # which takes hours, and has its own command
    measure(options, everything if options.what == "all" else (options.what,))


def _tune(options: argparse.Namespace) -> None:
    measure(options, ("tuning",))


def _report(options: argparse.Namespace) -> None:
    from lape.report import write_page, write_readme, write_tables
    from lape.storage.placing import prepare

    folder = options.folder / "evidence" if (options.folder / "evidence").is_dir() else options.folder
    page = options.html or (None if options.readme or options.tables else Path("report.html"))
    for option, path in (("--html", page), ("--tables", options.tables), ("--readme", options.readme)):
        if path:
            prepare(path.parent, f"name another file with {option}")
    written = []
    if page:
        written.append(write_page(folder, page))
    if options.tables:
        written.append(write_tables(folder, options.tables))
    if options.readme:
        written.append(write_readme(folder, options.readme))
    emit(options, {"written": [str(path) for path in written]}, f"Wrote {' and '.join(map(str, written))}.")


def measure(options: argparse.Namespace, wanted: Sequence[str]) -> None:
    """Measures what is wanted and prints what came out."""
    from lape.evaluation import measuring
    from lape.processes import joined

    with joined() as processes:
        subject = _subject(options)
        prepare_out(subject.evidence_folder, processes)
        done = measuring.measure(
            subject, _asked(options), wanted, vars(options), again=options.again, processes=processes
        )
    if not processes.first:
        return
    lines = [f"{each['path']}: {each['summary']}" for each in done]
    seconds = sum(each["seconds"] for each in done)
    emit(options, {"evidence": done, "seconds": seconds}, "\n".join([*lines, f"{seconds:,.0f} s of computation."]))


def _subject(options: argparse.Namespace) -> Subject:
    """What is measured."""
    from lape.evaluation.runs.subject import Subject
    from lape.masks.bundled import bundled_folder
    from lape.recording.corpora import read_corpora

    folder = options.mask or bundled_folder(options.model)
    subject = Subject(folder, lambda: load_model(options), languages=tuple(options.languages), out=options.out)
    if options.corpus is not None:
        asked = options.languages or (list(subject.mask.languages) if options.corpus.startswith("hf:") else None)
        subject = replace(subject, corpora=read_corpora(options.corpus, asked, split="valid"))
    if (elsewhere := getattr(options, "elsewhere", None)) is not None:
        subject = replace(subject, elsewhere=read_corpora(elsewhere, split="valid"))
    return replace(subject, recording=getattr(options, "recordings", None))


def _asked(options: argparse.Namespace) -> Options:
    """The command's options that say how much is measured, and how; those left out keep their defaults."""
    from lape.evaluation.runs.work import Options

    given = {field.name: getattr(options, field.name, None) for field in fields(Options)}
    given |= {"compare": tuple(getattr(options, "compare", ())), "strengths": dict(options.strengths or ()) or None}
    return Options(**{name: value for name, value in given.items() if value is not None})
