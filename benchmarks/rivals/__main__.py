"""Recording and steered generation beside other libraries: `python -m benchmarks.rivals [--model smollm2 gemma]`.

Every way counts the same blocks of text (active neurons, sums, positive sums) and generates under the same edits, on a
model of its own with the same weights. Its results must be ours before it is timed; else the table says why it is not.
Times are medians of repeats in which the ways take turns. Peak memory is that of a recording in a fresh process.
`make bench` installs the libraries in an environment of their own; one that is not installed is skipped.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial

import lape
from benchmarks.interleaved import median_seconds
from benchmarks.machine import machine
from benchmarks.rivals.memory import peak_in_a_fresh_process
from benchmarks.rivals.tasks import Reading, Steering, check_generated, check_recorded
from benchmarks.rivals.ways import COUNTS, FLOORS, OURS, WAYS, make
from lape.errors import LapeError

COLUMNS = (
    "way",
    "recording, tokens/s",
    "lape over it",
    "lape over it with lape's sums",
    "counts beside lape's",
    "peak memory",
    "steered, tokens/s",
    "lape over it",
    "token ids beside lape's",
)
REDUCTIONS, SUMS = COUNTS
Work = Callable[[], object]


def main() -> None:
    """Prints a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", nargs="+", default=["smollm2"], help="with bundled masks (default: smollm2)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the libraries' own, about transformers
    print(machine("transformers", "nnsight", "transformer-lens", "pyvene"))
    for title in options.model:
        try:
            table(title, options.repeats)
        except LapeError as error:
            print(f"\n{title} is skipped: {error}")


def table(title: str, repeats: int) -> None:
    """Checks, times and prints all ways on one model."""
    model, tokenizer = lape.load_model(title, device="cpu", cpu_form="float32")
    reading = Reading.of(model, tokenizer)
    steering = Steering.of(lape.NeuronMask.from_pretrained(model=title), tokenizer)
    recordings, generations, told = checked(model, tokenizer, reading, steering)
    record, generate = median_seconds(recordings, repeats), median_seconds(generations, repeats)
    print(
        f"\n{model.config.name_or_path}: {reading.tokens} tokens in blocks of {reading.block}, {reading.batch} a pass;"
    )
    print(f"{steering.new_tokens} new tokens; medians of {repeats} interleaved repeats\n")
    print(_row(COLUMNS), _row(["---"] * len(COLUMNS)), sep="\n")
    for name in (*FLOORS, *WAYS):
        reduced, generated = record.get((name, REDUCTIONS)), generate.get(name)
        peak = peak_in_a_fresh_process(name, title) if reduced else None
        cells = (
            name,
            reduced and f"{reading.tokens / reduced:.0f}",
            reduced and f"{reduced / record[OURS, REDUCTIONS]:.2f} x",
            (name, SUMS) in record and f"{record[name, SUMS] / record[OURS, REDUCTIONS]:.2f} x",
            told.get((name, "recording")),
            peak and f"{peak / 2**20:.0f} MiB",
            generated and f"{steering.new_tokens / generated:.1f}",
            generated and f"{generated / generate[OURS]:.2f} x",
            told.get((name, "generation")),
        )
        print(_row([cell or "" for cell in cells]), flush=True)


def checked(
    model, tokenizer, reading: Reading, steering: Steering
) -> tuple[dict[tuple[str, str], Work], dict[str, Work], dict[tuple[str, str], str]]:
    """What may be timed, and what is said of each way's results.

    Returns:
        Recordings by way and by how they count; generations by way; by way and task, how the results compare with
        ours, or why the way is skipped.
    """
    recordings: dict[tuple[str, str], Work] = {}
    generations: dict[str, Work] = {}
    told: dict[tuple[str, str], str] = {}
    ours = make(OURS, model, tokenizer, COUNTS[REDUCTIONS])
    recorded, generated = ours.record(reading), ours.generate(steering)
    for name in (*FLOORS, *WAYS):
        try:
            ways = {count: make(name, model, tokenizer, function) for count, function in COUNTS.items()}
        except Exception as error:  # whatever a library does not do is its reason
            told[name, "recording"] = told[name, "generation"] = _skipped(error)
            continue
        if name in FLOORS or name == OURS:  # there is nothing to choose in how they count
            del ways[SUMS]
        try:
            for count, way in ways.items():
                found = way.record(reading)
                if name in WAYS:
                    told[name, "recording"] = check_recorded(found, recorded, reading.tokens)
                recordings[name, count] = partial(way.record, reading)
        except Exception as error:
            told[name, "recording"] = _skipped(error)
        try:
            found = ways[REDUCTIONS].generate(steering)
            if name in WAYS:
                told[name, "generation"] = check_generated(found, generated)
            generations[name] = partial(ways[REDUCTIONS].generate, steering)
        except Exception as error:
            told[name, "generation"] = _skipped(error)
    return recordings, generations, told


def _skipped(error: Exception) -> str:
    """A reason that fits into a cell."""
    first = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return f"skipped: {type(error).__name__}: {first[:200]}"


def _row(cells) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
