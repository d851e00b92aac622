"""What this machine computes with, and how much memory is free."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil
import torch
from torch import nn

from lape.models.cpu_forms import CpuForm, best_form

Accelerator = Literal["cuda", "rocm", "mps", "cpu"]

CGROUPS = Path("/sys/fs/cgroup")
M_ARENA_MAX, ARENAS = -8, 2  # glibc's number for the option; the main heap, and one for all threads


@dataclass(frozen=True)
class Machine:
    """A machine, as far as loading a model goes.

    Attributes:
        accelerator: What it computes with; `rocm` is an AMD GPU, which torch calls `cuda`.
        name: Name of the first GPU, or `CPU`.
        gpu_free: Free bytes of each GPU. An Apple GPU shares the main memory.
        gpu_total: Bytes of each GPU.
        bfloat16: Whether the GPU computes in bfloat16 itself, not by emulation.
        ram_free: Free bytes of main memory, within the limit of the container there may be.
        bitsandbytes: Whether the library that quantises is installed.
        zero_gpu: Whether this is a ZeroGPU Space, where a GPU is there only within calls and emulated outside.
        cpu_form: The smallest form in which its CPU reads weights fast while it generates.
    """

    accelerator: Accelerator
    name: str
    gpu_free: tuple[int, ...]
    gpu_total: tuple[int, ...]
    bfloat16: bool
    ram_free: int
    bitsandbytes: bool
    zero_gpu: bool
    cpu_form: CpuForm = "float32"

    @property
    def device(self) -> str:
        """The device a model goes to when none is asked for, as torch names it."""
        return "cuda" if self.accelerator == "rocm" else self.accelerator

    def without(self, model: nn.Module) -> Machine:
        """The machine as it will be when a loaded model has been let go."""
        taken: Counter[tuple[str, int]] = Counter()
        for tensor in {tensor.data_ptr(): tensor for tensor in (*model.parameters(), *model.buffers())}.values():
            taken[tensor.device.type, tensor.device.index or 0] += tensor.numel() * tensor.element_size()
        gpu_free = tuple(free + taken["cuda", at] + taken["mps", at] for at, free in enumerate(self.gpu_free))
        return replace(self, gpu_free=gpu_free, ram_free=self.ram_free + taken["cpu", 0] + taken["mps", 0])


def this_machine() -> Machine:
    """Looks at the machine the process runs on, now."""
    ram_free = free_ram()
    accelerator: Accelerator = "cpu"
    name, bfloat16 = "CPU", False
    gpu_free: tuple[int, ...] = ()
    gpu_total: tuple[int, ...] = ()
    if torch.cuda.is_available():
        accelerator = "rocm" if torch.version.hip else "cuda"
        name = torch.cuda.get_device_name(0)
        memory = [torch.cuda.mem_get_info(index) for index in range(torch.cuda.device_count())]
        gpu_free, gpu_total = tuple(free for free, _ in memory), tuple(total for _, total in memory)
        bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    elif torch.backends.mps.is_available():
        accelerator, name = "mps", "Apple GPU"
        total = torch.mps.recommended_max_memory()
        gpu_free = (min(ram_free, total - torch.mps.driver_allocated_memory()),)
        gpu_total = (total,)
    return Machine(
        accelerator=accelerator,
        name=name,
        gpu_free=gpu_free,
        gpu_total=gpu_total,
        bfloat16=bfloat16,
        ram_free=ram_free,
        bitsandbytes=importlib.util.find_spec("bitsandbytes") is not None,
        # These are the values that the `spaces` package takes for yes.
        zero_gpu=os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"),
        cpu_form=best_form(),
    )


def share_arenas() -> None:
    """Has the threads of a server share the heaps of glibc; call it before they start.

    Else there are up to eight for each core, and a piece that one thread keeps holds on to what others freed around.
    """
    if sys.platform == "linux" and (set_option := getattr(ctypes.CDLL(None), "mallopt", None)):
        set_option(M_ARENA_MAX, ARENAS)


def give_back_memory() -> None:
    """Gives freed memory back to the system; glibc keeps much of what the threads of a server have freed."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def free_ram() -> int:
    """Free bytes of main memory: what the system has, or what the process's container may still take."""
    groups = Path("/proc/self/cgroup")
    memberships = groups.read_text() if groups.is_file() else ""
    return min(psutil.virtual_memory().available, *container_free(CGROUPS, memberships))


def container_free(root: Path, memberships: str) -> list[int]:
    """Bytes still free under each memory limit a process is subject to, such as a container's.

    psutil does not look at these limits.

    Args:
        root: Where control groups are mounted.
        memberships: Text of `/proc/<process>/cgroup`.
    """
    return [free for folder in _groups(root, memberships) if (free := _group_free(folder)) is not None]


def _groups(root: Path, memberships: str) -> Iterator[Path]:
    """The memory control groups a process is in, and those above them, as far as a container shows them."""
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)  # version 1 has a line for each controller, version 2 names none
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        inner = base / path.strip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(base))


def _group_free(folder: Path) -> int | None:
    """Bytes a control group may still take, or None without a limit.

    Files that are only cached count as free: the system drops them when memory runs short.
    """
    for limit_name, used_name, cached_name in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            limit = (folder / limit_name).read_text().strip()
            if limit == "max":
                return None
            used = int((folder / used_name).read_text())
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except OSError:
            continue
        return max(0, int(limit) - used + int(statistics.get(cached_name, 0)))
    return None
