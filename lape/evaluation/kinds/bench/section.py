"""What a comparison shows: one table of what switches, one of what finds, and share against cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lape.drawing.axes import scatter
from lape.drawing.charts import Measured, number
from lape.drawing.html import Table, details, figure, notices, paragraph, quotes
from lape.drawing.words import floored, in_percent, interval, mean, named, percent
from lape.evaluation.kinds.bench.masks import GIVEN, RANDOM
from lape.evaluation.kinds.kind import Evidence, Headline
from lape.evaluation.kinds.wording import one_line, share_text, untold_text

SERIES = ("neurons, as many as this mask has", "neurons, by the method's own cut", "no neurons")
COUNTED = {"equal": SERIES[0], "own": SERIES[1]}


def summary(results: Mapping[str, Any]) -> str:
    """The entrants with the largest share, with neurons and without, and whether they differ beyond the intervals."""
    entrants = results["entrants"]
    by_neurons = {name: one for name, one in entrants.items() if one["mask"]}
    best = {kind: _first(some) for kind, some in (("all", entrants), ("neurons", by_neurons)) if some}
    targets = len(next(iter(entrants.values()))["target_shares"])
    said = f"From {named(results['source'])} to {targets} targets the largest share in the target language has "
    said += _told(best["all"], entrants)
    if "neurons" in best and best["neurons"] != best["all"]:
        said += f"; of what switches neurons {_told(best['neurons'], entrants)}"
        said += f", {_apart(entrants[best['all']], entrants[best['neurons']])}"
    front = f" Nothing beats {_listed(results['front'])} in share and fluency cost both." if results["front"] else ""
    return f"{said}.{front}"


def section(evidence: Evidence) -> list[str]:
    """The section of the page."""
    results, settings = evidence["results"], evidence["settings"]
    elsewhere = settings["elsewhere"]
    texts = [
        (f"{name}, {named(code)}", one_line(text))
        for name, one in results["entrants"].items()
        for code, text in one["samples"].items()
    ]
    return [
        paragraph(
            f"From {named(results['source'])} to {len(settings['targets'])} targets, {settings['items']} openings "
            f"each. Every entrant has one strength for all targets ({results['rule']}); the figures are of the test "
            "half. Masks are identified from the same recordings, with as many neurons for each language as this mask "
            "has or by the method's own cut, and switch alike: the source off, the target on."
        ),
        figure(
            scatter(
                _series(results),
                label=f"Share in the target language against fluency cost. {evidence['summary']}",
                across="fluency cost, nats per token",
                up="outputs in the target language, %",
                front=results["front"],
            ),
            "Each entrant with its 95 % intervals; up and to the left is better. The line joins those that no other "
            "beats in both.",
        ),
        entrants(evidence).html(),
        paragraph(
            "Switching off: what a language's neurons cost its own text over what they cost other texts "
            f"(dominance; {settings['others']} others each, {settings['tokens']} tokens a text), and over what as many "
            "random neurons cost it; and the share of outputs that stay in the language of their opening, untouched "
            f"{share_text(results['untouched_retained_share'])}."
            + (f" The other domain is text in {len(elsewhere)} languages." if elsewhere else "")
        ),
        masks(evidence).html(),
        *notices(untold_text(results, settings)),
        details("What was left out", [left_out(evidence).html()]),
        details("Every strength that was tried, on the dev half", [tried(evidence).html()]),
        details("Share in the target language by target, percent", [targets(evidence).html()]),
        details("What was written, the first opening of some targets", [quotes(texts)]),
    ]


def tables(evidence: Evidence) -> list[Table]:
    """The tables for `EVIDENCE.md`."""
    shown = [entrants(evidence), masks(evidence)]
    return [*shown, left_out(evidence)] if evidence["results"]["left_out"] else shown


def entrants(evidence: Evidence) -> Table:
    """A row for each entrant, the largest share first."""
    results = evidence["results"]
    ranked = sorted(results["entrants"].items(), key=lambda item: _order(item[1]))
    rows = []
    for name, one in ranked:
        average, mask = one["average"], one["mask"]
        neurons = results["masks"][mask]["neurons"] if mask else {}
        cost = average["fluency_cost_nats"]
        rows.append(
            [
                mask or "no neurons",
                one["way"],
                number(mean(neurons.values()), 0) if neurons else "",
                f"{one['strength']:g}",
                share_text(average["target_share"]),
                interval(cost).text(2) if cost else "",
                percent(average["repeated_4gram_share"]),
                percent(average["gibberish_share"]),
                "front" if name in results["front"] else "",
            ]
        )
    head = ["mask", "way", "neurons a language", "strength", "in the target language", "fluency cost, nats/token"]
    head += ["4-grams repeated", "gibberish", "no other beats it"]
    front = frozenset(place for place, (name, _) in enumerate(ranked) if name in results["front"])
    return Table("Switched on: share in the target language, and what it costs", head, rows, words=2, strong=front)


def masks(evidence: Evidence) -> Table:
    """A row for each mask: what it does when its languages are switched off, and what it took to find."""
    found = evidence["results"]["masks"]
    moved = any(one["elsewhere"] for one in found.values())
    rows = []
    for name, one in sorted(found.items(), key=lambda item: _place(*item)):
        empty = [code for code, count in one["neurons"].items() if not count]
        cost = one["identification"]
        agree, langspec = one["halves_agreement"], one["langspec"]
        rows.append(
            [
                name,
                number(sum(one["neurons"].values()), 0) + (f" (none: {', '.join(empty)})" if empty else ""),
                interval(one["dominance"]["own_nats"]).text(2),
                _ratio(one["dominance"]),
                _ratio(one["over_control"]),
                *([_ratio(one["elsewhere"]["dominance"]) if one["elsewhere"] else ""] if moved else []),
                f"{number(langspec['f1']['value'], 2)} / {number(langspec['control_f1']['value'], 2)}",
                share_text(one["retained_share"]),
                "not kept" if agree is None else number(agree, 2),
                f"{number(cost['seconds'], 2)} s" if cost else "",
                f"{cost['peak_bytes'] / 1e6:,.0f} MB" if cost and cost["peak_bytes"] is not None else "",
            ]
        )
    head = ["mask", "neurons, summed", "off: own text, nats/token", "dominance", "own cost over random"]
    head += [
        *(["dominance, other domain"] if moved else []),
        "LangSpec-F1 / of random",
        "outputs that stay",
        "halves agree",
        "to identify",
        "memory",
    ]
    return Table("Switched off, and found: every mask", head, rows)


def left_out(evidence: Evidence) -> Table:
    """What could not be compared, and why."""
    rows = [[name, why] for name, why in evidence["results"]["left_out"].items()]
    return Table("Left out", ["what", "why"], rows, words=2)


def tried(evidence: Evidence) -> Table:
    """Every strength of every entrant."""
    rows = []
    for name, one in evidence["results"]["entrants"].items():
        for each in one["tried"]:
            cost = each["fluency_cost_nats"]
            figures = in_percent(each["target_share"]).text(0), interval(cost).text(2) if cost else ""
            rows.append([name, f"{each['strength']:g}", *figures])
    head = ["entrant", "strength", "in the target language, %", "fluency cost, nats/token"]
    return Table("Every strength, on the dev half", head, rows)


def targets(evidence: Evidence) -> Table:
    """Shares by target."""
    found = evidence["results"]["entrants"]
    codes = evidence["settings"]["targets"]
    rows = [[name, *(number(100 * one["target_shares"][code], 0) for code in codes)] for name, one in found.items()]
    return Table("Percent in the target language, on the test half", ["entrant", *codes], rows)


def headline(evidence: Evidence) -> Headline:
    """The largest share with neurons, beside the largest without."""
    found = evidence["results"]["entrants"]
    kinds = {kind: {name: one for name, one in found.items() if bool(one["mask"]) == kind} for kind in (True, False)}
    (first, *second) = [_told(_first(some), found) for some in kinds.values() if some]
    return Headline(
        f"Of {len(found)} ways to steer compared, the largest share in the target language",
        first,
        f"without neurons: {second[0]}" if second else "",
    )


def _series(results: Mapping[str, Any]) -> dict[str, dict[str, tuple[Measured, Measured]]]:
    """The points of the figure, by what they switch."""
    series: dict[str, dict[str, tuple[Measured, Measured]]] = {name: {} for name in SERIES}
    for name, one in results["entrants"].items():
        cost = one["average"]["fluency_cost_nats"]
        if cost:
            which = COUNTED[results["masks"][one["mask"]]["counts"]] if one["mask"] else SERIES[2]
            series[which][name] = interval(cost), in_percent(one["average"]["target_share"])
    return series


def _first(entrants: Mapping[str, Any]) -> str:
    return min(entrants, key=lambda name: _order(entrants[name]))


def _order(one: Mapping[str, Any]) -> tuple[float, float]:
    """The largest share first, then the lowest cost."""
    cost = one["average"]["fluency_cost_nats"]
    return -one["average"]["target_share"]["value"], cost["value"] if cost else float("inf")


def _place(name: str, mask: Mapping[str, Any]) -> tuple[bool, bool, str, str]:
    """The given mask first, the random one last, and the two of a method side by side."""
    return name != GIVEN, name == RANDOM, mask["method"], name


def _told(name: str, entrants: Mapping[str, Any]) -> str:
    average = entrants[name]["average"]
    cost = average["fluency_cost_nats"]
    at = f" at {interval(cost).text(2)} nats per token" if cost else ""
    return f"{name} ({share_text(average['target_share'])}{at})"


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Whether two shares, and two costs, differ by more than their intervals."""
    words = []
    for what, key in (("share", "target_share"), ("cost", "fluency_cost_nats")):
        pair = one["average"][key], other["average"][key]
        if all(pair):
            apart = pair[0]["low"] > pair[1]["high"] or pair[1]["low"] > pair[0]["high"]
            words.append(f"{what} {'beyond' if apart else 'within'} the intervals of both")
    return " and ".join(words)


def _ratio(found: Mapping[str, Any]) -> str:
    return f"{interval(found).text(1)}{floored(found)}"


def _listed(names: list[str]) -> str:
    return " or ".join(names)
