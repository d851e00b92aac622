"""The Measure tab: what has been measured of the mask, and the same on the visitor's own text."""

from __future__ import annotations

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.measure.evidence import build_evidence
from lape.demo.measure.openings import build_openings
from lape.demo.measure.texts import build_texts
from lape.demo.part import Outputs, Part
from lape.demo.words import word


def build_measure(backend: Backend) -> Part:
    """Adds the tab to the gradio page that is being built."""
    gr.Markdown(word("measure.explanation"))
    with gr.Tabs():
        with gr.Tab(word("measure.evidence")):
            parts = [build_evidence(backend)]
        with gr.Tab(word("measure.texts")):
            parts.append(build_texts(backend))
        with gr.Tab(word("measure.openings")):
            parts.append(build_openings(backend))

    def refresh(visitor: str) -> Outputs:
        return {key: value for part in parts for key, value in part.refresh(visitor).items()}

    return Part(refresh, [output for part in parts for output in part.outputs])
