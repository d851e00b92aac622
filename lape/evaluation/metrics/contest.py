"""Ways of steering compared on equal terms: the same openings, each way with the one strength that suits it best.

Strengths are chosen on the dev half of the openings, one for all targets, and what is reported is the test half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lape.errors import LapeError
from lape.evaluation.metrics.cells import Cells, fresh
from lape.evaluation.metrics.conditions import BASELINE
from lape.evaluation.metrics.continuations import Bench, Case, continue_cases
from lape.evaluation.metrics.openings import DEV, TEST, half
from lape.evaluation.metrics.steering import PairOutputs, average
from lape.generation.interventions import Entry

RULE = "highest share in the target language on the dev half; among equals the lowest fluency cost, then the weakest"
FEWEST = 2  # openings of a half: an interval needs them
SAMPLES = 3  # targets whose text is kept

ByTarget = Mapping[str, PairOutputs]


@dataclass(frozen=True)
class Entrant:
    """What takes part.

    Attributes:
        entry: `(target, strength) -> Entry`.
        strengths: That are tried, from weak to strong.
    """

    entry: Callable[[str, float], Entry]
    strengths: Sequence[float]


@dataclass(frozen=True)
class Contest:
    """What came out of one entrant.

    Attributes:
        tried: Strength to target to outputs on the dev half.
        strength: The chosen one.
        reported: Target to outputs on the test half.
    """

    tried: Mapping[float, ByTarget]
    strength: float
    reported: ByTarget

    def values(self) -> dict[str, Any]:
        """Every figure, as JSON holds it.

        Returns:
            `strength`; `tried`: a list of `strength`, `target_share` and `fluency_cost_nats`; `average` over targets,
            see `lape.evaluation.metrics.steering.average`; `target_shares` by target; and `samples`, text by target.
        """
        tried = []
        for strength, by_target in self.tried.items():
            found = average(list(by_target.values()))
            tried.append({"strength": strength, **{key: found[key] for key in ("target_share", "fluency_cost_nats")}})
        shown = list(self.reported)[:: max(1, -(-len(self.reported) // SAMPLES))]
        return {
            "strength": self.strength,
            "tried": tried,
            "average": average(list(self.reported.values())),
            "target_shares": {code: made.share("target").value for code, made in self.reported.items()},
            "samples": {code: self.reported[code].outputs[0].text for code in shown},  # by position, not by looks
        }


def contest(
    bench: Bench,
    entrants: Mapping[str, Entrant],
    openings: Sequence[str],
    source: str,
    targets: Sequence[str],
    *,
    items: int = 10,
    cells: Cells = fresh,
) -> dict[str, Contest]:
    """Tries every strength of every entrant on the dev half, and reports the best one of each on the test half.

    Args:
        bench: The model and how to measure.
        entrants: By name.
        openings: In the source language, of both halves.
        source: Language that is steered from.
        targets: Languages that are steered to.
        items: Openings of the test half; of the dev half half as many, as its shares are only taken over all targets.
        cells: Keeps outputs under keys such as `diffmean x1 en>fr prompts=dev`.

    Raises:
        LapeError: There is nothing to compare, or there are fewer than two openings in a half.
    """
    if not entrants or not targets:
        raise LapeError("There is nothing to compare: name at least one way of switching and one target language.")
    halves = {DEV: half(openings, DEV)[: max(FEWEST, items // 2)], TEST: half(openings, TEST)[:items]}
    if min(map(len, halves.values())) < FEWEST:
        raise LapeError(f"A comparison needs {FEWEST} openings in each half or more.")
    before = {
        name: continue_cases(bench, [Case(f"{BASELINE} source={source} prompts={name}", some, some)], cells)
        for name, some in halves.items()
    }

    def measured(strengths: Mapping[str, Sequence[float]], name: str) -> dict[tuple[str, float], ByTarget]:
        cases = {
            (entrant, strength, target): Case(
                f"{entrant} x{strength:g} {source}>{target} prompts={name}",
                halves[name],
                halves[name],
                entrants[entrant].entry(target, strength),
            )
            for entrant, some in strengths.items()
            for strength in some
            for target in targets
        }
        outputs = continue_cases(bench, list(cases.values()), cells)
        (untouched,) = before[name].values()
        found: dict[tuple[str, float], dict[str, PairOutputs]] = {}
        for (entrant, strength, target), case in cases.items():
            pair = PairOutputs(source, target, outputs[case.key], untouched)
            found.setdefault((entrant, strength), {})[target] = pair
        return dict(found)

    tried = measured({name: entrant.strengths for name, entrant in entrants.items()}, DEV)
    by_entrant = {name: {each: tried[name, each] for each in entrant.strengths} for name, entrant in entrants.items()}
    chosen = {name: best(each) for name, each in by_entrant.items()}
    reported = measured({name: [strength] for name, strength in chosen.items()}, TEST)
    return {name: Contest(by_entrant[name], chosen[name], reported[name, chosen[name]]) for name in entrants}


def best(tried: Mapping[float, ByTarget]) -> float:
    """The best strength, by `RULE`."""

    def rank(strength: float) -> tuple[float, float, float]:
        found = average(list(tried[strength].values()))
        cost = found["fluency_cost_nats"]
        # Shares are counts over counts: rounding keeps equal ones equal whatever the order of adding.
        return -round(found["target_share"]["value"], 9), math.inf if cost is None else cost["value"], strength

    return min(tried, key=rank)


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The entrants that no other beats: none has as large a share at as low a cost, and one of the two better.

    Args:
        points: Name to the share in the target language and the fluency cost.

    Example:
        >>> front({"a": (0.9, 1.0), "b": (0.8, 1.5), "c": (0.95, 1.5)})
        ['a', 'c']
    """

    def beaten(name: str) -> bool:
        share, cost = points[name]
        return any(other[0] >= share and other[1] <= cost and other != (share, cost) for other in points.values())

    return [name for name in points if not beaten(name)]
