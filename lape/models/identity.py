"""Which model this is: what statistics and masks are made of, and belong to."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedModel


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
