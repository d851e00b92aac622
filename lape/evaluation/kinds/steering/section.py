"""Which language the model answers in when another's neurons are on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lape.drawing.charts import Measured, heat_map, number
from lape.drawing.html import Table, details, figure, notice, notices, paragraph
from lape.drawing.words import in_percent, interval, named, percent, related
from lape.evaluation.kinds.kind import Evidence, Headline
from lape.evaluation.kinds.wording import (
    OUTCOMES,
    beside_text,
    condition_text,
    in_order,
    one_line,
    rivals,
    setting_text,
    share_text,
    untold_text,
)
from lape.evaluation.metrics.repetition import LOOP_SHARE

HEAD = [*(f"{outcome}, %" for outcome in OUTCOMES), "4-grams repeated, %", "compression", "fluency cost, nats/token"]


def section(evidence: Evidence) -> list[str]:
    """The section of the page."""
    results, settings = evidence["results"], evidence["settings"]
    counts = sorted({found["count"] for found in settings["openings"].values()})
    shown = [
        paragraph(
            f"{' or '.join(map(str, counts))} sentence openings a language are continued greedily by "
            f"{settings['decoding']['max_new_tokens']} tokens with the neurons of the openings' language (or of all "
            f"others) off and those of the target on: {setting_text(results['setting'])}. The language of a "
            f"continuation is told by {settings['identifier']} among the mask's languages. Beside it: as many random "
            "neurons of the same layers, and a plain instruction to the untouched model. The fluency cost is how much "
            "less likely the continuations are to the untouched model than its own, in nats per token; it counts the "
            "change of language too, and a text that repeats itself is cheap."
        ),
        shares_figure(evidence),
        conditions(evidence).html(),
        off(evidence).html(),
    ]
    shown += [pairs_from(evidence, source).html() for source in _main_source(results)]
    if results.get("lss"):
        shown.append(shift(evidence).html())
        shown.append(details("The same for every pair", [shift_by_pair(evidence).html()]))
    elif results.get("lss_left_out"):
        shown.append(notice(f"The language-shift score was left out: {results['lss_left_out']}"))
    shown += notices([*failures(evidence), *untold_text(results, settings)])
    others = [source for source in results["pairs"] if source not in _main_source(results)]
    shown.append(details("From every other language", (pairs_from(evidence, source).html() for source in others)))
    shown.append(details("One continuation of each pair, chosen by its place", [_samples(evidence).html()]))
    return shown


def shares_figure(evidence: Evidence) -> str:
    """The share that reaches the target, from every language to every other, as a picture."""
    pairs = evidence["results"]["pairs"]
    codes = sorted({*pairs, *(target for row in pairs.values() for target in row)})
    shares: dict[str, dict[str, Measured | None]] = {
        source: {
            target: in_percent(row[target]["conditions"]["steered"]["target_share"]) if target in row else None
            for target in codes
        }
        for source, row in pairs.items()
    }
    shown = heat_map(
        related(shares),
        label=f"Share of continuations in the target language. {evidence['summary']}",
        rows="off",
        columns="target, on",
        digits=0,
        most=100.0,
        framed=False,
    )
    return figure(shown, "Continuations in the target language, percent, from each language to each.")


def tables(evidence: Evidence) -> list[Table]:
    """The tables for `EVIDENCE.md`."""
    results = evidence["results"]
    found = [conditions(evidence), *(pairs_from(evidence, source) for source in _main_source(results))]
    return [*found, by_target(evidence), off(evidence)]


def headline(evidence: Evidence) -> Headline:
    """The share of outputs in the target language, over all pairs, beside its rivals."""
    average = evidence["results"]["averages"]["all"]
    found = average["conditions"]
    return Headline(
        f"Outputs in the target language, mean over {average['pairs']} ordered pairs, one setting for all",
        share_text(found["steered"]["target_share"]),
        beside_text(found),
    )


def conditions(evidence: Evidence) -> Table:
    """Averages over all pairs, a row for each condition; and what a second identifier tells, where one was asked."""
    average = evidence["results"]["averages"]["all"]
    second = evidence["results"].get("second_opinion")
    head, rows = ["condition", *HEAD], []
    for name, found in in_order(average["conditions"]).items():
        rows.append(_row(condition_text(name), found))
        if second:
            told = second["conditions"].get(name)
            rows[-1] += [number(100 * told[share], 0) if told else "" for share in ("target_share", "differs_share")]
    if second:
        head += [f"target by {second['identifier']}, %", "told another language by it, %"]
    caption = f"Means over {average['pairs']} ordered pairs of languages"
    return Table(caption, head, rows, strong=frozenset({0}))


def pairs_from(evidence: Evidence, source: str) -> Table:
    """A row for each target from one language, with the rivals' target shares."""
    row = evidence["results"]["pairs"][source]
    beside = rivals(next(iter(row.values()))["conditions"])
    everywhere = evidence["results"]["averages"]["source"][source]["conditions"]
    rows = [
        [*_row(named(target), found["conditions"]["steered"]), *_shares(found["conditions"], beside)]
        for target, found in row.items()
    ]
    rows.append([*_row("mean", everywhere["steered"]), *_shares(everywhere, beside)])
    head = ["target", *HEAD, *(f"{condition_text(name)}: target" for name in beside)]
    return Table(f"From {named(source)}", head, rows, strong=frozenset({len(rows) - 1}))


