"""The presets are what they say: counted on the models' own configurations, with no weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from lape import UnknownLabel
from lape.models.embedded import EMBEDDED, default_model
from lape.models.memory import empty_model, quantised_layers
from lape.models.presets import PRESETS, Preset, resolve_name

QWEN = {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936}
EUROLLM = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "vocab_size": 128000,
}
TIED = {"tie_word_embeddings": True}


def llama(hidden: int, width: int, layers: int, heads: int, groups: int, vocabulary: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": vocabulary,
    }


def qwen(hidden: int, width: int, layers: int, **more: Any) -> dict[str, Any]:
    return {**QWEN, "hidden_size": hidden, "intermediate_size": width, "num_hidden_layers": layers, **more}


def bloom(hidden: int, layers: int) -> dict[str, Any]:
    return {"hidden_size": hidden, "n_layer": layers, "n_head": 16, "vocab_size": 250880}


# Model type, the sizes in the model's config.json, and the parameters these make (1.657 B, say, as published).
MODELS: dict[str, tuple[str, dict[str, Any], int]] = {
    "smollm2-135m": ("llama", {**llama(576, 1536, 30, 9, 3, 49152), **TIED}, 134_515_008),
    "gemma-3-270m": ("gemma3_text", {**llama(640, 2048, 18, 4, 1, 262144), "head_dim": 256}, 268_098_176),
    "qwen3-0.6b": ("qwen3", qwen(1024, 3072, 28, **TIED), 596_049_920),
    "qwen3-1.7b": ("qwen3", qwen(2048, 6144, 28, **TIED), 1_720_574_976),
    "qwen3-4b": ("qwen3", qwen(2560, 9728, 36, num_attention_heads=32, **TIED), 4_022_468_096),
    "qwen3-8b": ("qwen3", qwen(4096, 12288, 36, num_attention_heads=32), 8_190_735_360),
    "eurollm-1.7b": ("llama", EUROLLM, 1_656_850_432),
    "eurollm-1.7b-instruct": ("llama", EUROLLM, 1_656_850_432),
    "bloom-560m": ("bloom", bloom(1024, 24), 559_214_592),
    "bloom-1b7": ("bloom", bloom(2048, 24), 1_722_408_960),
    "bloom-7b1": ("bloom", bloom(4096, 30), 7_069_016_064),
    "smollm3-3b": ("smollm3", llama(2048, 11008, 36, 16, 4, 128256), 3_075_098_624),
    "granite-3.3-2b": ("granite", {**llama(2048, 8192, 40, 32, 8, 49159), **TIED}, 2_533_539_840),
    "glm-4-9b": ("glm4", {**llama(4096, 13696, 40, 32, 2, 151552), "head_dim": 128}, 9_400_279_040),
    "llama-2-7b": ("llama", llama(4096, 11008, 32, 32, 32, 32000), 6_738_415_616),
    "llama-2-13b": ("llama", llama(5120, 13824, 40, 40, 40, 32000), 13_015_864_320),
    "llama-2-70b": ("llama", llama(8192, 28672, 80, 64, 8, 32000), 68_976_648_192),
    "mistral-7b": ("mistral", llama(4096, 14336, 32, 32, 8, 32000), 7_241_732_096),
    "opt-6.7b": (
        "opt",
        {
            "hidden_size": 4096,
            "ffn_dim": 16384,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "vocab_size": 50272,
            "word_embed_proj_dim": 4096,
            "max_position_embeddings": 2048,
        },
        6_658_473_984,
    ),
    "phi-2": ("phi", llama(2560, 10240, 32, 32, 32, 51200), 2_779_683_840),
    "llama-3.1-8b": ("llama", llama(4096, 14336, 32, 32, 8, 128256), 8_030_261_248),
    "gemma-3-1b": ("gemma3_text", {**llama(1152, 6912, 26, 4, 1, 262144), "head_dim": 256}, 999_885_952),
    "gemma-3-4b-it": (
        "gemma3",
        {
            "text_config": {**llama(2560, 10240, 34, 8, 4, 262208), "head_dim": 256},
            "vision_config": {
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_hidden_layers": 27,
                "num_attention_heads": 16,
                "patch_size": 14,
                "image_size": 896,
                "vision_use_head": False,
            },
        },
        4_300_079_472,
    ),
    "aya-expanse-8b": ("cohere", llama(4096, 14336, 32, 32, 8, 256000), 8_028_033_024),
}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_the_counts_are_those_of_the_configuration(preset: Preset) -> None:
    model_type, sizes, expected = MODELS[preset.name]
    model = empty_model(AutoConfig.for_model(model_type, **sizes))
    total = sum(parameter.numel() for parameter in model.parameters())
    kept = total - sum(layer.weight.numel() for layer in quantised_layers(model).values())
    assert total == expected
    assert preset.parameters_billions == pytest.approx(total / 1e9, abs=5e-5)
    assert preset.kept_billions == pytest.approx(kept / 1e9, abs=5e-5)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_a_preset_says_what_a_user_asks(preset: Preset) -> None:
    assert resolve_name(preset.name) == preset.model
    assert resolve_name(preset.model) == preset.model
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", preset.model)
    assert preset.licence
    assert preset.note
    assert len(set(preset.languages)) == len(preset.languages) > 0
    assert all(re.fullmatch("[a-z]{2}", code) for code in preset.languages)


def test_names_are_unique_and_the_first_is_the_default() -> None:
    assert len({preset.name for preset in PRESETS}) == len({preset.model for preset in PRESETS}) == len(PRESETS)
    assert EMBEDDED[0].model == PRESETS[0].model
    assert resolve_name(None) == default_model()[0].model


def test_every_embedded_model_has_a_preset_and_a_short_name() -> None:
    assert {each.model for each in EMBEDDED} <= {preset.model for preset in PRESETS}
    assert [resolve_name(each.key) for each in EMBEDDED] == [each.model for each in EMBEDDED]


def test_the_papers_seven_models_are_there() -> None:
    named = {preset.name for preset in PRESETS if preset.paper}
    assert named == {"llama-2-7b", "llama-2-13b", "llama-2-70b", "bloom-7b1", "opt-6.7b", "mistral-7b", "phi-2"}


def test_memory_by_hand() -> None:
    preset = next(preset for preset in PRESETS if preset.name == "llama-2-7b")
    # 6.4760 B weights in the linear layers at 4.127 bits, 0.2624 B in 16 bits.
    assert preset.memory_gb(4) == pytest.approx(6.4760 * 4.127 / 8 + 0.2624 * 2, rel=1e-4)
    assert preset.memory_gb(4, kept_bits=32) == pytest.approx(6.4760 * 4.127 / 8 + 0.2624 * 4, rel=1e-4)
    assert preset.memory_gb(16) == pytest.approx(13.4768)
    assert preset.memory_gb(32) == pytest.approx(26.9536)


def test_folders_are_names_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    assert resolve_name(tmp_path / "mine") == str(tmp_path / "mine")
    assert resolve_name(str(tmp_path / "mine")) == str(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert resolve_name("mine") == "mine"


@pytest.mark.parametrize("name", ["qwen3-06b", Path("some") / "folder"])
def test_what_is_neither_preset_nor_id_nor_folder_is_refused(name: str | Path) -> None:
    with pytest.raises(UnknownLabel, match="No preset or model folder"):
        resolve_name(name)
