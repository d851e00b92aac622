"""What is installed and found here, for bug reports."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import psutil
import torch

from lape.masks.bundled import bundled_masks
from lape.models.embedded import EMBEDDED, cache_folder
from lape.models.machine import Machine, this_machine
from lape.models.placement import AUTO_BILLIONS, Request, place
from lape.version import __version__

MISSING = "not installed"
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
    machine = this_machine()
    cache = cache_folder()
    cached = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) if cache.is_dir() else 0
    found: dict[str, Any] = {
        "lape": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "accelerator": {"kind": machine.accelerator, "name": machine.name},
        "cpu_threads": torch.get_num_threads(),
        "memory_gb": _memory(machine),
        "bitsandbytes": "installed" if machine.bitsandbytes else "not installed",
        "auto_loads": {"large_models": _auto(machine, 2 * AUTO_BILLIONS), "small_models": _auto(machine, 0.0)},
        "demo": "installed" if find_spec("gradio") else "not installed (the extra `demo`, which brings gradio)",
        "embedded_models": {each.title: "installed" if each.files() else MISSING for each in EMBEDDED},
        "cache": {"folder": str(cache), "megabytes": round(cached / 1e6)},
        "masks": [str(path.parent) for path in bundled_masks()],
    }
    return found


def versions() -> dict[str, str]:
    """Versions of lape, Python and the packages that are installed."""
    packages = {name: found for name in PACKAGES if (found := _version(name)) != MISSING}
    return {"lape": __version__, "Python": platform.python_version(), **packages}


def _memory(machine: Machine) -> dict[str, float]:
    """Gigabytes of main memory and of GPU memory."""
    sizes = {"total": psutil.virtual_memory().total, "free": machine.ram_free}
    if machine.gpu_total:
        sizes |= {"gpu_total": sum(machine.gpu_total), "gpu_free": sum(machine.gpu_free)}
    return {name: round(size / 1e9, 1) for name, size in sizes.items()}


def _auto(machine: Machine, billions: float) -> str:
    """How `--quantization auto` loads a model of a size here, such as `4bit bfloat16 on cuda`."""
    chosen = place(machine, Request("auto"), billions=billions)
    return f"{chosen.quantization or 'unquantised'} {str(chosen.dtype).removeprefix('torch.')} on {chosen.device}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return MISSING
