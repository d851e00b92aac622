"""What is asked for as a model and is none that can be loaded: told apart by its files and its configuration."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
)

from lape.errors import ModelUnavailable

WEIGHTS = re.compile(r"(pytorch_)?model.*\.(safetensors|bin)")  # as save_pretrained() names them

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

NOT_GGUF = (
    "which lape does not read. Name the model it was converted from: its Hub id, or a folder with config.json and "
    "*.safetensors."
)


class AdapterFound(ModelUnavailable):
    """What is asked for as a model is an adapter, which can be merged into one."""


def check_folder(folder: str) -> None:
    """Refuses a folder that holds no model.

    Raises:
        ModelUnavailable: Says what it holds, and what to load instead.
    """
    _check_files(folder, [path.name for path in Path(folder).iterdir()])


def check_repository(name: str, revision: str | None) -> None:
    """Refuses a repository on the Hub that holds no model; to explain a failure, so it says nothing without an answer.

    Raises:
        ModelUnavailable: Says what it holds, and what to load instead.
    """
    from huggingface_hub import HfApi  # only for who loads from the Hub

    try:
        files = HfApi().list_repo_files(name, revision=revision)
    except Exception:
        return
    _check_files(name, files)


def check_no_file(name: str) -> None:
    """Refuses a single file: a model is a folder, or a repository on the Hub.

    Raises:
        ModelUnavailable: It is a file, or is named as a GGUF file is.
    """
    if name.endswith(".gguf"):
        raise ModelUnavailable(f"{name!r} is a GGUF file, {NOT_GGUF}")
    if Path(name).is_file():
        raise ModelUnavailable(f"{name!r} is a file. Name the model's folder, as save_pretrained() writes it.")


def check_kind(name: str, config: PreTrainedConfig) -> None:
    """Refuses a model that is no causal language model.

    Raises:
        ModelUnavailable: Says what it is, and what to load instead.
    """
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and not config.get_text_config().is_encoder_decoder:
        return
    kind = "no causal language model"
    if config.is_encoder_decoder:
        kind = "an encoder-decoder, not a causal language model"
    raise ModelUnavailable(
        f"{name} could not be loaded: it is {kind} (model type {config.model_type!r}, {type(config).__name__}). "
        "Name a model that continues text, such as one of `lape models`."
    )


def auto_class(config: PreTrainedConfig) -> type[AutoModelForCausalLM] | type[AutoModelForImageTextToText]:
    """What loads a model: as a language model or, of those that read pictures too and have no other class, whole."""
    return AutoModelForCausalLM if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING else AutoModelForImageTextToText


def _check_files(name: str, files: Collection[str]) -> None:
    whole = any(WEIGHTS.fullmatch(file) for file in files)
    if ADAPTER_CONFIG in files and not whole:
        raise AdapterFound(
            f"{name} is an adapter (LoRA or another of PEFT), not a whole model. Merge it into the model it was "
            "trained on with peft's merge_and_unload(), write that with save_pretrained() and name the folder; or "
            "name the model it was trained on."
        )
    if any(file.endswith(".gguf") for file in files) and not whole:
        raise ModelUnavailable(f"{name} holds GGUF files only, {NOT_GGUF}")
    if "config.json" not in files:
        raise ModelUnavailable(
            f"{name} could not be loaded: it holds no config.json. Name what save_pretrained() wrote; of a training "
            "run, that is one of its checkpoint folders."
        )
