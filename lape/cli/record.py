"""The command that reads a model's activations: record."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lape.cli.common import ANOTHER_OUT, add, add_model, codes, emit, load_model, prepare_out
from lape.errors import LapeError

if TYPE_CHECKING:
    from lape.evaluation.metrics.stability import UntilStable
    from lape.processes import Processes
    from lape.recording.groups import BlockGroups
    from lape.recording.statistics import ActivationStatistics

ENGINES = ("transformers", "vllm")


def register(commands: Any) -> None:
    """Adds the commands of this module."""
    add(commands, "record", _record, "count how often every neuron is active in each language", deferred=_add_options)


def _add_options(record: argparse.ArgumentParser) -> None:
    from lape.recording.altered import ALTERATIONS
    from lape.recording.beside import RECORDINGS
    from lape.recording.binning import BINS

    add_model(record)
    record.add_argument("--corpus", required=True, help="folder, file, or hf:ID[:config]")
    record.add_argument("--languages", type=codes, help="codes, such as fr,es (default: all of the folder)")
    record.add_argument(
        "--alter",
        choices=tuple(ALTERATIONS),
        help="read the same text in Latin letters, or with its words shuffled, to tell what a mask stands for "
        "(docs/measuring.md)",
    )
    record.add_argument("--tokens", type=int, default=100_000, help="tokens per language (default: %(default)s)")
    record.add_argument("--block", type=int, default=512, help="tokens per block (default: %(default)s)")
    record.add_argument(
        "--batch", type=int, help="blocks at once (default: 2 on a CPU, what fits on a GPU, 64 in vllm)"
    )
    record.add_argument(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="what runs the model (default: %(default)s); docs/vllm.md tells of vllm",
    )
    record.add_argument("--out", type=Path, required=True, help="folder to write statistics.safetensors to")
    record.add_argument("--resume", action="store_true", help="go on from the checkpoints in --out, if there are any")
    record.add_argument("--allow-short", action="store_true", help="take languages with less text than asked")
    record.add_argument(
        "--groups",
        type=int,
        help="also keep counts of this even number of groups of blocks in groups.safetensors, to tell how stable "
        "a mask is (default: none; 16 with --until-stable)",
    )
    record.add_argument(
        "--until-stable",
        type=float,
        metavar="SHARE",
        help="stop before --tokens when the masks of two halves of the text agree this well, such as 0.9: mean "
        "Jaccard index over languages, lape's default settings",
    )
    for name, beside in RECORDINGS.items():
        record.add_argument(
            f"--{name}",
            action="append_const",
            const=name,
            default=[],
            dest="beside",
            help=f"also make {beside.kind.file}: {beside.text}"
            + (f", over {beside.tokens:,} tokens per language at most" if beside.tokens else ""),
        )
    record.add_argument("--bins", type=int, default=BINS, help="of each histogram (default: %(default)s)")
    record.add_argument(
        "--licence",
        metavar="NAME",
        help="of the text, so that pages which others reach may show what --top-texts keeps",
    )
    record.add_argument(
        "--noise",
        action="store_true",
        help="also read random tokens, so that `lape identify --noise` can drop the neurons that are active on them",
    )


def _record(options: argparse.Namespace) -> None:
    from lape.processes import joined

    with joined() as processes:
        _record_among(processes, options)


def _record_among(processes: Processes, options: argparse.Namespace) -> None:
    """What one of several processes does, or the only one."""
    from lape.evaluation.metrics.stability import UntilStable
    from lape.languages import NOISE
    from lape.recording.altered import altered
    from lape.recording.beside import record_beside
    from lape.recording.binning import check_bins
    from lape.recording.corpora import read_corpora
    from lape.recording.kept import record_into
    from lape.recording.noise import RandomTokens
    from lape.recording.reading import check_groups, check_settings
    from lape.recording.record import GROUPS
    from lape.storage.names import CHECKPOINT_NAME, GROUPS_NAME, STATISTICS_NAME, of_ranks

    if options.engine == "vllm" and (options.quantization or options.device):
        raise LapeError("--quantization and --device are of transformers; vllm takes the device it is made for.")
    if options.licence is not None and "top-texts" not in options.beside:
        raise LapeError("--licence is that of the text which --top-texts keeps; add --top-texts.")
    if options.engine == "vllm" and options.beside:
        raise LapeError(f"--{options.beside[0]} is of transformers; vllm shows activations only.")
    if options.engine == "vllm" and processes.number > 1:
        raise LapeError("vllm divides its work itself: start it without torchrun, and tell it how many GPUs to use.")
    prepare_out(options.out, processes)
    corpora = read_corpora(options.corpus, options.languages)
    if options.alter:
        corpora = altered(corpora, options.alter)
    until = None if options.until_stable is None else UntilStable(options.until_stable)
    if until and len(corpora) < 2:
        raise LapeError(f"--until-stable compares masks, which need two languages or more; there is {len(corpora)}.")
    number = GROUPS if options.groups is None and until else options.groups
    check_bins(options.bins)
    # Before a model is loaded, which has a context and a number of blocks for a pass.
    check_settings(corpora, options.tokens, options.block, 1 if options.batch is None else options.batch, None)
    if number is not None:
        check_groups(number, options.tokens)
    for checkpoint in of_ranks(options.out / CHECKPOINT_NAME).values():
        if not options.resume:
            raise LapeError(f"{str(checkpoint)!r} is an unfinished recording. Add --resume to go on, or delete it.")
    model, tokenizer = load_model(options) if options.engine == ENGINES[0] else _load_engine(options)
    if options.noise:
        corpora = {**corpora, NOISE: RandomTokens.of(tokenizer)}
    whole = options.resume and options.beside and number is None and processes.number == 1
    statistics, groups = (whole and _finished(options, model, tokenizer, corpora)) or record_into(
        options.out,
        model,
        tokenizer,
        corpora,
        tokens=options.tokens,
        block=options.block,
        batch=options.batch,
        allow_short=options.allow_short,
        groups=number,
        until=until,
        way_out=ANOTHER_OUT,
        processes=processes,
    )
    if not processes.first:
        return  # what lies beside statistics is made by one process
    files = record_beside(
        options.out,
        options.beside,
        model,
        tokenizer,
        corpora,
        tokens=options.tokens,
        block=options.block,
        allow_short=options.allow_short,
        settings={"histograms": {"bins": options.bins}, "top-texts": {"licence": options.licence}},
        way_out=ANOTHER_OUT,
    )
    path = options.out / STATISTICS_NAME
    total, languages = sum(statistics.tokens.values()), len(statistics.tokens)
    found: dict[str, Any] = {"path": str(path), "tokens": dict(statistics.tokens), "shape": statistics.shape}
    text = f"Wrote {path}: {total:,} tokens in {languages} languages."
    if statistics.routed:
        found["experts"] = statistics.experts
        found["routed"] = routed = _routed(statistics)
        least = min(tokens["least"] for tokens in routed.values())
        text += f" Of {statistics.experts} experts in a layer, the least used had {least:,} of a language's tokens."
    if groups:
        found["groups"] = str(options.out / GROUPS_NAME)
    if files:
        found["beside"] = [str(file) for file in files]
        text += f" Beside it: {', '.join(file.name for file in files)}."
    if groups and until:
        found["stability"], said = _stopped(until, groups, -(-options.tokens // options.block) * options.block)
        text = f"{text}\n{said}"
    emit(options, found, text)


def _finished(
    options: argparse.Namespace, model: Any, tokenizer: Any, corpora: Any
) -> tuple[ActivationStatistics, None] | None:
    """Statistics that a killed command had written before it went on to what is beside them; None where it had not."""
    from lape.recording.beside import finished_statistics
    from lape.storage.names import CHECKPOINT_NAME, of_ranks

    if of_ranks(options.out / CHECKPOINT_NAME):
        return None
    read = {"tokens": options.tokens, "block": options.block}
    found = finished_statistics(options.out, model, tokenizer, corpora, **read)
    return None if found is None else (found, None)


def _routed(statistics: ActivationStatistics) -> dict[str, dict[str, int]]:
    """How many tokens the least and the most used expert of any layer had, by language."""
    counted = statistics.of_layers(statistics.layers).routed
    return {code: {"least": int(tokens.min()), "most": int(tokens.max())} for code, tokens in counted.items()}


def _load_engine(options: argparse.Namespace) -> tuple[Any, Any]:
    from lape.serving.engine import load_engine

    return load_engine(options.model, revision=options.revision, dtype=options.dtype or "auto")


def _stopped(until: UntilStable, groups: BlockGroups, most: int) -> tuple[dict[str, Any], str]:
    """Where a recording until stability ended, as values and in words; `most` is the tokens per language allowed."""
    from lape.evaluation.metrics.stability import halves_agreement, mean_agreement

    read = max(groups.tokens.values())
    saved = sum(most - read for tokens in groups.tokens.values() if tokens == read)  # a short text has no more
    blocks = until.ended
    reached = mean_agreement(halves_agreement(groups)) if blocks is None else until.reached[blocks]
    agree = "say nothing, for no language has a neuron" if reached is None else f"agree at {reached:.3f}"
    if blocks is None:
        said = f"All text was read, {read:,} tokens a language: its halves {agree} ({until.asked:g} asked)."
    else:
        said = (
            f"The halves of the first {blocks * groups.block:,} tokens a language {agree} ({until.asked:g} asked): "
            f"stopped after {read:,} of {most:,}, {saved:,} tokens saved."
        )
    return {"asked": until.asked, "reached": reached, "tokens": read, "saved_tokens": saved}, said