def by_target(evidence: Evidence) -> Table:
    """Means over the sources, a row for each target."""
    average = evidence["results"]["averages"]["target"]
    rows = [_row(named(target), found["conditions"]["steered"]) for target, found in average.items()]
    return Table("To each language, mean over the others as sources", ["target", *HEAD], rows)


def off(evidence: Evidence) -> Table:
    """A row for each language: whether it is kept when its own neurons are off and nothing is on."""
    results = evidence["results"]["language_retention"]
    names = list(in_order(results["averages"]))
    rows = []
    for code, found in results["languages"].items():
        shares = [in_percent(found["conditions"][name]["retained_share"]).text(0) for name in names]
        others = found["conditions"]["off"]["languages"].items()
        common = ", ".join(f"{language} {count}" for language, count in list(others)[:2])
        rows.append([named(code), number(found["neurons"], 0), *shares, common])
    means = [in_percent(results["averages"][name]["retained_share"]).text(0) for name in names]
    rows.append(["mean", "", *means, ""])
    head = ["language", "neurons", *(f"{condition_text(name)}: kept, %" for name in names), "off: most common"]
    caption = "Continuations in the language of their openings, its own neurons off and nothing on"
    return Table(caption, head, rows, strong=frozenset({len(rows) - 1}))


def shift(evidence: Evidence) -> Table:
    """The language-shift score, mean over the pairs."""
    results = evidence["results"]["lss"]
    pairs = sum(map(len, results["pairs"].values()))
    caption = "Language-shift score: how often a paragraph's translation becomes likelier against the paragraph"
    return _shift(caption, results["averages"], {f"mean of {pairs}": results["averages"]})


def shift_by_pair(evidence: Evidence) -> Table:
    """The language-shift score of every pair."""
    results = evidence["results"]["lss"]
    rows = {
        f"{source} → {target}": found["conditions"]
        for source, row in results["pairs"].items()
        for target, found in row.items()
    }
    return _shift("Language-shift score of every pair", results["averages"], rows)


def _shift(caption: str, conditions: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> Table:
    names = list(in_order(conditions))
    shown = [
        [
            name,
            *(in_percent(found[each]["lss"]).text(0) if each in found else "" for each in names),
            interval(found["steered"]["shift_nats"]).text(1),
        ]
        for name, found in rows.items()
    ]
    head = ["pair", *(f"{condition_text(name)}, %" for name in names), "steered: mean shift, nats"]
    return Table(caption, head, shown)


def failures(evidence: Evidence) -> list[str]:
    """What does not work, in words."""
    results = evidence["results"]
    said = []
    targets = results["averages"]["target"]
    shares = {code: found["conditions"]["steered"]["target_share"]["value"] for code, found in targets.items()}
    if weak := [f"{named(code)} ({percent(share)})" for code, share in shares.items() if share < 0.5]:
        said.append(f"Less than half of the outputs reach the target for {', '.join(weak)}, as a mean over sources.")
    looping = {code: found["conditions"]["steered"]["repeated_4gram_share"] for code, found in targets.items()}
    if loops := [named(code) for code, share in looping.items() if share > LOOP_SHARE]:
        said.append(f"Over-steered: more than {percent(LOOP_SHARE)} of the 4-grams are repeated in {', '.join(loops)}.")
    mine = results["averages"]["all"]["conditions"]
    for name in rivals(mine):
        if mine[name]["target_share"]["value"] >= mine["steered"]["target_share"]["value"]:
            called = condition_text(name)
            said.append(f"{called[0].upper()}{called[1:]}: the target is reached as often as by steering, or more.")
    if results["without_openings"]:
        said.append(f"There were no openings in {', '.join(map(named, results['without_openings']))}.")
    return said


def _row(name: str, found: Mapping[str, Any]) -> list[str]:
    cost = found["fluency_cost_nats"]
    return [
        name,
        in_percent(found["target_share"]).text(0),
        *(number(100 * found[f"{outcome}_share"], 0) for outcome in OUTCOMES[1:]),
        number(100 * found["repeated_4gram_share"], 0),
        number(found["compression_ratio"], 2),
        interval(cost).text(2) if cost else "",
    ]


def _shares(conditions: Mapping[str, Any], beside: list[str]) -> list[str]:
    return [percent(conditions[name]["target_share"]["value"]) if name in conditions else "" for name in beside]


def _samples(evidence: Evidence) -> Table:
    rows = [
        [f"{source} → {target}", one_line(found["conditions"]["steered"]["sample"])]
        for source, row in evidence["results"]["pairs"].items()
        for target, found in row.items()
    ]
    return Table("The continuation of the middle opening of each pair", ["pair", "steered"], rows, words=2)


def _main_source(results: Mapping[str, Any]) -> list[str]:
    """English where it is a source, else the first language."""
    return ["en"] if "en" in results["pairs"] else list(results["pairs"])[:1]
