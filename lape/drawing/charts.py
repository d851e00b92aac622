"""Pictures inside a page: SVG without a style of its own, coloured by the page's sheet (`data/report.html`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10, sqrt

CELL, HEAD = 40, 44
DARKEST = 0.6  # opacity of a cell, so that its number can be read on it


@dataclass(frozen=True)
class Measured:
    """A figure with its interval.

    Attributes:
        value: The figure.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def text(self, digits: int) -> str:
        """The figure, and its interval in brackets.

        Example:
            >>> Measured(0.4, 0.35, 0.451).text(2)
            '0.40 [0.35, 0.45]'
        """
        if self.low is None or self.high is None:
            return number(self.value, digits)
        return f"{number(self.value, digits)} [{number(self.low, digits)}, {number(self.high, digits)}]"


Matrix = Mapping[str, Mapping[str, Measured | None]]


def number(value: float, digits: int) -> str:
    """A number with so many decimals, never a minus zero.

    Example:
        >>> number(-0.0001, 2), number(-1.5, 1), number(12345.6, 0)
        ('0.00', '−1.5', '12,346')
    """
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def heat_map(
    matrix: Matrix,
    *,
    label: str,
    rows: str,
    columns: str,
    digits: int,
    most: float | None = None,
    framed: bool = True,
    harm: int = 0,
) -> str:
    """A matrix as coloured cells with their numbers: orange for harm, else blue.

    Args:
        matrix: Row to column to figure; None draws an empty cell. Every row has the same columns.
        label: What it shows, for those who do not see it.
        rows: What the rows are.
        columns: What the columns are.
        digits: Decimals of the numbers.
        most: The value of the darkest cell; None takes the largest.
        framed: Whether the cells of equal row and column have a frame.
        harm: Sign of the values that are harm, 1 or -1; 0 when none is.
    """
    names = list(next(iter(matrix.values()), {}))
    largest = max((abs(cell.value) for row in matrix.values() for cell in row.values() if cell), default=0.0)
    most = most or largest or 1.0
    left = _label_width([*matrix, rows])
    middle = left + CELL * len(names) / 2
    width = max(left + CELL * len(names) + 2, middle + _label_width([columns]) / 2)  # a few cells are less wide
    height = HEAD + CELL * len(matrix) + 2
    parts = [
        _open(width, height, label),
        _text(middle, 14, columns, "dim mid"),
        _text(left - 8, HEAD - 10, rows, "dim end"),
    ]
    parts += [_text(left + CELL * (place + 0.5), HEAD - 10, name, "mid") for place, name in enumerate(names)]
    for line, (name, row) in enumerate(matrix.items()):
        top = HEAD + CELL * line
        parts.append(_text(left - 8, top + CELL / 2 + 4, name, "end"))
        for place, (column, cell) in enumerate(row.items()):
            own = framed and name == column
            parts += _cell(left + CELL * place, top, cell, most, digits, f"{name}, {column}", own, harm)
    return "\n".join([*parts, "</svg>"])


