"""Where in a recorded text each neuron is most active.

File `top_texts.safetensors`: per language code `ids.<code>` int32 `[blocks, block]`, the text in tokens; `places`
int16 or int32 `[kept, layers, neurons]`, a token of the texts of all languages one after the other in the order of
their codes, -1 where there is none; and `values` float16 `[kept, layers, neurons]` (float32 where one is above
65,504), the activation there. One metadata key `lape` with the keys of statistics (`lape/recording/statistics.py`) and
`kind` "top_texts".

Unlike other recordings it keeps the text. `licence` in its metadata says under which terms that may be shown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import BadFile, MaskMismatch
from lape.models.architectures import activation_sites
from lape.models.identity import identity, warn_of_another
from lape.recording.blocks import document_end
from lape.storage.files import FORMAT_VERSION, load_tensors, save_tensors
from lape.storage.metadata import check_metadata, warn_of_newer
from lape.storage.names import INTEGERS, TOP_TEXTS_NAME

TOKENS_BEFORE, TOKENS_AFTER = 12, 7  # shown around the one at which a neuron is most active


@dataclass(frozen=True)
class TopText:
    """A few tokens around one at which a neuron is very active.

    Attributes:
        language: Code of the text's language.
        value: The activation.
        before: The text before the token; with `token` and `after`, at most twenty tokens.
        token: The text of the token, or of those that are whole characters only together.
        after: The text after it.
    """

    language: str
    value: float
    before: str
    token: str
    after: str


@dataclass(frozen=True, eq=False)
class TopTexts:
    """The tokens at which each neuron of one model is most active, at most one of a document in a block.

    Attributes:
        file: The name of its file in a folder.
        ids: Language code to int64 `[blocks, block]`, the text in tokens.
        places: int64 `[kept, layers, neurons]`, a token of all texts in the order of their codes, the highest
            activation first; -1 where a neuron was active in fewer documents.
        values: float32 `[kept, layers, neurons]`, the activation there; 0 where there is none.
        metadata: Where they come from; the keys are those of statistics.
    """

    file: ClassVar[str] = TOP_TEXTS_NAME

    ids: Mapping[str, torch.Tensor]
    places: torch.Tensor
    values: torch.Tensor
    metadata: Mapping[str, Any]

    @property
    def languages(self) -> tuple[str, ...]:
        """Language codes, sorted."""
        return tuple(sorted(self.ids))

    @property
    def shape(self) -> tuple[int, int]:
        """`(layers, neurons)`."""
        _, layers, neurons = self.places.shape
        return layers, neurons

    @property
    def licence(self) -> str | None:
        """Under which terms the text may be shown; None where that is not known."""
        return self.metadata.get("licence")

    def texts(self, tokenizer: Tokenizer, layer: int, neuron: int) -> tuple[TopText, ...]:
        """The texts around the tokens at which a neuron is most active, highest activation first.

        None reaches beyond its document or its block.

        Args:
            tokenizer: Of the model.
            layer: From 0.
            neuron: Its place in the layer, from 0.
        """
        end, found = document_end(tokenizer), []
        column = self.places[:, layer, neuron].tolist(), self.values[:, layer, neuron].tolist()
        for place, value in zip(*column, strict=True):
            if place < 0:
                break
            for code in self.languages:
                if place < self.ids[code].numel():
                    break
                place -= self.ids[code].numel()
            block = self.ids[code].shape[1]
            row, at = self.ids[code][place // block].tolist(), place % block
            first = max((end_ + 1 for end_ in range(at) if row[end_] == end), default=0)
            last = next((end_ for end_ in range(at + 1, block) if row[end_] == end), block)
            window = slice(max(first, at - TOKENS_BEFORE), min(last, at + 1 + TOKENS_AFTER))
            found.append(TopText(code, value, *_parted(tokenizer, row[window], at - window.start)))
        return tuple(found)

    def check(self, model: nn.Module) -> None:
        """Refuses a model of another shape; warns when it is another model or revision.

        Raises:
            MaskMismatch: The model has another number of layers or neurons; names both.
        """
        shape, given = activation_sites(model).shape, identity(model)  # type: ignore[arg-type]
        if shape != self.shape:
            name = self.metadata.get("model", "an unnamed model")
            mine, theirs = (f"{layers} layers x {width} neurons" for layers, width in (self.shape, shape))
            raise MaskMismatch(f"The top texts are of {name} with {mine}, but {given.model} has {theirs}.")
        warn_of_another("The top texts were", self.metadata, given)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `top_texts.safetensors`; the same texts give the same bytes."""
        total = sum(ids.numel() for ids in self.ids.values())
        halved = self.values.half()
        tensors = {f"ids.{code}": self.ids[code].int() for code in self.languages}
        tensors["places"] = self.places.to(torch.int16 if total <= torch.iinfo(torch.int16).max else torch.int32)
        tensors["values"] = halved if halved.isfinite().all() else self.values.float()
        save_tensors(path, tensors, {**self.metadata, "kind": "top_texts", "format": FORMAT_VERSION})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TopTexts:
        """Reads `top_texts.safetensors`.

        Raises:
            BadFile: It is missing or damaged, or its tensors do not fit each other.
        """
        tensors, metadata = load_tensors(path, "top_texts")
        check_metadata(metadata, str(path))
        warn_of_newer(metadata, str(path), FORMAT_VERSION)
        damaged = BadFile(f"The top texts in {str(path)!r} do not fit each other. Make them with --top-texts.")
        codes = metadata.get("tokens")
        if not codes or not {"places", "values", *(f"ids.{code}" for code in codes)} <= tensors.keys():
            raise damaged
        ids, places, values = {code: tensors[f"ids.{code}"] for code in codes}, tensors["places"], tensors["values"]
        if any(
            text.dim() != 2 or text.dtype not in INTEGERS or not text.numel() or text.min() < 0 for text in ids.values()
        ):
            raise damaged
        if places.dim() != 3 or places.dtype not in INTEGERS or not places.numel() or values.shape != places.shape:
            raise damaged
        if places.min() < -1 or places.max() >= sum(text.numel() for text in ids.values()):
            raise damaged
        if values.dtype not in (torch.float16, torch.float32) or not values.isfinite().all():
            raise damaged
        return cls({code: text.long() for code, text in ids.items()}, places.long(), values.float(), metadata)


def top_texts_beside(mask: str | os.PathLike[str]) -> TopTexts | None:
    """The top texts that lie beside a mask, or None where there are none.

    Args:
        mask: A mask's folder or file.

    Raises:
        BadFile: They are damaged.
    """
    folder = Path(mask) if Path(mask).is_dir() else Path(mask).parent
    file = folder / TOP_TEXTS_NAME
    return TopTexts.load(file) if file.is_file() else None


def _parted(tokenizer: Tokenizer, ids: list[int], at: int) -> tuple[str, str, str]:
    """The text before one of some tokens, of it and after it; a character that is split over tokens goes with it."""
    first, last = at, at + 1

    def text(of: list[int]) -> str:
        return str(tokenizer.decode(of, clean_up_tokenization_spaces=False))

    while first > 0 and text(ids[first:last]).startswith("�"):
        first -= 1
    while last < len(ids) and text(ids[first:last]).endswith("�"):
        last += 1
    before, through, whole = text(ids[:first]), text(ids[:last]), text(ids)
    return before.lstrip("�"), through[len(before) :], whole[len(through) :].rstrip("�")
