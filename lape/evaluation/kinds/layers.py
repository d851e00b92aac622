"""Where the neurons lie, and what languages, methods and other masks share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lape.drawing.axes import histograms
from lape.drawing.charts import Measured, heat_map, number
from lape.drawing.html import Table, details, figure, notices, paragraph
from lape.drawing.words import mean, named, percent, related
from lape.evaluation.kinds.forms import MOST_MASKS, REASONS, by_language, evidence_form
from lape.evaluation.kinds.kind import Evidence, Headline, Kind
from lape.evaluation.kinds.rivals import rival_masks
from lape.evaluation.metrics.cells import Cells
from lape.evaluation.metrics.layers import layers
from lape.evaluation.metrics.stability import mean_agreement
from lape.evaluation.runs.evidence import json_hash
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options, Work
from lape.languages import by_family, language
from lape.masks.mask import NeuronMask
from lape.storage.names import STATISTICS_NAME
from lape.storage.schema import COUNT, SHARE, listing, mapping, nullable, record


def plan(subject: Subject, options: Options) -> Work:
    """Where the neurons lie, and what languages, methods and the masks of `options.compare` share."""
    mask, others = subject.mask, options.others()
    rivals, left_out = rival_masks(subject, str(mask.metadata.get("method", "mask")))
    compared = {
        **rivals,
        **{
            name: other.only([code for code in mask.languages if code in other.neurons])
            for name, other in others.items()
        },
    }
    settings = subject.settings(
        statistics=subject.hash_of(STATISTICS_NAME),
        masks=list(compared),
        others={
            name: json_hash({code: other.flat(code).tolist() for code in other.languages})
            for name, other in others.items()
        },
    )

    def measure(cells: Cells) -> dict[str, Any]:
        return {**layers(mask, compared, cells=cells), "left_out": left_out}

    def summary(results: Mapping[str, Any]) -> str:
        depth = results["depth"]
        places = [found for found in depth["languages"].values() if found["neurons"]]
        if not places:
            return "No language has a neuron."
        first, last = (mean(found[f"{end}_eighth_share"] for found in places) for end in ("first", "last"))
        pairs = {
            (a, b): value
            for a, row in results["language_overlap"].items()
            for b, value in row.items()
            if a < b and value
        }
        alike = max(pairs, key=lambda pair: pairs[pair], default=None)
        names = " and ".join(language(code).name for code in alike or ())
        most = f" Most alike are {names}, with a Jaccard index of {pairs[alike]:.2f}." if alike else ""
        return (
            f"On average over {len(places)} languages {100 * first:.0f} % of the neurons lie in the first eighth of "
            f"the depth and {100 * last:.0f} % in the last (spread evenly: "
            f"{100 * depth['even_first_eighth_share']:.0f} and {100 * depth['even_last_eighth_share']:.0f} %).{most}"
        )

    cells = 2 + 2 * len(compared) + math.comb(len(compared), 2)
    return Work(
        "Layers: where the neurons lie, and what languages and methods share", settings, cells, measure, summary
    )


def section(evidence: Evidence) -> list[str]:
    """The section of the page."""
    results = evidence["results"]
    depth = results["depth"]
    eighths = {
        code: {str(place + 1): Measured(count) for place, count in enumerate(depth["languages"][code]["per_eighth"])}
        for code in by_family(depth["languages"])
    }
    shared = {
        one: {other: None if index is None else Measured(index) for other, index in row.items()}
        for one, row in results["language_overlap"].items()
    }
    shown = [
        paragraph(
            f"The model has {depth['layers']} layers of {depth['neurons_per_layer']:,} neurons. Its depth is cut into "
            f"eighths, of {', '.join(map(str, depth['layers_per_eighth']))} layers."
        ),
        figure(
            heat_map(
                eighths,
                label=f"Neurons per eighth of the depth and language. {evidence['summary']}",
                rows="",
                columns="eighth of the depth, from the first layers to the last",
                digits=0,
                framed=False,
            ),
            "Neurons of each language in each eighth of the depth; the shade grows with the square root.",
        ),
        languages(evidence).html(),
        figure(
            heat_map(
                related(shared),
                label="Jaccard index of the neurons of every two languages",
                rows="",
                columns="language",
                digits=2,
                most=1.0,
            ),
            "Neurons that two languages share, over those of either (Jaccard index).",
        ),
    ]
    if results["others"]:
        shown.append(masks(evidence).html())
        by_language = details("The same for every language", [_by_language(evidence).html()])
        shown.append(by_language)
    left_out = results.get("left_out", {})
    return shown + notices([f"{name} was left out: {reason}" for name, reason in left_out.items()])


def tables(evidence: Evidence) -> list[Table]:
    """The tables for `EVIDENCE.md`."""
    return [languages(evidence), *([masks(evidence)] if evidence["results"]["others"] else [])]


def languages(evidence: Evidence) -> Table:
    """A row for each language."""
    depth = evidence["results"]["depth"]
    overlap = evidence["results"]["language_overlap"]
    rows = []
    for code, found in depth["languages"].items():
        others = {other: index for other, index in overlap[code].items() if other != code and index}
        nearest = max(others, key=lambda other: others[other], default=None)
        share = found["neurons"] / (depth["layers"] * depth["neurons_per_layer"])
        rows.append(
            [
                named(code),
                number(found["neurons"], 0),
                f"{100 * share:.2f} %",
                percent(found["first_eighth_share"]),
                percent(found["last_eighth_share"]),
                f"{nearest} {number(others[nearest], 2)}" if nearest else "none",
            ]
        )
    even = percent(depth["even_first_eighth_share"]), percent(depth["even_last_eighth_share"])
    rows.append(["spread evenly", "", "", *even, ""])
    head = ["language", "neurons", "of all neurons", "in the first eighth", "in the last eighth", "shares most with"]
    return Table("Neurons of each language, and where they lie", head, rows, strong=frozenset({len(rows) - 1}))


def masks(evidence: Evidence) -> Table:
    """How much other masks agree with this one, and where their neurons lie."""
    rows = []
    for name, other in evidence["results"]["others"].items():
        index = other["overlap"]["mean_jaccard"]
        found = [one for one in other["depth"]["languages"].values() if one["neurons"]]
        ends = [
            percent(mean(one[f"{end}_eighth_share"] for one in found)) if found else "" for end in ("first", "last")
        ]
        rows.append([name, _index(index), *ends])
    head = ["mask", "Jaccard with this one, mean", "in the first eighth", "in the last eighth"]
    return Table("Other masks beside this one, means over languages", head, rows)


def pair(overlap: Mapping[str, Any]) -> Table:
    """What two masks share: a row for each language of both, and their mean (`evaluation.layers.mask_overlap`)."""
    rows = []
    for code, found in overlap["languages"].items():
        shared = found["shared"]
        counts = [shared, found["first"] - shared, found["second"] - shared]
        indices = [found["jaccard"], found["by_chance"]]
        rows.append([named(code), *(number(count, 0) for count in counts), *map(_index, indices)])
    chances = mean_agreement({code: found["by_chance"] for code, found in overlap["languages"].items()})
    rows.append(["mean", "", "", "", _index(overlap["mean_jaccard"]), _index(chances)])
    head = ["language", "in both", "only in A", "only in B", "Jaccard", "by chance"]
    return Table("Neurons of mask A and mask B", head, rows, strong=frozenset({len(rows) - 1}))


def _index(value: float | None) -> str:
    return "" if value is None else number(value, 2)


def pair_figure(one: NeuronMask, other: NeuronMask) -> str:
    """Where the neurons of two masks lie, for the languages of both: a histogram over layers for each."""
    parts = {"in both": one & other, "only in A": one - other, "only in B": other - one}
    rows = {
        named(code): {name: part.per_layer(code) for name, part in parts.items()}
        for code in by_family(one.languages)
        if code in other.neurons
    }
    caption = "Neurons in each layer; the number at the right is the highest bar's."
    return figure(
        histograms(rows, label=f"Neurons per layer of two masks, {len(rows)} languages", across="layer"), caption
    )


def _by_language(evidence: Evidence) -> Table:
    others = evidence["results"]["others"]
    codes = list(evidence["results"]["depth"]["languages"])
    rows = []
    for name, other in others.items():
        indices = [other["overlap"]["languages"].get(code, {}).get("jaccard") for code in codes]
        rows.append([name, *map(_index, indices)])
    return Table("Jaccard index with this mask, by language", ["mask", *codes], rows)


def headline(evidence: Evidence) -> Headline:
    """Where the neurons lie, beside an even spread."""
    depth = evidence["results"]["depth"]
    found = [one for one in depth["languages"].values() if one["neurons"]]
    first, last = (
        percent(mean(one[f"{end}_eighth_share"] for one in found)) if found else "none" for end in ("first", "last")
    )
    even = percent(depth["even_first_eighth_share"]), percent(depth["even_last_eighth_share"])
    return Headline(
        f"Neurons in the first and the last eighth of the depth, mean over {len(found)} languages",
        f"{first} and {last}",
        f"spread evenly: {even[0]} and {even[1]}",
    )


DEPTH = record(
    {
        "layers": COUNT,
        "neurons_per_layer": COUNT,
        "layers_per_eighth": listing(COUNT, most=8),
        "languages": by_language(
            record(
                {
                    "neurons": COUNT,
                    "per_eighth": listing(COUNT, most=8),
                    "first_eighth_share": nullable(SHARE),
                    "last_eighth_share": nullable(SHARE),
                }
            )
        ),
        "even_first_eighth_share": SHARE,
        "even_last_eighth_share": SHARE,
    }
)
OVERLAP = record({"languages": by_language(record({"jaccard": nullable(SHARE)})), "mean_jaccard": nullable(SHARE)})
FORM = evidence_form(
    {
        "depth": DEPTH,
        "language_overlap": by_language(by_language(nullable(SHARE))),
        "others": mapping(record({"depth": DEPTH, "overlap": OVERLAP}), most=MOST_MASKS),
    },
    {"left_out": REASONS},
)

KIND = Kind(
    name="layers",
    heading="Where the neurons lie",
    command="lape evaluate layers",
    options=("compare",),
    plan=plan,
    form=FORM,
    section=section,
    tables=tables,
    headline=headline,
    panel=section,
    runs_model=False,
)
