"""Cost of recording and of interventions on the embedded model: `python -m benchmarks.speed [--model smollm2]`.

Prints ratios of medians over interleaved repeats with fixed token counts:

- recording (`lape.record`: counts and both sums) over a plain full forward pass of the same blocks, and over the
  decoder alone, without the language-model head; beside it the naive way: full forward pass, float comparison in a
  hook, sum over positions;
- `model.generate` under an intervention over plain `model.generate`;
- three columns of `lape.side_by_side` over one plain `model.generate`, in wall time.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack

import torch

import lape
from benchmarks.interleaved import median_seconds
from lape.recording.blocks import token_blocks

BLOCK, BLOCKS, BATCH = 512, 4, 2
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
    recording = median_seconds(recording_ways(model, tokenizer), repeats)
    tokens = BLOCK * BLOCKS
    print(f"Recording, {tokens} tokens in blocks of {BLOCK}, medians of {repeats} interleaved repeats:")
    for name, seconds in recording.items():
        plain, alone = recording["plain forward"] / seconds, recording["decoder alone"] / seconds
        print(
            f"  {name:16} {tokens / seconds:7.1f} tokens/s   {plain:.2f} x the plain pass, {alone:.2f} x the decoder's"
        )
    generation = median_seconds(generation_ways(model, tokenizer, options.model), repeats)
    print(f"Generation, {NEW_TOKENS} new tokens, medians of {repeats} interleaved repeats:")
    plain = generation["plain generate"]
    print(f"  plain generate, one row    {plain:6.2f} s")
    print(f"  under an intervention      {plain / generation['intervention']:6.2f} x the speed of plain generate")
    print(f"  three columns              {generation['three columns'] / plain:6.2f} x the time of plain generate")


def recording_ways(model, tokenizer) -> dict:
    """Recording, the plain forward pass and the naive counter, all over the same blocks."""
    documents = [f"{PROMPT} vivait dans un village au bord de la mer, numéro {n}." for n in range(400)]
    blocks = [block for _, block in zip(range(BLOCKS), token_blocks(tokenizer, documents, BLOCK), strict=False)]
    batches = torch.stack(blocks).split(BATCH)
    sites = lape.activation_sites(model)

    def plain() -> None:
        with torch.no_grad():
            for batch in batches:
                model(input_ids=batch, use_cache=False)

    def alone() -> None:
        with torch.no_grad():
            for batch in batches:
                sites.decoder(input_ids=batch, use_cache=False)

    def naive() -> None:
        counts = torch.zeros(sites.shape)
        with ExitStack() as stack:
            for layer, module in enumerate(sites.modules):

                def count(_module, _inputs, output, layer=layer) -> None:
                    counts[layer] += (output > 0).float().sum(dim=(0, 1))

                stack.callback(module.register_forward_hook(count).remove)
            plain()

    def recording() -> None:
        lape.record(model, tokenizer, {"fr": documents}, tokens=BLOCK * BLOCKS, batch=BATCH, progress=False)

    return {"plain forward": plain, "decoder alone": alone, "lape.record": recording, "naive counter": naive}


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
