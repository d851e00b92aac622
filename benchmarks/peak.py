"""The most memory that a call takes, above what was there before it."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Callable

import torch

MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit in which the system tells it


def peak_bytes(way: Callable[[], object]) -> int:
    """Resident memory at its highest while a process of its own makes the call, less what it had from the start.

    The process is forked, so that the call's input is there already. What is only mapped from a file counts too, once
    it was read.
    """
    getattr(ctypes.CDLL(None), "malloc_trim", lambda _pad: None)(0)  # what the C library keeps would be used again
    reads, writes = os.pipe()
    if (child := os.fork()) == 0:
        torch.set_num_threads(1)  # the other threads were not forked
        before = _most()
        way()
        os.write(writes, str(_most() - before).encode())
        os._exit(0)  # whatever is registered for the exit is the parent's
    os.close(writes)
    with os.fdopen(reads) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return int(told)


def _most() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES
