"""What else the settings of a comparison can be run for, in sections below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lape.demo.backend import Backend
from lape.demo.compare.many import build_many
from lape.demo.compare.request import CompareRequest
from lape.demo.compare.strip import build_strip
from lape.demo.part import Outputs, Part


def build_beside(backend: Backend, inputs: Mapping[str, Any]) -> Part:
    """Adds the sections to the gradio page that is being built.

    Args:
        backend: Has the model.
        inputs: The controls by field of `CompareRequest`.
    """
    ordered = {field.name: inputs[field.name] for field in fields(CompareRequest)}
    parts = [build_strip(backend, ordered), build_many(backend, ordered)]

    def refresh(visitor: str) -> Outputs:
        return {key: value for part in parts for key, value in part.refresh(visitor).items()}

    return Part(refresh, [output for part in parts for output in part.outputs])
