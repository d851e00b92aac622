"""How the cost of recording grows: `python -m benchmarks.growth [--model smollm2]`.

One setting at a time is changed: the number of languages, the blocks per pass, the tokens per block. Printed is the
time per token over that of the default setting, from medians of repeats in which the settings take turns. The tokens
of a language stay the same, so that 1 x says that the cost of a recording is that of its tokens.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import partial

import lape
from benchmarks.interleaved import median_seconds
from benchmarks.machine import machine
from benchmarks.rivals.tasks import BATCH, BLOCK, documents

TOKENS = 2048  # of each language


@dataclass(frozen=True)
class Setting:
    """Of a recording."""

    languages: int = 1
    batch: int = BATCH
    block: int = BLOCK

    def record(self, model, tokenizer) -> None:
        """Records so, the same text for every language."""
        corpora = dict.fromkeys((f"l{number}" for number in range(self.languages)), documents(TOKENS))
        settings = {"tokens": TOKENS, "block": self.block, "batch": self.batch, "progress": False}
        lape.record(model, tokenizer, corpora, **settings)


DEFAULT = Setting()
CHANGES = {"languages": (2, 4), "batch": (1, 4), "block": (64, 128, 256, 1024)}


def main() -> None:
    """Runs the benchmark and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default="smollm2", help="preset, Hub id or folder (default: %(default)s)")
    options = parser.parse_args()
    model, tokenizer = lape.load_model(options.model, device="cpu", cpu_form="float32")
    settings = [DEFAULT, *(replace(DEFAULT, **{name: to}) for name, values in CHANGES.items() for to in values)]
    seconds = median_seconds({each: partial(each.record, model, tokenizer) for each in settings}, options.repeats)
    per_token = {each: seconds[each] / (each.languages * TOKENS) for each in settings}
    print(machine("transformers"))
    print(f"{options.model}, medians of {options.repeats} interleaved repeats")
    print(f"{DEFAULT}: {1 / per_token[DEFAULT]:.0f} tokens/s\n")
    print("| changed | time per token over the default's |\n|---|---|")
    for name, values in CHANGES.items():
        for value in values:
            print(f"| {name} {value} | {per_token[replace(DEFAULT, **{name: value})] / per_token[DEFAULT]:.2f} x |")


if __name__ == "__main__":
    main()
