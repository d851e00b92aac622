"""What switching each language off costs each text: a picture, and its figures with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from lape.demo.words import say
from lape.drawing.charts import heat_map
from lape.drawing.html import Table, figure
from lape.drawing.words import related
from lape.evaluation.kinds.perplexity.section import cells, matrix_of

Mask = Mapping[str, Any]  # one of `masks` of the results; a cell that is None has not been measured yet


def matrix_figure(title: str, mask: Mask, unit: str, most: float | None) -> str:
    """The matrix of one mask as a picture.

    Args:
        title: What the caption begins with.
        mask: Of the results.
        unit: One of `CHANGES`.
        most: Cost of the darkest cell, so that masks can be compared; None takes this mask's largest.
    """
    shown = heat_map(
        related(matrix_of(mask, unit)),
        label=say("measured.matrix_label"),
        rows=say("measured.matrix_rows"),
        columns=say("measured.matrix_columns"),
        digits=2,
        most=most,
        harm=1,
    )
    return figure(shown, say("measured.matrix_caption", title=title, unit=say(f"measured.change_{unit}")))


def matrix_table(title: str, mask: Mask, unit: str) -> Table:
    """The matrix of one mask in figures with their intervals."""
    table = cells(title, mask, unit)
    caption = say("measured.cells_of", title=title, unit=say(f"measured.change_{unit}"))
    return replace(table, caption=caption, head=[say("measured.matrix_rows"), *table.head[1:]])


def largest(masks: Iterable[Mask], unit: str) -> float | None:
    """The largest cost of some masks, as far as they are measured; None where there is none."""
    found = [cell for mask in masks for row in matrix_of(mask, unit).values() for cell in row.values() if cell]
    return max((abs(cell.value) for cell in found), default=0.0) or None
