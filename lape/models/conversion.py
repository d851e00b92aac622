"""Makes a model of safetensors and a tokenizer of an embedded one, once, in a cache folder."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from lape.errors import LapeError, ModelUnavailable
from lape.models.embedded import EmbeddedModel, read_blocks
from lape.storage.placing import prepare, settle, temporary_folder

GGUF_NAME = "weights.gguf"


def converted_folder(embedded: EmbeddedModel) -> Path:
    """The folder of an embedded model that is installed; converts it once when that is missing.

    The conversion takes about half a minute; transformers shows its progress. It is written to a temporary folder and
    renamed into place; what a killed conversion leaves is removed by the next one. The weights stay in float32: in
    bfloat16, two of three neurons' counts of Gemma would differ, and its logits by up to 0.6.

    Raises:
        ModelUnavailable: Its packages hold other weights, or it cannot be written; the latter is said before it is
            converted, where it can be known.
    """
    folder = embedded.folder
    settle(folder.parent)
    if folder.is_dir():
        return folder
    files = embedded.files()
    needed = embedded.converted_bytes + sum(path.stat().st_size for path in files)
    try:
        prepare(folder.parent, "name another folder in LAPE_CACHE", size=needed)
    except LapeError as error:
        raise ModelUnavailable(f"{embedded.title} must be converted once. {error}") from error
    size = f"{embedded.converted_bytes / 1e6:,.0f} MB"
    print(f"Converting {embedded.title} once into {folder} (about half a minute, {size})...", file=sys.stderr)
    if embedded.notice:
        print(embedded.notice_text, file=sys.stderr)
    try:
        with temporary_folder(folder.parent) as temporary:
            if (found := _join(files, temporary / GGUF_NAME)) != embedded.sha256:
                raise ModelUnavailable(embedded.other_weights(found))
            staged = temporary / "model"
            _convert(temporary / GGUF_NAME, staged)
            try:
                staged.rename(folder)
            except OSError:
                if not folder.is_dir():  # otherwise another process was first, with the same content
                    raise
    except (OSError, SafetensorError) as error:
        raise ModelUnavailable(
            f"{embedded.title} could not be written to {folder.parent} ({error}). Free {needed / 1e6:,.0f} MB there, "
            "or name another folder in LAPE_CACHE."
        ) from error
    return folder


def _join(files: tuple[Path, ...], gguf: Path) -> str:
    """Writes files in a row as one, and returns its sha256."""
    digest = hashlib.sha256()
    with gguf.open("wb") as joined:
        for block in read_blocks(files):
            digest.update(block)
            joined.write(block)
    return digest.hexdigest()


def _convert(gguf: Path, folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    # save_pretrained refuses a model that still says it is quantised, though its weights no longer are.
    model.hf_quantizer = None  # type: ignore[assignment]
    model.is_quantized = False  # type: ignore[assignment]
    del model.config.quantization_config
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(folder)
