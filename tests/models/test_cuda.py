"""Models on a CUDA GPU: where they go, and that neurons are switched and counted there as on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from families import build, random_mask, token_ids
from test_quantized import DOCUMENTS, by_hand, plan_for
from transformers import PreTrainedTokenizerFast

import lape
from lape import Intervention, activation_sites, intervene, load_model
from lape.evaluation.metrics.likelihood import negative_log_likelihoods
from lape.generation.passages import Passage
from lape.models.identity import identity
from lape.models.loading import placement_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")


def test_a_model_goes_to_the_gpu_in_a_half_precision(tiny_folder: Path) -> None:
    model, _ = load_model(tiny_folder, quantization="auto")
    assert placement_of(model).device == "cuda"
    assert {parameter.device.type for parameter in model.parameters()} == {"cuda"}
    assert model.dtype == (torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16)
    assert identity(model).quantization is None  # `auto` leaves small models whole


@pytest.mark.parametrize(
    ("quantization", "dtype"),
    [(None, "float32"), (None, "bfloat16"), (None, "float16"), ("4bit", None), ("8bit", None)],
)
def test_interventions_on_the_gpu_equal_the_same_edits_by_hand(
    quantization: str | None, dtype: str | None, tiny_folder: Path
) -> None:
    model, _ = load_model(tiny_folder, quantization=quantization, dtype=dtype, device="cuda")
    assert identity(model).quantization == quantization
    plan, ids = plan_for(model), token_ids(1, 7).repeat(5, 1).cuda()
    with torch.no_grad():
        untouched = model(ids).logits
        with intervene(model, plan):
            edited = model(ids).logits
        with by_hand(model, plan):
            expected = model(ids).logits
        again = model(ids).logits
    torch.testing.assert_close(edited, expected, rtol=2e-2, atol=2e-2)  # half precisions round elsewhere
    assert all((edited[row] - untouched[row]).abs().max() > 0.1 for row in range(1, 5))
    assert torch.equal(again, untouched)
    if quantization != "8bit":  # which treats a column that is large in one row otherwise in all rows
        assert torch.equal(edited[0], untouched[0])


def test_counts_on_the_gpu_are_those_of_the_cpu(tokenizer: PreTrainedTokenizerFast) -> None:
    model = build("llama")
    settings = {"tokens": 96, "block": 16, "batch": 2, "progress": False}
    here = lape.record(model, tokenizer, {"xx": DOCUMENTS}, **settings)
    there = lape.record(model.cuda(), tokenizer, {"xx": DOCUMENTS}, **settings)
    # An activation within rounding of 0 may fall on the other side.
    assert (here.active["xx"] - there.active["xx"]).abs().sum() <= 0.001 * here.active["xx"].sum()
    torch.testing.assert_close(here.sum["xx"], there.sum["xx"], rtol=1e-3, atol=1e-3)


def test_likelihoods_on_the_gpu_are_those_of_the_cpu() -> None:
    model = build("llama")
    mask = random_mask(activation_sites(model).shape)
    rows = [Passage(ids[:3].tolist(), ids[3:].tolist()) for ids in token_ids(4, 24)]
    plan = [None, Intervention(mask, off="aa"), Intervention(mask, off="aa", on="bb"), None]
    here = negative_log_likelihoods(model, rows, plan)
    there = negative_log_likelihoods(model.cuda(), rows, plan)
    assert there == pytest.approx(here, rel=1e-4)


@pytest.mark.parametrize("quantization", [None, "4bit"])
def test_columns_stream_from_the_gpu(quantization: str | None, tiny_folder: Path) -> None:
    model, tokenizer = load_model(tiny_folder, quantization=quantization, device="cuda")
    mask = random_mask(activation_sites(model).shape)
    variants = {"on": None, "off": Intervention(mask, off="aa"), "steered": Intervention(mask, off="aa", on="bb")}
    *_, last = lape.side_by_side(model, tokenizer, "Il était une fois", variants, max_new_tokens=12, temperature=1.0)
    *_, alone = lape.side_by_side(
        model, tokenizer, "Il était une fois", dict.fromkeys(variants), max_new_tokens=12, temperature=1.0
    )
    assert len(set(last.texts.values())) == 3
    assert set(alone.texts.values()) == {last.texts["on"]}  # the same noise for every row, and no leak between rows
