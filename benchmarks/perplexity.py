"""What the perplexity matrix costs over its forward passes alone, on the embedded model.

`python -m benchmarks.perplexity [--model smollm2]` prints the ratio of the medians of interleaved repeats: `compare`,
from blocks of tokens to the figures with their intervals, over the plain `model(...)` of the same rows in the same
batches. Wanted: at most 1.1.
"""

from __future__ import annotations

import argparse

import torch

import lape
from benchmarks.interleaved import median_seconds
from lape.evaluation.metrics.dominance import compare
from lape.evaluation.metrics.likelihood import rows_per_pass
from lape.evaluation.metrics.perplexity import text_blocks

LANGUAGES = ("fr", "de")
TOKENS, BLOCK = 1024, 128
TEXTS = {
    "fr": "Le village numéro {} se trouve au bord de la mer, et ses habitants vivent de la pêche.",
    "de": "Das Dorf Nummer {} liegt am Meer, und seine Bewohner leben vom Fischfang und vom Handel.",
}


def main() -> None:
    """Runs the benchmark and prints the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", help="preset, Hub id or folder (default: the embedded one)")
    options = parser.parse_args()
    repeats = options.repeats
    model, tokenizer = lape.load_model(options.model)
    masks = {"lape": lape.NeuronMask.from_pretrained(model=options.model)}
    texts = text_blocks(
        tokenizer,
        {code: [TEXTS[code].format(number) for number in range(100)] for code in LANGUAGES},
        tokens=TOKENS,
        block=BLOCK,
    )
    rows = [block for blocks in texts.values() for _condition in range(1 + len(LANGUAGES)) for block in blocks]
    batches = torch.stack(rows).split(rows_per_pass(model, BLOCK))

    def matrix() -> None:
        compare(model, tokenizer, texts, masks, {})

    def passes() -> None:
        with torch.no_grad():
            for batch in batches:
                model(input_ids=batch, use_cache=False)

    seconds = median_seconds({"matrix": matrix, "forward passes": passes}, repeats)
    tokens = len(rows) * BLOCK
    print(f"{len(rows)} rows of {BLOCK} tokens, {len(batches[0])} a pass, medians of {repeats} interleaved repeats:")
    for name, value in seconds.items():
        print(f"  {name:16} {value:7.2f} s {tokens / value:8.1f} tokens/s")
    print(f"  ratio            {seconds['matrix'] / seconds['forward passes']:7.3f}")


if __name__ == "__main__":
    main()
