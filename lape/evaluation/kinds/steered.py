"""What the kinds that generate text share: openings, masks at several top rates, how outputs are made and averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lape.errors import LapeError, UnknownLabel
from lape.evaluation.kinds.wording import beside_text
from lape.evaluation.metrics.conditions import Masks, Openings
from lape.evaluation.metrics.language import Chooser, identifier
from lape.evaluation.metrics.openings import instructions, openings, read_openings
from lape.evaluation.metrics.steering import Pair
from lape.evaluation.runs.evidence import json_hash
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options
from lape.identify import identify
from lape.models.cpu_forms import form_of


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
            settings, method = {**mask.metadata["settings"], "top_rate": rate}, str(mask.metadata["method"])
            masks[rate] = identify(subject.recorded(method), method, mask.languages, **settings)
    return masks


def openings_of(subject: Subject, options: Options, languages: Sequence[str] | None = None) -> Openings:
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


def judge_of(subject: Subject, options: Options, also: Sequence[str] = ()) -> Chooser:
    """Who tells the language of outputs, among all languages of the mask and some others.

    Raises:
        LapeError: There is no such identifier, it is not installed, or it knows none of the languages.
    """
    return identifier(options.identifier, [*subject.whole_mask.languages, *also])


def second_judge(subject: Subject, options: Options, also: Sequence[str] = ()) -> tuple[str, Chooser] | None:
    """Another identifier by its name, for a second opinion on the same outputs; None where it is not installed."""
    name = "py3langid" if options.identifier == "fasttext" else "fasttext"
    try:
        return name, identifier(name, [*subject.whole_mask.languages, *also])
    except LapeError:
        return None


def conditions_of_pair(pair: Pair, controls: Sequence[int], options: Options) -> int:
    """Cells of a pair in one half: steered, random, instructed."""
    return 1 + len(controls) + (len(instructions(pair[1])) if options.instructed else 0)


def output_settings(
    subject: Subject, options: Options, prompts: Openings, masks: Masks, **other: Any
) -> dict[str, Any]:
    """Everything that decides the outputs; openings by their hash, like any other text."""
    decoding = asdict(options.decoding)
    form = form_of(subject.loaded[0])
    return subject.settings(
        loaded=subject.model_settings(),
        openings={code: {"count": len(texts), "sha256": json_hash(list(texts))} for code, texts in prompts.items()},
        source_of_openings="the project's" if options.prompts is None else Path(options.prompts).name,
        identifier=options.identifier,
        decoding={**decoding, "temperature": 0},
        **({} if form == "float32" else {"cpu_form": form}),
        top_rates=list(masks),
        **other,
    )


def averaged(average: Mapping[str, Any], *, others: bool = True) -> str:
    """The main figures of an average over pairs."""
    conditions = average["conditions"]
    steered = conditions["steered"]
    said = f"{100 * steered['target_share']['value']:.0f} % of the outputs are in the target language"
    beside = beside_text(conditions)
    cost = steered["fluency_cost_nats"]
    said += "" if cost is None else f", at a fluency cost of {cost['value']:.2f} nats per token"
    return f"{said} ({beside})" if others and beside else said
