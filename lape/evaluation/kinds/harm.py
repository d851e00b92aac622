"""What switching off costs besides: telling the next line of a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lape.drawing.charts import Measured, heat_map
from lape.drawing.html import Table, figure, notices, paragraph
from lape.drawing.words import interval, mean, named, percent

HEADING = "What else switching off costs"
Evidence = Mapping[str, Any]


def parts(evidence: Evidence) -> list[str]:
    """The section of the page."""
    results = evidence["results"]
    changes = {
        off: {code: _points(found["change"]) for code, found in row.items()} for off, row in results["after"].items()
    }
    return [
        paragraph(
            f"{' or '.join(map(str, sorted(set(results['items'].values()))))} questions a language: which of four "
            "lines follows in a held-out text? The three others are lines of other documents, alike in length; the "
            "model is right when the true one has the highest log-probability per byte. Guessing is right in "
            f"{percent(results['guessing'])}. Changes are paired, question by question."
        ),
        figure(
            heat_map(
                changes,
                label=f"Change of accuracy in points. {evidence['summary']}",
                rows="off",
                columns="language of the text",
                digits=0,
                harm=-1,
            ),
            "Change of accuracy in percentage points; orange is harm, blue gain; a frame marks a language's own text.",
        ),
        languages(evidence).html(),
        *notices(failures(evidence)),
    ]


def readme(evidence: Evidence) -> list[Table]:
    """The tables for a README."""
    return [languages(evidence)]


def languages(evidence: Evidence) -> Table:
    """A row for each language."""
    results = evidence["results"]
    rows = []
    for code in results["after"]:
        before = results["before"].get(code)
        own = results["after"][code].get(code)
        other = results["elsewhere"].get(code)
        rows.append(
            [
                named(code),
                _points(before["accuracy"]).text(0) if before else "not measured",
                _points(own["change"]).text(0) if own else "not measured",
                _points(other["change"]).text(1) if other else "not measured",
            ]
        )
    shares = [found["accuracy"]["value"] for found in results["before"].values()]
    owns = [row[code]["change"]["value"] for code, row in results["after"].items() if code in row]
    others = [found["change"]["value"] for found in results["elsewhere"].values()]
    means = [Measured(100 * mean(values)).text(1) if values else "" for values in (shares, owns, others)]
    head = ["language", "right before, %", "change in its own text when off, points", "change in the others, points"]
    return Table(
        "Telling the next line of a text", head, [*rows, ["mean", *means]], strong=frozenset({len(results["after"])})
    )


def failures(evidence: Evidence) -> list[str]:
    """Languages in which the check says little."""
    results = evidence["results"]
    weak = [code for code, found in results["before"].items() if found["accuracy"]["low"] <= results["guessing"]]
    if not weak:
        return []
    return [f"The untouched model is no better than a guess, within the interval, in {', '.join(map(named, weak))}."]


def _points(found: Mapping[str, Any]) -> Measured:
    share = interval(found)
    low, high = (None if end is None else 100 * end for end in (share.low, share.high))
    return Measured(100 * share.value, low, high)
