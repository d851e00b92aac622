"""An adapter of PEFT is merged into its model where peft is installed; else the line to install it is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from families import LAYERS, token_ids

from lape import LapeError, ModelUnavailable, activation_sites, load_model
from lape.models.identity import identity


def adapter_files(folder: Path, base: Path) -> None:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    (folder / "adapter_model.safetensors").write_bytes(b"")


def test_without_peft_the_line_to_install_it_is_said(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    adapter_files(tmp_path / "adapter", tiny_folder)
    with pytest.raises(ModelUnavailable, match=r"is an adapter .*`pip install peft`"):
        load_model(tmp_path / "adapter", device="cpu")


def test_an_adapter_is_not_merged_into_rounded_weights(tiny_folder: Path, tmp_path: Path) -> None:
    adapter_files(tmp_path / "adapter", tiny_folder)
    with pytest.raises(LapeError, match="Leave 4bit out"):
        load_model(tmp_path / "adapter", quantization="4bit", device="cpu")


def test_a_merged_adapter_is_a_model_with_its_weights(tiny_folder: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    base, _ = load_model(tiny_folder, device="cpu")
    ids = token_ids(1, 7)
    before = base(ids).logits
    config = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["down_proj"], init_lora_weights=False)
    torch.manual_seed(0)
    adapted = peft.get_peft_model(base, config)
    expected = adapted(ids).logits
    adapted.save_pretrained(tmp_path / "adapter")

    model, _ = load_model(tmp_path / "adapter", device="cpu")
    torch.testing.assert_close(model(ids).logits, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(expected, before, atol=1e-3)
    assert identity(model).model == str(tmp_path / "adapter")
    assert activation_sites(model).shape[0] == LAYERS

    (tmp_path / "adapter" / "adapter_model.safetensors").rename(tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(ModelUnavailable, match="unpickles nothing"):
        load_model(tmp_path / "adapter", device="cpu")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter" / "adapter_model.bin").rename(tmp_path / "adapter" / "adapter_model.safetensors")
    with pytest.raises(ModelUnavailable, match="does not say which model"):
        load_model(tmp_path / "adapter", device="cpu")
