"""A text whose tokens have the colors of their languages, with a legend: HTML in which every text is escaped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle

from lape.demo.languages import name_of
from lape.demo.neurons.pointed import pointed, tip_line
from lape.demo.neurons.tips import Tip
from lape.demo.words import say
from lape.inspection.firing import Fired
from lape.languages import families

# A color is laid at half strength under the text: over white each is light enough for black text, over the page's
# dark grey dark enough for white text. Neighbors differ most, since related languages often are neighbors.
PALETTE = (
    *("#2563eb", "#ea580c", "#16a34a", "#c026d3", "#ca8a04", "#0891b2"),
    *("#dc2626", "#4f46e5", "#65a30d", "#db2777", "#0d9488", "#9a5b2c"),
)
DISTINCT = 6  # the first of them, which nobody takes for each other in a text of many
LINES = ("none", "solid", "dashed")  # below the text, which tell apart what has the same of these colors


@dataclass(frozen=True)
class Group:
    """Languages that share a color.

    Attributes:
        name: Of the language, or of the family of several.
        codes: Of its languages.
        color: One of `PALETTE`.
        line: One of `LINES`.
    """

    name: str
    codes: tuple[str, ...]
    color: str
    line: str = LINES[0]


def color_groups(languages: Sequence[str]) -> list[Group]:
    """What has a color of its own: every language, or, of more languages than there are colors, every family.

    Past eighteen families the looks begin again; a token still says its language.
    """
    if len(languages) <= len(PALETTE):
        return [Group(name_of(code), (code,), PALETTE[place]) for place, code in enumerate(languages)]
    looks = cycle((color, line) for line in LINES for color in PALETTE[:DISTINCT])
    return [
        Group(name if len(codes) > 1 else name_of(codes[0]), tuple(codes), *look)
        for (name, codes), look in zip(families(languages).items(), looks, strict=False)
    ]


def colored_text(pieces: Sequence[Fired], told: Sequence[Tip], languages: Sequence[str]) -> str:
    """The pieces in their colors, below a legend of those that occur, most tokens first.

    Args:
        pieces: Of `firing`.
        told: What each of them tells.
        languages: Of the mask, in its order.
    """
    tally = tokens_by_language(pieces)
    groups = color_groups(languages)
    counts = {group: sum(tally[code] for code in group.codes) for group in groups}
    found = sorted(filter(counts.get, groups), key=lambda group: -counts[group])
    group_of = {code: group for group in groups for code in group.codes}
    legend = "".join(
        f"<li><span{_look(group)}>{escape(group.name)}</span> {escape(_counted(group, tally))}</li>" for group in found
    )
    text = "".join(
        _piece(piece, tip, group_of, first=at == 0) for at, (piece, tip) in enumerate(zip(pieces, told, strict=True))
    )
    return (
        f'<ul class="lape-legend" aria-label="{escape(say("neuron.colors"))}">{legend}</ul>'
        f'<p class="lape-colored" role="group" aria-label="{escape(say("neurons.colored"))}">{text}</p>'
        f"{tip_line(say('neuron.point'))}"
    )


def tokens_by_language(pieces: Sequence[Fired]) -> Counter[str]:
    """How many tokens each language has."""
    tally: Counter[str] = Counter()
    for piece in pieces:
        if piece.language is not None:
            tally[piece.language] += piece.tokens
    return tally


def _counted(group: Group, tally: Counter[str]) -> str:
    """Its tokens; those of each of its languages, where it has several."""
    found = sorted(filter(tally.get, group.codes), key=lambda code: -tally[code])
    if len(group.codes) == 1:
        return f"{tally[found[0]]:,}"
    return ", ".join(f"{name_of(code)} {tally[code]:,}" for code in found)


def _piece(piece: Fired, tip: Tip, group_of: Mapping[str, Group], *, first: bool) -> str:
    leads = {} if tip.neuron is None else {"neuron": tip.neuron}
    look = "" if piece.language is None else _look(group_of[piece.language])
    return f"<span{pointed(tip.text, first=first, **leads)}{look}>{escape(piece.text)}</span>"


def _look(group: Group) -> str:
    return f' style="--token:{group.color};--line:{group.line}"'
