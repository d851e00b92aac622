"""Charts along an axis as SVG, coloured by the sheet of the page they are in: whiskers, curves, histograms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10

from lape.drawing.charts import Measured, label_width
from lape.drawing.svg import coordinate, svg_open, svg_rect, svg_text, svg_titled


def whiskers(rows: Mapping[str, Mapping[str, Measured | None]], *, label: str, unit: str) -> str:
    """Figures with their intervals on one axis, one row a name, one mark a series.

    Args:
        rows: Name to series to figure; every row has the same series, at most three.
        label: What it shows, for those who do not see it.
        unit: Of the axis.
    """
    series = list(next(iter(rows.values()), {}))
    found = [cell for row in rows.values() for cell in row.values() if cell]
    ends = _ends(found)
    ticks = nice_ticks(min([0.0, *ends]), max([0.0, *ends]))
    step, plot, left, top = 26, 460, label_width(rows), 34
    height = top + step * len(rows) + 40
    scale = plot / (ticks[-1] - ticks[0])

    def across(value: float) -> float:
        return left + (value - ticks[0]) * scale

    parts = [svg_open(left + plot + 24, height, label), *_series_key(series, left)]
    bottom = top + step * len(rows)
    for tick in ticks:
        kind = "zero" if tick == 0 else "grid"
        x = coordinate(across(tick))
        parts.append(f'<line class="{kind}" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>')
        parts.append(svg_text(across(tick), bottom + 16, f"{tick:g}".replace("-", "−"), "dim mid"))
    parts.append(svg_text(left + plot / 2, bottom + 34, unit, "dim mid"))
    for line, (name, row) in enumerate(rows.items()):
        parts.append(svg_text(left - 10, top + step * (line + 0.5) + 4, name, "end"))
        for place, (which, cell) in enumerate(row.items()):
            if cell:
                y = top + step * (line + 0.5) + 6 * (place - (len(series) - 1) / 2)
                parts.append(_mark(place, across, cell, y, f"{name}, {which}"))
    return "\n".join([*parts, "</svg>"])


def curves(
    series: Mapping[str, Sequence[tuple[float, float]]], *, label: str, across: str, up: str, line: float | None = None
) -> str:
    """Curves over a logarithmic axis, between 0 and 1, the last of them drawn thick.

    Args:
        series: Name to points `(x, y)`.
        label: What it shows, for those who do not see it.
        across: What the horizontal axis is.
        up: What the vertical axis is.
        line: A value to mark.
    """
    xs = sorted({x for points in series.values() for x, _ in points})
    left, top, plot, tall = 52, 30, 470, 230
    low, high = log10(xs[0]), log10(xs[-1])
    span = (high - low) or 1.0
    parts = [svg_open(left + plot + 60, top + tall + 48, label), svg_text(left, 16, up, "dim")]
    for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
        level = coordinate(top + tall * (1 - share))
        parts.append(f'<line class="grid" x1="{left}" x2="{left + plot}" y1="{level}" y2="{level}"/>')
        parts.append(svg_text(left - 8, top + tall * (1 - share) + 4, f"{share:g}", "dim end"))

    def place(x: float, y: float) -> tuple[float, float]:
        return left + plot * (log10(x) - low) / span, top + tall * (1 - y)

    shown = float("-inf")
    for x in xs:
        if place(x, 0)[0] - shown >= 44:
            shown = place(x, 0)[0]
            parts.append(svg_text(shown, top + tall + 18, short(x), "dim mid"))
    parts.append(svg_text(left + plot / 2, top + tall + 40, across, "dim mid"))
    if line is not None:
        level = coordinate(top + tall * (1 - line))
        parts.append(f'<line class="limit" x1="{left}" x2="{left + plot}" y1="{level}" y2="{level}"/>')
    for order, (name, points) in enumerate(series.items()):
        last = order == len(series) - 1
        path = " ".join(f"{coordinate(x)},{coordinate(y)}" for x, y in (place(*point) for point in points))
        parts.append(
            f'<polyline class="{"curve main" if last else "curve"}" points="{path}"><title>{escape(name)}</title>'
            "</polyline>"
        )
        if last and points:
            x, y = place(*points[-1])
            parts.append(svg_text(x + 6, y + 4, name))
    return "\n".join([*parts, "</svg>"])


def histograms(rows: Mapping[str, Mapping[str, Sequence[int]]], *, label: str, across: str) -> str:
    """A histogram of stacked bars for each row, as high as its own highest bar, whose count is written beside it.

    Args:
        rows: Name to series to counts from the left; every row has the same series, at most three, of one length.
        label: What it shows, for those who do not see it.
        across: What the places from left to right are, numbered from 0.
    """
    series = list(next(iter(rows.values())))
    places = len(next(iter(rows.values()))[series[0]])
    step, tall, left, top = max(3.0, min(22.0, 660 / places)), 40, label_width(rows), 34
    bottom = top + (tall + 10) * len(rows)
    parts = [svg_open(left + max(step * places, 300) + 60, bottom + 40, label), *_series_key(series, left)]
    for line, (name, counts) in enumerate(rows.items()):
        floor_y = top + (tall + 10) * (line + 1) - 6
        most = max(sums := [sum(bars) for bars in zip(*counts.values(), strict=True)])
        parts.append(svg_text(left - 10, floor_y - 2, name, "end"))
        parts.append(svg_text(left + step * places + 8, floor_y - tall + 12, f"{most:,}", "dim"))
        parts.append(f'<path class="grid" d="M{left} {floor_y}h{coordinate(step * places)}"/>')
        for place in (place for place, count in enumerate(sums) if count):
            bars = ", ".join(f"{which} {values[place]:,}" for which, values in counts.items())
            x, y, drawn = left + step * place, float(floor_y), []
            for which, values in enumerate(counts.values()):
                y -= (high := tall * values[place] / most)
                drawn.append(svg_rect(f"series{which}", x, y, step - 1, high))
            parts.append(svg_titled(f"{name}, {across} {place}: {bars}", *drawn))
    every = next(size for size in (1, 2, 5, 10, 20, 50, 100, 1000, 10_000) if size * step >= 30)
    parts += [
        svg_text(left + (place + 0.5) * step, bottom + 12, str(place), "dim mid") for place in range(0, places, every)
    ]
    return "\n".join([*parts, svg_text(left + step * places / 2, bottom + 32, across, "dim mid"), "</svg>"])


def scatter(
    series: Mapping[str, Mapping[str, tuple[Measured, Measured]]],
    *,
    label: str,
    across: str,
    up: str,
    front: Sequence[str] = (),
) -> str:
    """Points with their intervals in two directions; those of the front are joined by a line and named beside the plot.

    Args:
        series: Name to points by name, at most three series; a point is `(x, y)`.
        label: What it shows, for those who do not see it.
        across: What the horizontal axis is.
        up: What the vertical axis is.
        front: Names of points that no other beats.
    """
    every = {name: point for points in series.values() for name, point in points.items()}
    left, top, plot, tall = 52, 52, 560, 320
    ticks = [
        nice_ticks(min([0.0, *_ends(cells)]), max([0.0, *_ends(cells)])) for cells in zip(*every.values(), strict=True)
    ]
    (low_x, *_, high_x), (low_y, *_, high_y) = ticks

    def place(x: float, y: float) -> tuple[float, float]:
        return left + plot * (x - low_x) / (high_x - low_x), top + tall * (high_y - y) / (high_y - low_y)

    parts = [svg_open(left + plot + 170, top + tall + 44, label), *_series_key(list(series), left)]
    parts.append(svg_text(left - 40, 40, up, "dim"))
    for x in ticks[0]:
        across_x = coordinate(place(x, 0)[0])
        parts.append(f'<line class="grid" x1="{across_x}" x2="{across_x}" y1="{top}" y2="{top + tall}"/>')
        parts.append(svg_text(place(x, 0)[0], top + tall + 16, f"{x:g}".replace("-", "−"), "dim mid"))
    for y in ticks[1]:
        level = coordinate(place(0, y)[1])
        parts.append(f'<line class="grid" x1="{left}" x2="{left + plot}" y1="{level}" y2="{level}"/>')
        parts.append(svg_text(left - 8, place(0, y)[1] + 4, f"{y:g}".replace("-", "−"), "dim end"))
    parts.append(svg_text(left + plot / 2, top + tall + 36, across, "dim mid"))
    joined = sorted((every[name][0].value, every[name][1].value) for name in front)
    path = " ".join(f"{coordinate(x)},{coordinate(y)}" for x, y in (place(*point) for point in joined))
    parts.append(f'<polyline class="limit none" points="{path}"/>')
    for order, points in enumerate(series.values()):
        for name, (right, high) in points.items():
            at = place(right.value, high.value)
            drawn = [
                _line(place(start_x, start_y), place(end_x, end_y))
                for start_x, start_y, end_x, end_y in (
                    (right.low, high.value, right.high, high.value),
                    (right.value, high.low, right.value, high.high),
                )
                if start_x is not None and start_y is not None and end_x is not None and end_y is not None
            ]
            told = f"{name}: {across} {right.text(2)}; {up} {high.text(0)}"
            parts.append(svg_titled(told, *drawn, _shape(order, *at), style=f"series{order}"))
    written = float(top)
    for name in sorted(front, key=lambda name: -every[name][1].value):  # beside the plot, so that no two names overlap
        at = place(every[name][0].value, every[name][1].value)
        written = max(written + 18, at[1])
        ends = (at[0] + 6, at[1]), (left + plot + 10.0, written)
        parts.append(f'<g class="grid">{_line(*ends)}</g>')
        parts.append(svg_text(left + plot + 14, written + 4, name))
    return "\n".join([*parts, "</svg>"])


def _ends(cells: Sequence[Measured]) -> list[float]:
    return [end for cell in cells for end in (cell.value, cell.low, cell.high) if end is not None]


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = ([coordinate(value) for value in point] for point in (start, end))
    return f'<line x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}"/>'


def nice_ticks(low: float, high: float) -> list[float]:
    """About five round numbers that enclose a range, zero among them when it is inside.

    Example:
        >>> nice_ticks(0, 0.83), nice_ticks(-1, 1)
        ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [-1.0, -0.5, 0.0, 0.5, 1.0])
    """
    high = high if high > low else low + 1
    span = high - low
    power = 10.0 ** floor(log10(span / 5))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= 6)
    return [round(step * place, 12) for place in range(floor(low / step), ceil(high / step) + 1)]


def short(count: float) -> str:
    """A count in few characters: 500, 2k, 1.5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:g}"


