"""Whether a model still goes on in the language of a text when that language's neurons are off.

Beside it the untouched model, and as many random neurons off in the same layers. Everything else is as in steering.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lape.evaluation.metrics.bootstrap import Figure, draws, mean, ratio
from lape.evaluation.metrics.cells import Cells, fresh
from lape.evaluation.metrics.conditions import BASELINE, Openings, baseline_cases, off_cases
from lape.evaluation.metrics.continuations import Bench, Case, Output, continue_cases
from lape.evaluation.metrics.openings import HALVES
from lape.masks.mask import NeuronMask

OFF = "off"


def language_retention(
    bench: Bench,
    mask: NeuronMask,
    openings: Openings,
    *,
    seeds: Sequence[int] = (0,),
    halves: Sequence[str] = HALVES,
    cells: Cells = fresh,
) -> dict[str, Any]:
    """Continues each language's openings with its neurons on and off.

    Args:
        bench: The model and how to measure.
        mask: Whose neurons go off; languages without openings are left out.
        openings: Language to its openings.
        seeds: Of the random control.
        halves: Which halves of the openings.
        cells: Keeps outputs under keys such as `off off=fr prompts=dev`.

    Returns:
        `languages`: code to `neurons`, and `conditions`: `baseline`, `off` and `random<seed>` to `retained_share`, the
        share of the outputs in the language, `gibberish_share`, `languages`, the number of outputs in each, and a
        `sample`. `averages`: condition to `retained_share`, each language counting the same.
    """
    plans = {OFF: mask, **{f"random{seed}": mask.random_like(None, seed) for seed in seeds}}
    cases: dict[tuple[str, str], list[Case]] = {}
    for code in (code for code in mask.languages if code in openings):
        cases[code, BASELINE] = baseline_cases(openings, code, halves)
        for name, switched in plans.items():
            cases[code, name] = off_cases(openings, switched, code, halves, name)
    outputs = continue_cases(bench, [case for listed in cases.values() for case in listed], cells)
    figures: dict[str, list[Figure]] = {}
    languages: dict[str, dict[str, Any]] = {}
    for (code, name), listed in cases.items():
        made = [output for case in listed for output in outputs[case.key]]
        share = retained_share(made, code)
        figures.setdefault(name, []).append(share)
        found = languages.setdefault(code, {"neurons": mask.count(code), "conditions": {}})
        found["conditions"][name] = {
            "retained_share": share.interval(),
            "gibberish_share": sum(output.gibberish for output in made) / len(made),
            "languages": dict(Counter(output.language or "none" for output in made).most_common()),
            "sample": made[len(made) // 2].text,  # by position, not by looks
        }
    averages = {name: {"retained_share": mean(shares).interval()} for name, shares in figures.items()}
    return {"languages": languages, "averages": averages}


def retained_share(outputs: Sequence[Output], code: str) -> Figure:
    """Share of the outputs that are in a language; one in no language is in none."""
    inside = [output.kind(code, code) == "target" for output in outputs]
    return ratio(inside, [1.0] * len(inside), draws(len(inside), code))
