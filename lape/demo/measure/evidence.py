"""What has been measured of the visitor's mask: a sentence and a chart, and below them all there is, closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.checks import checked_name, shown_value
from lape.demo.languages import titles
from lape.demo.measure.costs import PRESS, Found, costs_chart, lead, measured_languages, one_language
from lape.demo.measure.matrices import largest, matrix_figure, matrix_table
from lape.demo.part import QUIET, Outputs, Part, failure, failures_to, visitor_of
from lape.demo.report import in_english, report_html
from lape.demo.words import LANGUAGES, say, tongue, word
from lape.drawing.html import details, notice, notices, paragraph, section
from lape.errors import LapeError
from lape.evaluation.kinds import KINDS
from lape.evaluation.kinds.perplexity.section import CHANGES, about
from lape.report import headlines, made

UNIT = CHANGES[0]


@dataclass(frozen=True)
class _View:
    """What is shown of a mask: HTML, the languages of the chart, and the names of the masks to choose from."""

    lead: str
    chart: str = ""
    languages: tuple[str, ...] = ()
    overview: str = ""
    names: tuple[str, ...] = ()
    matrix: str = ""
    rest: str = ""


def build_evidence(backend: Backend) -> Part:
    """Adds it to the tab that is being built."""
    start = _view(backend, "")
    first = gr.HTML(start.lead, elem_id="lape-evidence-lead")
    chart = gr.HTML(start.chart, js_on_load=PRESS, elem_id="lape-evidence-chart")
    off = gr.Dropdown(
        titles(start.languages),
        value=None,
        label=word("measured.off"),
        info=word("measured.off_info"),
        visible=bool(start.languages),
        elem_id="lape-evidence-off",
    )
    one = gr.HTML("", elem_id="lape-evidence-one")
    with gr.Accordion(word("measured.figures"), open=False, visible=bool(start.overview)) as figures:
        overview = gr.HTML(start.overview, elem_id="lape-evidence")
    with gr.Accordion(word("measured.matrix"), open=False, visible=bool(start.names)) as every:
        with gr.Row():
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
            first: view.lead,
            chart: view.chart,
            off: gr.Dropdown(titles(view.languages), value=None, visible=bool(view.languages)),
            one: "",
            figures: gr.Accordion(visible=bool(view.overview)),
            overview: view.overview,
            every: gr.Accordion(visible=bool(view.names)),
            mask: gr.Dropdown([*view.names], value=next(iter(view.names), None)),
            unit: UNIT,
            matrix: view.matrix,
            rest: view.rest,
        }

    @failures_to(matrix)
    def choosing(request: gr.Request, name: Any, figure: Any) -> Outputs:
        return {matrix: report_html(matrix_parts(backend.ready(visitor_of(request)).evidence([]), name, figure))}

    def shown(request: gr.Request, code: Any) -> Outputs:
        return {one: report_html(one_language(backend.ready(visitor_of(request)).evidence([]), code))}

    @failures_to(one)
    def leading(request: gr.Request, event: gr.EventData) -> Outputs:
        """Shows the language whose bars were pressed."""
        data = event._data
        code = data.get("code") if isinstance(data, dict) else None
        return {**shown(request, code), off: code}

    @failures_to(one)
    def looking(request: gr.Request, code: Any) -> Outputs:
        return shown(request, code)

    gr.on(
        [mask.input, unit.input], choosing, [mask, unit], matrix, api_name="measure_evidence", preprocess=False, **QUIET
    )
    chart.click(leading, None, [one, off], trigger_mode="always_last", **QUIET)
    off.input(looking, off, one, api_name="measure_language", trigger_mode="always_last", preprocess=False, **QUIET)
    return Part(refresh, [first, chart, off, one, figures, overview, every, mask, unit, matrix, rest])


def _view(backend: Backend, visitor: str) -> _View:
    try:
        loaded = backend.ready(visitor)
        loaded.known_mask  # noqa: B018
        left_out: list[str] = []
        found = loaded.evidence(left_out)
        unfit = notices([say("said.left_out", reason=reason) for reason in left_out])
        if not found:
            return _View(report_html(unfit or [notice(say("measured.nothing"))]))
        names = mask_names(found)
        return _View(
            report_html([lead(found), *unfit]),
            report_html(costs_chart(found)),
            tuple(measured_languages(found)),
            report_html(_overview(found)),
            tuple(names),
            report_html(matrix_parts(found, names[0], UNIT)) if names else "",
            report_html(_rest(found)),
        )
    except Exception as error:
        return _View(failure(error))


def _overview(found: Found) -> list[str]:
    """What came out of each kind, how it was measured, and what the matrix is."""
    said = [headlines(found).html()]
    for name, kind in KINDS.items():
        if kind.panel and name in found:
            said.append(paragraph(found[name]["summary"]))
    parts = [in_english(said), details(say("measured.made"), [in_english([made(found).html()])])]
    if "perplexity" in found:
        heading = say("measured.kind_perplexity")
        parts.append(section("lape-switched-off", heading, [in_english(about(found["perplexity"]))]))
    return parts if tongue() == LANGUAGES[0] else [notice(say("measured.english")), *parts]


def _rest(found: Found) -> list[str]:
    """What stands below the matrix: the panel of every kind, to be unfolded."""
    return [
        details(say(f"measured.kind_{name}"), [in_english(kind.panel(found[name]))])
        for name, kind in KINDS.items()
        if kind.panel and name in found
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
        raise LapeError(say("measured.nothing"))
    name = checked_name("mask", name, names)
    if not isinstance(unit, str) or unit not in CHANGES:
        raise LapeError(say("measured.figure_of", names=", ".join(CHANGES), value=shown_value(unit)))

    masks = found["perplexity"]["results"]["masks"]
    picture = matrix_figure(name, masks[name], unit, largest([masks[names[0]]], unit))
    return [picture, details(say("measured.cells"), [matrix_table(name, masks[name], unit).html()])]
