"""How much memory a model takes, before it is loaded, and whether this machine has it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.quantizers.base import HfQuantizer
from transformers.quantizers.quantizers_utils import should_convert_module

from lape.errors import ModelUnavailable
from lape.models.checkpoints import auto_class
from lape.models.cpu_forms import form_bytes
from lape.models.identity import stored_quantization
from lape.models.machine import Machine
from lape.models.placement import Placement, Quantization
from lape.models.presets import NF4_BITS, PRESETS, Bits, Preset

Fit = Literal["32-bit", "16-bit", "4-bit", "no"]

# What a model needs besides its weights. The key-value cache: a twentieth of what the weights take unquantised, which
# holds 1,300 tokens of LLaMA-2-7B over all rows of a batch, and 20,000 of the 70B, whose heads share keys and values.
CACHE_SHARE = 0.05
ROOM = 300_000_000  # for activations, and for what torch and CUDA keep for themselves
# The share of a GPU's free memory that transformers fills when it makes the device map itself: nine tenths, and of
# quantised weights nine tenths of that.
FILLED, FILLED_QUANTISED = 0.9, 0.81
DEQUANTISED = ("fp8", "mxfp4")  # what transformers can also load as the whole weights it stands for
BLOCK = 64  # weights that share a scale in 4-bit


def empty_model(config: PreTrainedConfig) -> PreTrainedModel:
    """The causal language model of a configuration, without weights; takes no memory."""
    with torch.device("meta"):
        return auto_class(config).from_config(config)


def kept_modules(model: PreTrainedModel) -> list[str]:
    """Names of the modules that bitsandbytes leaves as they are: the head, and what is tied to it."""
    return HfQuantizer.get_modules_to_not_convert(model, None, list(model._keep_in_fp32_modules or ()))


def quantised_layers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The layers that bitsandbytes quantises, by name: linear ones, GPT-2's too; not the head or what is tied to it."""
    kept = kept_modules(model)
    return {
        name: module
        for name, module in model.named_modules()
        if (type(module) is nn.Linear or isinstance(module, Conv1D)) and should_convert_module(name, kept)
    }


def fused_share(model: PreTrainedModel) -> float:
    """The share of a model's weights in which all experts of a layer are one tensor: bitsandbytes leaves them."""
    sizes = [
        (parameter.dim() == 3 and "experts" in name, parameter.numel()) for name, parameter in model.named_parameters()
    ]
    return sum(size for fused, size in sizes if fused) / sum(size for _, size in sizes)


def whole_experts(model: PreTrainedModel) -> str:
    """A sentence where a model's experts come quantised and must be loaded whole, to be run one by one; else empty.

    Args:
        model: Of `empty_model`.
    """
    stored = stored_quantization(model.config)
    if stored not in DEQUANTISED or not fused_share(model):
        return ""
    return f"The weights of its experts, which come in {stored}, are loaded whole: only so can each expert be seen."


def misread_on_cpu(layer: nn.Module) -> bool:
    """Whether bitsandbytes (0.50.2) would compute wrong values for a 4-bit layer on a CPU, which it does not report.

    Each 64 weights share a scale. The quantising code counts them off through the whole matrix, the CPU code that
    reads them begins anew at every row: they agree only where a row is a multiple of 64.
    """
    return _features(layer)[0] % BLOCK != 0


def obstacle_to_quantising(model: PreTrainedModel, quantization: str | None, device: str) -> tuple[str, str]:
    """Why a model cannot be quantised, and a sentence on what is left out where it can in part; empty where nothing is.

    Args:
        model: Of `empty_model`.
        quantization: As it was asked for.
        device: Where it goes.
    """
    layers = list(quantised_layers(model).values())
    if not layers:
        return "bitsandbytes does not know this model's kind of layers", ""
    misread = sum(map(misread_on_cpu, layers)) if quantization == "4bit" and device == "cpu" else 0
    if misread == len(layers):
        return f"on a CPU, bitsandbytes misreads 4-bit layers whose inputs are no multiple of {BLOCK}", ""
    if misread:
        return "", f"{misread} of {len(layers)} layers are not quantised: their inputs are no multiple of {BLOCK}."
    return "", ""


