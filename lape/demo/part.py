"""What the parts of the page have in common: how their events run and fail, and how they follow what is loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any

import gradio as gr

from lape.demo.status import status
from lape.demo.words import say
from lape.errors import LapeError

logger = logging.getLogger(__name__)

Outputs = dict[Any, Any]
# On no component, or the browser would go through all that such an event may write to at every update of any other.
QUIET: dict[str, Any] = {"api_visibility": "private", "queue": False, "show_progress": "hidden", "show_progress_on": []}
MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}  # one use of the model at a time


@dataclass(frozen=True)
class Part:
    """A part of the page that shows what is loaded.

    Attributes:
        refresh: Gives its components their state for what a visitor works on now; takes the values of `inputs` too.
        outputs: The components it may change.
        changes: Events after which something else may be loaded.
        leave: Called with a visitor who has closed the page, where something was kept for it.
        enter: Puts in place what the address of a page that is just opened says; before any part is refreshed.
        arrive: What a page that is just opened shows because of its address, or in another language than it was built
            in; later than `refresh`.
        inputs: The components on whose values its state depends: what the visitor has set and may keep.
    """

    refresh: Callable[..., Outputs]
    outputs: list[Any]
    changes: tuple[Any, ...] = ()
    leave: Callable[[str], None] | None = None
    enter: Callable[[gr.Request], None] | None = None
    arrive: Callable[[gr.Request], Outputs] | None = None
    inputs: tuple[Any, ...] = ()


def visitor_of(request: gr.Request | None) -> str:
    """Who asks: the session of a page that is open, or of a client; "" where there is none."""
    return (request.session_hash if request is not None else None) or ""


def failures_to(line: Any, shown: Outputs | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator of events: when one fails, the page says so in a sentence, and what is unexpected is logged.

    Serves functions that return outputs and generators that stream them; what was streamed before stays.

    Args:
        line: The component that carries the sentence.
        shown: What else the page shows then.
    """

    def decorated(event: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(event)
        def returning(*values: Any, **named: Any) -> Outputs:
            try:
                return event(*values, **named)
            except Exception as error:
                return {line: failure(error), **(shown or {})}

        @wraps(event)
        def streaming(*values: Any, **named: Any) -> Iterator[Outputs]:
            try:
                yield from event(*values, **named)
            except Exception as error:
                yield {line: failure(error), **(shown or {})}

        return streaming if isgeneratorfunction(event) else returning

    return decorated


def failure(error: Exception) -> str:
    """What the page says when an event fails: our own sentence, else where to look; nothing of the error itself."""
    if isinstance(error, LapeError):
        return status(str(error), failed=True)
    logger.error("An event of the page failed.", exc_info=error)
    return status(say("said.failed", error=type(error).__name__), failed=True)
