"""Adapters of PEFT, such as LoRA: merged into the model they were trained on, which is then a model like any other.

An adapter is a folder, or a repository on the Hub, with `adapter_config.json` and `adapter_model.safetensors`. peft
does the merging, and is installed by who wants it. Weights that would have to be unpickled are not read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError, ModelUnavailable
from lape.hub.client import explained, reachable
from lape.models.checkpoints import ADAPTER_CONFIG, ADAPTER_WEIGHTS

LoadBase = Callable[[str], tuple[PreTrainedModel, Tokenizer]]


@dataclass(frozen=True)
class Adapter:
    """An adapter that is here.

    Attributes:
        name: Hub id or folder, as it was asked for.
        folder: Where its files are.
        commit: On the Hub; None for a folder.
        base: Hub id or folder of the model it was trained on.
    """

    name: str
    folder: Path
    commit: str | None
    base: str


def fetch_adapter(name: str, revision: str | None, quantization: str | None) -> Adapter:
    """Gets an adapter's two files, from the Hub where it is no folder.

    Raises:
        LapeError: It is to be merged into rounded weights.
        ModelUnavailable: peft is not installed, the adapter is pickled, or does not say its model.
    """
    if quantization not in (None, "auto"):
        raise LapeError(
            f"{name} is an adapter, and is merged into weights that are not rounded. Leave {quantization} out."
        )
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise ModelUnavailable(
            f"{name} is an adapter (LoRA or another of PEFT), not a whole model. `pip install peft` lets lape merge it "
            "into the model it was trained on; or name that model."
        ) from error
    folder, commit = Path(name), None
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        with explained(name, "model", revision=revision, raising=ModelUnavailable):
            wanted = [ADAPTER_CONFIG, ADAPTER_WEIGHTS]
            found = snapshot_download(name, revision=revision, allow_patterns=wanted, local_files_only=not reachable())
        folder, commit = Path(found), Path(found).name
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ModelUnavailable(f"The adapter {name} holds no {ADAPTER_WEIGHTS}, and lape unpickles nothing.")
    try:
        base = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError):
        base = None
    if not isinstance(base, str) or not base:
        raise ModelUnavailable(f"The adapter {name} does not say which model it was trained on.")
    return Adapter(name, folder, commit, base)


def merged(adapter: Adapter, load: LoadBase) -> tuple[PreTrainedModel, Tokenizer]:
    """Loads the model of an adapter and merges the adapter into it.

    Args:
        adapter: Of `fetch_adapter`.
        load: Loads a model by its name.

    Raises:
        ModelUnavailable: The model cannot be loaded, or the adapter does not fit it.
    """
    from peft import PeftModel

    model, tokenizer = load(adapter.base)
    try:
        # Of the same object: modules are put back with other weights.
        model = PeftModel.from_pretrained(model, str(adapter.folder)).merge_and_unload()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise ModelUnavailable(f"The adapter {adapter.name} does not fit {adapter.base}: {reason}.") from error
    model.name_or_path = adapter.name
    model.config._commit_hash = adapter.commit
    model.eval().requires_grad_(False)
    return model, tokenizer
