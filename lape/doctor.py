"""What is installed and found here, for bug reports."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
import torch

from lape.bundled import bundled_masks
from lape.models import cache_folder, default_device, embedded_gguf
from lape.version import __version__

PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "bitsandbytes",
    "safetensors",
    "huggingface-hub",
    "datasets",
    "gradio",
    "py3langid",
    "gguf",
)


def report() -> dict[str, Any]:
    """Versions, device, memory, cache and masks of this machine; nothing personal, no tokens."""
    cache = cache_folder()
    cached = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) if cache.is_dir() else 0
    found: dict[str, Any] = {
        "lape": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": default_device(),
        "cpu_threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "embedded_model": "installed" if embedded_gguf() else "not installed",
        "cache": {"folder": str(cache), "megabytes": round(cached / 1e6)},
        "masks": [str(path.parent) for path in bundled_masks()],
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found["gpu"] = {"name": properties.name, "memory_gb": round(properties.total_memory / 1e9, 1)}
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
