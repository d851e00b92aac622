"""Recording and steered generation beside other libraries: `python -m benchmarks.rivals [--model smollm2 gemma]`.

Every way counts the same blocks of text (active neurons, sums, positive sums) and generates under the same edits, on a
model of its own with the same weights. Its results must be ours before it is timed; else the table says why it is not.
Times are medians of repeats in which the ways take turns. Peak memory is that of a recording in a fresh process.
`make bench` installs the libraries in an environment of their own; one that is not installed is skipped.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence

import lape
from benchmarks.interleaved import median_seconds
from benchmarks.machine import machine
from benchmarks.rivals.checking import checked
from benchmarks.rivals.memory import peak_in_a_fresh_process
from benchmarks.rivals.tasks import Reading, Steering
from benchmarks.rivals.ways import COUNTS, OURS, WAYS
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


def main() -> None:
    """Prints a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", nargs="+", default=["smollm2"], help="with bundled masks (default: smollm2)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the libraries' own, about transformers
    print(machine("transformers", "nnsight", "pyvene", "transformer-lens"))
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
    ready = checked(model, tokenizer, reading, steering)
    recording = median_seconds(ready.recordings, repeats)
    generation = median_seconds(ready.generations, repeats)
    plainly, by_sums = COUNTS
    (ours,) = OURS
    print(f"\n{title}: {reading.tokens} tokens in blocks of {reading.block}, {reading.batch} a pass; ", end="")
    print(f"{steering.new_tokens} new tokens; medians of {repeats} interleaved repeats\n")
    print(_row(COLUMNS), _row(["---"] * len(COLUMNS)), sep="\n")
    for name in WAYS:
        cells = [name, "", "", "", ready.counts[name], "", "", "", ready.ids[name]]
        if seconds := recording.get((name, plainly)):
            cells[1:3] = f"{reading.tokens / seconds:.0f}", f"{seconds / recording[ours, plainly]:.2f} x"
            peak = peak_in_a_fresh_process(name, title)
            cells[5] = "not measured" if peak is None else f"{peak / 2**20:.0f} MiB"
        if seconds := recording.get((name, by_sums)):
            cells[3] = f"{seconds / recording[ours, plainly]:.2f} x"
        if seconds := generation.get(name):
            cells[6:8] = f"{steering.new_tokens / seconds:.1f}", f"{seconds / generation[ours]:.2f} x"
        print(_row(cells), flush=True)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
