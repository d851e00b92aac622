"""What is no causal language model is refused for what it is; what comes quantised is named so."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from families import build
from hub_standin import Hub
from transformers import AutoConfig, FineGrainedFP8Config, GPTQConfig

from lape import LapeError, load_model
from lape.errors import ModelUnavailable
from lape.models.identity import identity, stored_quantization

HOLDINGS = {  # files of a folder or a repository, and what it is called
    "adapter": (["adapter_config.json", "adapter_model.safetensors", "README.md"], r"is an adapter .*pip install peft"),
    "adapter of a trainer": (
        ["adapter_config.json", "adapter_model.bin", "config.json", "training_args.bin"],
        r"is an adapter .*pip install peft.* name that model",
    ),
    "gguf": (["model-Q4_K_M.gguf", "config.json"], r"holds GGUF files only, .*Name the model it was converted from"),
    "run": (["trainer_state.json"], r"could not be loaded: it holds no config\.json.* checkpoint folders"),
}


@pytest.mark.parametrize("what", HOLDINGS)
def test_a_folder_that_holds_no_model_is_called_what_it_is(
    what: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    files, message = HOLDINGS[what]
    for file in files:
        (tmp_path / file).write_bytes(b"{}")
    if "config.json" in files:
        shutil.copy(tiny_folder / "config.json", tmp_path)
    with pytest.raises(ModelUnavailable, match=f"{tmp_path.name} {message}"):
        load_model(tmp_path, device="cpu")


@pytest.mark.parametrize("what", HOLDINGS)
def test_so_is_a_repository(what: str, hub: Hub, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    files, message = HOLDINGS[what]
    held = dict.fromkeys(files, b"{}")
    if "config.json" in files:
        names = ("config.json", "tokenizer.json", "tokenizer_config.json")
        held |= {name: (tiny_folder / name).read_bytes() for name in names}
    hub.add("org/other", held)
    with pytest.raises(ModelUnavailable, match=f"org/other {message}"):
        load_model("org/other", device="cpu")


def test_files_beside_a_whole_model_do_not_matter(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True)
    adapter = [] if find_spec("peft") else ["adapter_config.json"]  # with peft, transformers would put it on
    for file in ("model-Q4_K_M.gguf", *adapter):
        (tmp_path / file).write_bytes(b"{}")
    assert identity(load_model(tmp_path, device="cpu")[0]).quantization is None


@pytest.mark.parametrize("name", ["some/model.gguf", Path("model.gguf"), "model.gguf"])
def test_a_gguf_file_is_called_what_it_is(name: str | Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"model\.gguf' is a GGUF file, which lape does not read.*Hub id"):
        load_model(name, device="cpu")


def test_a_file_is_no_model(tiny_folder: Path) -> None:
    for name in (tiny_folder / "model.safetensors", str(tiny_folder / "model.safetensors")):
        with pytest.raises(ModelUnavailable, match=r"model\.safetensors' is a file\. Name the model's folder"):
            load_model(name, device="cpu")


@pytest.mark.parametrize(
    ("model_type", "kind"),
    [
        ("t5", "an encoder-decoder, not a causal language model"),
        ("clip", "no causal language model"),
    ],
)
def test_a_model_of_another_kind_is_called_what_it_is(model_type: str, kind: str, tmp_path: Path) -> None:
    AutoConfig.for_model(model_type).save_pretrained(tmp_path)
    message = rf"it is {kind}.*model type '{model_type}'.*Name a model that continues text"
    with pytest.raises(ModelUnavailable, match=message):
        load_model(tmp_path, device="cpu")


def came_quantised(tiny_folder: Path, folder: Path, **settings: Any) -> Path:
    """A model whose configuration says that its weights are quantised."""
    shutil.copytree(tiny_folder, folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
    return folder


@pytest.mark.parametrize("method", ["fp8", "gptq", "awq", "mxfp4", "compressed-tensors", "bitnet"])
def test_what_comes_quantised_is_not_quantised_again(method: str, tiny_folder: Path, tmp_path: Path) -> None:
    folder = came_quantised(tiny_folder, tmp_path, quant_method=method, bits=4, group_size=64)
    for asked in ("4bit", "8bit"):
        message = (
            rf"comes quantised already \({method}\), so it cannot be loaded in {asked}.*Leave the quantisation out"
        )
        with pytest.raises(LapeError, match=message):
            load_model(folder, quantization=asked, device="cpu")


@pytest.mark.parametrize("method", ["fp8", "mxfp4"])
def test_what_comes_quantised_is_named_so_even_where_it_is_dequantised(
    method: str, tiny_folder: Path, tmp_path: Path
) -> None:
    model, _ = load_model(came_quantised(tiny_folder, tmp_path, quant_method=method), device="cpu")
    assert identity(model).quantization == method


@pytest.mark.parametrize(
    ("settings", "method"),
    [
        (FineGrainedFP8Config(), "fp8"),
        (GPTQConfig(bits=4), "gptq"),
        ({"quant_method": "awq"}, "awq"),
        (None, None),
    ],
)
def test_the_method_is_read_from_any_form_of_configuration(settings: object, method: str | None) -> None:
    assert stored_quantization(SimpleNamespace(quantization_config=settings)) == method
    model = build("llama")
    model.config.quantization_config = settings
    assert identity(model).quantization == method
