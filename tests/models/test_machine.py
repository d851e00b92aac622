"""What is free is read right, within the limits of containers, without a GPU to look at."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from lape.models import machine
from lape.models.machine import ARENAS, container_free, free_ram, give_back_memory, this_machine

GB = 10**9


def group(folder: Path, version: int, limit: int | str, used: int, cached: int) -> None:
    """Writes the files of a memory control group."""
    limit_name, used_name, cached_name = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / limit_name).write_text(f"{limit}\n")
    (folder / used_name).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - cached}\n{cached_name} {cached}\n")


def test_a_container_of_version_2_has_its_limit_at_the_root(tmp_path: Path) -> None:
    group(tmp_path, 2, 16 * GB, 5 * GB, 2 * GB)  # cached files count as used, and are given up when needed
    assert container_free(tmp_path, "0::/\n") == [13 * GB]


def test_every_group_above_the_process_limits_it(tmp_path: Path) -> None:
    group(tmp_path / "user" / "app", 2, "max", 1 * GB, 0)
    group(tmp_path / "user", 2, 8 * GB, 3 * GB, 1 * GB)
    assert container_free(tmp_path, "0::/user/app\n") == [6 * GB]


def test_version_1_has_a_hierarchy_for_memory(tmp_path: Path) -> None:
    group(tmp_path / "memory" / "docker" / "id", 1, 4 * GB, 1 * GB, 0)
    group(tmp_path / "memory", 1, 2**63 - 4096, 9 * GB, 0)
    memberships = "9:name=systemd:/\n4:memory:/docker/id\n2:cpu,cpuacct:/docker/id\n0::/\n"
    assert container_free(tmp_path, memberships) == [3 * GB, 2**63 - 4096 - 9 * GB]


def test_a_group_seen_from_inside_its_container_is_found_at_the_root(tmp_path: Path) -> None:
    group(tmp_path / "memory", 1, 4 * GB, 1 * GB, 0)
    assert container_free(tmp_path, "4:memory:/docker/of-the-host\n") == [3 * GB]


def test_more_used_than_allowed_is_nothing_free(tmp_path: Path) -> None:
    group(tmp_path, 2, 1 * GB, 2 * GB, 0)
    assert container_free(tmp_path, "0::/\n") == [0]


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert container_free(tmp_path, "0::/\n") == []
    assert container_free(tmp_path, "") == []


def test_free_memory_is_the_smaller_of_the_systems_and_the_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=7 * GB))
    monkeypatch.setattr(machine, "container_free", lambda root, memberships: [9 * GB])
    assert free_ram() == 7 * GB
    monkeypatch.setattr(machine, "container_free", lambda root, memberships: [9 * GB, 2 * GB])
    assert free_ram() == 2 * GB


def test_this_machine_as_it_is() -> None:
    seen = this_machine()
    assert 0 < seen.ram_free <= psutil.virtual_memory().total
    assert len(seen.gpu_free) == len(seen.gpu_total) == (torch.cuda.device_count() or (seen.accelerator == "mps"))
    assert seen.bitsandbytes  # in the requirements, and this test runs where they are installed


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("1", True), ("T", True), ("0", False), ("", False)])
def test_zero_gpu_is_read_as_its_library_does(value: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", value)
    assert this_machine().zero_gpu is expected
    monkeypatch.delenv("SPACES_ZERO_GPU")
    assert this_machine().zero_gpu is False


@pytest.mark.parametrize(("hip", "accelerator"), [(None, "cuda"), ("6.4", "rocm")])
def test_gpus_are_described(hip: str | None, accelerator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch.version, "hip", hip)
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_name": lambda index: f"GPU {index}",
        "mem_get_info": lambda index: ((10 + index) * GB, 16 * GB),
        "is_bf16_supported": lambda including_emulation=True: asked.append(including_emulation) or including_emulation,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    seen = this_machine()
    assert (seen.accelerator, seen.device, seen.name) == (accelerator, "cuda", "GPU 0")
    assert (seen.gpu_free, seen.gpu_total) == ((10 * GB, 11 * GB), (16 * GB, 16 * GB))
    assert asked == [False]  # a T4 says yes when emulation counts
    assert not seen.bfloat16


def test_an_apple_gpu_shares_the_main_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 12 * GB)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 1 * GB)
    monkeypatch.setattr(machine, "free_ram", lambda: 20 * GB)
    assert this_machine().gpu_free == (11 * GB,)
    monkeypatch.setattr(machine, "free_ram", lambda: 3 * GB)
    assert this_machine().gpu_free == (3 * GB,)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc keeps what was freed below what is in use")
def test_freed_memory_goes_back_to_the_system() -> None:
    def taken() -> int:
        return psutil.Process().memory_info().rss

    freed = [bytearray(1000) for _ in range(100_000)]
    above = [bytearray(1000) for _ in range(100)]
    freed.clear()
    before = taken()
    give_back_memory()
    assert taken() < before - 50_000_000
    assert len(above) == 100


EIGHT_THREADS = """
import ctypes, sys, threading
from lape.models.machine import share_arenas

share_arenas()
met = threading.Barrier(9)

def work():
    kept = bytearray(5000)
    met.wait()
    met.wait()

for _ in range(8):
    threading.Thread(target=work).start()
met.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
met.wait()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
def test_threads_share_two_heaps(tmp_path: Path) -> None:
    """In a process of its own, as heaps that are there stay: eight threads had eight more."""
    subprocess.run([sys.executable, "-c", EIGHT_THREADS, str(tmp_path / "heaps")], check=True, timeout=100)
    assert (tmp_path / "heaps").read_text().count("<heap nr=") == ARENAS == 2


def test_what_a_model_takes_is_free_once_it_is_let_go() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(8, 8, bias=False), torch.nn.Linear(8, 8), torch.nn.BatchNorm1d(8))
    model[1].weight = model[0].weight  # tied, so it is there once
    here = this_machine()
    then = here.without(model)
    # 64 weights and 8 biases, of the norm 8 weights, 8 biases, 8 means, 8 variances: float32; its counter is int64.
    assert then.ram_free - here.ram_free == 4 * (64 + 8 + 32) + 8
    assert then.gpu_free == here.gpu_free
