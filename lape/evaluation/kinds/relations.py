"""Which right answers are lost with the neurons of each relation off: the drop matrix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lape.drawing.charts import Measured, heat_map, number
from lape.drawing.html import Table, figure, notices, paragraph
from lape.drawing.words import in_percent, mean, percent
from lape.errors import LapeError
from lape.evaluation.kinds.forms import FIGURE, MOST_MASKS, by_language, evidence_form
from lape.evaluation.kinds.kind import Evidence, Headline, Kind
from lape.evaluation.kinds.wording import share_text
from lape.evaluation.metrics.cells import Cells
from lape.evaluation.metrics.firing import OWN
from lape.evaluation.metrics.openings import TEST, half
from lape.evaluation.metrics.relations.drops import drop_matrix
from lape.evaluation.metrics.relations.facts import DECODING, FEWEST_RIGHT, OWN_FACTS, described, read_facts
from lape.evaluation.runs.evidence import json_hash
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options, Work
from lape.storage.schema import COUNT, mapping, record


def relations_in_mask(subject: Subject, options: Options) -> str | None:
    """Needs a mask of relations."""
    unknown = [label for label in subject.mask.languages if label not in read_facts(options.facts)]
    if not unknown:
        return None
    return (
        f"there are no questions about {', '.join(unknown)}; `lape relations` records relations, and its --facts file "
        "is named here too."
    )


def plan(subject: Subject, options: Options) -> Work:
    """Held-out questions answered with the neurons of each relation off, and with random ones.

    Raises:
        LapeError: The mask is none of relations that there are questions about, or of one alone.
    """
    if reason := relations_in_mask(subject, options):
        raise LapeError(f"The mask cannot be measured so: {reason}")
    labels, seeds = subject.mask.languages, tuple(range(options.seeds))
    if len(labels) < 2:
        raise LapeError(f"Lost answers are compared between relations, two or more; there is {', '.join(labels)}.")
    questions = read_facts(options.facts)
    facts = {label: half(questions[label], TEST) for label in labels}
    source = Path(options.facts or OWN_FACTS).name
    settings = subject.settings(
        loaded=subject.model_settings(),
        corpora={label: {"source": source, "sha256": json_hash(each)} for label, each in described(facts).items()},
        max_new_tokens=DECODING.max_new_tokens,
        seed=options.seed,
        seeds=list(seeds),
    )

    def measure(cells: Cells) -> dict[str, Any]:
        return drop_matrix(*subject.loaded, facts, subject.mask, seeds=seeds, seed=options.seed, cells=cells)

    def summary(results: Mapping[str, Any]) -> str:
        own, random = results["masks"][OWN], results["random"]["own"]
        return (
            f"Of the answers that are right untouched, {percent(own['own']['value'])} are lost with the neurons of "
            f"their relation off, {percent(own['others']['value'])} of those of the other relations; with as many "
            f"random neurons off {percent(random['value'])}."
        )

    cells = 1 + len(labels) * (1 + len(seeds))
    return Work("Relations: answers lost with the neurons of each relation off", settings, cells, measure, summary)


def section(evidence: Evidence) -> list[str]:
    """The section of the page."""
    results, settings = evidence["results"], evidence["settings"]
    lost = {
        off: {label: in_percent(found) for label, found in row.items()}
        for off, row in results["masks"][OWN]["lost"].items()
    }
    return [
        paragraph(
            "Held-out questions, whose subjects the neurons were not found with, are answered greedily by "
            f"{settings['max_new_tokens']} tokens. Those that the untouched model answers rightly are asked again with "
            f"the neurons of each relation off, and with as many random neurons of the same layers, "
            f"{len(results['masks']) - 1} times. An answer is right that begins with an accepted one. All questions of "
            "a relation are of one pattern, so its neurons may also be those of the pattern."
        ),
        figure(
            heat_map(
                lost,
                label=f"Right answers lost, percent. {evidence['summary']}",
                rows="off",
                columns="asked",
                digits=0,
                most=100.0,
                harm=1,
            ),
            "Right answers that are lost, percent; a frame marks a relation's own.",
        ),
        relations(evidence).html(),
        *notices(failures(evidence)),
    ]


def tables(evidence: Evidence) -> list[Table]:
    """The tables for `EVIDENCE.md`."""
    return [relations(evidence), matrix(evidence)]


def relations(evidence: Evidence) -> Table:
    """A row for each relation whose neurons were off."""
    results = evidence["results"]
    own = results["masks"][OWN]
    rows = []
    for off, row in own["lost"].items():
        most = max((label for label in row if label != off), key=lambda label: row[label]["value"])
        rows.append(
            [
                off,
                number(results["neurons"][off], 0),
                f"{results['right'][off]} of {results['asked'][off]}",
                in_percent(row[off]).text(0),
                in_percent(own["elsewhere"][off]).text(0),
                f"{most} {percent(row[most]['value'])}",
                _by_chance(results, off).text(0),
            ]
        )
    random = results["random"]
    means = [in_percent(found).text(0) for found in (own["own"], own["others"], random["own"])]
    rows.append(["mean", "", "", means[0], means[1], "", means[2]])
    head = ["relation off", "neurons", "right untouched", "of its answers lost, %", "of the others', %", "most of all"]
    head.append("random neurons (mean and range), %")
    return Table("Right answers lost", head, rows, strong=frozenset({len(rows) - 1}))


def matrix(evidence: Evidence) -> Table:
    """The drop matrix."""
    lost = evidence["results"]["masks"][OWN]["lost"]
    rows = [[off, *(number(100 * found["value"], 0) for found in row.values())] for off, row in lost.items()]
    return Table("Right answers of each relation lost with the neurons of another off, %", ["off", *lost], rows)


def failures(evidence: Evidence) -> list[str]:
    """What does not work, and what was left out, in words."""
    results = evidence["results"]
    own = results["masks"][OWN]
    lost = {off: row[off]["value"] for off, row in own["lost"].items()}
    said = []
    if results["over_random"]["low"] <= 0:
        said.append("The neurons of a relation cost it no more answers than random ones do, within the interval.")
    if weak := [off for off, share in lost.items() if 100 * share <= _by_chance(results, off).value]:
        said.append(f"No more answers are lost than with random neurons in {', '.join(weak)}.")
    if common := [off for off, share in lost.items() if share <= own["elsewhere"][off]["value"]]:
        said.append(f"The other relations lose as many answers or more with the neurons of {', '.join(common)}.")
    if few := [label for label in results["right"] if label not in lost]:
        said.append(f"Fewer than {FEWEST_RIGHT} answers are right untouched in {', '.join(few)}.")
    return said


def headline(evidence: Evidence) -> Headline:
    """The share of right answers lost to a relation's own neurons, beside the others' and random neurons."""
    results = evidence["results"]
    own, random = results["masks"][OWN], results["random"]["own"]
    return Headline(
        f"Right answers lost with the neurons of their relation off, mean over {len(own['lost'])} relations",
        share_text(own["own"]),
        f"the other relations {share_text(own['others'])}; as many random neurons {share_text(random)}",
    )


def _by_chance(results: Mapping[str, Any], off: str) -> Measured:
    """Percent of a relation's answers lost to random neurons: mean and range over the masks."""
    shares = [100 * found["lost"][off][off]["value"] for name, found in results["masks"].items() if name != OWN]
    return Measured(mean(shares), min(shares), max(shares))


LOST = record(
    {
        "lost": by_language(by_language(FIGURE, least=2), least=2),
        "elsewhere": by_language(FIGURE, least=2),
        "own": FIGURE,
        "others": FIGURE,
    }
)
FORM = evidence_form(
    {
        "asked": by_language(COUNT, least=2),
        "right": by_language(COUNT, least=2),
        "neurons": by_language(COUNT, least=2),
        "masks": mapping(LOST, least=2, most=MOST_MASKS),
        "random": record({"own": FIGURE, "others": FIGURE}),
        "over_random": FIGURE,
    },
    max_new_tokens=COUNT,
)

KIND = Kind(
    name="relations",
    heading="Relations: the answers that are lost",
    command="lape evaluate relations",
    options=("facts", "seeds"),
    needs=(relations_in_mask,),
    plan=plan,
    form=FORM,
    section=section,
    tables=tables,
    headline=headline,
    panel=section,
    expected=False,
)
