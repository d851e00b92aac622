"""How to steer: what was tried on one half of the openings, and what it came to on the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lape.drawing.charts import number
from lape.drawing.html import Table, details, paragraph
from lape.drawing.words import interval, named, percent
from lape.evaluation.kinds.steering import OUTCOMES
from lape.evaluation.kinds.wording import condition_text, rivals, setting_text

HEADING = "The best way to steer"
Evidence = Mapping[str, Any]
SHOWN = 8  # settings in a README


def parts(evidence: Evidence) -> list[str]:
    """The section of the page."""
    results = evidence["results"]
    more = [tried(evidence).html()] if len(results["sweep"]) > SHOWN else []
    return [
        paragraph(
            f"From {named(results['source'])}: every setting is tried on the tuning half of the openings, and each "
            f"target keeps its best one ({results['rule']}). The figures below are of the reporting half, which "
            "nothing was chosen on. The one setting that is best over all targets is "
            f"{setting_text(results['common'])}."
        ),
        targets(evidence).html(),
        tried(evidence, SHOWN).html(),
        details("Every setting that was tried", [*more, _grid(evidence).html()]),
    ]


def readme(evidence: Evidence) -> list[Table]:
    """The tables for a README."""
    return [targets(evidence), tried(evidence, SHOWN)]


def targets(evidence: Evidence) -> Table:
    """A row for each target on the reporting half."""
    results = evidence["results"]
    tuned, fixed = results["tuned"], results["fixed"]
    (source,) = tuned["pairs"]
    row = tuned["pairs"][source]
    beside = rivals(next(iter(row.values()))["conditions"])
    rows = []
    for target, found in row.items():
        common = fixed["pairs"][source][target]["conditions"]["steered"]
        rows.append([named(target), setting_text(found["setting"]), *_figures(found["conditions"], common, beside)])
    everywhere, common = (each["averages"]["all"]["conditions"] for each in (tuned, fixed))
    rows.append(["mean", "", *_figures(everywhere, common["steered"], beside)])
    head = [
        "target",
        "setting chosen",
        "in the target language",
        "fluency cost, nats/token",
        "4-grams repeated",
        *(condition_text(name) for name in beside),
        "one setting for all",
    ]
    return Table(
        "Share in the target language on the reporting half", head, rows, words=2, strong=frozenset({len(rows) - 1})
    )


def tried(evidence: Evidence, most: int | None = None) -> Table:
    """The settings with the highest mean share on the tuning half."""
    sweep = sorted(evidence["results"]["sweep"], key=lambda each: -each["average"]["target_share"]["value"])
    rows = []
    for each in sweep[:most]:
        average = each["average"]
        cost = average["fluency_cost_nats"]
        rows.append(
            [
                setting_text(each["setting"]),
                *(percent(_value(average[f"{outcome}_share"])) for outcome in OUTCOMES),
                percent(average["repeated_4gram_share"]),
                interval(cost).text(2) if cost else "",
            ]
        )
    head = ["setting", *OUTCOMES, "4-grams repeated", "fluency cost, nats/token"]
    which = f"The {most} best of {len(sweep)} settings" if most and most < len(sweep) else f"All {len(sweep)} settings"
    return Table(f"{which} tried, on the tuning half, means over targets", head, rows)


def _figures(conditions: Mapping[str, Any], common: Mapping[str, Any], beside: list[str]) -> list[str]:
    steered = conditions["steered"]
    share, cost = interval(steered["target_share"]), steered["fluency_cost_nats"]
    between = f" [{percent(share.low)[:-2]}, {percent(share.high)[:-2]}]" if share.low is not None else ""
    return [
        percent(share.value) + between,
        interval(cost).text(2) if cost else "",
        percent(steered["repeated_4gram_share"]),
        *(percent(conditions[name]["target_share"]["value"]) if name in conditions else "" for name in beside),
        percent(common["target_share"]["value"]),
    ]


def _grid(evidence: Evidence) -> Table:
    sweep = evidence["results"]["sweep"]
    rows = []
    for each in sweep:
        ((_, shares),) = each["target_shares"].items()
        rows.append([setting_text(each["setting"]), *(number(100 * share, 0) for share in shares.values())])
    codes = list(next(iter(sweep[0]["target_shares"].values())))
    return Table("Percent in the target language, on the tuning half, by target", ["setting", *codes], rows)


def _value(found: Any) -> float:
    return found["value"] if isinstance(found, Mapping) else found
