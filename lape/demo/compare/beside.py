"""The sections below a comparison: what else its settings can be run for, and what lies inside of its columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from lape.demo.backend import Backend
from lape.demo.compare.layers import build_layers
from lape.demo.compare.many import build_many
from lape.demo.compare.request import FIELDS
from lape.demo.compare.strip import build_strip
from lape.demo.compare.tokens import build_tokens
from lape.demo.part import Outputs, Part


def build_beside(backend: Backend, inputs: Mapping[str, Any], seen: gr.State) -> tuple[Part, Outputs]:
    """Adds the sections to the gradio page that is being built.

    Args:
        backend: Has the model.
        inputs: The controls by field of `CompareRequest`.
        seen: The run on show.

    Returns:
        The sections, and what takes away what is told of the run on show, when there is another one.
    """
    inside = build_layers(backend, seen) | build_tokens(backend, seen)
    ordered = {name: inputs[name] for name in FIELDS}
    parts = [build_strip(backend, ordered), build_many(backend, ordered)]

    def refresh(visitor: str) -> Outputs:
        return inside | {key: value for part in parts for key, value in part.refresh(visitor).items()}

    return Part(refresh, [*inside, *(output for part in parts for output in part.outputs)]), inside
