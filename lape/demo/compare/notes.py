"""Sentences of the Compare tab about what its visitor works on."""

from __future__ import annotations

from lape.demo.backend import Backend
from lape.demo.compare.export import Comparison
from lape.demo.compare.request import CompareRequest
from lape.demo.compare.stored import stored
from lape.demo.compare.variants import steers_to
from lape.demo.examples import TRIED_ON
from lape.demo.languages import name_of
from lape.demo.loaded import Loaded
from lape.demo.status import status
from lape.demo.words import say
from lape.errors import LapeError


def hint(backend: Backend, visitor: str, run: Comparison | None) -> str:
    """What to do first, or where what is on show comes from."""
    try:
        loaded = backend.ready(visitor)
        loaded.known_mask  # noqa: B018
    except LapeError as error:
        return status(str(error), failed=True)
    if run is None or run != stored(loaded):
        return status("")
    made = run.about
    return status(say("first.stored", version=made["environment"]["lape"], weights=made["model"]["dtype"]))


def control_note(backend: Backend, visitor: str) -> str:
    """What the random control cannot do with the mask in use, if there is something."""
    if not backend.languages(visitor) or backend.ready(visitor).statistics is not None:
        return ""
    return say("first.no_statistics")


def unsteered(loaded: Loaded, request: CompareRequest) -> str:
    """Why there is no steered column, if there is none."""
    missing = [name_of(code) for code in request.targets if not steers_to(loaded.known_mask, code, request.mode)]
    if not missing:
        return ""
    return say("first.unsteered", languages=", ".join(missing))


def as_tried(backend: Backend, visitor: str) -> bool:
    """Whether what is said of the examples is about what the visitor works on."""
    loaded = backend.ready(visitor)
    return loaded.name == TRIED_ON and loaded is backend.loaded
