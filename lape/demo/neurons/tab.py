"""The Neurons tab: whose neurons fire at a text, the choice of neurons, where they are, and one by one."""

from __future__ import annotations

from itertools import islice
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.loaded import Loaded
from lape.demo.neurons.figures import layers_figure, overlap_figure
from lape.demo.neurons.listing import build_list
from lape.demo.neurons.live import build_live
from lape.demo.neurons.look import build_look
from lape.demo.neurons.neuron import build_neuron
from lape.demo.neurons.pointed import POINTED
from lape.demo.part import Outputs, Part
from lape.demo.words import word


def build_neurons(backend: Backend) -> Part:
    """Adds the tab to the gradio page that is being built."""
    gr.Markdown(word("neurons.explanation"))
    look, colored, kept = build_look(backend)
    live = build_live(backend, look)
    gr.Markdown(word("neurons.where_heading"), elem_classes="lape-section")
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=320):
            layers = gr.HTML(_layers(backend.loaded), js_on_load=POINTED, elem_id="lape-neurons-layers")
        with gr.Column(scale=2, min_width=320):
            overlap = gr.HTML(_overlap(backend.loaded), js_on_load=POINTED, elem_id="lape-neurons-overlap")
    listed, table = build_list(backend, layers, overlap)
    neuron = build_neuron(backend, table, colored, kept)
    parts = (look, live, listed, neuron)

    def refresh(visitor: str, *values: Any) -> Outputs:
        loaded = backend.visitors.shown(visitor).loaded
        shown: Outputs = {layers: _layers(loaded), overlap: _overlap(loaded)}
        given = iter(values)
        for part in parts:
            shown |= part.refresh(visitor, *islice(given, len(part.inputs)))
        return shown

    def arrive(request: gr.Request) -> Outputs:
        shown: Outputs = {}
        for part in parts:
            shown |= part.arrive(request) if part.arrive is not None else {}
        return shown

    return Part(
        refresh,
        [layers, overlap, *(output for part in parts for output in part.outputs)],
        tuple(change for part in parts for change in part.changes),
        arrive=arrive,
        inputs=tuple(value for part in parts for value in part.inputs),
    )


def _layers(loaded: Loaded | None) -> str:
    return "" if loaded is None or loaded.mask is None else layers_figure(loaded.mask)


def _overlap(loaded: Loaded | None) -> str:
    return "" if loaded is None or loaded.mask is None else overlap_figure(loaded.mask)
