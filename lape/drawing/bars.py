"""Bars side by side as SVG, coloured by the sheet of the page they are in, each group of them to be pointed at."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from lape.drawing.axes import nice_ticks
from lape.drawing.charts import Measured
from lape.drawing.svg import coordinate, svg_open, svg_rect, svg_text, svg_titled

WIDE, WIDEST_GROUP, NARROWEST_GROUP = 924, 84, 28
LEFT, TOP, TALL = 44, 52, 200
NAME = 5  # characters that have room below a group


def bars(
    groups: Mapping[str, Mapping[str, Measured | None]],
    *,
    label: str,
    unit: str,
    titles: Mapping[str, str],
    code: str | None = None,
) -> str:
    """Groups of bars on one scale, from left to right, one bar a series.

    Args:
        groups: Name to series to figure; every group has the same series, at most three. None draws no bar.
        label: What it shows, for those who do not see it.
        unit: Of the scale.
        titles: Name to what is said of a group when it is pointed at.
        code: The attribute that has a group's name, for who listens to clicks; None where these lead nowhere.
    """
    series = list(next(iter(groups.values()), {}))
    found = [cell.value for group in groups.values() for cell in group.values() if cell]
    ticks = nice_ticks(min([0.0, *found]), max([0.0, *found]))
    step = max(NARROWEST_GROUP, min(WIDEST_GROUP, WIDE // max(1, len(groups))))
    plot = step * len(groups)

    def height(value: float) -> float:
        return TOP + TALL * (ticks[-1] - value) / (ticks[-1] - ticks[0])

    parts = [svg_open(LEFT + max(plot, 300) + 10, TOP + TALL + 24, label), svg_text(0, 40, unit, "dim"), *_key(series)]
    for tick in ticks:
        level = coordinate(height(tick))
        kind = "zero" if tick == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{LEFT}" x2="{LEFT + plot}" y1="{level}" y2="{level}"/>')
        parts.append(svg_text(LEFT - 8, height(tick) + 4, f"{tick:g}".replace("-", "−"), "dim end"))
    wide = step * 0.76 / max(1, len(series))
    for place, (name, group) in enumerate(groups.items()):
        left = LEFT + step * place
        drawn = [svg_rect("point", left, TOP, step, TALL + 22)]  # all of the group's place can be pointed at
        for which, cell in enumerate(group.values()):
            if cell:
                top, bottom = sorted((height(cell.value), height(0)))
                drawn.append(svg_rect(f"series{which}", left + step * 0.12 + wide * which, top, wide, bottom - top))
        shown = name if len(name) <= NAME else f"{name[: NAME - 1]}…"
        drawn.append(svg_text(left + step / 2, TOP + TALL + 17, shown, "dim mid"))
        said = svg_titled(titles[name], *drawn)
        parts.append(said if code is None else f'<g class="press" {code}="{escape(name)}">{said}</g>')
    return "\n".join([*parts, "</svg>"])


def _key(series: list[str]) -> list[str]:
    drawn, x = [], float(LEFT)
    for place, name in enumerate(series):
        drawn.append(svg_rect(f"series{place}", x, 4, 14, 14))
        drawn.append(svg_text(x + 20, 16, name))
        x += 48 + 7.2 * len(name)
    return drawn