def _mark(place: int, across: Callable[[float], float], cell: Measured, y: float, name: str) -> str:
    drawn = []
    if cell.low is not None and cell.high is not None:
        low, high, level = (coordinate(value) for value in (across(cell.low), across(cell.high), y))
        drawn.append(f'<line x1="{low}" x2="{high}" y1="{level}" y2="{level}"/>')
    return svg_titled(f"{name}: {cell.text(3)}", *drawn, _shape(place, across(cell.value), y), style=f"series{place}")


def _shape(place: int, x: float, y: float) -> str:
    """Series differ in form as well as in colour."""
    if place == 0:
        return f'<circle cx="{coordinate(x)}" cy="{coordinate(y)}" r="4"/>'
    if place == 1:
        return f'<path d="M{coordinate(x)} {coordinate(y - 5)}l5 5l-5 5l-5-5z"/>'
    return f'<rect x="{coordinate(x - 4)}" y="{coordinate(y - 4)}" width="8" height="8"/>'


def _series_key(series: Sequence[str], left: float) -> list[str]:
    drawn, x = [], left
    for place, name in enumerate(series):
        drawn.append(f'<g class="series{place}">{_shape(place, x, 14)}</g>')
        drawn.append(svg_text(x + 10, 18, name))
        x += 34 + 7.2 * len(name)
    return drawn
