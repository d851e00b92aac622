"""Answers in a language that was asked for, with and without the neurons that keep it.

Each prompt is answered by the untouched model (`baseline`), with the language's neurons on and those of all others off
(`kept`), and with as many random neurons of the same layers switched alike. A base model reads the prompt as it is, a
chat model through its chat template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.evaluation.metrics.bootstrap import Figure, mean
from lape.evaluation.metrics.cells import Cells, fresh
from lape.evaluation.metrics.conditions import BASELINE
from lape.evaluation.metrics.confusion.prompts import Benchmark, Place
from lape.evaluation.metrics.confusion.rates import Rates, mean_rates, pass_rates, verdict
from lape.evaluation.metrics.continuations import Bench, Case, Output, continue_cases
from lape.evaluation.metrics.language import Identifier
from lape.evaluation.metrics.steering import PairOutputs
from lape.generation.interventions import Intervention
from lape.generation.prompts import Prompt
from lape.generation.settings import MODE, STRENGTH, Mode
from lape.masks.mask import NeuronMask

KEPT = "kept"  # the language's neurons on, those of all others off


@dataclass(frozen=True)
class Answers:
    """The answers to a benchmark under every condition.

    Attributes:
        benchmark: What was asked.
        outputs: Place of a prompt's file, then condition, to the answers.
    """

    benchmark: Benchmark
    outputs: Mapping[Place, Mapping[str, Sequence[Output]]]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Those that were asked in, in the benchmark's order."""
        return tuple(dict.fromkeys(task for task, _, _ in self.outputs))

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions, the untouched model first."""
        return tuple(next(iter(self.outputs.values())))

    def rates(self, identifier: Identifier, task: str, condition: str) -> dict[str, Rates]:
        """The pass rates of each language.

        Args:
            identifier: Tells the languages of lines.
            task: `monolingual` or `crosslingual`.
            condition: What the answers were made under.
        """
        return {
            code: pass_rates(
                {
                    source: [verdict(output.text, code, identifier, self.benchmark.dictionary) for output in answers]
                    for source, answers in self._by_source(task, code, condition).items()
                },
                f"{task} {code}",
            )
            for code in self._languages(task)
        }

    def values(self, identifier: Identifier) -> dict[str, Any]:
        """Every figure, as JSON holds it.

        Returns:
            Task to `languages`: code to `prompts`, how many, and `conditions`; and `averages`: condition to means over
            languages. Of a condition: `line_pass_rate`, `word_pass_rate` and `line_and_word_pass_rate`, each None
            where there was nothing to count, `line_pass_change`, by how much the first differs from the untouched
            model's, paired prompt by prompt, `repeated_4gram_share` and `fluency_cost_nats`; of a language
            also a `sample`.
        """
        return {task: self._task(identifier, task) for task in self.tasks}

    def _task(self, identifier: Identifier, task: str) -> dict[str, Any]:
        rates = {name: self.rates(identifier, task, name) for name in self.conditions}
        changes: dict[str, list[Figure]] = {name: [] for name in rates}
        costs: dict[str, list[Figure]] = {name: [] for name in rates}
        languages: dict[str, Any] = {}
        for code in self._languages(task):
            before, found = self._all(task, code, BASELINE), {}
            for name in rates:
                answers = self._all(task, code, name)
                change = _change(rates[name][code], rates[BASELINE][code])
                cost = [] if (one := PairOutputs(code, code, answers, before).fluency_cost()) is None else [one]
                changes[name] += change
                costs[name] += cost
                found[name] = {
                    **rates[name][code].values(),
                    "line_pass_change": _mean(change),
                    "repeated_4gram_share": _repeated(answers),
                    "fluency_cost_nats": _mean(cost),
                    "sample": answers[len(answers) // 2].text,  # by position, not by looks
                }
            languages[code] = {"prompts": len(before), "conditions": found}
        averages = {
            name: {
                **mean_rates(rates[name].values()).values(),
                "line_pass_change": _mean(changes[name]),
                "repeated_4gram_share": _repeated([one for code in languages for one in self._all(task, code, name)]),
                "fluency_cost_nats": _mean(costs[name]),
            }
            for name in rates
        }
        return {"languages": languages, "averages": averages}

    def _languages(self, task: str) -> list[str]:
        return list(dict.fromkeys(code for asked, _, code in self.outputs if asked == task))

    def _by_source(self, task: str, code: str, condition: str) -> dict[str, Sequence[Output]]:
        return {
            place[1]: found[condition] for place, found in self.outputs.items() if (place[0], place[2]) == (task, code)
        }

    def _all(self, task: str, code: str, condition: str) -> list[Output]:
        return [output for answers in self._by_source(task, code, condition).values() for output in answers]


def answer(
    bench: Bench,
    benchmark: Benchmark,
    masks: Mapping[str, NeuronMask],
    *,
    mode: Mode = MODE,
    strength: float = STRENGTH,
    cells: Cells = fresh,
) -> Answers:
    """Has every prompt answered under every condition.

    Args:
        bench: The model and how to measure.
        benchmark: The prompts.
        masks: Condition to the mask that keeps the language; as `kept_masks` gives them.
        mode: How the language is switched on.
        strength: Its factor.
        cells: Keeps answers under keys such as `kept on=fr replace x1.25 prompts=monolingual/okapi`.

    Raises:
        UnknownLabel: A language is not in a mask.
        MeansMissing: A mask has no means for one.
    """
    cases = {}
    by_length = sorted(benchmark.prompts.items(), key=lambda item: max(map(len, item[1])))  # less padding
    for place, prompts in by_length:
        task, source, code = place
        asked = f"prompts={task}/{source}"
        openings, given = _asked(bench.tokenizer, prompts)
        cases[place, BASELINE] = Case(f"{BASELINE} language={code} {asked}", openings, given)
        for name, mask in masks.items():
            kept = keeping(mask, code, mode, strength)
            cases[place, name] = Case(f"{name} on={code} {mode} x{strength:g} {asked}", openings, given, kept)
    made = continue_cases(bench, list(cases.values()), cells)
    outputs: dict[Place, dict[str, Sequence[Output]]] = {}
    for (place, name), case in cases.items():
        outputs.setdefault(place, {})[name] = made[case.key]
    return Answers(benchmark, {place: outputs[place] for place in benchmark.prompts})


def keeping(mask: NeuronMask, code: str, mode: Mode = MODE, strength: float = STRENGTH) -> Intervention:
    """What keeps a language: its neurons on, those of all others off."""
    others = [other for other in mask.languages if other != code]
    return Intervention(mask, off=others, on=code, mode=mode, strength=strength)


def _asked(tokenizer: Tokenizer, prompts: Sequence[str]) -> tuple[Sequence[str], Sequence[Prompt]]:
    """What answers are read after, in a chat each on a line of its own, and what the model is given."""
    if tokenizer.chat_template is None:
        return prompts, prompts
    return [f"{prompt}\n" for prompt in prompts], [[{"role": "user", "content": prompt}] for prompt in prompts]


def _change(rates: Rates, before: Rates) -> list[Figure]:
    """By how much the line pass rate differs; nothing where one of the two has none."""
    if rates.line is None or before.line is None:
        return []
    return [Figure(rates.line.value - before.line.value, rates.line.resampled - before.line.resampled)]


def _mean(figures: Sequence[Figure]) -> dict[str, float] | None:
    return mean(figures).interval() if figures else None


def _repeated(answers: Sequence[Output]) -> float:
    return sum(output.repeated_4gram_share for output in answers) / len(answers)
