"""What was measured on the visitor's own short text, complete or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lape.demo.languages import name_of
from lape.demo.measure.matrices import largest, matrix_figure, matrix_table
from lape.demo.words import isolated, say
from lape.drawing.charts import number
from lape.drawing.html import Table, details, paragraph, quotes
from lape.drawing.words import interval
from lape.evaluation.kinds.perplexity.section import CHANGES
from lape.evaluation.kinds.wording import OUTCOMES, in_order
from lape.evaluation.metrics.conditions import BASELINE, STEERED
from lape.evaluation.runs.own_text import CONTROL, OWN, RANDOM

MASKS = {OWN: "own", RANDOM: "random"}
CONDITIONS = {
    STEERED: "steered",
    CONTROL: "random",
    "instruction-english": "instruction_english",
    "instruction-native": "instruction_native",
    BASELINE: "untouched",
}


def costs(results: Mapping[str, Any]) -> list[str]:
    """The matrix beside that of random neurons, and on how much text they stand.

    Args:
        results: See `lape.evaluation.runs.own_text.own_costs`; without a mask, nothing is measured yet.
    """
    masks = {say(f"own_text.{MASKS[name]}"): mask for name, mask in results.get("masks", {}).items()}
    if not masks:
        return []
    most = largest(masks.values(), CHANGES[0])
    pictures = (matrix_figure(title, mask, CHANGES[0], most) for title, mask in masks.items())
    tables = (matrix_table(title, mask, unit).html() for unit in CHANGES for title, mask in masks.items())
    return [
        *map(paragraph, _outcome(results["masks"][OWN])),
        '<div class="beside">',
        *pictures,
        "</div>",
        texts(results).html(),
        details(say("own_text.cells"), tables),
    ]


def texts(results: Mapping[str, Any]) -> Table:
    """How much text the figures stand on."""
    rows = [
        [
            name_of(code),
            number(found["tokens"], 0),
            number(found["blocks"], 0),
            interval(found["log_perplexity_nats"]).text(2),
            interval(found["bits_per_byte"]).text(2),
        ]
        for code, found in results["texts"].items()
    ]
    measures = (say(f"own_text.{key}") for key in ("blocks", "nats", "bits"))
    head = [say("own_text.text"), say("finding.head_tokens"), *measures]
    return Table(say("own_text.stands_on"), head, rows)


def _outcome(mask: Mapping[str, Any]) -> list[str]:
    """The two main figures, when all is measured."""
    said = []
    if "dominance" in mask:
        found = mask["dominance"]
        own, others = (isolated(interval(found[name]).text(3)) for name in ("own_nats", "others_nats"))
        said.append(say("own_text.cost", own=own, others=others, ratio=_ratio(found)))
    if "over_control" in mask:
        found = mask["over_control"]
        cost = isolated(interval(found["control_nats"]).text(3))
        said.append(say("own_text.control", cost=cost, ratio=_ratio(found)))
    return said


def _ratio(found: Mapping[str, Any]) -> str:
    """A ratio, and what stood in for a divisor that was too small to divide by."""
    ratio = isolated(interval(found).text(1))
    return say("own_text.floored", ratio=ratio, floor=f"{found['floor_nats']:g}") if found["floored"] else ratio


def outcomes(results: Mapping[str, Any], openings: Sequence[str]) -> list[str]:
    """In which language the continuations are, under each condition, and the continuations.

    Args:
        results: See `lape.evaluation.runs.own_text.own_steering`.
        openings: That were continued.
    """
    found = {say(f"own_text.{CONDITIONS[name]}"): each for name, each in in_order(results["conditions"]).items()}
    if not found:
        return []
    rows = [
        [
            name,
            *(say("own_text.of", found=each["kinds"].get(kind, 0), all=len(openings)) for kind in OUTCOMES),
            number(100 * each["repeated_4gram_share"], 0),
            interval(each["fluency_cost_nats"]).text(2) if each["fluency_cost_nats"] else "",
        ]
        for name, each in found.items()
    ]
    head = [say(f"own_text.{key}") for key in ("condition", *OUTCOMES, "repeated", "fluency")]
    shown = [Table(say("own_text.continuations", count=len(openings)), head, rows).html()]
    for name, each in found.items():
        written = [(opening, output["text"].strip()) for opening, output in zip(openings, each["outputs"], strict=True)]
        shown.append(details(say("own_text.written", condition=name), [quotes(written)]))
    return shown
