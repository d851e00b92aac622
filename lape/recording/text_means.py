"""Mean activations of every neuron over each of some hundred texts in each language.

File `texts.safetensors`: per language code `means.<code>` float16 `[texts, layers, neurons]` (float32 where one is
above 65,504), and `active.<code>` int32 `[layers, neurons]`, the tokens at which the activation was above 0. One
metadata key `lape` with the keys of statistics (`lape/recording/statistics.py`) and `kind` "texts"; its `block` is the
tokens of a text, of the longest where they differ. The means have 2 bytes a text and neuron: 88 MB for Gemma 3 270M,
100 texts in each of 12 languages.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from lape.errors import BadFile
from lape.recording.recorded import Recorded
from lape.storage.files import FORMAT_VERSION, load_tensors, save_tensors
from lape.storage.metadata import check_metadata, warn_of_newer
from lape.storage.names import INTEGERS, TEXTS_NAME


@dataclass(frozen=True, eq=False, repr=False)
class TextMeans(Recorded):
    """Mean activations of every neuron of one model over single texts.

    Attributes:
        means: Language code to float16 or float32 `[texts, layers, neurons]`, over the tokens of each text.
        active: Language code to int64 `[layers, neurons]`, tokens at which the activation was above 0.
        tokens: Language code to number of tokens read.
        metadata: Where they come from; the keys are those of statistics.
    """

    what: ClassVar[str] = "means of texts"
    file: ClassVar[str] = TEXTS_NAME
    command: ClassVar[str] = "lape record --texts"

    means: Mapping[str, torch.Tensor]
    active: Mapping[str, torch.Tensor]
    tokens: Mapping[str, int]
    metadata: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """`(layers, neurons)`."""
        _, layers, neurons = next(iter(self.means.values())).shape
        return layers, neurons

    def mean(self, language: str) -> torch.Tensor:
        """The median of each neuron's means over a language's texts, between the middle two of an even number.

        It is what the expert neurons of Kojima et al. (NAACL 2024) are switched on with: float64 `[layers, neurons]`.
        """
        return self.quantile(language, 0.5, slice(None)).view(self.shape)

    def quantile(self, language: str, share: float, neurons: torch.Tensor | slice) -> torch.Tensor:
        """See `Recorded`; of texts, interpolated between the nearest two."""
        ordered = self.means[self.known(language)].flatten(1)[:, neurons].sort(dim=0).values
        place = share * (len(ordered) - 1)
        below, above = (ordered[round_(place)].double() for round_ in (math.floor, math.ceil))
        return below + (place - math.floor(place)) * (above - below)

    def probability(self, language: str) -> torch.Tensor:
        """Share of a language's tokens at which each neuron was active, routed to it or not."""
        return self.active[self.known(language)].double() / self.tokens[language]

    def of_layers(self, layers: Sequence[int]) -> TextMeans:
        """The same of some layers, in this order; the metadata stays that of all."""
        rows = list(layers)
        if rows == list(range(self.shape[0])):
            return self
        means = {code: tensor[:, rows] for code, tensor in self.means.items()}
        return replace(self, means=means, active={code: tensor[rows] for code, tensor in self.active.items()})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `texts.safetensors`; the same means give the same bytes."""
        tensors = {f"means.{code}": self.means[code] for code in sorted(self.tokens)}
        tensors |= {f"active.{code}": self.active[code].int() for code in sorted(self.tokens)}
        described = {"kind": "texts", "format": FORMAT_VERSION, "tokens": dict(self.tokens)}
        save_tensors(path, tensors, {**self.metadata, **described})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TextMeans:
        """Reads `texts.safetensors`.

        Raises:
            BadFile: It is missing or damaged, or its tensors do not fit each other.
        """
        tensors, metadata = load_tensors(path, "texts")
        check_metadata(metadata, str(path))
        warn_of_newer(metadata, str(path), FORMAT_VERSION)
        damaged = BadFile(f"The means of texts in {str(path)!r} do not fit each other. Make them with {cls.command}.")
        tokens = metadata.get("tokens")
        if not tokens or not all(tokens.values()):
            raise damaged
        if not {f"{kind}.{code}" for code in tokens for kind in ("means", "active")} <= tensors.keys():
            raise damaged
        means = {code: tensors[f"means.{code}"] for code in tokens}
        shape = next(iter(means.values())).shape[1:]
        for code, found in means.items():
            active = tensors[f"active.{code}"]
            if found.dim() != 3 or found.shape[1:] != shape or 0 in found.shape or active.shape != shape:
                raise damaged
            if found.dtype not in (torch.float16, torch.float32) or not found.isfinite().all():
                raise damaged
            if active.dtype not in INTEGERS or active.min() < 0 or active.max() > tokens[code]:
                raise damaged
        if any(layer >= shape[0] for layer in metadata.get("layers", ())):
            raise damaged
        return cls(means, {code: tensors[f"active.{code}"].long() for code in tokens}, tokens, metadata)
