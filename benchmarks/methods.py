"""What each method of identification costs, over LAPE's: `python -m benchmarks.methods [--model smollm2]`.

Two parts: the recording that a method reads, made of the same text as the statistics that LAPE reads, and
identification from it with as many neurons for every language. Printed are ratios to LAPE's, from medians of repeats
that take turns, and the resident peak of identification above its input.
"""

from __future__ import annotations

import argparse
from functools import partial

import lape
from benchmarks.interleaved import median_seconds
from benchmarks.machine import machine
from lape.evaluation.metrics.memory import peak_bytes
from lape.evaluation.metrics.openings import openings
from lape.identify import METHODS, identify, reads
from lape.recording.beside import RECORDINGS
from lape.recording.statistics import ActivationStatistics

LANGUAGES = ("en", "fr", "ru", "zh")
TOKENS, BLOCK = 1024, 128  # of each language
PER_LANGUAGE = 20


def main() -> None:
    """Runs the benchmark and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="smollm2", help="preset, Hub id or folder (default: %(default)s)")
    options = parser.parse_args()
    model, tokenizer = lape.load_model(options.model, device="cpu", cpu_form="float32")
    corpora = {code: [f"{text} {number}" for number in range(10) for text in openings(code)] for code in LANGUAGES}
    settings = {"tokens": TOKENS, "block": BLOCK, "batch": 2, "progress": False}
    makers = {ActivationStatistics: lape.record, **{each.kind: each.record for each in RECORDINGS.values()}}
    records = {kind.__name__: partial(make, model, tokenizer, corpora, **settings) for kind, make in makers.items()}
    recorded = {kind: records[kind.__name__]() for kind in makers}
    recording = median_seconds(records, options.repeats)
    finders = {name: partial(identify, recorded[reads(name)], name, per_language=PER_LANGUAGE) for name in METHODS}
    finding = median_seconds(finders, options.repeats)
    print(machine("transformers"))
    print(f"{options.model}, {len(LANGUAGES)} x {TOKENS:,} tokens, medians of {options.repeats} interleaved repeats\n")
    print("| method | recording, x LAPE's | identification, x LAPE's | its peak, MB |\n|---|---:|---:|---:|")
    for name, find in finders.items():
        kind = reads(name).__name__
        ratios = recording[kind] / recording["ActivationStatistics"], finding[name] / finding["lape"]
        print(f"| {name} | {ratios[0]:.1f} | {ratios[1]:.1f} | {peak_bytes(find) / 1e6:.0f} |")


if __name__ == "__main__":
    main()
