"""Steering between ordered pairs of languages, as work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from lape.errors import BadFile, LapeError, NotEnoughText
from lape.evaluation.kinds.forms import SETTING
from lape.evaluation.kinds.steered import (
    averaged,
    conditions_of_pair,
    judge_of,
    masks_of,
    openings_of,
    output_settings,
    own_rate,
    second_judge,
)
from lape.evaluation.kinds.wording import setting_text, untold_text
from lape.evaluation.metrics.cells import Cells
from lape.evaluation.metrics.conditions import BASELINE, Setting
from lape.evaluation.metrics.continuations import Bench
from lape.evaluation.metrics.language_retention import OFF, language_retention
from lape.evaluation.metrics.lss import lss, lss_items
from lape.evaluation.metrics.openings import HALVES
from lape.evaluation.metrics.parallel import Parallel
from lape.evaluation.metrics.second_opinion import second_opinion
from lape.evaluation.metrics.steering import Pair, all_pairs, steering
from lape.evaluation.runs.evidence import json_hash, read_evidence
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options, Work
from lape.generation.settings import MODE, STRENGTH
from lape.storage.schema import misfit, record

CHOSEN = record({"settings": record({}), "results": record({"common": SETTING})})  # of what tuning found


def plan(subject: Subject, options: Options) -> Work:
    """Every ordered pair of languages that the identifier tells apart, under one setting, beside its rivals.

    With `options.sources` these are the pairs that start from them.

    The setting is what the options say, else what tuning chose for this mask, else what the page does.

    Raises:
        LapeError: A source is unknown, no language has openings, the identifier tells no pair apart, or a top rate
            other than the mask's is named without statistics.
        MeansMissing: The mask has no means for a target.
    """
    setting = setting_of(subject, options)
    judge, second = judge_of(subject, options), second_judge(subject, options)
    prompts = openings_of(subject, options)
    without_openings = [code for code in subject.mask.languages if code not in prompts]
    prompts = {code: texts for code, texts in prompts.items() if not judge.untold([code])}
    masks = masks_of(subject, [setting.top_rate])
    starts = [code for code in map(subject.mask.known, options.sources or prompts) if code in prompts]
    pairs = [pair for pair in all_pairs(subject.mask.languages) if pair[0] in starts and not judge.untold(pair)]
    settings = {pair: setting for pair in pairs if setting.intervention(masks, *pair)}
    if not settings:
        raise LapeError(
            f"There is no pair of languages to steer; the mask needs two that {options.identifier} tells apart, "
            "and one of them openings."
        )
    controls = options.output_seeds if subject.statistics is not None else ()
    shifted, no_shift = _shift_items(subject, options)
    described = output_settings(
        subject,
        options,
        prompts,
        masks,
        setting=asdict(setting),
        seeds=list(controls),
        **({"sources": starts} if options.sources else {}),
        shift_items={target: json_hash([asdict(item) for item in items]) for (_, target), items in shifted.items()},
    )

    def measure(cells: Cells) -> dict[str, Any]:
        bench = Bench(*subject.loaded, judge, options.decoding)
        shift = (
            lss(
                *subject.loaded,
                masks,
                shifted,
                dict.fromkeys(shifted, setting),
                statistics=subject.statistics,
                seeds=controls,
                cells=cells,
            )
            if shifted
            else None
        )
        found = steering(
            bench,
            masks,
            prompts,
            settings,
            statistics=subject.statistics,
            seeds=controls,
            instructed=options.instructed,
            cells=cells,
        )
        return {
            **found.values(),
            "language_retention": language_retention(
                bench, subject.mask, prompts, seeds=options.output_seeds, cells=cells
            ),
            "setting": asdict(setting),
            "without_openings": without_openings,
            "untold": judge.untold(subject.mask.languages),
            "second_opinion": second and {"identifier": second[0], "conditions": second_opinion(found, second[1])},
            "lss": shift,
            "lss_left_out": no_shift,
        }

    def summary(results: Mapping[str, Any]) -> str:
        everywhere = results["averages"]["all"]
        english = results["averages"]["source"].get("en")
        named = setting_text(asdict(setting))
        said = f"With {named}: over all {everywhere['pairs']} pairs of languages {averaged(everywhere)}"
        before, after = (
            results["language_retention"]["averages"][name]["retained_share"]["value"] for name in (BASELINE, OFF)
        )
        said = f"{said}; from English {averaged(english)}." if english else f"{said}."
        kept = (
            "With its own neurons off and nothing on, the model goes on in the language of the opening in "
            f"{100 * after:.0f} % of the cases, untouched in {100 * before:.0f} %."
        )
        return " ".join([said, kept, *untold_text(results, described)])

    cells = len(HALVES) * (len(prompts) + sum(conditions_of_pair(pair, controls, options) for pair in pairs))
    cells += len(shifted) * (2 + len(controls)) + len(HALVES) * len(prompts) * (1 + len(options.output_seeds))
    return Work("Steering: the language of the output, every pair of languages", described, cells, measure, summary)


def setting_of(subject: Subject, options: Options) -> Setting:
    """How to steer: what is said, else what tuning chose for this mask, else what the page does."""
    folder = subject.evidence_folder
    tuning = read_evidence(folder).get("tuning") if folder.is_dir() else None
    chosen = tuned_setting(tuning, subject) if tuning else None
    chosen = chosen or Setting(MODE, STRENGTH, own_rate(subject))
    said = {name: getattr(options, name) for name in ("mode", "strength", "top_rate", "off")}
    return replace(chosen, **{name: value for name, value in said.items() if value is not None})


def tuned_setting(evidence: Mapping[str, Any], subject: Subject) -> Setting | None:
    """The common setting that tuning chose for this mask; None where it is of another.

    Raises:
        BadFile: It is damaged.
    """
    if wrong := misfit(evidence, CHOSEN):
        raise BadFile(f"The evidence of tuning does not say its {wrong}. Measure it again with `lape tune`.")
    if evidence["settings"].get("mask") != subject.settings()["mask"]:
        return None
    try:
        return Setting(**evidence["results"]["common"])
    except TypeError as error:
        raise BadFile("The evidence of tuning is of another version. Measure it again with `lape tune`.") from error


def _shift_items(subject: Subject, options: Options) -> tuple[dict[Pair, list[Parallel]], str | None]:
    """Paragraphs for the language-shift score, or why there are none."""
    source = options.source
    pairs = [(source, code) for code in subject.mask.languages if code != source and code in subject.corpora]
    if source not in subject.mask.languages or source not in subject.corpora or not pairs:
        return {}, f"it is measured from {source!r} on parallel text; name one with --corpus."
    try:
        return lss_items(subject.corpora, pairs, options.shift_items), None
    except NotEnoughText as error:
        return {}, str(error)
