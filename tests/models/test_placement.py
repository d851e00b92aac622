"""Where a model goes on machines that are only described: GPUs of three makers, CPUs, Spaces."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from lape import LapeError, UnknownLabel, doctor
from lape.models.machine import Machine
from lape.models.placement import Placement, Request, device_for, place

GB = 10**9

CPU = Machine("cpu", "CPU", (), (), False, 16 * GB, True, False)
L4 = Machine("cuda", "NVIDIA L4", (22 * GB,), (24 * GB,), True, 30 * GB, True, False)
T4 = replace(L4, name="Tesla T4", gpu_free=(15 * GB,), gpu_total=(16 * GB,), bfloat16=False)
ROCM = replace(L4, accelerator="rocm", name="AMD Instinct MI250X")
TWO = replace(L4, gpu_free=(22 * GB, 22 * GB), gpu_total=(24 * GB, 24 * GB))
MPS = Machine("mps", "Apple GPU", (10 * GB,), (12 * GB,), False, 10 * GB, True, False)
ZERO = replace(L4, name="NVIDIA H200", zero_gpu=True)

FP32, BF16, FP16 = torch.float32, torch.bfloat16, torch.float16


def bare(machine: Machine) -> Machine:
    return replace(machine, bitsandbytes=False)


@pytest.mark.parametrize(
    ("machine", "asked", "device", "dtype", "quantization", "device_map"),
    [
        (CPU, {}, "cpu", FP32, None, {"": "cpu"}),
        (CPU, {"quantization": "auto"}, "cpu", FP32, None, {"": "cpu"}),
        (CPU, {"quantization": "4bit"}, "cpu", FP32, "4bit", {"": "cpu"}),
        (CPU, {"quantization": "8bit"}, "cpu", FP32, "8bit", {"": "cpu"}),
        (CPU, {"dtype": "bfloat16"}, "cpu", BF16, None, {"": "cpu"}),
        (CPU, {"device_map": "auto"}, "cpu", FP32, None, "auto"),
        (CPU, {"device_map": {"a": "cpu", "b": "disk"}}, "cpu", FP32, None, {"a": "cpu", "b": "disk"}),
        (L4, {}, "cuda", BF16, None, "auto"),
        (L4, {"quantization": "auto"}, "cuda", BF16, "4bit", "auto"),
        (L4, {"quantization": "4bit"}, "cuda", BF16, "4bit", "auto"),
        (L4, {"quantization": "auto", "device": "cpu"}, "cpu", FP32, None, {"": "cpu"}),
        (L4, {"device": "cuda:0"}, "cuda:0", BF16, None, {"": "cuda:0"}),
        (L4, {"device": "cuda"}, "cuda", BF16, None, {"": "cuda"}),
        (L4, {"device_map": {"": "cpu"}}, "cpu", FP32, None, {"": "cpu"}),
        (L4, {"device_map": {"a": 0, "b": "cpu"}}, "cuda", BF16, None, {"a": 0, "b": "cpu"}),
        (L4, {"dtype": FP32}, "cuda", FP32, None, "auto"),
        (TWO, {"quantization": "4bit", "device_map": {"a": 0, "b": 1}}, "cuda", BF16, "4bit", {"a": 0, "b": 1}),
        (TWO, {"device": "cuda:1"}, "cuda:1", BF16, None, {"": "cuda:1"}),
        (T4, {}, "cuda", FP16, None, "auto"),
        (T4, {"quantization": "auto"}, "cuda", FP16, "4bit", "auto"),
        (T4, {"dtype": "bfloat16"}, "cuda", BF16, None, "auto"),
        (ROCM, {"quantization": "auto"}, "cuda", BF16, "4bit", "auto"),
        (MPS, {}, "mps", FP16, None, {"": "mps"}),
        (MPS, {"quantization": "auto"}, "mps", FP16, None, {"": "mps"}),
        (MPS, {"quantization": "4bit"}, "mps", FP16, "4bit", {"": "mps"}),
        # Loaded on the CPU and moved: transformers loads in threads, where ZeroGPU emulates nothing.
        (ZERO, {}, "cuda", BF16, None, {"": "cpu"}),
        (replace(ZERO, bfloat16=False), {}, "cuda", BF16, None, {"": "cpu"}),  # what is emulated has none
        (ZERO, {"quantization": "auto"}, "cuda", BF16, None, {"": "cpu"}),
        (ZERO, {"quantization": "4bit", "device": "cpu"}, "cpu", FP32, "4bit", {"": "cpu"}),
    ],
)
def test_what_is_possible_is_done(
    machine: Machine,
    asked: dict[str, Any],
    device: str,
    dtype: torch.dtype,
    quantization: str | None,
    device_map: str | dict[str, Any],
) -> None:
    chosen = place(machine, Request(**asked), billions=7.0)
    assert chosen == Placement(device, dtype, quantization, device_map, chosen.notes, ())


@pytest.mark.parametrize(
    ("machine", "asked", "fallback"),
    [
        (bare(L4), "4bit", "bitsandbytes, which does it, is not installed"),
        (bare(MPS), "8bit", "bitsandbytes, which does it, is not installed"),
        (bare(CPU), "4bit", "bitsandbytes, which does it, is not installed"),
        (ZERO, "4bit", "ZeroGPU has 48 GB.*not verified under its emulated CUDA"),
        (ZERO, "8bit", "ZeroGPU has 48 GB"),
    ],
)
def test_what_is_not_possible_falls_back_and_says_so(machine: Machine, asked: str, fallback: str) -> None:
    chosen = place(machine, Request(asked), billions=7.0)
    assert chosen.quantization is None
    (sentence,) = chosen.fallbacks
    assert re.match(f"Not quantised: {fallback}", sentence)
    assert replace(chosen, fallbacks=()) == place(machine, Request(), billions=7.0)


@pytest.mark.parametrize("machine", [bare(L4), ZERO])
def test_auto_promises_nothing_and_only_notes_why_not(machine: Machine) -> None:
    chosen = place(machine, Request("auto"), billions=7.0)
    assert chosen.quantization is None
    assert not chosen.fallbacks
    assert chosen.notes[-1].startswith("Not quantised: ")


@pytest.mark.parametrize(("billions", "quantization"), [(0.9999, None), (1.0, None), (1.0001, "4bit")])
def test_auto_leaves_small_models_alone(billions: float, quantization: str | None) -> None:
    assert place(L4, Request("auto"), billions=billions).quantization == quantization


@pytest.mark.parametrize(
    ("best", "asked", "form", "said"),
    [
        ("int8", "auto", "int8", ""),
        ("int8", "float16", "float16", ""),
        ("int8", "float32", "float32", ""),
        ("float16", "auto", "float16", ""),
        ("float16", "int8", "float16", "Generates with float16 weights, not int8: this processor reads no smaller"),
        ("float32", "auto", "float32", ""),
        ("float32", "int8", "float32", "Generates with float32 weights, not int8: this processor reads no smaller"),
    ],
)
def test_a_cpu_generates_with_the_smallest_weights_it_reads_fast(best: Any, asked: str, form: str, said: str) -> None:
    chosen = place(replace(CPU, cpu_form=best), Request(cpu_form=asked), billions=0.3)
    assert chosen.cpu_form == form
    assert " ".join(chosen.fallbacks).startswith(said)
    assert bool(chosen.fallbacks) == bool(said)
    assert (f"While it generates, it reads {form} weights." in chosen.notes) == (form != "float32")


@pytest.mark.parametrize(
    ("machine", "asked"),
    [
        (CPU, {"dtype": "bfloat16"}),
        (CPU, {"quantization": "4bit"}),
        (CPU, {"device_map": "auto"}),
        (L4, {}),
        (ZERO, {}),
    ],
)
def test_only_a_float32_model_on_a_cpu_has_smaller_weights(machine: Machine, asked: dict[str, Any]) -> None:
    machine = replace(machine, cpu_form="int8")
    left_to_us = place(machine, Request(cpu_form="auto", **asked), billions=0.3)
    assert (left_to_us.cpu_form, left_to_us.fallbacks) == ("float32", ())
    (sentence,) = place(machine, Request(cpu_form="int8", **asked), billions=0.3).fallbacks
    assert sentence == "Generates with float32 weights, not int8: only a float32 model on a CPU has smaller ones."


def test_an_unknown_cpu_form_is_refused() -> None:
    with pytest.raises(UnknownLabel, match=r"'int4'.*auto, float16, float32, int8"):
        Request(cpu_form="int4")


def test_a_model_that_cannot_be_quantised_is_not() -> None:
    obstacle = "the model comes quantised already"
    asked = place(L4, Request("4bit"), billions=7.0, obstacle=obstacle)
    assert (asked.quantization, asked.fallbacks) == (None, (f"Not quantised: {obstacle}.",))
    left_to_us = place(L4, Request("auto"), billions=7.0, obstacle=obstacle)
    assert (left_to_us.quantization, left_to_us.fallbacks) == (None, ())


@pytest.mark.parametrize(
    ("machine", "asked", "notes"),
    [
        (L4, {}, []),
        (L4, {"device": "cpu"}, []),
        (L4, {"quantization": "auto"}, ["Quantised to 4-bit, as models over 1 B"]),
        (T4, {}, ["Computes in float16: Tesla T4 has no bfloat16"]),
        (CPU, {}, ["Runs on the CPU in float32: no GPU was found"]),
        (CPU, {"quantization": "4bit", "dtype": "float32"}, ["4bit on a CPU saves memory, not time"]),
        (MPS, {"quantization": "4bit"}, ["Apple GPU in float16", "lape has not been tried with it"]),
        (L4, {"quantization": "8bit"}, ["columns side by side influence each other"]),
        (replace(CPU, zero_gpu=True), {}, ["emulated only when `spaces` is imported before torch"]),
    ],
)
def test_notes_say_what_is_not_obvious(machine: Machine, asked: dict[str, Any], notes: list[str]) -> None:
    found = place(machine, Request(**asked), billions=7.0).notes
    assert len(found) == len(notes)
    for sentence, part in zip(found, notes, strict=True):
        assert part in sentence


@pytest.mark.parametrize(
    ("machine", "device", "message"),
    [
        (CPU, "cuda", "There is no CUDA device here, so device 'cuda' cannot be used; use 'cpu'"),
        (MPS, "cuda:0", "no CUDA device"),
        (L4, "mps", "no Apple GPU"),
        (L4, "cuda:1", "no device 'cuda:1' here; the last is 'cuda:0'"),
        (CPU, "gpu", "No device 'gpu'.* There are: cpu, cuda, mps"),
        (CPU, "meta", "No device 'meta'"),
    ],
)
def test_a_device_that_is_not_there_is_refused(machine: Machine, device: str, message: str) -> None:
    with pytest.raises(LapeError, match=message):
        device_for(machine, Request(device=device))


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"quantization": "4bits"}, UnknownLabel, "'4bits'.*Did you mean '4bit'.*There are: 4bit, 8bit, auto"),
        ({"dtype": "float23"}, UnknownLabel, "'float23'.*Did you mean 'float32'"),
        ({"device_map": "atuo"}, UnknownLabel, "'atuo'.*Did you mean 'auto'"),
        ({"device": "cpu", "device_map": "auto"}, LapeError, "not both"),
    ],
)
def test_settings_that_do_not_exist_are_refused(asked: dict[str, Any], error: type[LapeError], message: str) -> None:
    with pytest.raises(error, match=message):
        Request(**asked)


@pytest.mark.parametrize("device_map", [{"a": 0, "b": "cpu"}, {"a": "cpu", "b": "disk"}, {"": "disk"}])
def test_quantised_weights_are_not_split(device_map: dict[str, Any]) -> None:
    with pytest.raises(LapeError, match=r"Quantised weights cannot be split.*(cpu|disk)"):
        place(L4, Request("4bit", device_map=device_map), billions=7.0)
    place(L4, Request(device_map=device_map), billions=7.0)


def test_doctor_says_what_auto_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "this_machine", lambda: T4)
    found = doctor.report()
    assert found["accelerator"] == {"kind": "cuda", "name": "Tesla T4"}
    assert found["auto_loads"] == {
        "large_models": "4bit float16 on cuda",
        "small_models": "unquantised float16 on cuda",
    }
    assert {name: found["memory_gb"][name] for name in ("free", "gpu_free", "gpu_total")} == {
        "free": 30.0,
        "gpu_free": 15.0,
        "gpu_total": 16.0,
    }
    monkeypatch.setattr(doctor, "this_machine", lambda: CPU)
    assert set(doctor.report()["memory_gb"]) == {"total", "free"}
