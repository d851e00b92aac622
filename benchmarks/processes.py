"""Two single-threaded processes over one, recording the same text: `python -m benchmarks.processes [--model smollm2]`.

Prints the ratio of the medians of interleaved repeats, from the first batch to the statistics that all have, and
whether the counts are identical; wanted: at least 1.8 on two free cores. Models are loaded once, before the clock runs.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from statistics import median

import torch

import lape
from lape.processes import joined

BLOCK, BATCH = 512, 2
TEXTS = {
    "fr": "Le village numéro {} se trouve au bord de la mer, et ses habitants vivent de la pêche.",
    "de": "Das Dorf Nummer {} liegt am Meer, und seine Bewohner leben vom Fischfang und vom Handel.",
}
NUMBER = 2


def main() -> None:
    """Starts the processes; each runs `measure`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=8192, help="per language (default: %(default)s)")
    parser.add_argument("--model", help="preset, Hub id or folder (default: the embedded one)")
    options = parser.parse_args()
    if "RANK" in os.environ:
        measure(options)
        return
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1]), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "benchmarks.processes", *sys.argv[1:]]
    started = [
        subprocess.Popen(words, env={**os.environ, **address, "RANK": str(rank), "WORLD_SIZE": str(NUMBER)})
        for rank in range(NUMBER)
    ]
    sys.exit(max(process.wait() for process in started))


def measure(options: argparse.Namespace) -> None:
    """What each process does: records with the other, and waits while the first records alone."""
    model, tokenizer = lape.load_model(options.model, device="cpu")
    texts = {code: [text.format(number) for number in range(options.tokens // 8)] for code, text in TEXTS.items()}
    given = {"tokens": options.tokens, "block": BLOCK, "batch": BATCH, "progress": False}
    seconds: dict[str, list[float]] = {"one": [], "two": []}
    with joined() as processes:
        for repeat in range(options.repeats + 1):
            for way in ("one", "two")[:: -1 if repeat % 2 else 1]:
                processes.gathered(way)  # begin together
                began = time.perf_counter()
                if way == "two":
                    shared = lape.record(model, tokenizer, texts, **given, processes=processes)
                elif processes.first:
                    alone = lape.record(model, tokenizer, texts, **given)
                processes.gathered(way)
                if repeat:  # the first warms up
                    seconds[way].append(time.perf_counter() - began)
        if not processes.first:
            return
    one, two = (median(seconds[way]) for way in ("one", "two"))
    for name in ("active", "sum", "positive_sum"):
        of_one, of_two = getattr(alone, name), getattr(shared, name)
        same = all(torch.equal(of_one[code], of_two[code]) for code in texts)
        print(f"{name}: {'identical' if same else 'not identical'}")
    print(f"{options.tokens} tokens of {len(texts)} languages: one process {one:.1f} s, {NUMBER} {two:.1f} s,")
    print(f"{one / two:.2f} x, medians of {options.repeats} interleaved repeats")


if __name__ == "__main__":
    main()
