"""What was measured on somebody's own short text, complete or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lape.drawing.charts import number
from lape.drawing.html import Table, details, paragraph, quotes
from lape.drawing.words import floored, interval, named
from lape.evaluation.kinds.perplexity.section import cells, costs_figure, largest
from lape.evaluation.kinds.wording import OUTCOMES, condition_text, in_order
from lape.evaluation.runs.own_text import OWN


def costs(results: Mapping[str, Any]) -> list[str]:
    """The matrix beside that of random neurons, and on how much text they stand.

    Args:
        results: See `lape.evaluation.runs.own_text.own_costs`; without a mask, nothing is measured yet.
    """
    masks = results.get("masks", {})
    if not masks:
        return []
    most = largest(masks.values(), "delta_nats") or None
    pictures = (costs_figure(mask, name, title=name, most=most) for name, mask in masks.items())
    tables = (
        cells(name, mask, unit).html() for unit in ("delta_nats", "delta_bits_per_byte") for name, mask in masks.items()
    )
    return [
        *map(paragraph, _outcome(masks[OWN])),
        '<div class="beside">',
        *pictures,
        "</div>",
        texts(results).html(),
        details("Every cell with its interval, in nats per token and in bits per byte", tables),
    ]


def texts(results: Mapping[str, Any]) -> Table:
    """How much text the figures stand on."""
    rows = [
        [
            named(code),
            number(found["tokens"], 0),
            number(found["blocks"], 0),
            interval(found["log_perplexity_nats"]).text(2),
            interval(found["bits_per_byte"]).text(2),
        ]
        for code, found in results["texts"].items()
    ]
    head = ["text", "tokens", "blocks", "untouched model, nats/token", "bits/byte"]
    return Table("What the figures stand on", head, rows)


def _outcome(mask: Mapping[str, Any]) -> list[str]:
    """The two main figures, when all is measured."""
    said = []
    if "dominance" in mask:
        found = mask["dominance"]
        said.append(
            f"Switching a language off costs its own text {interval(found['own_nats']).text(3)} nats per token and the "
            f"other texts {interval(found['others_nats']).text(3)}: a dominance of {interval(found).text(1)}"
            f"{floored(found)}."
        )
    if "over_control" in mask:
        found = mask["over_control"]
        said.append(
            f"As many random neurons cost the own text {interval(found['control_nats']).text(3)}: a ratio of "
            f"{interval(found).text(1)}{floored(found)}."
        )
    return said


def outcomes(results: Mapping[str, Any], openings: Sequence[str]) -> list[str]:
    """In which language the continuations are, under each condition, and the continuations.

    Args:
        results: See `lape.evaluation.runs.own_text.own_steering`.
        openings: That were continued.
    """
    found = in_order(results["conditions"])
    if not found:
        return []
    rows = [
        [
            condition_text(name),
            *(f"{each['kinds'].get(kind, 0)} of {len(openings)}" for kind in OUTCOMES),
            number(100 * each["repeated_4gram_share"], 0),
            interval(each["fluency_cost_nats"]).text(2) if each["fluency_cost_nats"] else "",
        ]
        for name, each in found.items()
    ]
    head = ["condition", *OUTCOMES, "4-grams repeated, %", "fluency cost, nats/token"]
    count = f"{len(openings)} opening{'' if len(openings) == 1 else 's'}"
    shown = [Table(f"The language of the continuations of {count}", head, rows).html()]
    for name, each in found.items():
        written = [(opening, output["text"].strip()) for opening, output in zip(openings, each["outputs"], strict=True)]
        shown.append(details(f"What was written: {condition_text(name)}", [quotes(written)]))
    return shown
