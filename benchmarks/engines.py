"""transformers and vLLM side by side, recording and steering: `python -m benchmarks.engines PYTHON [--model smollm2]`.

PYTHON is that of vLLM's environment (docs/vllm.md). Each engine has a process of its own; they take turns, and what is
printed is the median over the turns of each. On a CPU both compute in float32.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable

from transformers import AutoTokenizer

import lape
from benchmarks.interleaved import median_seconds
from lape.models.conversion import converted_folder
from lape.models.embedded import GEMMA, SMOLLM2, EmbeddedModel
from lape.serving.engine import ENGINE_SETTINGS, Engine

TOKENS, BLOCK = 8192, 512
ROWS, NEW_TOKENS = 16, 32
PROMPT = "Il était une fois une petite fille qui"
RECORDING, STEERING = "recording", f"{ROWS} rows, half steered"


def main() -> None:
    """Runs the benchmark and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", metavar="PYTHON", help="of the environment that vLLM is installed in")
    parser.add_argument("--model", choices=("gemma", "smollm2"), default="gemma")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--folder", help=argparse.SUPPRESS)  # of the model: a process of ours that measures an engine
    options = parser.parse_args()
    embedded = {"gemma": GEMMA, "smollm2": SMOLLM2}[options.model]
    if options.folder:
        print(json.dumps(measured(embedded, options.folder)))
        return
    folder = converted_folder(embedded)  # the package is in this environment only
    found: dict[str, list[dict[str, float]]] = {"transformers": [], "vllm": []}
    for _ in range(options.turns):
        for engine, python in (("transformers", sys.executable), ("vllm", options.python)):
            command = [python, "-m", "benchmarks.engines", options.python, "--model", options.model, "--folder", folder]
            ran = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            found[engine].append(json.loads(ran.stdout.splitlines()[-1]))
    print(f"tokens/s, medians of {options.turns} turns:")
    for what in (RECORDING, STEERING):
        ours, theirs = (statistics.median(turn[what] for turn in found[engine]) for engine in found)
        print(f"  {what:24} transformers {ours:7.1f}   vLLM {theirs:7.1f}   {theirs / ours:.2f} x")


def measured(embedded: EmbeddedModel, folder: str) -> dict[str, float]:
    """Tokens per second of each task in the engine that is installed, each the median of three runs after one."""
    mask = lape.NeuronMask.from_pretrained(model=embedded.model)
    try:
        ways = in_vllm(mask, embedded, folder)
    except ImportError:
        ways = in_transformers(mask, embedded)
    seconds = median_seconds(ways, repeats=3)
    return {RECORDING: TOKENS / seconds[RECORDING], STEERING: ROWS * NEW_TOKENS / seconds[STEERING]}


def in_transformers(mask: lape.NeuronMask, embedded: EmbeddedModel) -> dict[str, Callable[[], object]]:
    """Both tasks with a model that is loaded here."""
    model, tokenizer = lape.load_model(embedded.model)
    inputs = tokenizer([PROMPT] * ROWS, return_tensors="pt")
    plan = [None, steered(mask)] * (ROWS // 2)
    fixed = {"do_sample": False, "min_new_tokens": NEW_TOKENS, "max_new_tokens": NEW_TOKENS}

    def generate() -> None:
        with lape.intervene(model, plan):
            model.generate(**inputs, **fixed)

    return {RECORDING: lambda: recording(model, tokenizer), STEERING: generate}


def in_vllm(mask: lape.NeuronMask, embedded: EmbeddedModel, folder: str) -> dict[str, Callable[[], object]]:
    """Both tasks with a model that vLLM has."""
    from vllm import LLM, SamplingParams

    room = {"max_model_len": 1024, "kv_cache_memory_bytes": 1 << 30}
    llm = LLM(folder, dtype="float32", **room, **ENGINE_SETTINGS)
    engine = Engine.of(llm, model=embedded.model, revision=mask.metadata["revision"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    fixed = {"temperature": 0, "min_tokens": NEW_TOKENS, "max_tokens": NEW_TOKENS}
    asked = [SamplingParams(**fixed), SamplingParams(**fixed, extra_args={"lape": "steered"})] * (ROWS // 2)

    def generate() -> None:
        with engine.steering({"steered": steered(mask)}):
            engine.llm.generate([PROMPT] * ROWS, asked, use_tqdm=False)

    return {RECORDING: lambda: recording(engine, tokenizer), STEERING: generate}


def steered(mask: lape.NeuronMask) -> lape.Intervention:
    """French off, Spanish on."""
    return lape.Intervention(mask, off="fr", on="es")


def recording(model, tokenizer) -> None:
    """Records some text, with either kind of model."""
    documents = [f"{PROMPT} vivait dans un village au bord de la mer, numéro {n}." for n in range(2000)]
    lape.record(model, tokenizer, {"fr": documents}, tokens=TOKENS, block=BLOCK, progress=False)


if __name__ == "__main__":
    main()
