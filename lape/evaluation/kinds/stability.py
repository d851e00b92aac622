"""How the mask depends on the text it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lape.drawing.axes import curves
from lape.drawing.charts import number
from lape.drawing.html import Table, figure, notice, notices, paragraph
from lape.drawing.words import named, percent

HEADING = "How much text a mask needs"
Evidence = Mapping[str, Any]


def parts(evidence: Evidence) -> list[str]:
    """The section of the page."""
    results = evidence["results"]
    whole = [point for point in results["points"] if point["to_full"]]
    shown = [
        paragraph(
            "Masks are made from growing parts of the recording. Each is compared with the mask of all tokens, of "
            "which the part is one, and the two halves of the part, which share no text, with each other."
        ),
    ]
    for key, caption in (
        ("to_full", "Agreement of the mask of the first tokens with that of all tokens, a line for each language."),
        ("halves", "Agreement of the masks of two halves that share no text, a line for each language."),
    ):
        points = whole if key == "to_full" else results["points"]
        codes = list(results["full_tokens"])
        series = {
            code: [(point["tokens"], point[key][code]) for point in points if point[key][code] is not None]
            for code in codes
        }
        series["mean"] = [
            (point["tokens"], point[f"{key}_mean"]) for point in points if point[f"{key}_mean"] is not None
        ]
        if series["mean"]:
            shown.append(
                figure(
                    curves(
                        series,
                        label=caption,
                        across="tokens per language",
                        up="Jaccard index",
                        line=results["enough"]["jaccard"] if key == "to_full" else None,
                    ),
                    caption,
                )
            )
    shown += [points_table(evidence).html(), spread_table(evidence).html()]
    if results.get("selection"):
        shown.append(selection(evidence).html())
    if said := results.get("selection_left_out"):
        shown.append(notice(f"How often each neuron is selected was left out: {said}"))
    return shown + notices(failures(evidence))


def readme(evidence: Evidence) -> list[Table]:
    """The tables for a README."""
    return [
        points_table(evidence),
        spread_table(evidence),
        *([selection(evidence)] if evidence["results"].get("selection") else []),
    ]


def points_table(evidence: Evidence) -> Table:
    """A row for each number of tokens."""
    results = evidence["results"]
    most = max(results["full_tokens"].values())
    rows = []
    for point in results["points"]:
        values = [value for value in (point["to_full"] or {}).values() if value is not None]
        rows.append(
            [
                number(point["tokens"], 0),
                percent(point["tokens"] / most),
                _index(point["to_full_mean"]),
                _index(min(values, default=None)),
                _index(point["halves_mean"]),
            ]
        )
    head = [
        "tokens per language",
        "of the recording",
        "agreement with the whole, mean",
        "lowest",
        "of two halves, mean",
    ]
    return Table("Agreement of masks (Jaccard index) by the tokens they are made from", head, rows)


def spread_table(evidence: Evidence) -> Table:
    """A row for each share of the text that is spread evenly over it."""
    rows = [
        [
            number(part["tokens"], 0),
            percent(part["share"]),
            _index(part["to_full_mean"]),
            _index(part["to_full_mean_lowest"]),
            number(part["parts"], 0),
        ]
        for part in evidence["results"]["spread"]
    ]
    head = ["tokens per language", "of the recording", "agreement with the whole, mean", "lowest of a part", "parts"]
    return Table("The same for tokens spread evenly over the text, where its subjects change along it", head, rows)


def selection(evidence: Evidence) -> Table:
    """How often the neurons of each language are selected from resampled text."""
    rows = [
        [named(code), number(found["neurons"], 0), _index(found["mean"]), percent(found["certain"])]
        for code, found in evidence["results"]["selection"].items()
    ]
    head = ["language", "neurons", "selected in, mean share of resamples", "neurons selected in 90 % or more"]
    return Table("How certain each language's neurons are: 200 resamples of the text", head, rows)


def failures(evidence: Evidence) -> list[str]:
    """Languages whose mask depends most on the text."""
    found = evidence["results"].get("selection") or {}
    doubtful = [named(code) for code, one in found.items() if one["certain"] is not None and one["certain"] < 0.5]
    return [f"Less than half of the neurons are certain for {', '.join(doubtful)}."] if doubtful else []


def _index(value: float | None) -> str:
    return "" if value is None else number(value, 2)
