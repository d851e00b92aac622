"""How to steer: what was tried on one half of the openings, and what it came to on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lape.drawing.charts import number
from lape.drawing.html import Table, details, notices, paragraph
from lape.drawing.words import interval, named, percent
from lape.errors import LapeError
from lape.evaluation.kinds.forms import AVERAGES, FIGURE, PAIRS, SETTING, UNTOLD, by_language, evidence_form
from lape.evaluation.kinds.kind import Evidence, Headline, Kind, means_of_all, source_in_mask
from lape.evaluation.kinds.steered import (
    averaged,
    conditions_of_pair,
    judge_of,
    masks_of,
    openings_of,
    output_settings,
    own_rate,
)
from lape.evaluation.kinds.wording import (
    OUTCOMES,
    beside_text,
    condition_text,
    rivals,
    setting_text,
    share_text,
    untold_text,
)
from lape.evaluation.metrics.cells import Cells
from lape.evaluation.metrics.continuations import Bench
from lape.evaluation.metrics.steering import Pair
from lape.evaluation.metrics.tune import grid, tune
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options, Work
from lape.languages import language
from lape.storage.schema import LONG_TEXT, SHARE, TEXT, is_number, listing, nullable, record

SHOWN = 8  # settings in `EVIDENCE.md`


def plan(subject: Subject, options: Options) -> Work:
    """The best setting for each target on the dev half of the openings, measured on the test half.

    Raises:
        LapeError: A language is unknown, or has no openings, or the identifier tells no target from the source.
        MeansMissing: The mask has no means for a target.
    """
    mask, judge = subject.mask, judge_of(subject, options)
    source = mask.known(options.source)
    prompts = openings_of(subject, options, [source])
    masks = masks_of(subject, [own_rate(subject), *(options.top_rates if subject.statistics is not None else ())])
    settings = grid(masks, options.strengths, options.offs)
    targets = [code for code in mask.languages if code != source and not judge.untold([source, code])]
    if not targets:
        raise LapeError(f"{options.identifier} tells none of the other languages of the mask from {source!r}.")
    pairs: list[Pair] = [(source, code) for code in targets]
    for pair in pairs:
        for setting in settings:
            setting.intervention(masks, *pair)
    controls = options.output_seeds if subject.statistics is not None else ()
    described = output_settings(
        subject,
        options,
        prompts,
        masks,
        grid=[asdict(one) for one in settings],
        targets=targets,
        seeds=list(controls),
        **({} if options.most_cost is None else {"most_cost_nats": options.most_cost}),
    )

    def measure(cells: Cells) -> dict[str, Any]:
        found = tune(
            Bench(*subject.loaded, judge, options.decoding),
            masks,
            prompts,
            pairs,
            settings,
            most_cost=options.most_cost,
            statistics=subject.statistics,
            seeds=controls,
            cells=cells,
        )
        return {**found.values(), "source": source, "untold": judge.untold(mask.languages)}

    def summary(results: Mapping[str, Any]) -> str:
        tuned, fixed = (results[name]["averages"]["all"] for name in ("tuned", "fixed"))
        said = (
            f"From {language(source).name} to {tuned['pairs']} targets, each with the setting chosen on the tuning "
            f"half: on the test half {averaged(tuned)}. With one setting for "
            f"all, {setting_text(results['common'])}, {averaged(fixed, others=False)}."
        )
        return " ".join([said, *untold_text(results, described)])

    reported = sum(
        1 + conditions_of_pair(pair, controls, options) for pair in pairs
    )  # a setting of its own, and the common
    cells = 2 + len(pairs) * len(settings) + reported
    return Work("Tuning: the best way to steer to each language", described, cells, measure, summary)


def section(evidence: Evidence) -> list[str]:
    """The section of the page."""
    results = evidence["results"]
    more = [tried(evidence).html()] if len(results["sweep"]) > SHOWN else []
    return [
        paragraph(
            f"From {named(results['source'])}: every setting is tried on the dev half of the openings, and each "
            f"target keeps its best one ({results['rule']}). The figures below are of the test half, which "
            f"nothing was chosen on. The one setting that is best over all targets{_allowed(evidence)} is "
            f"{setting_text(results['common'])}."
        ),
        targets(evidence).html(),
        tried(evidence, SHOWN).html(),
        *notices(untold_text(results, evidence["settings"])),
        details("Every setting that was tried", [*more, _grid(evidence).html()]),
    ]


def _allowed(evidence: Evidence) -> str:
    most = evidence["settings"].get("most_cost_nats")
    return (
        "" if not is_number(most) else f" among those with a fluency cost of at most {number(most, 2)} nats per token"
    )


def tables(evidence: Evidence) -> list[Table]:
    """The tables for `EVIDENCE.md`."""
    return [targets(evidence), tried(evidence, SHOWN)]


def targets(evidence: Evidence) -> Table:
    """A row for each target on the test half."""
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
        "Share in the target language on the test half", head, rows, words=2, strong=frozenset({len(rows) - 1})
    )


def tried(evidence: Evidence, most: int | None = None) -> Table:
    """The settings with the highest mean share on the dev half."""
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
    return Table(f"{which} tried, on the dev half, means over targets", head, rows)


def _figures(conditions: Mapping[str, Any], common: Mapping[str, Any], beside: list[str]) -> list[str]:
    steered = conditions["steered"]
    cost = steered["fluency_cost_nats"]
    return [
        share_text(steered["target_share"]),
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
    return Table("Percent in the target language, on the dev half, by target", ["setting", *codes], rows)


def _value(found: Any) -> float:
    return found["value"] if isinstance(found, Mapping) else found


def headline(evidence: Evidence) -> Headline:
    """The share of outputs in the target language on the test half, each target with its best setting."""
    results = evidence["results"]
    average = results["tuned"]["averages"]["all"]
    found = average["conditions"]
    cost = found["steered"]["fluency_cost_nats"]
    at = f", at a fluency cost of {interval(cost).text(2)} nats per token" if cost else ""
    return Headline(
        f"Outputs in the target language, from {named(results['source'])} to {average['pairs']} others, each with its "
        "best setting",
        f"{share_text(found['steered']['target_share'])}{at}",
        beside_text(found),
    )


RESULTS = record({"pairs": PAIRS, "averages": AVERAGES})
TRIED = record(
    {
        "target_share": FIGURE,
        **dict.fromkeys((f"{outcome}_share" for outcome in OUTCOMES[1:]), SHARE),
        "repeated_4gram_share": SHARE,
        "fluency_cost_nats": nullable(FIGURE),
    }
)
FORM = evidence_form(
    {
        "source": TEXT,
        "rule": LONG_TEXT,
        "common": SETTING,
        "sweep": listing(
            record({"setting": SETTING, "average": TRIED, "target_shares": by_language(by_language(SHARE, least=1))}),
            least=1,
            most=1_000,
        ),
        "tuned": RESULTS,
        "fixed": RESULTS,
    },
    {"untold": UNTOLD},
    identifier=TEXT,
)

KIND = Kind(
    name="tuning",
    heading="The best way to steer",
    command="lape tune",
    options=("source", "top_rates", "strengths", "offs", "most_cost", "prompts", "identifier", "max_new_tokens"),
    needs=(means_of_all, source_in_mask),
    plan=plan,
    form=FORM,
    section=section,
    tables=tables,
    headline=headline,
    panel=section,
)
