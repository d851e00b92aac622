"""Where a model goes and in what precision: a decision about a machine, without touching it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from lape.errors import LapeError, unknown_label
from lape.models.cpu_forms import CPU_FORMS, CpuForm
from lape.models.machine import Machine

Quantization = Literal["4bit", "8bit"]

QUANTIZATIONS = ("4bit", "8bit", "auto")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
AUTO_BILLIONS = 1.0  # parameters; `auto` quantises larger models on a GPU
OFF_GPU = {"cpu", "disk"}  # where a device map may send layers besides to GPUs
DEVICES = ("cpu", "cuda", "mps")
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")


@dataclass(frozen=True)
class Placement:
    """Where a model goes and in what precision.

    Attributes:
        device: Where it computes, such as `cuda`.
        dtype: What it computes in; with a quantisation, only the weights are smaller.
        quantization: `4bit` (nf4 with double quantisation), `8bit` or None.
        device_map: What transformers loads it by.
        notes: Sentences on what was chosen, where that is not obvious.
        fallbacks: Sentences on what was asked for and replaced, because it is not possible here.
        cpu_form: How its weights are read while it generates on a CPU; see `lape.models.cpu_forms`.
    """

    device: str
    dtype: torch.dtype
    quantization: Quantization | None
    device_map: str | dict[str, Any]
    notes: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    cpu_form: CpuForm = "float32"


@dataclass(frozen=True)
class Request:
    """What a user asks for; None leaves the choice to us.

    Attributes:
        quantization: `4bit`, `8bit`, `auto`, or None for none.
        dtype: What to compute in.
        device: Where the whole model goes.
        device_map: An accelerate device map instead, or the name of a way to make one, such as `auto`.
        cpu_form: How weights are read while a CPU generates: `auto` is the smallest form it reads fast.
    """

    quantization: str | None = None
    dtype: str | torch.dtype | None = None
    device: str | None = None
    device_map: str | Mapping[str, Any] | None = None
    cpu_form: str = "float32"

    def __post_init__(self) -> None:
        if self.quantization is not None and self.quantization not in QUANTIZATIONS:
            raise unknown_label("quantisation", self.quantization, QUANTIZATIONS)
        if isinstance(self.dtype, str) and self.dtype not in DTYPES:
            raise unknown_label("dtype", self.dtype, DTYPES)
        if self.cpu_form not in CPU_FORMS:
            raise unknown_label("CPU form", self.cpu_form, CPU_FORMS)
        if self.device is not None and self.device_map is not None:
            raise LapeError("Give either device or device_map, not both.")
        if isinstance(self.device_map, str) and self.device_map not in DEVICE_MAPS:
            raise unknown_label("device map", self.device_map, DEVICE_MAPS)


def device_for(machine: Machine, request: Request) -> str:
    """The device a model goes to: the one asked for, or the machine's own.

    Raises:
        LapeError: It is not there.
    """
    if isinstance(request.device_map, Mapping):
        placed = {str(where) for where in request.device_map.values()}
        return "cpu" if placed <= OFF_GPU else machine.device
    if request.device is None:
        return machine.device
    try:
        asked = torch.device(request.device)
    except RuntimeError as error:
        raise unknown_label("device", request.device, DEVICES) from error
    if asked.type not in DEVICES:
        raise unknown_label("device", request.device, DEVICES)
    if asked.type not in ("cpu", machine.device):
        kind = "CUDA device" if asked.type == "cuda" else "Apple GPU"
        raise LapeError(f"There is no {kind} here, so device {request.device!r} cannot be used; use 'cpu'.")
    if asked.type == "cuda" and (asked.index or 0) >= len(machine.gpu_free):
        raise LapeError(f"There is no device {request.device!r} here; the last is 'cuda:{len(machine.gpu_free) - 1}'.")
    return str(asked)


def place(machine: Machine, request: Request, *, billions: float, obstacle: str = "") -> Placement:
    """Decides where a model goes: as asked where that is possible, else as near to it as is.

    What is not asked for is chosen. On a GPU of NVIDIA or AMD: device map `auto`, and bfloat16 where the GPU computes
    in it, else float16. On an Apple GPU: float16. On a CPU: float32. The quantisation `auto` is 4-bit on a GPU of
    NVIDIA or AMD for models over 1 B parameters, and none elsewhere.

    Args:
        machine: The machine.
        request: What is asked for.
        billions: Parameters of the model.
        obstacle: Why the model cannot be quantised, if it cannot.

    Raises:
        LapeError: A device is asked for that is not there, or a device map that quantised weights cannot follow.
    """
    device = device_for(machine, request)
    zero_gpu = machine.zero_gpu and device.startswith("cuda")
    dtype, dtype_note = _dtype(machine, request, device)
    quantization, reason = _quantization(machine, request, device, billions, obstacle)
    impossible = quantization is None and request.quantization in ("4bit", "8bit")
    device_map: str | dict[str, Any]
    if request.device_map is not None:
        device_map = request.device_map if isinstance(request.device_map, str) else dict(request.device_map)
    elif zero_gpu:
        # ZeroGPU emulates CUDA in the main thread only, and transformers loads in others: so to memory first, and
        # from there to the GPU.
        device_map = {"": "cpu"}
    elif request.device is None and device == "cuda":
        device_map = "auto"
    else:
        device_map = {"": device}
    placed = {str(where) for where in device_map.values()} if isinstance(device_map, dict) else set()
    if quantization and placed != {"cpu"} and (off := sorted(placed & OFF_GPU)):
        raise LapeError(
            f"Quantised weights cannot be split: the device map sends some to {' and '.join(off)}. "
            "Put the whole model on one device or on several GPUs, or load it without quantisation."
        )
    whole_on_cpu = device == "cpu" and device_map == {"": "cpu"} and quantization is None
    form, form_reason = _cpu_form(machine, request, whole_on_cpu and dtype == torch.float32)
    form_note = "" if form == "float32" else f"While it generates, it reads {form} weights."
    notes = tuple(filter(None, (dtype_note, form_note, None if impossible else reason)))
    fallbacks = tuple(filter(None, (reason if impossible else None, form_reason)))
    return Placement(device, dtype, quantization, device_map, notes, fallbacks, form)


def _cpu_form(machine: Machine, request: Request, possible: bool) -> tuple[CpuForm, str]:
    """How weights are read while a CPU generates, and a sentence where that is not as asked."""
    forms = get_args(CpuForm)
    best: CpuForm = machine.cpu_form if possible else "float32"
    why = "this processor reads no smaller ones fast" if possible else "only a float32 model on a CPU has smaller ones"
    if request.cpu_form == "auto":
        return best, ""
    if forms.index(request.cpu_form) <= forms.index(best):
        return request.cpu_form, ""  # type: ignore[return-value]
    return best, f"Generates with {best} weights, not {request.cpu_form}: {why}."


def _dtype(machine: Machine, request: Request, device: str) -> tuple[torch.dtype, str]:
    """What is computed in, and a sentence on why."""
    if request.dtype is not None:
        return (request.dtype if isinstance(request.dtype, torch.dtype) else DTYPES[request.dtype]), ""
    if device == "cpu":
        if machine.zero_gpu and machine.accelerator == "cpu":
            return torch.float32, "Runs on the CPU: ZeroGPU is emulated only when `spaces` is imported before torch."
        return torch.float32, "Runs on the CPU in float32: no GPU was found." if machine.accelerator == "cpu" else ""
    if device == "mps":
        return torch.float16, "Runs on the Apple GPU in float16."
    if machine.bfloat16 or machine.zero_gpu:
        return torch.bfloat16, ""
    return torch.float16, f"Computes in float16: {machine.name} has no bfloat16."


def _quantization(
    machine: Machine, request: Request, device: str, billions: float, obstacle: str
) -> tuple[Quantization | None, str]:
    """The quantisation that is used, and a sentence on why."""
    asked, on_cuda = request.quantization, device.startswith("cuda")
    if asked is None or (asked == "auto" and (not on_cuda or billions <= AUTO_BILLIONS)):
        return None, ""
    if machine.zero_gpu and on_cuda:
        return None, (
            "Not quantised: ZeroGPU has 48 GB, enough for 16-bit, and 4-bit is not verified under its emulated CUDA."
        )
    if not machine.bitsandbytes:
        return None, "Not quantised: bitsandbytes, which does it, is not installed here."
    if obstacle:
        return None, f"Not quantised: {obstacle}."
    if asked == "auto":
        return "4bit", f"Quantised to 4-bit, as models over {AUTO_BILLIONS:g} B parameters are on a GPU."
    why = []
    if device == "cpu":
        why.append(f"{asked} on a CPU saves memory, not time; quantising takes minutes for a billion parameters.")
    elif device == "mps":
        why.append(f"{asked} on an Apple GPU: bitsandbytes supports it, lape has not been tried with it.")
    if asked == "8bit":
        why.append("8bit rounds the rows of a batch together, so columns side by side influence each other a little.")
    return ("8bit" if asked == "8bit" else "4bit"), " ".join(why)
