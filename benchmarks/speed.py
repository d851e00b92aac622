"""Cost of interventions on the embedded model: `python -m benchmarks.speed [--model smollm2]`.

Prints ratios of medians over interleaved repeats with fixed token counts:

- `model.generate` under an intervention over plain `model.generate`;
- three columns of `lape.side_by_side` over one plain `model.generate`, in wall time.

What recording costs beside plain passes and beside other libraries: `benchmarks/rivals/`.
"""

from __future__ import annotations

import argparse

import lape
from benchmarks.interleaved import median_seconds

NEW_TOKENS = 32
PROMPT = "Il était une fois une petite fille qui"


def main() -> None:
    """Runs the benchmark and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--model", help="preset, Hub id or folder (default: the embedded one)")
    options = parser.parse_args()
    repeats = options.repeats
    model, tokenizer = lape.load_model(options.model)
    generation = median_seconds(generation_ways(model, tokenizer, options.model), repeats)
    print(f"Generation, {NEW_TOKENS} new tokens, medians of {repeats} interleaved repeats:")
    plain = generation["plain generate"]
    print(f"  plain generate, one row    {plain:6.2f} s")
    print(f"  under an intervention      {plain / generation['intervention']:6.2f} x the speed of plain generate")
    print(f"  three columns              {generation['three columns'] / plain:6.2f} x the time of plain generate")


def generation_ways(model, tokenizer, name: str | None) -> dict:
    """Plain generation, the same under an intervention, and three columns, all of a fixed length."""
    mask = lape.NeuronMask.from_pretrained(model=name)
    off = lape.Intervention(mask, off="fr")
    steered = lape.Intervention(mask, off="fr", on="es", strength=1.5)
    inputs = tokenizer(PROMPT, return_tensors="pt")
    fixed = {"do_sample": False, "min_new_tokens": NEW_TOKENS, "max_new_tokens": NEW_TOKENS}

    def plain() -> None:
        model.generate(**inputs, **fixed)

    def intervened() -> None:
        with lape.intervene(model, steered):
            model.generate(**inputs, **fixed)

    def columns() -> None:
        variants = {"on": None, "off": off, "steered": steered}
        *_, last = lape.side_by_side(model, tokenizer, PROMPT, variants, max_new_tokens=NEW_TOKENS)
        if set(last.new_tokens.values()) != {NEW_TOKENS}:
            raise SystemExit(f"A column ended early ({dict(last.new_tokens)}); the comparison needs fixed lengths.")

    return {"plain generate": plain, "intervention": intervened, "three columns": columns}


if __name__ == "__main__":
    main()
