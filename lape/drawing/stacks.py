"""Shares that are stacked along an axis, as SVG coloured by the sheet of the page it is in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lape.drawing.svg import coordinate, svg_open, svg_rect, svg_text, svg_titled

LEFT, TOP, PLOT, TALL = 40, 24, 330, 120


def stacked_shares(
    bars: Sequence[Mapping[str, float]],
    titles: Sequence[str],
    styles: Mapping[str, str],
    *,
    label: str,
    across: str,
    up: str,
    most: float,
    mark: int | None = None,
) -> str:
    """Bars from left to right, numbered from 0, each of shares on top of each other.

    Args:
        bars: Name to share; a name that is left out has none.
        titles: What each bar says when it is pointed at.
        styles: Name to the CSS class of its share, from the bottom to the top.
        label: What it shows, for those who do not see it.
        across: What the places from left to right are.
        up: What the shares are of.
        most: The share at the top of the axis, in (0, 1].
        mark: A place before which a line is drawn.
    """
    step, floor = PLOT / len(bars), TOP + TALL
    parts = [svg_open(LEFT + PLOT + 10, floor + 40, label), svg_text(LEFT, 14, up, "dim")]
    for share in (0.0, most / 2, most):
        level = floor - TALL * share / most
        parts.append(f'<path class="grid" d="M{LEFT} {coordinate(level)}h{PLOT}"/>')
        parts.append(svg_text(LEFT - 6, level + 4, f"{100 * share:.0f} %", "dim end"))
    for place, (bar, title) in enumerate(zip(bars, titles, strict=True)):
        x, y, drawn = LEFT + step * place, float(floor), []
        for name, style in styles.items():
            if bar.get(name):
                y -= (high := TALL * bar[name] / most)
                drawn.append(svg_rect(style, x + 0.5, y, step - 1, high))
        parts.append(svg_titled(title, svg_rect("none", x, TOP, step, TALL), *drawn))
    if mark is not None:
        parts.append(f'<path class="mark" d="M{coordinate(LEFT + step * mark)} {TOP - 4}v{TALL + 4}"/>')
    every = next(size for size in (1, 2, 5, 10, 20, 50, 100, 1000) if size * step >= 24)
    for place in range(0, len(bars), every):
        parts.append(svg_text(LEFT + step * (place + 0.5), floor + 14, str(place), "dim mid"))
    return "\n".join([*parts, svg_text(LEFT + PLOT / 2, floor + 32, across, "dim mid"), "</svg>"])
