"""Which model this is: what statistics and masks are made of, and belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class ModelIdentity:
    """What a loaded model is, as written into statistics and masks.

    Attributes:
        model: Hub id or path.
        revision: Commit on the Hub, `gguf-q4_1:<sha256>` for the embedded weights, or None.
        dtype: Computation dtype, such as `float32`.
        quantization: How its weights are rounded: `4bit`, `8bit`, the method of a checkpoint that came quantised
            otherwise, such as `fp8` or `gptq`, or None.
    """

    model: str
    revision: str | None
    dtype: str
    quantization: str | None


def identity(model: PreTrainedModel) -> ModelIdentity:
    """Names a loaded model: id, revision, dtype, quantisation."""
    revision = getattr(model.config, "_commit_hash", None)
    dtype = str(model.dtype).removeprefix("torch.")
    return ModelIdentity(str(model.name_or_path), revision, dtype, _quantization(model))


def _quantization(model: PreTrainedModel) -> str | None:
    if getattr(model, "is_loaded_in_4bit", False):
        return "4bit"
    if getattr(model, "is_loaded_in_8bit", False):
        return "8bit"
    return getattr(model, "_stored_quantization", None) or stored_quantization(model.config)


def stored_quantization(config: PreTrainedConfig) -> str | None:
    """The method by which a checkpoint's weights are quantised, such as `fp8` or `gptq`; None when they are not."""
    found: Any = getattr(config, "quantization_config", None)
    if found is None:
        return None
    method = found.get("quant_method") if isinstance(found, dict) else found.quant_method
    return str(getattr(method, "value", method))  # transformers has an enumeration of those it knows
