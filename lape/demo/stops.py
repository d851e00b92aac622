"""Which visitors have pressed Stop: what runs for them looks here between two steps, and ends with what it has."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import wraps
from typing import Any

import gradio as gr

from lape.demo.part import Outputs, visitor_of

KEPT = 1000  # who never starts anything again is forgotten


class Stops:
    """The visitors whose work is to end. A dictionary's single operations need no lock."""

    def __init__(self) -> None:
        self._pressed: OrderedDict[str, None] = OrderedDict()

    def begin(self, visitor: str) -> None:
        """New work: a Stop of before does not count."""
        self._pressed.pop(visitor, None)

    def press(self, visitor: str) -> None:
        """Ends the visitor's work at its next step, also work that still waits for its turn."""
        self._pressed[visitor] = None
        if len(self._pressed) > KEPT:
            self._pressed.popitem(last=False)

    def pressed(self, visitor: str) -> bool:
        """Whether the visitor's work is to end."""
        return visitor in self._pressed

    def end(self, stream: Callable[..., Iterator[Outputs]]) -> Callable[..., Iterator[Outputs]]:
        """A decorator of events that stream: once its visitor has pressed Stop, one ends at its next update.

        Gradio can cancel what runs, but not what the browser has yet to ask for: pressed as early as that, it ends
        before it does anything.
        """

        @wraps(stream)
        def ending(request: gr.Request, *values: Any) -> Iterator[Outputs]:
            visitor = visitor_of(request)
            if self.pressed(visitor):
                return
            with closing(stream(request, *values)) as updates:  # type: ignore[type-var]
                for update in updates:
                    if self.pressed(visitor):
                        return
                    yield update

        return ending
