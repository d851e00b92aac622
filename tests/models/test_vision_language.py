"""Models that read pictures too are loaded whole and hooked in their text decoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from families import COMMON, LAYERS, WIDTH, byte_tokenizer, random_mask, token_ids
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from lape import Intervention, activation_sites, generate_rows, intervene, load_model, record

TOWER = {
    **{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"image_size": 28, "patch_size": 14},
}
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
QWEN_TOWER = {"depth": 1, "hidden_size": 16, "num_heads": 2, "patch_size": 14, "out_hidden_size": 32}
WRAPPERS = {
    "mistral3": {
        "text_config": {**COMMON, "model_type": "mistral"},
        "vision_config": {**TOWER, "head_dim": 8, "model_type": "pixtral"},
    },
    "llava": {
        "text_config": {**COMMON, "model_type": "llama"},
        "vision_config": {**TOWER, "model_type": "clip_vision_model"},
    },
    "qwen2_5_vl": {
        "text_config": {**COMMON, "rope_parameters": ROPE},
        "vision_config": {**QWEN_TOWER, "intermediate_size": 24, "fullatt_block_indexes": [0]},
    },
    "qwen3_vl": {
        "text_config": {**COMMON, "rope_parameters": ROPE},
        "vision_config": {**QWEN_TOWER, "intermediate_size": 24, "deepstack_visual_indexes": [0]},
    },
}


def build_wrapper(name: str) -> PreTrainedModel:
    model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(name, **WRAPPERS[name]), dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.requires_grad_(False).eval().parameters():
        parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.mark.parametrize("name", WRAPPERS)
def test_the_text_decoder_is_recorded_and_switched(name: str, tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    build_wrapper(name).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, tokenizer = load_model(tmp_path, device="cpu")
    assert activation_sites(model).shape == (LAYERS, WIDTH)

    statistics = record(model, tokenizer, {"xx": ["some text " * 20]}, tokens=32, block=16, progress=False)
    assert int(statistics.active["xx"].sum()) > 0

    mask, ids = random_mask((LAYERS, WIDTH)), token_ids(2, 7)
    before = model(input_ids=ids).logits
    with intervene(model, Intervention(mask, off="aa")):
        off = model(input_ids=ids).logits
    assert not torch.allclose(off, before, atol=1e-3)
    assert torch.equal(model(input_ids=ids).logits, before)
    *_, last = generate_rows(model, tokenizer, ["Hello"], [Intervention(mask, off="aa")], max_new_tokens=3)
    assert last.finished
