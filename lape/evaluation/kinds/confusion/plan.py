"""Prompts of the Language Confusion Benchmark answered with and without the neurons that keep a language, as work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lape.evaluation.kinds.confusion.section import begun, passed
from lape.evaluation.kinds.steered import judge_of, output_settings, own_rate, second_judge
from lape.evaluation.kinds.wording import untold_text
from lape.evaluation.metrics.cells import Cells
from lape.evaluation.metrics.conditions import BASELINE, controls
from lape.evaluation.metrics.confusion.answers import KEPT, answer, keeping
from lape.evaluation.metrics.confusion.prompts import GET_IT, LANGUAGES, is_benchmark, read_benchmark
from lape.evaluation.metrics.confusion.rates import mean_rates
from lape.evaluation.metrics.continuations import Bench
from lape.evaluation.runs.evidence import json_hash
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options, Work
from lape.generation.settings import MODE, STRENGTH


def benchmark_named(subject: Subject, options: Options) -> str | None:
    """Needs the benchmark's folder."""
    return None if is_benchmark(options.prompts) else f"it needs the Language Confusion Benchmark. {GET_IT}"


def plan(subject: Subject, options: Options) -> Work:
    """The benchmark's prompts answered with and without the neurons that keep a language, and with random ones.

    Raises:
        LapeError: There is no benchmark in these languages, or no such identifier.
        MeansMissing: The mask has no means for a language.
    """
    mask, mode = subject.whole_mask, options.mode or MODE
    strength = STRENGTH if options.strength is None else options.strength
    judge, second = judge_of(subject, options, LANGUAGES), second_judge(subject, options, LANGUAGES)
    untold = {code: reason for code in subject.mask.languages for reason in judge.untold([code]).values()}
    told = [code for code in subject.mask.languages if code not in untold]
    benchmark = read_benchmark(options.prompts, told, options.items, options.seed)
    asked = {code for _, _, code in benchmark.prompts}
    for code in asked:
        keeping(mask, code, mode, strength)
    random = controls({None: mask}, subject.statistics, options.output_seeds)
    masks = {KEPT: mask, **{name: found[None] for name, found in random.items()}}
    described = output_settings(
        subject,
        options,
        {"/".join(place): prompts for place, prompts in benchmark.prompts.items()},
        {own_rate(subject): mask},
        mode=mode,
        strength=strength,
        conditions=[BASELINE, *masks],
        items=options.items,
        seed=options.seed,
        dictionary=benchmark.dictionary and json_hash(sorted(benchmark.dictionary)),
    )

    def measure(cells: Cells) -> dict[str, Any]:
        bench = Bench(*subject.loaded, judge, options.decoding)
        found = answer(bench, benchmark, masks, mode=mode, strength=strength, cells=cells)
        return {
            "tasks": found.values(judge),
            "second_opinion": second
            and {
                "identifier": second[0],
                "tasks": {
                    task: {
                        name: mean_rates(found.rates(second[1], task, name).values()).values()
                        for name in found.conditions
                    }
                    for task in found.tasks
                },
            },
            "too_long": benchmark.too_long,
            "with_dictionary": benchmark.dictionary is not None,
            "without_prompts": [code for code in told if code not in asked],
            "untold": untold,
        }

    def summary(results: Mapping[str, Any]) -> str:
        said = [
            f"{begun(task)}, {passed(found['averages'], KEPT)} of the answers keep to the "
            f"language in every line with its neurons on and all others off, untouched "
            f"{passed(found['averages'], BASELINE)}."
            for task, found in results["tasks"].items()
        ]
        return " ".join([*said, *untold_text(results, described)])

    cells = len(benchmark.prompts) * (1 + len(masks))
    return Work("Language confusion: answers in the language that was asked for", described, cells, measure, summary)