def check_4bit_on_cpu(model: PreTrainedModel, name: str) -> None:
    """Refuses a checkpoint in 4-bit with layers that would be misread, and turns off a kernel that would fail.

    On CPUs with AVX512-BF16, bitsandbytes repacks weights for a kernel of its own at the first pass, and fails where
    a layer's outputs are no multiple of 32; without that kernel it computes them.
    """
    for module in model.get_decoder().modules():
        if isinstance(module, nn.Linear) and hasattr(module, "support_avx512bf16_for_cpu"):
            if module.in_features % BLOCK:
                raise ModelUnavailable(
                    f"{name} comes in 4-bit with layers that bitsandbytes misreads on a CPU (inputs no multiple of "
                    f"{BLOCK}). Use a GPU, or the model it was made from."
                )
            if module.out_features % 32:
                module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def weight_bytes(
    model: PreTrainedModel, dtype: torch.dtype, quantization: Quantization | None = None, device: str = "cuda"
) -> int:
    """Bytes a model's weights and buffers take once it is loaded.

    Args:
        model: Of `empty_model`.
        dtype: What it computes in; weights that are not quantised are kept in it.
        quantization: `4bit` (nf4 with double quantisation), `8bit`, or None.
        device: Where it goes; on a `cpu`, 4-bit leaves out the layers that would be misread there.

    Example:
        >>> weight_bytes(empty_model(LlamaConfig()), torch.float16, "4bit") / 1e9  # doctest: +SKIP
        3.866
    """
    layers = list(quantised_layers(model).values()) if quantization else []
    if quantization == "4bit" and device == "cpu":
        layers = [layer for layer in layers if not misread_on_cpu(layer)]
    weights = sum(layer.get_parameter("weight").numel() for layer in layers)
    kept = sum(parameter.numel() for parameter in model.parameters()) - weights
    if quantization == "8bit":
        weights += 4 * sum(_features(layer)[1] for layer in layers)  # a scale for each output
    else:
        weights = round(weights * NF4_BITS / 8)
    return weights + kept * dtype.itemsize + sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())


def _features(layer: nn.Module) -> tuple[int, int]:
    """Inputs and outputs of a layer; GPT-2's are stored transposed."""
    rows, columns = layer.get_parameter("weight").shape
    return (rows, columns) if isinstance(layer, Conv1D) else (columns, rows)


def needed_bytes(weights: float, full_weights: float) -> float:
    """Bytes to load and use a model, from those of its weights as they are loaded and without quantisation."""
    return weights + CACHE_SHARE * full_weights + ROOM


def check_memory(machine: Machine, placement: Placement, model: PreTrainedModel, name: str) -> str | None:
    """Refuses a model that does not fit where it is to go.

    Returns:
        A sentence where it fits only by going partly to slower memory, else None. A device map that the caller wrote
        for several devices is not checked.

    Raises:
        ModelUnavailable: It does not fit; says how much is needed, what there is, and the ways out.
    """
    free = _free(machine, placement)
    if free is None:
        return None
    full = weight_bytes(model, placement.dtype)
    weights = weight_bytes(model, placement.dtype, placement.quantization, placement.device)
    needed = needed_bytes(weights, full)
    filled = 1.0
    if isinstance(placement.device_map, str) and placement.device == "cuda":
        filled = FILLED_QUANTISED if placement.quantization else FILLED
    if needed <= free and weights <= filled * free:
        return None
    if isinstance(placement.device_map, str) and not placement.quantization:
        beyond = "memory and disk" if placement.device == "cpu" or full > free + machine.ram_free else "memory"
        return f"{_gb(needed)} GB do not fit into {_gb(free)} GB, so a part stays in {beyond}, which is much slower."
    raise ModelUnavailable(_refusal(machine, placement, model, name, free, needed))


def has_room_for_form(machine: Machine, placement: Placement, model: PreTrainedModel) -> bool:
    """Whether the second copy of the weights, which a CPU generates with, fits into memory beside the first."""
    full = weight_bytes(model, placement.dtype)
    beside = form_bytes(model, placement.cpu_form)
    return not beside or needed_bytes(full, full) + beside <= machine.ram_free


