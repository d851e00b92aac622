"""Sentences of the Compare tab about what its visitor works on."""

from __future__ import annotations

from lape.demo.backend import Backend
from lape.demo.compare.request import CompareRequest
from lape.demo.compare.variants import steers_to
from lape.demo.examples import TRIED_ON
from lape.demo.loaded import Loaded
from lape.demo.status import status
from lape.errors import LapeError
from lape.languages import language


def hint(backend: Backend, visitor: str) -> str:
    """What to do first."""
    try:
        backend.ready(visitor).known_mask  # noqa: B018
    except LapeError as error:
        return status(str(error), failed=True)
    return status("")


def control_note(backend: Backend, visitor: str) -> str:
    """What the random control cannot do with the mask in use, if there is something."""
    if not backend.languages(visitor) or backend.ready(visitor).statistics is not None:
        return ""
    return "This mask has no statistics beside it, so the random control only switches neurons off."


def unsteered(loaded: Loaded, request: CompareRequest) -> str:
    """Why there is no steered column, if there is none."""
    missing = [language(code).name for code in request.targets if not steers_to(loaded, code, request.mode)]
    if not missing:
        return ""
    names = " and ".join(missing)
    return f" The mask has no means for {names}, so nothing was steered to it: calibrate it in the tab Masks."


def as_tried(backend: Backend, visitor: str) -> bool:
    """Whether what is said of the examples is about what the visitor works on."""
    loaded = backend.ready(visitor)
    return loaded.name == TRIED_ON and loaded is backend.loaded
