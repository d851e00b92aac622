"""How often the neurons that fire tell the language of a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lape.drawing.charts import Measured, heat_map, number
from lape.drawing.html import Table, figure, notices, paragraph
from lape.drawing.words import in_percent, mean, named, percent, related
from lape.evaluation.kinds.forms import FIGURE, MOST_MASKS, by_language, evidence_form
from lape.evaluation.kinds.kind import Evidence, Headline, Kind, held_out_text
from lape.evaluation.kinds.wording import condition_text, share_text
from lape.evaluation.metrics.cells import Cells
from lape.evaluation.metrics.firing import OWN, held_out_lines, told_by_firing
from lape.evaluation.runs.evidence import json_hash
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options, Work
from lape.recording.sources import describe
from lape.storage.names import STATISTICS_NAME
from lape.storage.schema import COUNT, SHARE, mapping, record

COLORED = {"right": "colored as it", "wrong": "as another", "none": "as none"}


def plan(subject: Subject, options: Options) -> Work:
    """Held-out lines told by the neurons of the mask that fire, and by random ones."""
    lines = {code: held_out_lines(source, options.items, options.seed, code) for code, source in subject.text().items()}
    settings = subject.settings(
        loaded=subject.model_settings(),
        corpora={
            code: {"source": describe(subject.corpora[code]), "sha256": json_hash(some)} for code, some in lines.items()
        },
        statistics=subject.hash_of(STATISTICS_NAME),
        items=options.items,
        seed=options.seed,
        seeds=list(options.output_seeds),
    )

    def measure(cells: Cells) -> dict[str, Any]:
        return told_by_firing(
            *subject.loaded,
            lines,
            subject.mask,
            subject.statistics,
            seeds=options.output_seeds,
            seed=options.seed,
            cells=cells,
        )

    def summary(results: Mapping[str, Any]) -> str:
        masks = {name: found["accuracy"]["value"] for name, found in results["masks"].items()}
        random = mean(share for name, share in masks.items() if name != OWN)
        return (
            f"Of {sum(results['lines'].values())} held-out lines the neurons that fire most tell the language of "
            f"{percent(masks[OWN])}; as many random neurons of {percent(random)}, a guess of "
            f"{percent(results['guessing'])}."
        )

    return Work("Firing: the language of a line, told by the neurons that fire", settings, len(lines), measure, summary)


def section(evidence: Evidence) -> list[str]:
    """The section of the page."""
    results = evidence["results"]
    own = results["masks"][OWN]["languages"]
    codes = sorted({*own, *(told for found in own.values() for told in found["told"])})
    shares: dict[str, dict[str, Measured | None]] = {
        code: {other: _share(found["told"], other) for other in codes} for code, found in own.items()
    }
    return [
        paragraph(
            f"{' or '.join(map(str, sorted(set(results['lines'].values()))))} held-out lines a language. Of each "
            "language of the mask the share of its neurons that are active, mean over a line's tokens, is put between "
            "what is usual in the text of other languages (0) and in its own (1); the line is told to be in the "
            "highest. The tab Neurons colors single tokens by the same levels, and leaves those without color that no "
            "language reaches 0.3 at."
        ),
        figure(
            heat_map(
                related(shares),
                label=f"Lines told to be in each language, percent. {evidence['summary']}",
                rows="text",
                columns="told",
                digits=0,
                most=100.0,
            ),
            "Lines of each language that are told to be in each, percent; a frame marks what is right.",
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
    own = results["masks"][OWN]
    random = {name: found for name, found in results["masks"].items() if name != OWN}
    rows = []
    for code, found in own["languages"].items():
        wrong = {other: count for other, count in found["told"].items() if other != code}
        rows.append(
            [
                named(code),
                in_percent(found["accuracy"]).text(0),
                ", ".join(f"{other} {count}" for other, count in list(wrong.items())[:2]),
                *(in_percent(each["languages"][code]["accuracy"]).text(0) for each in random.values()),
                *(number(100 * found["token_shares"][name], 0) for name in COLORED),
            ]
        )
    rows.append(
        [
            "mean",
            in_percent(own["accuracy"]).text(0),
            "",
            *(in_percent(each["accuracy"]).text(0) for each in random.values()),
            *(number(100 * _colored(own, name), 0) for name in COLORED),
        ]
    )
    head = ["language", "lines told right, %", "mistaken for", *(f"{condition_text(name)}, %" for name in random)]
    head += [f"tokens {said}, %" for said in COLORED.values()]
    return Table("Lines told by the neurons that fire", head, rows, strong=frozenset({len(rows) - 1}))


def failures(evidence: Evidence) -> list[str]:
    """Languages that are told no better than by random neurons, in words."""
    masks = evidence["results"]["masks"]
    best = {
        code: max(found["languages"][code]["accuracy"]["value"] for name, found in masks.items() if name != OWN)
        for code in masks[OWN]["languages"]
    }
    weak = [code for code, found in masks[OWN]["languages"].items() if found["accuracy"]["value"] <= best[code]]
    return [f"Random neurons tell as many lines or more in {', '.join(map(named, weak))}."] if weak else []


def headline(evidence: Evidence) -> Headline:
    """The share of lines that are told right, beside random neurons and a guess."""
    results = evidence["results"]
    own = results["masks"][OWN]
    beside = [
        f"{condition_text(name)} {percent(found['accuracy']['value'])}"
        for name, found in results["masks"].items()
        if name != OWN
    ]
    return Headline(
        f"Lines whose language the neurons that fire tell, mean over {len(own['languages'])} languages",
        f"{share_text(own['accuracy'])}; of single tokens {percent(_colored(own, 'right'))}",
        ", ".join([*beside, f"a guess {percent(results['guessing'])}"]),
    )


def _share(told: Mapping[str, int], code: str) -> Measured | None:
    return Measured(100 * told[code] / sum(told.values())) if told.get(code) else None


def _colored(found: Mapping[str, Any], name: str) -> float:
    return mean(each["token_shares"][name] for each in found["languages"].values())


TOLD = record(
    {
        "accuracy": FIGURE,
        "told": by_language(COUNT, least=1),
        "token_shares": record(dict.fromkeys(COLORED, SHARE)),
    }
)
FORM = evidence_form(
    {
        "lines": by_language(COUNT, least=1),
        "guessing": SHARE,
        "masks": mapping(
            record({"accuracy": FIGURE, "languages": by_language(TOLD, least=1)}), least=2, most=MOST_MASKS
        ),
    }
)

KIND = Kind(
    name="firing",
    heading="Read: the language whose neurons fire",
    command="lape evaluate firing",
    options=("corpus", "items"),
    needs=(held_out_text,),
    plan=plan,
    form=FORM,
    section=section,
    tables=tables,
    headline=headline,
    panel=section,
)
