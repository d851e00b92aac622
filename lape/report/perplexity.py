"""What switching a language off costs: the matrix, its controls and its rivals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lape.report.figures import Matrix, Measured, heat_map, number, whiskers
from lape.report.page import Table, details, figure, notices, paragraph
from lape.report.words import floored, interval, mean, named, verdict

HEADING = "Switched off: what it costs each language"
Evidence = Mapping[str, Any]
UNMEASURED = ("not measured", "", "")
GOALS = {
    "dominance": "dominance: mean cost of switching off to the own text, over that to the others",
    "over_control": "mean cost to the own text, over that of as many random neurons",
}


def parts(evidence: Evidence) -> list[str]:
    """The section of the page."""
    results, settings = evidence["results"], evidence["settings"]
    main = results["masks"][settings["mask_name"]]
    texts = results["texts"]
    sizes = sorted({text["tokens"] for text in texts.values()})
    shown = [
        paragraph(
            f"Held-out text, {' or '.join(f'{size:,}' for size in sizes)} tokens a language in blocks of "
            f"{settings['block']}, every token scored once. A cost is the change of the log-perplexity in nats per "
            "token when the neurons of one language are set to zero. Intervals are 95 % bootstrap percentiles over "
            "blocks, before and after paired block by block."
        ),
        *notices(failures(evidence)),
        figure(
            heat_map(
                _matrix(main, "delta_nats"),
                label=f"Cost of each switched-off language to each text: {evidence['summary']}",
                rows="off",
                columns="language of the text",
                digits=2,
                harm=1,
            ),
            "Change of log-perplexity, nats per token; a frame marks a language's own text. Orange is harm, blue gain; "
            "the shade grows with the square root.",
        ),
        languages(evidence).html(),
    ]
    if any(_controls(results, code) for code in main["off"]):
        own = {
            code: {"own neurons": interval(row[code]["delta_nats"]), "random neurons": _controls(results, code)}
            for code, row in main["off"].items()
        }
        shown.append(
            figure(
                whiskers(own, label="Own-language cost beside the random control's", unit="nats per token"),
                "Cost to a language's own text: its neurons with their interval, and as many random neurons of the "
                "same layers, their mean and the range over the seeds.",
            )
        )
    shown += [masks(evidence).html(), *notices(left_out(evidence))]
    shown.append(
        details(
            "Every cell with its interval, every mask",
            (_cells(name, mask, "delta_nats", "nats per token").html() for name, mask in results["masks"].items()),
        )
    )
    shown.append(
        details(
            "Bits per byte, which compare across languages and tokenizers",
            [
                _cells(settings["mask_name"], main, "bits_per_byte", "bits per byte").html(),
                _cells(settings["mask_name"], main, "delta_bits_per_byte", "change in bits per byte").html(),
            ],
        )
    )
    return shown


def readme(evidence: Evidence) -> list[Table]:
    """The tables for a README."""
    return [languages(evidence), masks(evidence)]


def goals(evidence: Evidence) -> list[list[str]]:
    """The two figures that a mask must reach: name, outcome, measured, wanted."""
    main = evidence["results"]["masks"][evidence["settings"]["mask_name"]]
    rows = []
    for key, name in GOALS.items():
        if key in main:
            found = main[key]
            below = interval(found["others_nats" if key == "dominance" else "control_nats"])
            nats = f"{interval(found['own_nats']).text(3)} / {below.text(4)} nats per token{floored(found)}"
            measured = f"{interval(found).text(1)} = {nats}{_best(evidence) if key == 'dominance' else ''}"
            rows.append([name, verdict(found), measured, f"at least {found['wanted']:g}"])
        else:
            rows.append([name, *UNMEASURED])
    return rows


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


def _best(evidence: Evidence) -> str:
    """The mask of highest dominance, where it is another one than the mask itself."""
    results = evidence["results"]
    rivals = {name: mask["dominance"] for name, mask in results["masks"].items() if name not in results["controls"]}
    best = max(rivals, key=lambda name: rivals[name]["value"])
    if best == evidence["settings"]["mask_name"]:
        return ""
    own = number(rivals[best]["own_nats"]["value"], 3)
    return f"; highest for {best}: {number(rivals[best]['value'], 1)}, at {own} to the own text"


def _matrix(mask: Mapping[str, Any], figure_name: str) -> Matrix:
    return {off: {text: interval(cell[figure_name]) for text, cell in row.items()} for off, row in mask["off"].items()}


def _cells(name: str, mask: Mapping[str, Any], figure_name: str, unit: str) -> Table:
    matrix = _matrix(mask, figure_name)
    texts = list(next(iter(matrix.values()), {}))
    rows = [[off, *(cell.text(3) if cell else "" for cell in row.values())] for off, row in matrix.items()]
    return Table(f"{name}: {unit}, language switched off by language of the text", ["off", *texts], rows)
