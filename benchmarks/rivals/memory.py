"""Peak memory of one way's recording, in a process of its own: `python -m benchmarks.rivals.memory WAY MODEL`."""

from __future__ import annotations

import subprocess
import sys

import lape
from benchmarks.rivals.tasks import Reading, count_plainly
from benchmarks.rivals.ways import make
from lape.evaluation.metrics.memory import peak_bytes


def main(name: str, title: str) -> None:
    """Prints the bytes above what the loaded model takes."""
    model, tokenizer = lape.load_model(title, device="cpu", cpu_form="float32")
    way = make(name, model, tokenizer, count_plainly)
    way.record(Reading.of(model, tokenizer, block=8, blocks=1, batch=1))  # weights are read when they are first used
    reading = Reading.of(model, tokenizer)
    print(peak_bytes(lambda: way.record(reading)))


def peak_in_a_fresh_process(name: str, title: str) -> int | None:
    """The bytes, from a fresh process; None where they cannot be measured."""
    command = [sys.executable, "-m", "benchmarks.rivals.memory", name, title]
    run = subprocess.run(command, capture_output=True, text=True)
    return None if run.returncode else int(run.stdout.split()[-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
