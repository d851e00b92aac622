"""What has been measured of the visitor's mask: main figures, the perplexity matrix, and a panel for each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.checks import checked_name, shown_value
from lape.demo.part import QUIET, Outputs, Part, failure, failures_to, visitor_of
from lape.demo.report import report_html
from lape.demo.words import word
from lape.drawing.html import details, notice, notices, paragraph, section
from lape.errors import LapeError
from lape.evaluation.kinds import KINDS
from lape.evaluation.kinds.perplexity.section import CHANGES, about, cells, costs_figure, largest
from lape.report import headlines, made

Found = Mapping[str, Mapping[str, Any]]
UNIT = next(iter(CHANGES))
NOTHING = (
    "Nothing has been measured of the mask in use: lape evaluate all --mask FOLDER --corpus TEXT does that, and puts "
    "its figures beside the mask. Or measure your own text here."
)


@dataclass(frozen=True)
class _View:
    """What is shown of a mask: HTML, and the names of the masks to choose from."""

    overview: str
    names: tuple[str, ...] = ()
    matrix: str = ""
    rest: str = ""


def build_evidence(backend: Backend) -> Part:
    """Adds it to the tab that is being built."""
    start = _view(backend, "")
    overview = gr.HTML(start.overview, elem_id="lape-evidence")
    with gr.Row(visible=bool(start.names)) as choices:
        mask = gr.Dropdown(
            [*start.names],
            value=next(iter(start.names), None),
            label=word("measure.mask"),
            info=word("measure.mask_info"),
            min_width=240,
        )
        unit = gr.Radio(
            [(word(f"measure.{name}"), name) for name in CHANGES],
            value=UNIT,
            label=word("measure.unit"),
            info=word("measure.unit_info"),
            elem_id="lape-evidence-unit",
            min_width=240,
        )
    matrix = gr.HTML(start.matrix, elem_id="lape-evidence-matrix")
    rest = gr.HTML(start.rest, elem_id="lape-evidence-rest")

    def refresh(visitor: str) -> Outputs:
        view = _view(backend, visitor)
        return {
            overview: view.overview,
            choices: gr.Row(visible=bool(view.names)),
            mask: gr.Dropdown([*view.names], value=next(iter(view.names), None)),
            unit: UNIT,
            matrix: view.matrix,
            rest: view.rest,
        }

    @failures_to(matrix)
    def choosing(request: gr.Request, name: Any, figure: Any) -> Outputs:
        return {matrix: report_html(matrix_parts(backend.ready(visitor_of(request)).evidence([]), name, figure))}

    gr.on(
        [mask.input, unit.input], choosing, [mask, unit], matrix, api_name="measure_evidence", preprocess=False, **QUIET
    )
    return Part(refresh, [overview, choices, mask, unit, matrix, rest])


def _view(backend: Backend, visitor: str) -> _View:
    try:
        loaded = backend.ready(visitor)
        loaded.known_mask  # noqa: B018
        left_out: list[str] = []
        found = loaded.evidence(left_out)
        names = mask_names(found)
        return _View(
            report_html(_overview(found, left_out)),
            tuple(names),
            report_html(matrix_parts(found, names[0], UNIT)) if names else "",
            report_html(_rest(found)),
        )
    except Exception as error:
        return _View(failure(error))


def _overview(found: Found, left_out: Sequence[str]) -> list[str]:
    """What came out of each kind, what cannot be shown, how it was measured, and what the matrix below is."""
    unfit = notices([f"Left out: {reason}" for reason in left_out])
    if not found:
        return unfit or [notice(NOTHING)]
    parts = [headlines(found).html(), *unfit]
    for name, kind in KINDS.items():
        if kind.panel and name in found:
            parts.append(paragraph(found[name]["summary"]))
    parts.append(details("How it was measured", [made(found).html()]))
    if "perplexity" in found:
        parts.append(section("lape-switched-off", KINDS["perplexity"].heading, about(found["perplexity"])))
    return parts


def _rest(found: Found) -> list[str]:
    """What stands below the matrix: the panel of every kind, to be unfolded."""
    return [
        details(kind.heading, kind.panel(found[name])) for name, kind in KINDS.items() if kind.panel and name in found
    ]


def mask_names(found: Found) -> list[str]:
    """The masks whose matrix has been measured, the mask in use first."""
    if "perplexity" not in found:
        return []
    main, masks = found["perplexity"]["settings"]["mask_name"], found["perplexity"]["results"]["masks"]
    return [main, *(name for name in masks if name != main)]


def matrix_parts(found: Found, name: Any, unit: Any) -> list[str]:
    """The matrix of one mask, as a picture and in figures.

    Args:
        found: Evidence by kind.
        name: Of the mask; anything may come.
        unit: One of `CHANGES`; anything may come.

    Raises:
        LapeError: There is no such matrix; says what there is.
    """
    names = mask_names(found)
    if not names:
        raise LapeError(NOTHING)
    name = checked_name("mask", name, names)
    if not isinstance(unit, str) or unit not in CHANGES:
        raise LapeError(f"The figure must be {' or '.join(CHANGES)}, not {shown_value(unit)}.")

    masks, summary = found["perplexity"]["results"]["masks"], found["perplexity"]["summary"]
    picture = costs_figure(masks[name], summary, unit, title=name, most=largest([masks[names[0]]], unit) or None)
    return [picture, details("Every cell with its interval", [cells(name, masks[name], unit).html()])]
