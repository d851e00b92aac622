"""Memory that a piece of work needs, as the operating system counts it."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path

PROCESS = Path("/proc/self")


def peak_bytes(work: Callable[[], object]) -> int:
    """The most resident memory of this process while work runs, above what it has before.

    What is only mapped from a file counts too, once it was read.

    Raises:
        OSError: The system is not Linux, or does not let a process reset its peak.
    """
    if not PROCESS.is_dir():
        raise OSError("Only Linux tells how much memory a piece of work needs.")
    getattr(ctypes.CDLL(None), "malloc_trim", lambda _pad: None)(0)  # what the C library keeps would be used again
    (PROCESS / "clear_refs").write_text("5")  # the peak becomes what is resident now
    before = _peak()
    work()
    return _peak() - before


def _peak() -> int:
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", (PROCESS / "status").read_text())[0])
