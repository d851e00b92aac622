"""Figures of the page as HTML with the page's own colours, in which every text is escaped.

Cells stretch with the page and text does not, so that both can be read on a phone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import sqrt

from lape.drawing.layers import layers_in_words
from lape.drawing.svg import count_shade
from lape.inspection.table import Activity
from lape.languages import by_family, families, language
from lape.masks.indices import size_text
from lape.masks.mask import NeuronMask

MOST_BESIDE = 12  # languages whose figures fit beside each other


def layers_figure(mask: NeuronMask) -> str:
    """How many neurons each language has in each layer: a row of cells per language, with its sum."""
    counts = {code: mask.per_layer(code) for code in by_family(mask.languages)}
    most = max((max(row) for row in counts.values()), default=0)
    begin = _begin(mask.languages)
    rows = "".join(
        f'<div class="lape-name"{begin[code]}>{_name(code)}</div><div class="lape-cells"{begin[code]}>'
        + "".join(_cell(count, most, f"Layer {layer}: {count:,}") for layer, count in enumerate(row))
        + f'</div><div class="lape-sum"{begin[code]}>{sum(row):,}</div>'
        for code, row in counts.items()
    )
    last = mask.shape[0] - 1
    axis = f'<div class="lape-name">layer</div><div class="lape-axis"><span>0</span><span>{last}</span></div>'
    heading = "Neurons of each language in each layer"
    said = layers_in_words({language(code).name: row for code, row in counts.items()})
    return _figure(
        "lape-layers", f"{heading}. {size_text(mask.shape, mask.experts)}. {said}", heading, f"{rows}{axis}<div></div>"
    )


def overlap_figure(mask: NeuronMask) -> str:
    """How many neurons every two languages share: Jaccard index in percent, as a table."""
    shares, codes, begin = mask.overlap(), by_family(mask.languages), _begin(mask.languages)
    head = "".join(f'<th scope="col"{begin[code]} title="{_name(code)}">{escape(code)}</th>' for code in codes)
    rows = "".join(
        f'<tr{begin[one]}><th scope="row" title="{_name(one)}"><span>{_name(one)}</span><b>{escape(one)}</b></th>'
        + "".join(_shared(one, other, shares[one, other], begin[other]) for other in codes)
        + "</tr>"
        for one in codes
    )
    many = " lape-many" if len(codes) > MOST_BESIDE else ""
    heading = "Shared neurons of two languages, in percent of the neurons of either (Jaccard index)"
    return (
        f'<p class="lape-caption">{heading}</p><div class="lape-scroll{many}" tabindex="0" role="region" '
        f'aria-label="{heading}"><table class="lape-overlap" style="--columns:{len(codes)}">'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
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
    owners = f"A neuron of {', '.join(language(code).name for code in belongs)} (●)" if belongs else "Of no language"
    caption = f"{name}. {owners}. Active: share of a language's tokens."
    return (
        f'<table class="lape-activity"><caption>{escape(caption)}</caption><thead><tr><th scope="col">Language</th>'
        f'<td></td><th scope="col">Active</th><th scope="col">Mean</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _figure(kind: str, said: str, heading: str, inside: str) -> str:
    """A picture with its heading, and in words for those who do not see it."""
    return (
        f'<p class="lape-caption">{escape(heading)}</p>'
        f'<div class="{kind}" role="img" aria-label="{escape(said)}">{inside}</div>'
    )


def _cell(count: int, most: int, title: str) -> str:
    shade = f' style="--shade:{count_shade(count, most):.2f}"' if count else ""
    return f'<span title="{escape(title)}"{shade}></span>'


def _begin(codes: Sequence[str]) -> dict[str, str]:
    """Marks the languages with which a family of several begins, and the first of those without relatives."""
    groups = families(codes).values()
    alone = [group for group in groups if len(group) == 1]
    first = [group[0] for group in [*(group for group in groups if len(group) > 1), *alone[:1]]]
    return {code: " data-begin" if code in first else "" for code in codes}


def _shared(one: str, other: str, share: float | None, begin: str) -> str:
    if one == other or share is None:
        return f'<td class="lape-own"{begin}></td>'
    title = f"{language(one).name}, {language(other).name}: {share:.1%}"
    shown = f"{share:.0%}".removesuffix("%")
    return f'<td{begin} title="{escape(title)}" style="--shade:{sqrt(share):.2f}">{shown}</td>'


def _name(code: str) -> str:
    return escape(language(code).name)
