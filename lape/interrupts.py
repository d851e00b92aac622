"""Ctrl-C of a command, also in its first seconds: an import that is broken off may end with another error.

A request to end (SIGTERM), as a launcher of processes or a scheduler sends it, is treated alike, so that what was done
is kept.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STOPPED = "lape: stopped."
UNHANDLED: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


@contextmanager
def interrupts(*, also_ends: bool = False) -> Iterator[threading.Event]:
    """Notes whether Ctrl-C was pressed in the block; it raises KeyboardInterrupt there, as always.

    Where somebody else handles Ctrl-C, that is left to them.

    Args:
        also_ends: Whether a request to end does the same; one that follows is passed over, for the first is being done.

    Yields:
        An event that is set once it was.
    """
    came = threading.Event()
    asked = (signal.SIGINT, signal.SIGTERM) if also_ends else (signal.SIGINT,)
    ours = [number for number in asked if signal.getsignal(number) is UNHANDLED[number]]
    if threading.current_thread() is not threading.main_thread():
        ours = []

    def interrupt(number: int, frame: object) -> None:
        if number == signal.SIGTERM and came.is_set():
            return
        came.set()
        raise KeyboardInterrupt

    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield came
    finally:
        for number in ours:
            signal.signal(number, UNHANDLED[number])
