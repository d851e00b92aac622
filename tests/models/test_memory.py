"""Estimates agree with models loaded for real, and what does not fit is refused with numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from families import build
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, PreTrainedModel

from lape.errors import ModelUnavailable
from lape.models.machine import Machine
from lape.models.memory import CACHE_SHARE, ROOM, check_memory, empty_model, fits, fused_share, weight_bytes
from lape.models.placement import Request, place
from lape.models.presets import PRESETS

GB = 10**9

CPU = Machine("cpu", "CPU", (), (), False, 16 * GB, True, False)
GPU = Machine("cuda", "Tesla T4", (15 * GB,), (16 * GB,), False, 30 * GB, True, False)
LLAMA_2_7B = LlamaConfig()  # its defaults are that model's sizes

FAMILIES = ["llama", "gpt2", "bloom", "opt", "mpt", "phi", "gemma3", "falcon", "mixtral"]
SETTINGS = {
    "4bit": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "8bit": {"load_in_8bit": True},
}


def scales(model: PreTrainedModel) -> int:
    """Bytes of the scales of quantised weights, which `get_memory_footprint` does not count."""
    size = 0
    for parameter in model.parameters():
        if (state := getattr(parameter, "quant_state", None)) is not None:
            size += state.absmax.nbytes + state.state2.absmax.nbytes
        elif getattr(parameter, "SCB", None) is not None:
            size += parameter.SCB.nbytes
    return size


@pytest.mark.parametrize("quantization", [None, "4bit", "8bit"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_estimate_is_what_a_loaded_model_takes(
    name: str, dtype: torch.dtype, quantization: str | None, tmp_path: Path
) -> None:
    build(name).save_pretrained(tmp_path)
    settings = {"dtype": dtype, "device_map": {"": "cpu"}}
    if quantization:
        settings["quantization_config"] = BitsAndBytesConfig(**SETTINGS[quantization])
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, **settings)
    estimate = weight_bytes(empty_model(AutoConfig.from_pretrained(tmp_path)), dtype, quantization)
    measured = loaded.get_memory_footprint() + scales(loaded)
    # These tiny weights do not fill their blocks: up to 5 bytes more for each. A scalar may be in another dtype.
    matrices = sum(hasattr(parameter, "quant_state") for parameter in loaded.parameters())
    assert measured - 5 * matrices - 2 <= estimate <= measured + 2


def test_llama_2_7b_by_hand() -> None:
    embeddings, norms = 2 * 32000 * 4096, (2 * 32 + 1) * 4096
    linear = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    frequencies = 2 * 64 * 4  # kept twice, in float32
    assert weight_bytes(empty_model(LLAMA_2_7B), torch.float16) == 2 * (linear + embeddings + norms) + frequencies
    nf4 = linear * (1 / 2 + 1 / 64 + 4 / (64 * 256))  # weights, a byte for 64 of them, a float for 256 of these
    assert weight_bytes(empty_model(LLAMA_2_7B), torch.float16, "4bit") == nf4 + 2 * (embeddings + norms) + frequencies
    int8 = linear + 4 * 32 * (4 * 4096 + 2 * 11008 + 4096)  # weights, a float for each output
    assert weight_bytes(empty_model(LLAMA_2_7B), torch.float16, "8bit") == int8 + 2 * (embeddings + norms) + frequencies


def test_an_empty_model_takes_no_memory() -> None:
    model = empty_model(LLAMA_2_7B)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


@cache
def llama_2_7b() -> PreTrainedModel:
    return empty_model(LLAMA_2_7B)


def check(machine: Machine, **asked: object) -> str | None:
    placement = place(machine, Request(**asked), billions=6.7)
    return check_memory(machine, placement, llama_2_7b(), "some/llama")


def needed(quantization: str | None, dtype: torch.dtype = torch.float16) -> float:
    full = weight_bytes(empty_model(LLAMA_2_7B), dtype)
    return weight_bytes(empty_model(LLAMA_2_7B), dtype, quantization) + CACHE_SHARE * full + ROOM


def test_the_last_byte_decides() -> None:
    enough = replace(CPU, ram_free=int(needed(None, torch.float32)) + 1)
    assert check(enough) is None
    with pytest.raises(ModelUnavailable):
        check(replace(enough, ram_free=enough.ram_free - 2))


@pytest.mark.parametrize(
    ("machine", "asked", "message"),
    [
        (
            replace(CPU, ram_free=18 * GB),
            {},
            "some/llama needs about 28.6 GB in 32-bit (14.5 GB in 16-bit, 6.0 GB in 4-bit), and 18.0 GB are free. "
            "Use 16-bit (--dtype bfloat16), 4-bit (--quantization 4bit), a smaller model such as qwen3-4b, "
            "or free some.",
        ),
        (
            replace(CPU, ram_free=int(9.1 * GB)),
            {"dtype": "bfloat16"},
            "some/llama needs about 14.5 GB in 16-bit (4.8 GB in 4-bit), and 9.1 GB are free. "
            "Use 4-bit (--quantization 4bit), a smaller model such as qwen3-4b, or free some.",
        ),
        (
            replace(CPU, ram_free=4 * GB, bitsandbytes=False),
            {"dtype": "bfloat16"},
            "some/llama needs about 14.5 GB in 16-bit, and 4.0 GB are free. "
            "Use a smaller model such as bloom-1b7, or free some.",
        ),
        (
            replace(GPU, gpu_free=(4 * GB,)),
            {"quantization": "4bit"},
            "some/llama needs about 4.8 GB in 4-bit, and 4.0 GB are free on Tesla T4. "
            "Use a smaller model such as qwen3-4b, or free some.",
        ),
        (
            replace(GPU, gpu_free=(14 * GB,)),
            {"device": "cuda:0"},
            "some/llama needs about 14.5 GB in 16-bit (4.8 GB in 4-bit), and 14.0 GB are free on Tesla T4. "
            "Use 4-bit (--quantization 4bit), a smaller model such as qwen3-4b, or free some.",
        ),
        (
            replace(CPU, ram_free=GB // 2),
            {"quantization": "4bit"},
            "some/llama needs about 6.0 GB in 4-bit, and 0.5 GB are free. "
            "Use a smaller model such as smollm2-135m, or free some.",
        ),
        (
            replace(CPU, ram_free=GB // 10),
            {"quantization": "4bit"},
            "some/llama needs about 6.0 GB in 4-bit, and 0.1 GB are free. Use a smaller model, or free some.",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_the_numbers(
    machine: Machine, asked: dict[str, str], message: str
) -> None:
    with pytest.raises(ModelUnavailable, match=f"^{re.escape(message)}$"):
        check(machine, **asked)


def test_an_apple_gpu_is_not_filled_beyond_what_is_free() -> None:
    mps = Machine("mps", "Apple GPU", (10 * GB,), (12 * GB,), False, 10 * GB, True, False)
    with pytest.raises(ModelUnavailable, match=r"14\.5 GB in 16-bit .* 10\.0 GB are free on Apple GPU"):
        check(mps)
    assert check(mps, quantization="4bit") is None


def test_unquantised_layers_may_go_to_slower_memory_with_a_note() -> None:
    small = replace(GPU, gpu_free=(8 * GB,))
    assert check(small) == "14.5 GB do not fit into 8.0 GB, so a part stays in memory, which is much slower."
    assert "memory and disk" in check(replace(small, ram_free=3 * GB))
    assert "memory and disk" in check(CPU, device_map="auto")
    assert check(small, quantization="4bit") is None


def test_transformers_own_reserve_on_a_gpu_counts() -> None:
    weights = weight_bytes(empty_model(LLAMA_2_7B), torch.float16)
    full = replace(GPU, gpu_free=(int(weights / 0.9) - 10**6,))
    assert full.gpu_free[0] > needed(None)
    assert check(full) is not None
    assert check(replace(full, gpu_free=(full.gpu_free[0] + 2 * 10**6,))) is None
    assert check(full, device="cuda:0") is None


def test_several_gpus_count_together_and_one_alone() -> None:
    two = replace(GPU, gpu_free=(2 * GB, 15 * GB))
    assert check(two, quantization="4bit") is None
    with pytest.raises(ModelUnavailable, match=r"2\.0 GB are free"):
        check(two, quantization="4bit", device="cuda:0")
    assert check(two, quantization="4bit", device="cuda:1") is None
    assert check(two, quantization="4bit", device_map={"": 1}) is None
    assert check(replace(two, gpu_free=(0, 0)), device_map={"model": 0, "lm_head": 1}) is None  # one's own affair


def test_a_device_map_of_the_callers_own_is_not_checked() -> None:
    full = replace(CPU, ram_free=0)
    assert check(full, device_map={"": "disk"}) is None
    assert check(full, device_map={"a": "cpu", "b": "disk"}) is None


def test_zero_gpu_counts_the_gpu_the_model_is_moved_to() -> None:
    zero = replace(GPU, zero_gpu=True, gpu_free=(48 * GB,), ram_free=1 * GB)
    assert check(zero) is None
    with pytest.raises(ModelUnavailable, match=r"14.5 GB in 16-bit, and 10.0 GB are free on Tesla T4"):
        check(replace(zero, gpu_free=(10 * GB,)))


def test_presets_that_fit() -> None:
    on_gpu = fits(GPU)
    assert list(on_gpu) == [preset.name for preset in PRESETS]
    assert [on_gpu[name] for name in ("qwen3-4b", "llama-2-13b", "llama-2-70b")] == ["16-bit", "4-bit", "no"]
    on_cpu = fits(CPU)
    assert [on_cpu[name] for name in ("qwen3-1.7b", "phi-2", "llama-2-7b", "glm-4-9b", "llama-2-70b")] == [
        "32-bit",
        "32-bit",
        "16-bit",
        "4-bit",
        "no",
    ]
    assert fits(replace(CPU, bitsandbytes=False))["glm-4-9b"] == "no"
    assert fits(replace(GPU, zero_gpu=True))["llama-2-13b"] == "no"
    assert set(fits(replace(CPU, ram_free=0)).values()) == {"no"}


def test_what_fits_is_not_refused() -> None:
    """The list of presets and the check before loading use the same measure."""
    asked = {"32-bit": {}, "16-bit": {"dtype": "bfloat16"}, "4-bit": {"quantization": "4bit"}}
    seen = set()
    for gigabytes in torch.arange(4.0, 32.0, 0.25).tolist():
        for machine in (replace(GPU, gpu_free=(int(gigabytes * GB),)), replace(CPU, ram_free=int(gigabytes * GB))):
            fit = fits(machine)["llama-2-7b"]
            seen.add((machine.accelerator, fit))
            if fit == "no":
                with pytest.raises(ModelUnavailable):
                    check(machine, quantization="4bit")
            else:
                assert check(machine, **asked[fit]) is None
    assert len(seen) == 7


def test_the_share_of_experts_is_that_of_their_weights() -> None:
    model = build("mixtral", num_local_experts=4)
    fused = 3 * 4 * (2 * 48 * 32 + 32 * 48)  # layers, experts, gate and up, down
    assert fused_share(model) == pytest.approx(fused / sum(one.numel() for one in model.parameters()))
    assert fused_share(build("gemma3")) == 0
