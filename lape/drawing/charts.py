"""Figures with their intervals, and matrices of them as SVG, coloured by the sheet of the page they are in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt

from lape.drawing.svg import coordinate, svg_open, svg_rect, svg_text, svg_titled

HEAD = 44
WIDE, WIDEST_CELL, NARROWEST_CELL = 990, 40, 30  # many cells are smaller, while numbers can be read
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
    left = label_width([*matrix, rows])
    side = max(NARROWEST_CELL, min(WIDEST_CELL, WIDE // max(1, len(names), len(matrix))))
    middle = left + side * len(names) / 2
    width = max(left + side * len(names) + 2, middle + label_width([columns]) / 2)  # a few cells are less wide
    height = HEAD + side * len(matrix) + 2
    parts = [
        svg_open(width, height, label),
        svg_text(middle, 14, columns, "dim mid"),
        svg_text(left - 8, HEAD - 10, rows, "dim end"),
    ]
    parts += [svg_text(left + side * (place + 0.5), HEAD - 10, name, "mid") for place, name in enumerate(names)]
    for line, (name, row) in enumerate(matrix.items()):
        top = HEAD + side * line
        parts.append(svg_text(left - 8, top + side / 2 + 4, name, "end"))
        for place, (column, cell) in enumerate(row.items()):
            own = framed and name == column
            parts += _cell(left + side * place, top, side - 2, cell, most, digits, f"{name}, {column}", own, harm)
    return "\n".join([*parts, "</svg>"])


def label_width(names: Iterable[str]) -> int:
    """Room for the longest of some names, in pixels."""
    return 20 + 7 * max(map(len, names), default=0)


def _cell(
    x: float, y: float, side: float, cell: Measured | None, most: float, digits: int, name: str, framed: bool, harm: int
) -> list[str]:
    frame = " own" if framed else ""
    if cell is None:
        return [svg_rect(f"none{frame}", x, y, side, side)]
    shade = coordinate(DARKEST * sqrt(min(1.0, abs(cell.value) / most)))
    kind = "less" if cell.value * harm > 0 else "more"
    return [
        svg_titled(
            f"{name}: {cell.text(digits + 1)}",
            svg_rect(f"back{frame}", x, y, side, side),
            svg_rect(kind, x, y, side, side, f'fill-opacity="{shade}"'),
            svg_text(x + side / 2, y + side / 2 + 4, number(cell.value, digits), "mid value"),
        )
    ]
