"""Figures of the page as HTML with the page's own colours, in which every text is escaped.

Cells stretch with the page and text does not, so that both can be read on a phone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import permutations
from math import sqrt

from lape.demo.languages import name_of
from lape.demo.neurons.pointed import pointed, tip_line
from lape.demo.words import say
from lape.drawing.layers import layers_in_words
from lape.drawing.svg import count_shade
from lape.inspection.table import Activity
from lape.languages import by_family, families
from lape.masks.indices import size_text
from lape.masks.mask import NeuronMask

MOST_BESIDE = 12  # languages whose figures fit beside each other


def layers_figure(mask: NeuronMask) -> str:
    """How many neurons each language has in each layer: a row of cells per language, with its sum.

    A cell leads on to the neurons that it counts.
    """
    counts = {code: mask.per_layer(code) for code in by_family(mask.languages)}
    most = max((max(row) for row in counts.values()), default=0)
    begin, start = _begin(mask.languages), next(iter(counts), None)
    rows = "".join(
        f'<div class="lape-name"{begin[code]}>{_name(code)}</div><div class="lape-cells"{begin[code]}>'
        + "".join(_cell(code, layer, count, most, code == start and layer == 0) for layer, count in enumerate(row))
        + f'</div><div class="lape-sum"{begin[code]}>{sum(row):,}</div>'
        for code, row in counts.items()
    )
    last = mask.shape[0] - 1
    axis = f'<div class="lape-name">{escape(say("neuron.head_layer"))}</div>'
    axis += f'<div class="lape-axis"><span>0</span><span>{last}</span></div><div></div>'
    heading = say("neuron.layers_heading")
    said = layers_in_words({name_of(code): row for code, row in counts.items()})
    described = f"{heading}. {size_text(mask.shape, mask.experts)}. {said}"
    return (
        f'<p class="lape-caption">{escape(heading)}</p>'
        f'<div class="lape-layers" role="group" data-columns="{mask.shape[0]}" aria-label="{escape(described)}">'
        f"{rows}{axis}</div>{_scale(most)}{tip_line(say('neuron.point_cell'))}"
    )


def overlap_figure(mask: NeuronMask) -> str:
    """How many neurons every two languages share: Jaccard index in percent, as a table.

    A cell leads on to the neurons of both.
    """
    shares, codes, begin = mask.overlap(), by_family(mask.languages), _begin(mask.languages)
    head = "".join(f'<th scope="col"{begin[code]} title="{_name(code)}">{escape(code)}</th>' for code in codes)
    start = next(((one, other) for one, other in permutations(codes, 2) if shares[one, other] is not None), None)
    rows = "".join(
        f'<tr{begin[one]}><th scope="row" title="{_name(one)}"><span>{_name(one)}</span><b>{escape(one)}</b></th>'
        + "".join(_shared(one, other, shares[one, other], begin[other], (one, other) == start) for other in codes)
        + "</tr>"
        for one in codes
    )
    many = " lape-many" if len(codes) > MOST_BESIDE else ""
    heading = escape(say("neuron.overlap_heading"))
    return (
        f'<p class="lape-caption">{heading}</p><div class="lape-scroll{many}" role="region" '
        f'aria-label="{heading}"><table class="lape-overlap" data-columns="{max(len(codes) - 1, 1)}" '
        f'style="--columns:{len(codes)}"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f"{_scale(100, unit=' %')}{tip_line(say('neuron.point_cell'))}"
    )


def activity_figure(name: str, belongs: Sequence[str], activity: Mapping[str, Activity]) -> str:
    """How often a neuron is active in each language, as bars, and its mean activation there.

    Args:
        name: Of the neuron.
        belongs: Codes of the languages it belongs to.
        activity: What it does in each language.
    """
    rows = "".join(
        f'<tr><th scope="row">{_name(code)}{" ●" if code in belongs else ""}</th>'
        f'<td><span class="lape-bar"><span style="width:{found.probability:.1%}"></span></span></td>'
        f"<td>{found.probability:.1%}</td><td>{found.mean:.2f}</td></tr>"
        for code, found in ((code, activity[code]) for code in by_family(activity))
    )
    owners = say("neuron.owners", languages=", ".join(map(name_of, belongs))) if belongs else say("neuron.nobody")
    language, active, mean = (escape(say(f"neuron.head_{head}")) for head in ("language", "active", "mean"))
    return (
        f'<table class="lape-activity"><caption>{escape(f"{name}. {owners}")}</caption><thead><tr>'
        f'<th scope="col">{language}</th><td></td><th scope="col">{active}</th><th scope="col">{mean}</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _cell(code: str, layer: int, count: int, most: int, first: bool) -> str:
    tip = say("neuron.cell", language=name_of(code), layer=str(layer), count=count)
    shade = f' style="--shade:{count_shade(count, most):.2f}"' if count else ""
    leads = {"languages": [code], "layer": layer} if count else {}
    return f"<span{pointed(tip, first=first, **leads)}{shade}></span>"


def _scale(most: int, unit: str = "") -> str:
    """What the strength of a colour stands for: it grows with the square root."""
    steps = "".join(f'<span style="--shade:{sqrt(part / 8):.2f}"></span>' for part in range(9))
    return f'<p class="lape-scale" aria-hidden="true">0{steps}{most:,}{unit}</p>'


def _begin(codes: Sequence[str]) -> dict[str, str]:
    """Marks the languages with which a family of several begins, and the first of those without relatives."""
    groups = families(codes).values()
    alone = [group for group in groups if len(group) == 1]
    first = [group[0] for group in [*(group for group in groups if len(group) > 1), *alone[:1]]]
    return {code: " data-begin" if code in first else "" for code in codes}


def _shared(one: str, other: str, share: float | None, begin: str, first: bool) -> str:
    if one == other or share is None:
        return f'<td class="lape-own"{begin}></td>'
    tip = f"{name_of(one)}, {name_of(other)}: {share:.1%}"
    shown = f"{share:.0%}".removesuffix("%")
    cell = pointed(tip, first=first, languages=[one, other], layer=None)
    return f'<td{begin}{cell} style="--shade:{sqrt(share):.2f}">{shown}</td>'


def _name(code: str) -> str:
    return escape(name_of(code))
