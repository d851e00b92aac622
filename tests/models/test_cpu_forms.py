"""Smaller copies of weights to generate with on a CPU: what they give, when they are read, that the model stays."""

from __future__ import annotations

import copy
import gc
import weakref
from types import MappingProxyType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from families import HIDDEN, build, random_mask, token_ids
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import Intervention, activation_sites, load_model, record, side_by_side
from lape.models.cpu_forms import CpuForm, best_form, form_bytes, form_of, pack, small_weights
from lape.models.loading import placement_of

needs_kernels = pytest.mark.skipif(best_form() != "int8", reason="this processor does not multiply int8 itself")
FORMS: list[CpuForm] = ["float16", "int8"]


def linear(weight: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Module:
    """A module whose head is one linear layer."""

    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
            self.head.weight.data = weight
            if bias is not None:
                self.head.bias.data = bias
            self.requires_grad_(False)

        def get_output_embeddings(self) -> nn.Module:
            return self.head

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return self.head(rows)

    return Alone()


def small(module: nn.Module, form: CpuForm, rows: torch.Tensor) -> torch.Tensor:
    """What a module gives with its small weights, of rows of one position."""
    pack(module, form)
    with small_weights(module):
        return module(rows[:, None])[:, 0]


def packed_tiny(form: CpuForm, **settings: Any) -> PreTrainedModel:
    model = build("llama", **settings)
    pack(model, form)
    return model


@needs_kernels
def test_int8_rounds_weights_by_output_and_inputs_to_two_digits() -> None:
    # By hand. Output 0 has steps of 1, output 1 of 0.5: 0.2 is nearest to 0, 0.3 to 0.5.
    weight = torch.tensor([[127.0, -3.0, 0.2, 0.0], [63.5, 0.2, 0.3, -1.0]])
    # The row has steps of 2 / 127 of its largest, 254, and within each 254 smaller ones: 4.0 is two steps and none.
    rows = torch.tensor([[254.0, 4.0, -2.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[254 * 127 - 3 * 4 + 0.0, 254 * 63.5 + 0.0 - 2 * 0.5 - 1.0], [0.0, 0.0]])
    bias = torch.tensor([10.0, -20.0])
    assert torch.allclose(small(linear(weight), "int8", rows), expected, rtol=0, atol=2e-3)
    assert torch.allclose(small(linear(weight, bias), "int8", rows), expected + bias, rtol=0, atol=2e-3)


@needs_kernels
def test_int8_is_as_exact_as_16_bits_in_what_is_multiplied() -> None:
    weight = torch.randint(-127, 128, (40, 64)).float()
    weight[:, 0] = 127  # so that the rounded weights are the weights
    rows = torch.randn(5, 64) * torch.tensor([1e-30, 1e-3, 1.0, 1e3, 1e30])[:, None]
    exact = rows.double() @ weight.double().T
    error = (small(linear(weight), "int8", rows) - exact).abs().amax(1)
    assert (error <= rows.abs().amax(1).double() * 64 * 127 / (2 * 127 * 254)).all()


@pytest.mark.skipif(best_form() == "float32", reason="torch has no kernels for this processor")
def test_float16_rounds_weights_alone() -> None:
    weight, rows, bias = torch.randn(40, 64), torch.randn(5, 64), torch.randn(40)
    exact = rows.double() @ weight.half().double().T + bias
    assert torch.allclose(small(linear(weight, bias), "float16", rows).double(), exact, rtol=0, atol=1e-5)


@pytest.mark.skipif(best_form() == "float32", reason="torch has no kernels for this processor")
def test_weights_that_16_bits_do_not_hold_stay() -> None:
    weight, rows = torch.randn(40, 64), torch.randn(5, 64)
    weight[3, 4] = 1e5
    assert torch.equal(small(linear(weight), "float16", rows), F.linear(rows, weight))


@needs_kernels
@pytest.mark.parametrize("form", FORMS)
def test_no_row_depends_on_another(form: CpuForm) -> None:
    module, rows = linear(torch.randn(40, 64)), torch.randn(6, 64)
    together = small(module, form, rows)
    rows[0] *= 1000
    assert torch.equal(small(module, form, rows)[1:], together[1:])
    assert torch.equal(small(module, form, rows[2:3])[0], together[2])


@needs_kernels
@pytest.mark.parametrize("form", FORMS)
def test_several_positions_read_the_float32_weights(form: CpuForm) -> None:
    weight = torch.randn(40, 64)
    module = linear(weight)
    pack(module, form)
    with small_weights(module):
        for shape in ((3, 2, 64), (3, 64)):
            several = torch.randn(shape)
            assert torch.equal(module(several), F.linear(several, weight))
        one = torch.randn(30, 1, 64)
        assert module(one).shape == (30, 1, 40)
        assert not torch.equal(module(one), F.linear(one, weight))


@needs_kernels
def test_outside_of_the_block_the_model_is_untouched(tiny_model: PreTrainedModel) -> None:
    ids = token_ids(2, 1)
    before = tiny_model(ids).logits
    pack(tiny_model, "int8")
    assert form_of(tiny_model) == "int8"
    assert torch.equal(tiny_model(ids).logits, before)
    with small_weights(tiny_model):
        assert not torch.equal(tiny_model(ids).logits, before)
    with pytest.raises(IndexError), small_weights(tiny_model):
        tiny_model(ids + 10_000)
    assert torch.equal(tiny_model(ids).logits, before)
    assert not any("forward" in vars(module) for module in tiny_model.modules())
    assert form_of(copy.deepcopy(tiny_model)) == "float32"


@needs_kernels
def test_what_stood_in_for_forward_comes_back(tiny_model: PreTrainedModel) -> None:
    theirs = tiny_model.lm_head.forward = lambda hidden: F.linear(hidden, tiny_model.lm_head.weight) + 1
    pack(tiny_model, "int8")
    with small_weights(tiny_model):
        assert tiny_model.lm_head.forward is not theirs
    assert tiny_model.lm_head.forward is theirs


@needs_kernels
def test_recording_reads_the_float32_weights(tokenizer: PreTrainedTokenizerFast) -> None:
    settings: dict[str, Any] = {"tokens": 8, "block": 4, "batch": 1, "progress": False}
    corpora = {"aa": ["one text and more of it"], "bb": ["another one, as long"]}
    plain = record(build("llama"), tokenizer, corpora, **settings)
    found = record(packed_tiny("int8"), tokenizer, corpora, **settings)
    for code in corpora:
        assert torch.equal(found.active[code], plain.active[code])
        assert torch.equal(found.sum[code], plain.sum[code])


@needs_kernels
@pytest.mark.parametrize("form", FORMS)
def test_the_untouched_row_is_the_same_beside_switched_ones(form: CpuForm, tokenizer: PreTrainedTokenizerFast) -> None:
    model, steer = packed_tiny(form), Intervention(random_mask((3, 48)), off="aa", on="bb", strength=3.0)

    def texts(**variants: Intervention | None) -> dict[str, str]:
        *_, last = side_by_side(model, tokenizer, "a prompt", variants, max_new_tokens=12)
        return dict(last.texts)

    apart = texts(on=None, off=None)
    beside = texts(on=None, off=steer)
    assert beside["on"] == apart["on"] == texts(on=None)["on"]
    assert beside["off"] != apart["off"]


@needs_kernels
def test_hooks_see_float32_activations_of_every_step(tokenizer: PreTrainedTokenizerFast) -> None:
    model, seen = packed_tiny("int8"), []
    activation_sites(model)  # looks at the model once, with a pass of its own
    model.model.layers[0].mlp.act_fn.register_forward_hook(lambda _m, _i, output: seen.append(output))
    *_, last = side_by_side(model, tokenizer, "a prompt", {"on": None}, max_new_tokens=5)
    assert len(seen) == last.new_tokens["on"] == 5
    assert {output.dtype for output in seen} == {torch.float32}


@needs_kernels
def test_a_copy_goes_with_its_model() -> None:
    model = packed_tiny("int8")
    with small_weights(model):
        head = weakref.ref(model.lm_head)
    del model
    gc.collect()
    assert head() is None


def test_how_much_memory_a_copy_takes() -> None:
    model = build("llama", tie_word_embeddings=True)
    head = model.lm_head.weight.numel()
    others = sum(module.weight.numel() for module in model.modules() if type(module) is nn.Linear) - head
    assert head % HIDDEN == 0
    assert form_bytes(model, "float32") == 0
    assert form_bytes(model, "float16") == 2 * (head + others)
    assert form_bytes(model, "int8") == head + 2 * others


@pytest.mark.parametrize(
    ("engine", "instructions", "form"),
    [
        ("x86", {"avx2", "f16c", "avx512_vnni"}, "int8"),
        ("x86", {"avx2", "f16c", "avx_vnni"}, "float16"),
        ("x86", {"avx2"}, "float32"),
        ("qnnpack", {"neon"}, "float32"),
    ],
)
def test_the_best_form_follows_from_the_instructions(
    monkeypatch: pytest.MonkeyPatch, engine: str, instructions: set[str], form: str
) -> None:
    found = MappingProxyType(dict.fromkeys(instructions, True))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    monkeypatch.setattr("lape.models.cpu_forms.torch.backends.quantized", type("Engine", (), {"engine": engine}))
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert best_form() == form


@needs_kernels
def test_a_model_is_loaded_in_a_form(tiny_folder: Any) -> None:
    model, _ = load_model(tiny_folder, device="cpu", cpu_form="auto")
    assert form_of(model) == "int8"
    placement = placement_of(model)
    assert placement is not None
    assert placement.cpu_form == "int8"
    assert form_of(load_model(tiny_folder, device="cpu")[0]) == "float32"
