"""How the mask depends on the text it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lape.drawing.axes import curves
from lape.drawing.charts import number
from lape.drawing.html import Table, figure, notice, notices, paragraph
from lape.drawing.words import named, percent
from lape.errors import LapeError
from lape.evaluation.kinds.forms import by_language, evidence_form
from lape.evaluation.kinds.kind import Evidence, Headline, Kind, groups_of_blocks
from lape.evaluation.metrics.cells import Cells, one_by_one
from lape.evaluation.metrics.stability import selection as stability_selection
from lape.evaluation.metrics.stability import selection_summary, stability
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options, Work
from lape.storage.names import GROUPS_NAME
from lape.storage.schema import COUNT, LONG_TEXT, SHARE, listing, nullable, record


def plan(subject: Subject, options: Options) -> Work:
    """How the mask depends on the number of tokens, and how often each neuron is selected from resampled text."""
    if (groups := subject.groups) is None:
        raise LapeError(
            f"There is no {GROUPS_NAME} beside the mask. Stability needs the counts of groups of blocks: record again "
            "with --groups 16."
        )
    mask, languages = subject.whole_mask, list(subject.whole_mask.languages)
    method, of_method = str(mask.metadata.get("method")), dict(mask.metadata.get("settings", {}))
    longest = max(groups.blocks[code] for code in languages if code in groups.blocks)
    settings = subject.settings(groups=subject.hash_of(GROUPS_NAME), seed=options.seed)

    def select() -> dict[str, Any]:
        return selection_summary(stability_selection(groups, mask, seed=options.seed))

    def measure(cells: Cells) -> dict[str, Any]:
        found = stability(groups, method, languages, cells=cells, **of_method)
        try:
            selected = cells(one_by_one({"stability selection": select}))["stability selection"]
        except LapeError as error:
            return {**found, "selection": None, "selection_left_out": str(error)}
        return {**found, "selection": selected}

    def summary(results: Mapping[str, Any]) -> str:
        last, jaccard = results["points"][-1], results["enough"]["jaccard"]
        parts = [
            f"{found['tokens']:,} tokens a language {how} ({100 * found['share']:.0f} % of the recording)"
            for how, found in (
                ("spread evenly over the text", results["spread_enough"]),
                ("from its beginning", results["enough"]),
            )
            if found["share"] is not None
        ]
        said = (
            f"A mask from {', or from '.join(parts)} agrees with the whole one at {jaccard:g} or more"
            if parts
            else f"No part of the recording that was looked at agrees with the whole one at {jaccard:g}"
        )
        halves = "have no neurons" if last["halves_mean"] is None else f"agree at {last['halves_mean']:.2f}"
        return f"{said} (mean Jaccard index); the masks of its two halves {halves}."

    cells = sum(number < longest for number in groups.snapshots) + 2
    return Work("Stability: how the mask depends on the text it was made from", settings, cells, measure, summary)


def section(evidence: Evidence) -> list[str]:
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


def tables(evidence: Evidence) -> list[Table]:
    """The tables for `EVIDENCE.md`."""
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


def headline(evidence: Evidence) -> Headline:
    """How few tokens give nearly the same mask, beside what two halves of all text agree."""
    results = evidence["results"]
    found = [
        f"{number(part['tokens'], 0)} {how} ({percent(part['share'])} of the recording)"
        for how, part in (("spread over the text", results["spread_enough"]), ("from its beginning", results["enough"]))
        if part["share"] is not None
    ]
    halves = _index(results["points"][-1]["halves_mean"])
    return Headline(
        f"Tokens a language for a mask that agrees with the whole one (Jaccard index {results['enough']['jaccard']:g})",
        "; ".join(found) or "more than the recording has",
        f"masks of two halves agree at {halves}" if halves else "",
    )


INDEX = nullable(SHARE)  # Jaccard's; there is none of two masks without neurons
ENOUGH = record({"jaccard": SHARE, "tokens": nullable(COUNT), "share": nullable(SHARE)})
FORM = evidence_form(
    {
        "full_tokens": by_language(COUNT, least=1),
        "points": listing(
            record(
                {
                    "tokens": COUNT,
                    "halves": by_language(INDEX),
                    "halves_mean": INDEX,
                    "to_full": nullable(by_language(INDEX)),
                    "to_full_mean": INDEX,
                }
            ),
            least=1,
            most=1_000,
        ),
        "enough": ENOUGH,
        "spread": listing(
            record(
                {"tokens": COUNT, "share": SHARE, "parts": COUNT, "to_full_mean": INDEX, "to_full_mean_lowest": INDEX}
            ),
            most=1_000,
        ),
        "spread_enough": ENOUGH,
    },
    {
        "selection": nullable(by_language(record({"neurons": COUNT, "mean": INDEX, "certain": INDEX}))),
        "selection_left_out": nullable(LONG_TEXT),
    },
)

KIND = Kind(
    name="stability",
    heading="How much text a mask needs",
    command="lape evaluate stability",
    options=(),
    needs=(groups_of_blocks,),
    plan=plan,
    form=FORM,
    section=section,
    tables=tables,
    headline=headline,
    panel=section,
    runs_model=False,
)
