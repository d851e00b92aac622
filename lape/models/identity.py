"""Which model this is: what statistics and masks are made of, and belong to."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lape.errors import LapeWarning
from lape.models.embedded import embedded_model

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


def warn_of_another(what: str, metadata: Mapping[str, Any], given: ModelIdentity) -> None:
    """Warns where something was made for another model, or another revision of it, than the one it is used on.

    Args:
        what: With its verb, such as "The mask was".
        metadata: Of that thing.
        given: The model it is used on.
    """
    mine, made_for = metadata.get("model"), metadata.get("revision")
    if mine not in (None, given.model):
        warnings.warn(f"{what} made for {mine}, not {given.model}.", LapeWarning, stacklevel=5)
    elif made_for not in (None, given.revision):
        said = f"{what} made for revision {made_for} of {mine or 'an unnamed model'}, not {given.revision}."
        if mine is not None and embedded_model(mine) is not None:
            said += " One of them may be rounded: the neurons are nearly the same, and figures differ a little."
        warnings.warn(said, LapeWarning, stacklevel=5)


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
