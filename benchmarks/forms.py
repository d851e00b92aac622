"""CPU forms side by side: `python -m benchmarks.forms [--model smollm2]`.

The model is loaded once in each form. In turn, each generates a prompt of fixed length as one row and as three columns,
plainly and with neurons switched in two of them. Printed are medians and their ratio to one float32 row; and how far
the next-token distributions lie from float32's over the prompt's continuation, token by token.
"""

from __future__ import annotations

import argparse
import time
from typing import get_args

import torch

import lape
from benchmarks.interleaved import median_seconds
from benchmarks.speed import NEW_TOKENS, PROMPT
from lape.models.cpu_forms import CpuForm, best_form, small_weights


def main() -> None:
    """Runs the benchmark and prints a line for each form."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--model", help="preset, Hub id or folder (default: the embedded one)")
    options = parser.parse_args()
    every: tuple[CpuForm, ...] = get_args(CpuForm)
    forms = every[: every.index(best_form()) + 1]
    models = {form: lape.load_model(options.model, device="cpu", cpu_form=form) for form in forms}
    mask = lape.NeuronMask.from_pretrained(model=options.model)
    steered = lape.Intervention(mask, off="fr", on="es")
    off = lape.Intervention(mask, off="fr")
    first_seconds: dict[CpuForm, list[float]] = {form: [] for form in forms}

    def generating(form: CpuForm, variants: dict) -> object:
        def generate() -> None:
            began = time.perf_counter()
            updates = lape.side_by_side(*models[form], PROMPT, variants, max_new_tokens=NEW_TOKENS)
            next(updates)
            if len(variants) > 1:
                first_seconds[form].append(time.perf_counter() - began)
            *_, last = updates
            if set(last.new_tokens.values()) != {NEW_TOKENS}:
                raise SystemExit(f"A column ended early ({dict(last.new_tokens)}); choose another model or prompt.")

        return generate

    ways = {}
    for form in forms:
        ways[form, "one row"] = generating(form, {"on": None})
        ways[form, "three rows"] = generating(form, dict.fromkeys(("1", "2", "3")))
        ways[form, "three columns"] = generating(form, {"on": None, "off": off, "steered": steered})
    seconds = median_seconds(ways, options.repeats)
    one = seconds["float32", "one row"]
    print(f"{NEW_TOKENS} new tokens, medians of {options.repeats} interleaved repeats; distances in nats per token:")
    for form in forms:
        columns, rows = seconds[form, "three columns"], seconds[form, "three rows"]
        firsts = sorted(first_seconds[form])
        print(
            f"  {form:8} one row {NEW_TOKENS / seconds[form, 'one row']:5.1f} tokens/s, three columns "
            f"{NEW_TOKENS / columns:5.1f} each, {columns / one:.2f} x the time of one float32 row, first token "
            f"{firsts[len(firsts) // 2]:.2f} s; switched {rows / columns:.2f} x the speed of plain; "
            f"distance {distance(models, form):.4f}"
        )


def distance(models: dict, form: CpuForm) -> float:
    """Mean Kullback-Leibler divergence of a form's next-token distributions from float32's, token by token."""
    model, tokenizer = models["float32"]
    inputs = tokenizer(PROMPT, return_tensors="pt")
    ids = model.generate(**inputs, do_sample=False, min_new_tokens=NEW_TOKENS, max_new_tokens=NEW_TOKENS)
    found = []
    with torch.no_grad():
        for each in ("float32", form):
            other = models[each][0]
            with small_weights(other):
                cache, steps = None, []
                for token in ids[0]:
                    output = other(token.view(1, 1), past_key_values=cache, use_cache=True)
                    cache = output.past_key_values
                    steps.append(output.logits[0, -1].log_softmax(-1))
            found.append(torch.stack(steps))
    exact, near = found
    return float((exact.exp() * (exact - near)).sum(-1).mean())


if __name__ == "__main__":
    main()
