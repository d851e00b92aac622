"""What rising strengths do, as SVG: share of the target as bars, quality of the text as marks, its cost as a curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lape.drawing.axes import nice_ticks
from lape.drawing.svg import coordinate, svg_open, svg_rect, svg_text, svg_titled

LEFT, PLOT, RIGHT = 56, 680, 24
TOP, BARS, MARKS, COSTS, BOTTOM = 40, 120, 30, 110, 46
SIGNS = {"fluent": "●", "strained": "◐", "broken": "✕"}


@dataclass(frozen=True)
class Strength:
    """One strength of a strip.

    Attributes:
        name: As it is written below.
        share: Of the target, from 0 to 1; None where nothing can be said.
        cost: Nats per token; None where there is none.
        word: `fluent`, `strained`, `broken`, or None.
        told: All of that in words, for who points at it or does not see it.
        mark: What happens from here on; empty where nothing does.
    """

    name: str
    share: float | None
    cost: float | None
    word: str | None
    told: str
    mark: str = ""


@dataclass(frozen=True)
class Titles:
    """The words of a strip, in the language of who reads it.

    Attributes:
        label: What it shows, for those who do not see it.
        share: Of the upper axis.
        cost: Of the lower axis.
        strength: Of the axis from left to right.
        words: Of the marks, `fluent`, `strained` and `broken`.
    """

    label: str
    share: str
    cost: str
    strength: str
    words: Mapping[str, str]


def strip(steps: Sequence[Strength], titles: Titles, *, chosen: int | None = None) -> str:
    """Draws strengths side by side; each can be pointed at, and pressed where something listens to `data-step`.

    Args:
        steps: By rising strength.
        titles: The words.
        chosen: The place of the step that is set off.
    """
    wide = PLOT / len(steps)
    marks = TOP + BARS + MARKS / 2
    costs = TOP + BARS + MARKS
    bottom = costs + COSTS
    known = [step.cost for step in steps if step.cost is not None]
    ticks = nice_ticks(0, max([1.0, *known]))

    def level(cost: float) -> float:
        return bottom - (COSTS - 18) * cost / ticks[-1]

    parts = [svg_open(LEFT + PLOT + RIGHT, bottom + BOTTOM, titles.label)]
    if chosen is not None:
        parts.append(svg_rect("back", LEFT + wide * chosen, TOP, wide, bottom - TOP))
    parts += [svg_text(LEFT, TOP - 24, titles.share, "dim"), svg_text(LEFT, costs + 12, titles.cost, "dim")]
    for share in (0, 0.5, 1):
        parts += _line(TOP + BARS * (1 - share), f"{share:.0%}")
    for tick in (ticks[0], ticks[-1]):
        parts += _line(level(tick), f"{tick:g}")
    curve: list[str] = []
    for place, step in enumerate(steps):
        x = LEFT + wide * place
        middle = x + wide / 2
        if step.share is not None:
            parts.append(svg_rect("more", x + 3, TOP + BARS * (1 - step.share), wide - 6, BARS * step.share))
        if step.word is not None:
            parts.append(svg_text(middle, marks + 5, SIGNS[step.word], f"mid {step.word}"))
        if step.cost is not None:
            curve.append(f"{coordinate(middle)},{coordinate(level(step.cost))}")
            parts.append(f'<circle class="more" cx="{coordinate(middle)}" cy="{coordinate(level(step.cost))}" r="3"/>')
        if step.mark:
            parts.append(f'<path class="limit" d="M{coordinate(x)} {TOP - 4}V{coordinate(bottom)}"/>')
            parts.append(svg_text(x, TOP - 8, step.mark, "" if place < len(steps) * 0.7 else "end"))
        parts.append(svg_text(middle, bottom + 18, step.name, "dim mid"))
    parts.append(f'<polyline class="curve" points="{" ".join(curve)}"/>')
    parts.append(svg_text(LEFT + PLOT / 2, bottom + 40, titles.strength, "dim mid"))
    parts += [_pressed(step, place, wide, bottom) for place, step in enumerate(steps)]
    return "\n".join([*parts, "</svg>"])


def legend(titles: Titles) -> str:
    """What the marks mean, in a line of text.

    Example:
        >>> legend(Titles("", "", "", "", {"fluent": "good", "strained": "poor", "broken": "bad"}))
        '● good · ◐ poor · ✕ bad'
    """
    return " · ".join(f"{sign} {titles.words[word]}" for word, sign in SIGNS.items())


def _line(y: float, name: str) -> list[str]:
    level = coordinate(y)
    return [
        f'<line class="grid" x1="{LEFT}" x2="{LEFT + PLOT}" y1="{level}" y2="{level}"/>',
        svg_text(LEFT - 8, y + 4, name, "dim end"),
    ]


def _pressed(step: Strength, place: int, wide: float, bottom: float) -> str:
    """What is pointed at: the whole height of a step, on top of all else."""
    return svg_titled(step.told, svg_rect("hit", LEFT + wide * place, TOP, wide, bottom - TOP, f'data-step="{place}"'))
