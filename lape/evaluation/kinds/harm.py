"""What switching off costs besides: telling the next line of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lape.drawing.charts import Measured, heat_map
from lape.drawing.html import Table, figure, notices, paragraph
from lape.drawing.words import in_percent, mean, named, percent, related
from lape.evaluation.kinds.forms import FIGURE, by_language, evidence_form
from lape.evaluation.kinds.kind import Evidence, Headline, Kind, held_out_text
from lape.evaluation.metrics.cells import Cells
from lape.evaluation.metrics.harm import Item, next_line_check, next_line_items
from lape.evaluation.runs.evidence import json_hash
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options, Work
from lape.recording.sources import Source, describe
from lape.storage.schema import COUNT, SHARE, record


def plan(subject: Subject, options: Options) -> Work:
    """Whether the model still tells the next line of a text, in every language."""
    items = {
        code: next_line_items(source, options.items, options.seed, code) for code, source in subject.text().items()
    }
    settings = subject.settings(
        loaded=subject.model_settings(),
        corpora={code: _questions(subject.corpora[code], some) for code, some in items.items()},
        items=options.items,
        seed=options.seed,
    )

    def measure(cells: Cells) -> dict[str, Any]:
        return next_line_check(*subject.loaded, items, subject.mask, cells, seed=options.seed)

    def summary(results: Mapping[str, Any]) -> str:
        before = mean(found["accuracy"]["value"] for found in results["before"].values())
        own = mean(results["after"][code][code]["change"]["value"] for code in results["after"] if code in items)
        other = mean(found["change"]["value"] for found in results["elsewhere"].values())
        return (
            f"The untouched model tells the next line of a text from three others in {100 * before:.0f} % of the "
            f"questions (a guess: 25 %). Switching a language off changes that by {100 * own:+.1f} points in its own "
            f"text and by {100 * other:+.1f} in the others."
        )

    cells = len(items) * (1 + len(subject.mask.languages))
    return Work("Harm: telling the next line of a text, before and after", settings, cells, measure, summary)


def section(evidence: Evidence) -> list[str]:
    """The section of the page."""
    results = evidence["results"]
    changes = {
        off: {code: in_percent(found["change"]) for code, found in row.items()} for off, row in results["after"].items()
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
                related(changes),
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


def tables(evidence: Evidence) -> list[Table]:
    """The tables for `EVIDENCE.md`."""
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
                in_percent(before["accuracy"]).text(0) if before else "not measured",
                in_percent(own["change"]).text(0) if own else "not measured",
                in_percent(other["change"]).text(1) if other else "not measured",
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


def _questions(source: Source, items: Sequence[Item]) -> dict[str, Any]:
    return {"source": describe(source), "questions_sha256": json_hash([asdict(item) for item in items])}


def headline(evidence: Evidence) -> Headline:
    """What switching a language off changes in telling its own next lines, beside the other languages'."""
    results = evidence["results"]
    owns = [row[code]["change"]["value"] for code, row in results["after"].items() if code in row]
    others = [found["change"]["value"] for found in results["elsewhere"].values()]
    before = [found["accuracy"]["value"] for found in results["before"].values()]
    beside = [f"in the other languages {100 * mean(others):+.1f}"] if others else []
    beside += [f"right before {percent(mean(before))}, a guess {percent(results['guessing'])}"] if before else []
    return Headline(
        "Telling the next line of a text from three others: change when its language is off, points",
        f"{100 * mean(owns):+.1f}" if owns else "none",
        "; ".join(beside),
    )


FORM = evidence_form(
    {
        "items": by_language(COUNT),
        "guessing": SHARE,
        "before": by_language(record({"accuracy": FIGURE})),
        "after": by_language(by_language(record({"change": FIGURE}))),
        "elsewhere": by_language(record({"change": FIGURE})),
    }
)

KIND = Kind(
    name="harm",
    heading="What else switching off costs",
    command="lape evaluate harm",
    options=("corpus", "items"),
    needs=(held_out_text,),
    plan=plan,
    form=FORM,
    section=section,
    tables=tables,
    headline=headline,
    panel=section,
)
