"""What visitors of the page put in place for themselves: the model is everybody's, a mask is its visitor's."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from lape.demo.loaded import Loaded

KEPT = 32  # visitors with something of their own; past them, who was away longest is back at the shared start
_VERSIONS = itertools.count(1)


@dataclass(frozen=True, eq=False)
class Shown:
    """What a visitor works on, and its version: a page that shows another version is out of date."""

    loaded: Loaded | None
    version: int = field(default_factory=lambda: next(_VERSIONS))


class Visitors:
    """What everybody shares, and what single visitors have in its place.

    Args:
        shared: What everybody begins with.
    """

    def __init__(self, shared: Loaded | None) -> None:
        self._lock = threading.Lock()
        self.share(shared)

    def share(self, loaded: Loaded | None) -> None:
        """Gives everybody the same; what visitors had of their own is gone."""
        with self._lock:
            self.shared = Shown(loaded)
            self._own: OrderedDict[str, Shown] = OrderedDict()

    def shown(self, visitor: str) -> Shown:
        """What a visitor works on."""
        with self._lock:
            if visitor in self._own:
                self._own.move_to_end(visitor)
            return self._own.get(visitor, self.shared)

    def put(self, visitor: str, loaded: Loaded) -> bool:
        """Puts something in place for one visitor; False when another model has taken the place of its own."""
        with self._lock:
            if self.shared.loaded is None or self.shared.loaded.model is not loaded.model:
                return False
            self._own[visitor] = Shown(loaded)
            self._own.move_to_end(visitor)
            if len(self._own) > KEPT:
                self._own.popitem(last=False)
            return True

    def leave(self, visitor: str) -> None:
        """Lets go of what a visitor had."""
        with self._lock:
            self._own.pop(visitor, None)
