"""What switching a language off costs: the matrix, its controls and its rivals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lape.drawing.axes import whiskers
from lape.drawing.charts import Matrix, Measured, heat_map, number
from lape.drawing.html import Table, details, figure, notices, paragraph
from lape.drawing.words import floored, interval, mean, named, related
from lape.evaluation.kinds.kind import Evidence, Headline
from lape.languages import by_family

CHANGES = ("delta_nats", "delta_bits_per_byte")
UNITS = {
    "delta_nats": "nats per token",
    "bits_per_byte": "bits per byte",
    "delta_bits_per_byte": "change in bits per byte",
}


def section(evidence: Evidence) -> list[str]:
    """The section of the page."""
    results, name = evidence["results"], evidence["settings"]["mask_name"]
    main = results["masks"][name]
    every = (cells(other, mask, "delta_nats").html() for other, mask in results["masks"].items())
    return [
        *about(evidence),
        costs_figure(main, evidence["summary"]),
        *beside(evidence),
        details("Every cell with its interval, every mask", every),
        details(
            "Bits per byte, which compare across languages and tokenizers",
            [cells(name, main, unit).html() for unit in ("bits_per_byte", "delta_bits_per_byte")],
        ),
    ]


def about(evidence: Evidence) -> list[str]:
    """What was measured, and where the claim does not hold."""
    counts = sorted({text["tokens"] for text in evidence["results"]["texts"].values()})
    sizes = " or ".join(f"{count:,}" for count in counts)
    block = evidence["settings"]["block"]
    return [
        paragraph(
            f"Held-out text, {sizes} tokens a language in blocks of {block}, every token scored once. A cost is "
            "the change of the log-perplexity in nats per token when the neurons of one language are set to zero. "
            "Intervals are 95 % bootstrap percentiles over blocks, before and after paired block by block."
        ),
        *notices(failures(evidence)),
    ]


def beside(evidence: Evidence) -> list[str]:
    """The cost to each language's own text, its random control, and other masks."""
    results = evidence["results"]
    main = results["masks"][evidence["settings"]["mask_name"]]
    shown = [languages(evidence).html()]
    if any(_controls(results, code) for code in main["off"]):
        own = {
            code: {"own neurons": interval(row[code]["delta_nats"]), "random neurons": _controls(results, code)}
            for code, row in ((code, main["off"][code]) for code in by_family(main["off"]))
        }
        shown.append(
            figure(
                whiskers(own, label="Own-language cost beside the random control's", unit="nats per token"),
                "Cost to a language's own text: its neurons with their interval, and as many random neurons of the "
                "same layers, their mean and the range over the seeds.",
            )
        )
    return [*shown, masks(evidence).html(), *notices(left_out(evidence))]


def costs_figure(mask: Mapping[str, Any], summary: str) -> str:
    """The matrix of one mask as a picture.

    Args:
        mask: One of `masks` of the results.
        summary: What it comes to, for those who do not see it.
    """
    shown = heat_map(
        related(matrix_of(mask, CHANGES[0])),
        label=f"Cost of each switched-off language to each text: {summary}",
        rows="off",
        columns="language of the text",
        digits=2,
        harm=1,
    )
    return figure(
        shown,
        "Change of log-perplexity, nats per token; a frame marks a language's own text. Orange is harm, blue gain; the "
        "shade grows with the square root.",
    )


def matrix_of(mask: Mapping[str, Any], unit: str) -> Matrix:
    """The costs of one mask, language switched off by language of the text.

    Every row has the same texts; None stands where a cell was not measured, as most of a random mask are.
    """
    texts = dict.fromkeys(text for row in mask["off"].values() for text in row)
    return {
        off: {text: interval(row[text][unit]) if row.get(text) else None for text in texts}
        for off, row in mask["off"].items()
    }


def cells(name: str, mask: Mapping[str, Any], unit: str) -> Table:
    """The matrix of one mask in figures with their intervals.

    Args:
        name: Of the mask.
        mask: One of `masks` of the results; a cell that is None has not been measured yet.
        unit: `delta_nats`, `bits_per_byte` or `delta_bits_per_byte`.
    """
    matrix = matrix_of(mask, unit)
    texts = list(next(iter(matrix.values()), {}))
    rows = [[off, *(cell.text(3) if cell else "" for cell in row.values())] for off, row in matrix.items()]
    return Table(f"{name}: {UNITS[unit]}, language switched off by language of the text", ["off", *texts], rows)


def tables(evidence: Evidence) -> list[Table]:
    """The tables for `EVIDENCE.md`."""
    return [languages(evidence), masks(evidence)]