def whiskers(rows: Mapping[str, Mapping[str, Measured | None]], *, label: str, unit: str) -> str:
    """Figures with their intervals on one axis, one row a name, one mark a series.

    Args:
        rows: Name to series to figure; every row has the same series, at most three.
        label: What it shows, for those who do not see it.
        unit: Of the axis.
    """
    series = list(next(iter(rows.values()), {}))
    found = [cell for row in rows.values() for cell in row.values() if cell]
    ends = [end for cell in found for end in (cell.value, cell.low, cell.high) if end is not None]
    ticks = nice_ticks(min([0.0, *ends]), max([0.0, *ends]))
    step, plot, left, top = 26, 460, _label_width(rows), 34
    height = top + step * len(rows) + 40
    scale = plot / (ticks[-1] - ticks[0])

    def across(value: float) -> float:
        return left + (value - ticks[0]) * scale

    parts = [_open(left + plot + 24, height, label), *_series_key(series, left)]
    bottom = top + step * len(rows)
    for tick in ticks:
        kind = "zero" if tick == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{_n(across(tick))}" x2="{_n(across(tick))}" y1="{top}" y2="{bottom}"/>')
        parts.append(_text(across(tick), bottom + 16, f"{tick:g}".replace("-", "−"), "dim mid"))
    parts.append(_text(left + plot / 2, bottom + 34, unit, "dim mid"))
    for line, (name, row) in enumerate(rows.items()):
        parts.append(_text(left - 10, top + step * (line + 0.5) + 4, name, "end"))
        for place, (which, cell) in enumerate(row.items()):
            if cell:
                y = top + step * (line + 0.5) + 6 * (place - (len(series) - 1) / 2)
                parts += _mark(place, across, cell, y, f"{name}, {which}")
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
    parts = [_open(left + plot + 60, top + tall + 48, label), _text(left, 16, up, "dim")]
    for share in (0, 0.2, 0.4, 0.6, 0.8, 1):
        level = _n(top + tall * (1 - share))
        parts.append(f'<line class="grid" x1="{left}" x2="{left + plot}" y1="{level}" y2="{level}"/>')
        parts.append(_text(left - 8, top + tall * (1 - share) + 4, f"{share:g}", "dim end"))

    def place(x: float, y: float) -> tuple[float, float]:
        return left + plot * (log10(x) - low) / span, top + tall * (1 - y)

    shown = float("-inf")
    for x in xs:
        if place(x, 0)[0] - shown >= 44:
            shown = place(x, 0)[0]
            parts.append(_text(shown, top + tall + 18, short(x), "dim mid"))
    parts.append(_text(left + plot / 2, top + tall + 40, across, "dim mid"))
    if line is not None:
        level = _n(top + tall * (1 - line))
        parts.append(f'<line class="wanted" x1="{left}" x2="{left + plot}" y1="{level}" y2="{level}"/>')
    for order, (name, points) in enumerate(series.items()):
        last = order == len(series) - 1
        path = " ".join(f"{_n(x)},{_n(y)}" for x, y in (place(*point) for point in points))
        parts.append(
            f'<polyline class="{"curve main" if last else "curve"}" points="{path}"><title>{escape(name)}</title>'
            "</polyline>"
        )
        if last and points:
            x, y = place(*points[-1])
            parts.append(_text(x + 6, y + 4, name))
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
    step, tall, left, top = max(3.0, min(22.0, 660 / places)), 40, _label_width(rows), 34
    bottom = top + (tall + 10) * len(rows)
    parts = [_open(left + max(step * places, 300) + 60, bottom + 40, label), *_series_key(series, left)]
    for line, (name, counts) in enumerate(rows.items()):
        floor_y = top + (tall + 10) * (line + 1) - 6
        most = max(sums := [sum(bars) for bars in zip(*counts.values(), strict=True)])
        parts.append(_text(left - 10, floor_y - 2, name, "end"))
        parts.append(_text(left + step * places + 8, floor_y - tall + 12, f"{most:,}", "dim"))
        parts.append(f'<path class="grid" d="M{left} {floor_y}h{_n(step * places)}"/>')
        for place in (place for place, count in enumerate(sums) if count):
            bars = ", ".join(f"{which} {values[place]:,}" for which, values in counts.items())
            parts.append(f"<g><title>{escape(f'{name}, {across} {place}: {bars}')}</title>")
            x, y = left + step * place, float(floor_y)
            for which, values in enumerate(counts.values()):
                y -= (high := tall * values[place] / most)
                box = f'x="{_n(x)}" y="{_n(y)}" width="{_n(step - 1)}" height="{_n(high)}"'
                parts.append(f'<rect class="series{which}" {box}/>')
            parts.append("</g>")
    every = next(size for size in (1, 2, 5, 10, 20, 50, 100, 1000, 10_000) if size * step >= 30)
    parts += [
        _text(left + (place + 0.5) * step, bottom + 12, str(place), "dim mid") for place in range(0, places, every)
    ]
    return "\n".join([*parts, _text(left + step * places / 2, bottom + 32, across, "dim mid"), "</svg>"])


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


def _label_width(names: Iterable[str]) -> int:
    """Room for the longest of some names, in pixels."""
    return 20 + 7 * max(map(len, names), default=0)


def _cell(
    x: float, y: float, cell: Measured | None, most: float, digits: int, name: str, framed: bool, harm: int
) -> list[str]:
    side = CELL - 2
    frame = " own" if framed else ""
    if cell is None:
        return [f'<rect class="none{frame}" x="{_n(x)}" y="{_n(y)}" width="{side}" height="{side}"/>']
    shade = _n(DARKEST * sqrt(min(1.0, abs(cell.value) / most)))
    kind = "less" if cell.value * harm > 0 else "more"
    return [
        f"<g><title>{escape(f'{name}: {cell.text(digits + 1)}')}</title>"
        f'<rect class="back{frame}" x="{_n(x)}" y="{_n(y)}" width="{side}" height="{side}"/>'
        f'<rect class="{kind}" x="{_n(x)}" y="{_n(y)}" width="{side}" height="{side}" fill-opacity="{shade}"/>'
        f"{_text(x + side / 2, y + side / 2 + 4, number(cell.value, digits), 'mid value')}</g>"
    ]


def _mark(place: int, across: Callable[[float], float], cell: Measured, y: float, name: str) -> list[str]:
    x = across(cell.value)
    drawn = [f'<g class="series{place}"><title>{escape(f"{name}: {cell.text(3)}")}</title>']
    if cell.low is not None and cell.high is not None:
        low, high = across(cell.low), across(cell.high)
        drawn.append(f'<line x1="{_n(low)}" x2="{_n(high)}" y1="{_n(y)}" y2="{_n(y)}"/>')
    return [*drawn, _shape(place, x, y), "</g>"]


def _shape(place: int, x: float, y: float) -> str:
    """Series differ in form as well as in colour."""
    if place == 0:
        return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="4"/>'
    if place == 1:
        return f'<path d="M{_n(x)} {_n(y - 5)}l5 5l-5 5l-5-5z"/>'
    return f'<rect x="{_n(x - 4)}" y="{_n(y - 4)}" width="8" height="8"/>'


def _series_key(series: Sequence[str], left: float) -> list[str]:
    drawn, x = [], left
    for place, name in enumerate(series):
        drawn.append(f'<g class="series{place}">{_shape(place, x, 14)}</g>')
        drawn.append(_text(x + 10, 18, name))
        x += 34 + 7.2 * len(name)
    return drawn


def _open(width: float, height: float, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" height="{_n(height)}" role="img" '
        f'aria-label="{escape(label)}">'
    )


def _text(x: float, y: float, text: str, style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{_n(x)}" y="{_n(y)}">{escape(text)}</text>'


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
