"""The machine a benchmark ran on, in a line."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch


def machine(*packages: str) -> str:
    """Processor, cores and memory; versions of Python, torch and those packages that are installed."""
    cores = f"{torch.get_num_threads()} of {psutil.cpu_count()} cores"
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    versions = ", ".join(_installed("torch", *packages))
    return f"{_processor()}, {cores}, {memory}; Python {platform.python_version()}, {versions}"


def _processor() -> str:
    """Its name, and the widest vector instructions that torch uses on it."""
    cpus = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", cpus.read_text()) if cpus.exists() else None
    name = named[1] if named else platform.processor() or platform.machine()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def _installed(*packages: str) -> Iterator[str]:
    for package in packages:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
