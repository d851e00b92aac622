"""Choose how to steer on the dev half of the openings, and report on the test half.

Nothing of the test half is read before the settings are chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lape.errors import LapeError
from lape.evaluation.metrics.cells import Cells, fresh
from lape.evaluation.metrics.conditions import Masks, Off, Openings, Setting, baseline_cases, steered_cases
from lape.evaluation.metrics.continuations import Bench, continue_cases
from lape.evaluation.metrics.openings import DEV, TEST
from lape.evaluation.metrics.steering import Pair, PairOutputs, Steering, average, steering
from lape.generation.settings import Mode
from lape.recording.statistics import ActivationStatistics

RULE = (
    "highest share in the target language; among equals the highest mean over it and its neighbours in strength and "
    "top rate, one outside of the grid counting 0; then the lowest fluency cost, then the first of the grid"
)
TOP_RATES = (0.01, 0.02, 0.03, 0.05)
STRENGTHS: Mapping[Mode, Sequence[float]] = {
    "replace": (1, 1.5, 2, 2.5, 3),
    "add": (1, 1.5, 2, 2.5, 3),
    "scale": (2, 4, 8),
}
OFFS: tuple[Off, ...] = ("source", "others")

Sweep = Mapping[Pair, Mapping[Setting, PairOutputs]]


def grid(
    masks: Masks, strengths: Mapping[Mode, Sequence[float]] = STRENGTHS, offs: Sequence[Off] = OFFS
) -> list[Setting]:
    """Every combination of a top rate, what goes off, and a mode with its strengths."""
    return [
        Setting(mode, value, rate, off)
        for rate in masks
        for off in offs
        for mode, values in strengths.items()
        for value in values
    ]


@dataclass(frozen=True)
class Tuning:
    """What was tried on the dev half, and what it came to on the test half.

    Attributes:
        sweep: Pair to setting to the outputs on the dev half.
        common: The setting that is best over all pairs.
        tuned: The test half, each pair with its own best setting.
        fixed: The test half, all pairs with the common one.
    """

    sweep: Sweep
    common: Setting
    tuned: Steering
    fixed: Steering

    def values(self) -> dict[str, Any]:
        """Every figure, as JSON holds it.

        Returns:
            `rule`; `sweep`: a list of `setting`, the `average` over the pairs, and the target share of every pair as
            source to target to share; `common`, a setting; `tuned` and `fixed`: see `Steering.values`.
        """
        settings = list(next(iter(self.sweep.values())))
        return {
            "rule": RULE,
            "sweep": [
                {
                    "setting": asdict(setting),
                    "average": average([tried[setting] for tried in self.sweep.values()]),
                    "target_shares": _nested(
                        {pair: tried[setting].share("target").value for pair, tried in self.sweep.items()}
                    ),
                }
                for setting in settings
            ],
            "common": asdict(self.common),
            "tuned": self.tuned.values(),
            "fixed": self.fixed.values(),
        }


def tune(
    bench: Bench,
    masks: Masks,
    openings: Openings,
    pairs: Sequence[Pair],
    settings: Sequence[Setting],
    *,
    most_cost: float | None = None,
    statistics: ActivationStatistics | None = None,
    seeds: Sequence[int] = (0,),
    cells: Cells = fresh,
) -> Tuning:
    """Sweeps settings over pairs on the dev half, chooses, and measures on the test half.

    Args:
        bench: The model and how to measure.
        masks: By top rate.
        openings: Source language to its openings.
        pairs: Sources and targets.
        settings: To try, see `grid`.
        most_cost: Fluency cost, in nats per token, that the common setting may have on average on the dev half.
        statistics: Where the random control's means come from; None leaves the control out.
        seeds: Of the random control.
        cells: Keeps outputs under the keys that `steering` gives them.

    Raises:
        LapeError: There is no pair, no setting, or no opening of a language; or every setting costs more.
    """
    swept = sweep(bench, masks, openings, pairs, settings, cells=cells)
    common = best_of_all(swept, most_cost)
    chosen = {pair: best(tried) for pair, tried in swept.items()}
    tuned = steering(
        bench, masks, openings, chosen, statistics=statistics, seeds=seeds, instructed=True, halves=(TEST,), cells=cells
    )
    everywhere = dict.fromkeys(chosen, common)
    fixed = steering(bench, masks, openings, everywhere, instructed=False, halves=(TEST,), cells=cells)
    return Tuning(swept, common, tuned, fixed)


def sweep(
    bench: Bench,
    masks: Masks,
    openings: Openings,
    pairs: Sequence[Pair],
    settings: Sequence[Setting],
    *,
    cells: Cells = fresh,
) -> Sweep:
    """Continues the dev half of the openings under every setting, for every pair."""
    if not pairs or not settings:
        raise LapeError("There is nothing to tune: name at least one pair of languages and one setting.")
    cases = {
        (pair, setting): steered_cases(openings, masks, *pair, setting, (DEV,))
        for pair in pairs
        for setting in settings
    }
    before = {source: baseline_cases(openings, source, (DEV,)) for source, _ in pairs}
    listed = {case.key: case for some in (*before.values(), *cases.values()) for case in some}
    outputs = continue_cases(bench, list(listed.values()), cells)
    found: dict[Pair, dict[Setting, PairOutputs]] = {}
    for (pair, setting), (case,) in cases.items():
        (baseline,) = before[pair[0]]
        found.setdefault(pair, {})[setting] = PairOutputs(*pair, outputs[case.key], outputs[baseline.key])
    return found


def best(tried: Mapping[Setting, PairOutputs]) -> Setting:
    """The best setting for one pair, by `RULE`.

    Half of the openings are few, and many settings come out equal on them. One in the middle of a plateau is more
    likely to hold on the other half than one at its edge, which is the cheapest.
    """
    return best_of_all({("", ""): tried})


def best_of_all(swept: Sweep, most_cost: float | None = None) -> Setting:
    """The same by the means over pairs, among the settings whose mean fluency cost is at most so many nats per token.

    Raises:
        LapeError: Every setting costs more; says how much the cheapest does.
    """
    settings = list(next(iter(swept.values())))
    averages = {setting: average([tried[setting] for tried in swept.values()]) for setting in settings}

    def share(setting: Setting) -> float:
        return averages[setting]["target_share"]["value"]

    def rank(setting: Setting) -> tuple[float, float, float]:
        near = [share(setting), *map(share, _neighbours(setting, settings))]
        cost = averages[setting]["fluency_cost_nats"]
        # Shares are counts over counts: rounding keeps equal ones equal whatever the order of adding.
        return -round(near[0], 9), -round(sum(near), 9), float("inf") if cost is None else cost["value"]

    costs = {setting: found["fluency_cost_nats"] for setting, found in averages.items()}
    fluent = [one for one in settings if most_cost is None or (costs[one] and costs[one]["value"] <= most_cost)]
    if not fluent:
        cheapest = min((cost["value"] for cost in costs.values() if cost), default=math.inf)
        raise LapeError(
            f"No setting has a mean fluency cost of at most {most_cost:g} nats per token; the cheapest has "
            f"{cheapest:.2f}. Allow more, or try weaker settings."
        )
    return min(fluent, key=rank)


def _neighbours(setting: Setting, settings: Sequence[Setting]) -> list[Setting]:
    """The next weaker and stronger settings, and those of the next lower and higher top rate; up to four."""
    found = []
    for name in ("strength", "top_rate"):
        line = [other for other in settings if replace(other, **{name: getattr(setting, name)}) == setting]
        line.sort(key=lambda other: getattr(other, name) or 0)
        place = line.index(setting)
        found += [*line[max(0, place - 1) : place], *line[place + 1 : place + 2]]
    return found


def _nested(by_pair: Mapping[Pair, float]) -> dict[str, dict[str, float]]:
    nested: dict[str, dict[str, float]] = {}
    for (source, target), value in by_pair.items():
        nested.setdefault(source, {})[target] = value
    return nested