def headline(evidence: Evidence) -> Headline:
    """What switching a language off costs its own text and the others, beside random neurons."""
    main = evidence["results"]["masks"][evidence["settings"]["mask_name"]]
    found, over = main["dominance"], main.get("over_control")
    own, others = interval(found["own_nats"]).text(3), interval(found["others_nats"]).text(3)
    random = f"as many random neurons cost the own text {interval(over['control_nats']).text(3)}" if over else ""
    return Headline(
        "Cost of switching a language off to its own text, mean, nats per token",
        own,
        "; ".join(filter(None, [f"the other texts {others}, a ratio of {interval(found).text(1)}", random])),
    )


def languages(evidence: Evidence) -> Table:
    """A row for each language switched off."""
    results = evidence["results"]
    main = results["masks"][evidence["settings"]["mask_name"]]
    rows = []
    for code, row in main["off"].items():
        own = row[code]
        others = {text: cell["delta_nats"]["value"] for text, cell in row.items() if text != code}
        worst = max(others, key=lambda text: others[text])
        control = _controls(results, code)
        before = results["texts"][code]["bits_per_byte"]["value"]
        rows.append(
            [
                named(code),
                number(main["neurons"][code], 0),
                interval(own["delta_nats"]).text(3),
                number(mean(others.values()), 3),
                f"{worst} {number(others[worst], 3)}",
                control.text(3) if control else "not measured",
                f"{number(before, 2)} → {number(own['bits_per_byte']['value'], 2)}",
            ]
        )
    head = [
        "switched off",
        "neurons",
        "cost to its own text, nats/token",
        "to the others, mean",
        "hurt most",
        "random neurons, own text",
        "own text, bits/byte",
    ]
    return Table("Each language switched off", head, rows)


def masks(evidence: Evidence) -> Table:
    """The mask beside the equal-count one, rivals and random ones, whose means and ranges share a row."""
    results, settings = evidence["results"], evidence["settings"]
    controls = [results["masks"][name] for name in results["controls"]]
    rows = []
    for name in [settings["mask_name"], *(one for one in settings["masks"] if one != settings["mask_name"])]:
        if name not in results["controls"]:
            mask = results["masks"][name]
            found = mask["dominance"]
            nats = interval(found["own_nats"]).text(3), interval(found["others_nats"]).text(4)
            rows.append([name, _neurons(mask), *nats, f"{interval(found).text(1)}{floored(found)}"])
    if controls:
        found = [mask["dominance"] for mask in controls]
        own, others = (_range(each[key]["value"] for each in found) for key in ("own_nats", "others_nats"))
        dominance = _range(each["value"] for each in found)
        divisor = floored(next((each for each in found if each["floored"]), found[0]))
        name = f"random, {len(controls)} {'seeds' if len(controls) > 1 else 'seed'}"
        rows.append([name, _neurons(controls[0]), own.text(3), others.text(4), f"{dominance.text(1)}{divisor}"])
    head = ["mask", "neurons, summed", "own text, nats/token", "other texts", "dominance"]
    caption = "The same measurement with other masks (random ones: mean and range over the seeds)"
    return Table(caption, head, rows, strong=frozenset({0}))


def failures(evidence: Evidence) -> list[str]:
    """Languages for which the claim does not hold, said in words."""
    results = evidence["results"]
    main = results["masks"][evidence["settings"]["mask_name"]]
    said = []
    for code, row in main["off"].items():
        own = row[code]["delta_nats"]
        worse = [text for text, cell in row.items() if text != code and cell["delta_nats"]["value"] >= own["value"]]
        control = _controls(results, code)
        if not main["neurons"][code]:
            said.append(f"{named(code)} has no neurons, so nothing is switched off.")
        elif own["low"] <= 0:
            said.append(f"{named(code)}: switching its neurons off has no certain cost to its own text.")
        elif control and control.high is not None and own["low"] <= control.high:
            said.append(f"{named(code)}: its neurons cost its own text no more than random ones, within the interval.")
        if main["neurons"][code] and worse:
            said.append(
                f"{named(code)}: switching it off costs {', '.join(map(named, worse))} as much as itself or more."
            )
    return said


def left_out(evidence: Evidence) -> list[str]:
    """Masks that were not measured, and why."""
    return [f"{name} was left out: {reason}" for name, reason in evidence["results"].get("left_out", {}).items()]


def _controls(results: Mapping[str, Any], code: str) -> Measured | None:
    """Mean and range over the random masks of the cost to a language's own text."""
    found = [results["masks"][name]["off"] for name in results["controls"]]
    return _range(off[code][code]["delta_nats"]["value"] for off in found) if found else None


def _range(values: Iterable[float]) -> Measured:
    """A mean, with the lowest and the highest value as its ends."""
    listed = list(values)
    return Measured(mean(listed), min(listed), max(listed))


def _neurons(mask: Mapping[str, Any]) -> str:
    return number(sum(mask["neurons"].values()), 0)
