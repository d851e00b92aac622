"""Ctrl-C of a command, also in its first seconds: an import that is broken off may end with another error."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOPPED = "lape: stopped."


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Notes whether Ctrl-C was pressed in the block; it raises KeyboardInterrupt there, as always.

    Where somebody else handles Ctrl-C, that is left to them.

    Yields:
        An event that is set once it was.
    """
    came = threading.Event()
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield came
        return

    def interrupt(number: int, frame: object) -> None:
        came.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