def fits(machine: Machine) -> dict[str, Fit]:
    """The highest precision in which each preset fits this machine: preset name to `16-bit`, `4-bit` and so on.

    A CPU computes in 32 bits unless told otherwise, a GPU in 16.
    """
    return {preset.name: _fit(machine, preset) for preset in PRESETS}


def _fit(machine: Machine, preset: Preset) -> Fit:
    on_cpu = machine.accelerator == "cpu"
    free = machine.ram_free if on_cpu else sum(machine.gpu_free)
    tried: list[tuple[Bits, Bits, Fit]] = [(16, 16, "16-bit")]  # weights, computation
    if on_cpu:
        tried.insert(0, (32, 32, "32-bit"))
    if machine.bitsandbytes and not machine.zero_gpu:
        tried.append((4, 32 if on_cpu else 16, "4-bit"))
    for bits, computed, fit in tried:
        filled = 1.0 if machine.device != "cuda" else FILLED_QUANTISED if bits == 4 else FILLED
        if _preset_needs(preset, bits, computed) <= free and preset.memory_gb(bits) * 1e9 <= filled * free:
            return fit
    return "no"


def _preset_needs(preset: Preset, bits: Bits, computed: Bits) -> float:
    return needed_bytes(preset.memory_gb(bits, computed) * 1e9, preset.memory_gb(computed) * 1e9)


def _free(machine: Machine, placement: Placement) -> int | None:
    """Free bytes where a model goes; None for a device map that the caller wrote for several devices."""
    if isinstance(placement.device_map, str):
        return sum(machine.gpu_free) if placement.device != "cpu" else machine.ram_free
    places = set(placement.device_map.values())
    if len(places) > 1 or places == {"disk"}:
        return None
    if placement.device == "cpu":
        return machine.ram_free
    (place,) = places
    index = place if isinstance(place, int) else torch.device(place).index
    return machine.gpu_free[index or 0]


def _refusal(
    machine: Machine, placement: Placement, model: PreTrainedModel, name: str, free: int, needed: float
) -> str:
    full = weight_bytes(model, placement.dtype)
    others: list[tuple[str, str, float]] = []  # precision, how to ask for it, bytes
    if not placement.quantization and placement.dtype.itemsize == 4:
        others.append(("16-bit", "--dtype bfloat16", needed_bytes(full / 2, full / 2)))
    if not placement.quantization and machine.bitsandbytes and not machine.zero_gpu and quantised_layers(model):
        others.append(
            (
                "4-bit",
                "--quantization 4bit",
                needed_bytes(weight_bytes(model, placement.dtype, "4bit", placement.device), full),
            )
        )
    alternatives = ", ".join(f"{_gb(size)} GB in {precision}" for precision, _, size in others)
    ways = [f"{precision} ({option})" for precision, option, size in others if size <= free]
    if smaller := _largest_that_fits(placement, free, below=full):
        ways.append(f"a smaller model such as {smaller.name}")
    bits = placement.quantization[0] if placement.quantization else 8 * placement.dtype.itemsize
    where = "" if placement.device == "cpu" else f" on {machine.name}"
    return (
        f"{name} needs about {_gb(needed)} GB in {bits}-bit{f' ({alternatives})' if alternatives else ''}, and "
        f"{_gb(free)} GB are free{where}. Use {', '.join(ways) or 'a smaller model'}, or free some."
    )


def _largest_that_fits(placement: Placement, free: int, *, below: int) -> Preset | None:
    """The largest preset anybody may load that fits in the same precision, of fewer bytes unquantised."""
    computed: Bits = 32 if placement.dtype.itemsize == 4 else 16
    bits: Bits = 4 if placement.quantization == "4bit" else computed
    fitting = [
        preset
        for preset in PRESETS
        if not preset.gated
        and preset.memory_gb(computed) * 1e9 < below
        and _preset_needs(preset, bits, computed) <= free
    ]
    return max(fitting, key=lambda preset: preset.parameters_billions, default=None)


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f}"
