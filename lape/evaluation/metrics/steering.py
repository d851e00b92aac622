"""Which language a model answers in when neurons are switched, and what that costs.

For ordered pairs of languages: the neurons of the openings' language off, those of the target on; beside it the
untouched model, as many random neurons in the same layers, and a plain instruction. Shares of the outputs in the
target, the source, another and no language, and too short to say, add up to 1. Fluency is the perplexity of the
output after its opening, under the untouched model and without any instruction, so that all conditions are read
alike. It counts the change of language as well, and a text that repeats itself is cheap: read it beside repetition.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import torch

from lape.errors import LapeError
from lape.evaluation.metrics.bootstrap import Figure, draws, mean, ratio
from lape.evaluation.metrics.cells import Cells, fresh
from lape.evaluation.metrics.conditions import (
    BASELINE,
    STEERED,
    Masks,
    Openings,
    Setting,
    baseline_cases,
    controls,
    instruction_cases,
    steered_cases,
)
from lape.evaluation.metrics.continuations import Bench, Case, Kind, Output, continue_cases
from lape.evaluation.metrics.openings import HALVES
from lape.recording.statistics import ActivationStatistics

Pair = tuple[str, str]  # source and target
MEANS = ("repeated_4gram_share", "compression_ratio")


@dataclass(frozen=True)
class PairOutputs:
    """Outputs of one pair under one condition, beside the untouched model's after the same openings."""

    source: str
    target: str
    outputs: Sequence[Output]
    baseline: Sequence[Output]

    def share(self, kind: Kind) -> Figure:
        """Share of the outputs that count as a kind."""
        return self._mean([output.kind(self.source, self.target) == kind for output in self.outputs])

    def log_perplexity(self) -> Figure | None:
        """Nats per token of the outputs under the untouched model; None when there is no token."""
        return self._per_token(self.outputs)

    def fluency_cost(self) -> Figure | None:
        """How much more that is than for the untouched model's own outputs; None when either has no token."""
        after, before = self._per_token(self.outputs), self._per_token(self.baseline)
        if after is None or before is None:
            return None
        return Figure(after.value - before.value, after.resampled - before.resampled)

    def values(self) -> dict[str, Any]:
        """Every figure, as JSON holds it."""
        nats, cost = self.log_perplexity(), self.fluency_cost()
        counts = Counter(output.language or "none" for output in self.outputs)
        written = sum(output.bytes for output in self.outputs)
        bits = sum(output.nll_nats for output in self.outputs) / math.log(2)
        return {
            "prompts": len(self.outputs),
            "target_share": self.share("target").interval(),
            **{f"{kind}_share": self.share(kind).value for kind in get_args(Kind) if kind != "target"},
            "languages": dict(counts.most_common()),
            **{name: self._mean([getattr(output, name) for output in self.outputs]).value for name in MEANS},
            "log_perplexity_nats": nats and nats.interval(),
            "perplexity": nats and math.exp(nats.value),
            "bits_per_byte": bits / written if written else None,
            "fluency_cost_nats": cost and cost.interval(),
            "sample": self.outputs[len(self.outputs) // 2].text,  # by position, not by looks
        }

    def _mean(self, values: Sequence[float]) -> Figure:
        return ratio(values, [1.0] * len(values), draws(len(values), self.source))

    def _per_token(self, outputs: Sequence[Output]) -> Figure | None:
        tokens = [output.tokens for output in outputs]
        if not sum(tokens):
            return None
        found = ratio([output.nll_nats for output in outputs], tokens, draws(len(tokens), self.source))
        return Figure(found.value, torch.nan_to_num(found.resampled, nan=found.value))  # a resample without a token


@dataclass(frozen=True)
class Steering:
    """Every pair under every condition.

    Attributes:
        settings: Pair to the setting it was steered with.
        measured: Pair to condition to outputs.
    """

    settings: Mapping[Pair, Setting]
    measured: Mapping[Pair, Mapping[str, PairOutputs]]

    def values(self) -> dict[str, Any]:
        """Every figure, as JSON holds it.

        Returns:
            `pairs`: source to target to `setting` and `conditions`: name to figures. `averages`: over `all` pairs,
            and those from each `source` and to each `target`: `pairs`, how many, and `conditions`.
        """
        pairs: dict[str, dict[str, Any]] = {}
        for (source, target), conditions in self.measured.items():
            pairs.setdefault(source, {})[target] = {
                "setting": asdict(self.settings[source, target]),
                "conditions": {name: measured.values() for name, measured in conditions.items()},
            }
        averages: dict[str, Any] = {"all": self._average(list(self.measured))}
        for side, name in enumerate(("source", "target")):
            codes = dict.fromkeys(pair[side] for pair in self.measured)
            averages[name] = {code: self._average([p for p in self.measured if p[side] == code]) for code in codes}
        return {"pairs": pairs, "averages": averages}

    def _average(self, pairs: Sequence[Pair]) -> dict[str, Any]:
        names = dict.fromkeys(name for pair in pairs for name in self.measured[pair])
        by_name = {name: [self.measured[p][name] for p in pairs if name in self.measured[p]] for name in names}
        return {"pairs": len(pairs), "conditions": {name: average(found) for name, found in by_name.items()}}


def average(measured: Sequence[PairOutputs]) -> dict[str, Any]:
    """Means over pairs, each pair counting the same; the fluency cost over the pairs that have one."""
    costs = [cost for one in measured if (cost := one.fluency_cost()) is not None]
    return {
        "target_share": mean(one.share("target") for one in measured).interval(),
        **{
            f"{kind}_share": sum(one.share(kind).value for one in measured) / len(measured)
            for kind in get_args(Kind)
            if kind != "target"
        },
        **{
            name: sum(getattr(output, name) for one in measured for output in one.outputs)
            / sum(len(one.outputs) for one in measured)
            for name in MEANS
        },
        "fluency_cost_nats": mean(costs).interval() if costs else None,
    }


def all_pairs(languages: Sequence[str]) -> list[Pair]:
    """Every ordered pair of different languages."""
    return list(itertools.permutations(languages, 2))


def steering(
    bench: Bench,
    masks: Masks,
    openings: Openings,
    settings: Mapping[Pair, Setting],
    *,
    statistics: ActivationStatistics | None = None,
    seeds: Sequence[int] = (0,),
    instructed: bool = True,
    halves: Sequence[str] = HALVES,
    cells: Cells = fresh,
) -> Steering:
    """Continues each source's openings under every condition.

    Args:
        bench: The model and how to measure.
        masks: By top rate.
        openings: Source language to its openings.
        settings: The pairs to measure, and how each is steered.
        statistics: Where the random control's means come from; None leaves the control out.
        seeds: Of the random control.
        instructed: Whether to measure the plain instructions too.
        halves: Which halves of the openings.
        cells: Keeps outputs under keys such as `steered off=en on=fr replace x2 top=0.02 prompts=dev`.

    Returns:
        Conditions `baseline`, `steered`, `random<seed>`, `instruction-english` and `instruction-native`.

    Raises:
        UnknownLabel: A source has no openings, a language is not in the mask, or a top rate has no mask.
        MeansMissing: A mask has no means for a target.
    """
    if not settings:
        raise LapeError("There is no pair of languages to steer; name at least two languages.")
    random = controls(masks, statistics, seeds)
    cases: dict[tuple[Pair, str], list[Case]] = {}
    for (source, target), setting in settings.items():
        found = {
            BASELINE: baseline_cases(openings, source, halves),
            STEERED: steered_cases(openings, masks, source, target, setting, halves),
        }
        for name, control in random.items():
            found[name] = steered_cases(openings, control, source, target, setting, halves, name)
        if instructed:
            found |= instruction_cases(bench.tokenizer, openings, source, target, halves)
        cases |= {((source, target), name): listed for name, listed in found.items()}
    different = {case.key: case for listed in cases.values() for case in listed}
    ordered = sorted(different.values(), key=lambda case: case.prompts != case.openings)  # less padding
    outputs = continue_cases(bench, ordered, cells)
    measured: dict[Pair, dict[str, PairOutputs]] = {}
    for (pair, name), listed in cases.items():
        together, before = (
            [output for case in some for output in outputs[case.key]] for some in (listed, cases[pair, BASELINE])
        )
        measured.setdefault(pair, {})[name] = PairOutputs(*pair, together, before)
    return Steering(settings, measured)
