"""What can be measured of a mask by generating text: steering, and the choice of how to steer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lape.errors import LapeError, NotEnoughText, UnknownLabel
from lape.evaluation.kinds.wording import condition_text, rivals, setting_text
from lape.evaluation.metrics.conditions import UNTOUCHED, Masks, Off, Openings, Setting
from lape.evaluation.metrics.continuations import Bench, Decoding
from lape.evaluation.metrics.kept import OFF, kept
from lape.evaluation.metrics.language import identifier
from lape.evaluation.metrics.lss import lss, lss_items
from lape.evaluation.metrics.openings import HALVES, instructions, openings, read_openings
from lape.evaluation.metrics.parallel import Parallel
from lape.evaluation.metrics.steering import Pair, all_pairs, steering
from lape.evaluation.metrics.tune import OFFS, STRENGTHS, grid, tune
from lape.evaluation.runs.evidence import Cell
from lape.evaluation.runs.run import Subject, Work, json_hash
from lape.generation.interventions import Mode
from lape.identify import identify
from lape.languages import language

TARGET_SHARE_WANTED = 0.9
TOP_RATES = (0.01, 0.02, 0.03, 0.05)


@dataclass(frozen=True)
class SteeringOptions:
    """How outputs are made and told apart.

    Attributes:
        prompts: File or folder of openings; None takes those of the project.
        identifier: Name of the language identifier.
        decoding: Of the outputs.
        seeds: Of the random controls.
        instructed: Whether plain instructions are measured too.
        shift_source: Language that the language-shift score is measured from.
        shift_items: Paragraphs of each pair for it.
    """

    prompts: str | None = None
    identifier: str = "py3langid"
    decoding: Decoding = field(default_factory=Decoding)
    seeds: tuple[int, ...] = (0,)
    instructed: bool = True
    shift_source: str = "en"
    shift_items: int = 20


def steering_of(subject: Subject, options: SteeringOptions, setting: Setting) -> Work:
    """Every ordered pair of languages under one setting, beside its rivals.

    Args:
        subject: The mask and its model.
        options: How.
        setting: For every pair.

    Raises:
        LapeError: No language has openings, or a top rate other than the mask's is named without statistics.
        MeansMissing: The mask has no means for a target.
    """
    prompts = _openings(subject, options)
    masks = masks_of(subject, [setting.top_rate])
    pairs = [pair for pair in all_pairs(subject.mask.languages) if pair[0] in prompts]
    settings = {pair: setting for pair in pairs if setting.intervention(masks, *pair)}
    if not settings:
        raise LapeError("There is no pair of languages to steer; the mask needs two, and one of them openings.")
    controls = options.seeds if subject.statistics is not None else ()
    shifted, no_shift = _shift_items(subject, options)
    described = _described(
        subject,
        options,
        prompts,
        masks,
        setting=asdict(setting),
        seeds=list(controls),
        shift_items={target: json_hash([asdict(item) for item in items]) for (_, target), items in shifted.items()},
    )

    def measure(cell: Cell) -> dict[str, Any]:
        shift = (
            lss(
                *subject.loaded,
                masks,
                shifted,
                dict.fromkeys(shifted, setting),
                statistics=subject.statistics,
                seeds=controls,
                cell=cell,
            )
            if shifted
            else None
        )
        found = steering(
            _bench(subject, options),
            masks,
            prompts,
            settings,
            statistics=subject.statistics,
            seeds=controls,
            instructed=options.instructed,
            cell=cell,
        )
        return {
            **found.values(),
            "kept": kept(_bench(subject, options), subject.mask, prompts, seeds=options.seeds, cell=cell),
            "setting": asdict(setting),
            "without_openings": [code for code in subject.mask.languages if code not in prompts],
            "lss": shift,
            "lss_left_out": no_shift,
        }

    def summary(results: Mapping[str, Any]) -> str:
        everywhere = results["averages"]["all"]
        english = results["averages"]["source"].get("en")
        named = setting_text(asdict(setting))
        said = f"With {named}: over all {everywhere['pairs']} pairs of languages {_averaged(everywhere)}"
        before, after = (results["kept"]["averages"][name]["kept_share"]["value"] for name in (UNTOUCHED, OFF))
        said = f"{said}; from English {_averaged(english)}." if english else f"{said}."
        return (
            f"{said} With its own neurons off and nothing on, the model goes on in the language of the opening in "
            f"{100 * after:.0f} % of the cases, untouched in {100 * before:.0f} %."
        )

    cells = len(HALVES) * (len(prompts) + sum(_conditions(pair, controls, options) for pair in pairs))
    cells += len(shifted) * (2 + len(controls)) + len(HALVES) * len(prompts) * (1 + len(options.seeds))
    return Work("Steering: the language of the output, every pair of languages", described, cells, measure, summary)


def tuning_of(
    subject: Subject,
    options: SteeringOptions,
    source: str,
    targets: Sequence[str],
    top_rates: Sequence[float] = TOP_RATES,
    strengths: Mapping[Mode, Sequence[float]] = STRENGTHS,
    offs: Sequence[Off] = OFFS,
) -> Work:
    """The best setting for each target on one half of the openings, measured on the other half.

    Args:
        subject: The mask and its model.
        options: How.
        source: Language of the openings.
        targets: Languages to steer to; empty takes all others of the mask.
        top_rates: Of the masks to try, the given one beside them; without statistics that one alone.
        strengths: Of each mode to try.
        offs: What goes off.

    Raises:
        LapeError: A language is unknown, or has no openings.
        MeansMissing: The mask has no means for a target.
    """
    prompts = _openings(subject, options, [source])
    masks = masks_of(subject, [own_rate(subject), *(top_rates if subject.statistics is not None else ())])
    settings = grid(masks, strengths, offs)
    chosen = [subject.mask.known(code) for code in targets] or [
        code for code in subject.mask.languages if code != source
    ]
    pairs: list[Pair] = [(subject.mask.known(source), code) for code in chosen if code != source]
    for pair in pairs:
        for setting in settings:
            setting.intervention(masks, *pair)
    controls = options.seeds if subject.statistics is not None else ()
    described = _described(
        subject, options, prompts, masks, grid=[asdict(one) for one in settings], targets=chosen, seeds=list(controls)
    )

    def measure(cell: Cell) -> dict[str, Any]:
        bench = _bench(subject, options)
        found = tune(
            bench, masks, prompts, pairs, settings, statistics=subject.statistics, seeds=controls, cell=cell
        ).values()
        share = found["tuned"]["averages"]["all"]["conditions"]["steered"]["target_share"]["value"]
        return {**found, "source": source, "wanted": TARGET_SHARE_WANTED, "passed": share >= TARGET_SHARE_WANTED}

    def summary(results: Mapping[str, Any]) -> str:
        tuned, fixed = (results[name]["averages"]["all"] for name in ("tuned", "fixed"))
        return (
            f"From {language(source).name} to {tuned['pairs']} targets, each with the setting chosen on the tuning "
            f"half: on the reporting half {_averaged(tuned)}; wanted {100 * TARGET_SHARE_WANTED:.0f} %. With one "
            f"setting for all, {setting_text(results['common'])}, {_averaged(fixed, others=False)}."
        )

    reported = sum(1 + _conditions(pair, controls, options) for pair in pairs)  # a setting of its own, and the common
    cells = 2 + len(pairs) * len(settings) + reported
    return Work("Tuning: the best way to steer to each language", described, cells, measure, summary)


def own_rate(subject: Subject) -> float | None:
    """The top rate the mask was made with; None where that is no setting of its method."""
    rate = dict(subject.whole_mask.metadata.get("settings", {})).get("top_rate")
    return None if rate is None else float(rate)


def masks_of(subject: Subject, top_rates: Sequence[float | None]) -> Masks:
    """The mask, with all its languages, as it is at its own top rate and identified anew at others.

    Raises:
        LapeError: There are no statistics, or the method has no top rate.
    """
    masks: dict[float | None, Any] = {}
    mask = subject.whole_mask
    for rate in dict.fromkeys(top_rates):
        if rate is None or rate == own_rate(subject):
            masks[rate] = mask
        elif subject.statistics is None or own_rate(subject) is None:
            raise LapeError(
                f"A mask of top rate {rate:g} needs the statistics of a mask that was made with a top rate."
            )
        else:
            settings = {**mask.metadata["settings"], "top_rate": rate}
            masks[rate] = identify(subject.statistics, str(mask.metadata["method"]), mask.languages, **settings)
    return masks


def tuned_setting(evidence: Mapping[str, Any], subject: Subject) -> Setting | None:
    """The common setting that tuning chose for this mask; None where it is of another."""
    if evidence.get("settings", {}).get("mask") != subject.settings()["mask"]:
        return None
    found = evidence["results"]["common"]
    return Setting(**found)


def _openings(subject: Subject, options: SteeringOptions, languages: Sequence[str] | None = None) -> Openings:
    """Openings by language; without a file, of those languages the project has some for."""
    wanted = list(languages or subject.mask.languages)
    if options.prompts is not None:
        return read_openings(options.prompts, wanted)
    found = {}
    for code in wanted:
        try:
            found[code] = openings(code)
        except UnknownLabel:
            if languages is not None:
                raise
    if not found:
        raise LapeError("There are no openings in the mask's languages. Write some and name them with --prompts.")
    return found


def _shift_items(subject: Subject, options: SteeringOptions) -> tuple[dict[Pair, list[Parallel]], str | None]:
    """Paragraphs for the language-shift score, or why there are none."""
    source = options.shift_source
    pairs = [(source, code) for code in subject.mask.languages if code != source and code in subject.corpora]
    if source not in subject.mask.languages or source not in subject.corpora or not pairs:
        return {}, f"it is measured from {source!r} on parallel text; name one with --corpus."
    try:
        return lss_items(subject.corpora, pairs, options.shift_items), None
    except NotEnoughText as error:
        return {}, str(error)


def _bench(subject: Subject, options: SteeringOptions) -> Bench:
    return Bench(*subject.loaded, identifier(options.identifier, subject.whole_mask.languages), options.decoding)


def _conditions(pair: Pair, controls: Sequence[int], options: SteeringOptions) -> int:
    """Cells of a pair in one half: steered, random, instructed."""
    return 1 + len(controls) + (len(instructions(pair[1])) if options.instructed else 0)


def _described(
    subject: Subject, options: SteeringOptions, prompts: Openings, masks: Masks, **other: Any
) -> dict[str, Any]:
    """Everything that decides the outputs; openings by their hash, like any other text."""
    identifier(options.identifier, subject.whole_mask.languages)  # refuses before anything is loaded
    decoding = asdict(options.decoding)
    return subject.settings(
        loaded=subject.model_settings(),
        openings={code: {"count": len(texts), "sha256": json_hash(list(texts))} for code, texts in prompts.items()},
        source_of_openings="the project's" if options.prompts is None else Path(options.prompts).name,
        identifier=options.identifier,
        decoding={**decoding, "temperature": 0},
        top_rates=list(masks),
        **other,
    )


def _averaged(average: Mapping[str, Any], *, others: bool = True) -> str:
    """The main figures of an average over pairs."""
    conditions = average["conditions"]
    steered = conditions["steered"]
    said = f"{100 * steered['target_share']['value']:.0f} % of the outputs are in the target language"
    beside = [
        f"{condition_text(name)} {100 * conditions[name]['target_share']['value']:.0f} %" for name in rivals(conditions)
    ]
    cost = steered["fluency_cost_nats"]
    said += "" if cost is None else f", at a fluency cost of {cost['value']:.2f} nats per token"
    return f"{said} ({', '.join(beside)})" if others and beside else said
