"""Histograms of every neuron's activation in each language.

File `histograms.safetensors`: `low` and `high` float32 `[layers, neurons]`, the range that each neuron's bins divide
evenly; per language code `counts.<code>` `[layers, neurons, bins + 2]` in the narrower of uint16 and int32 that holds
the tokens, the first and the last of what lies below and above the range, `mean.<code>` and `deviation.<code>` float32
`[layers, neurons]`, the activation's mean and standard deviation, and `active.<code>` int32, the tokens at which it was
above 0. One metadata key `lape` with the keys of statistics (`lape/recording/statistics.py`) and `kind` "histograms".
With 64 bins the counts have 132 bytes a neuron and language of up to 65,535 tokens, twice that of more: 58 or 117 MB
for Gemma 3 270M in 12 languages.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from lape.errors import BadFile
from lape.recording.recorded import Recorded
from lape.storage.files import FORMAT_VERSION, load_tensors, save_tensors
from lape.storage.metadata import check_metadata, warn_of_newer
from lape.storage.names import HISTOGRAMS_NAME, NUMBERS

BINNED = (torch.uint16, torch.int32)  # types of counts on disk, the narrowest first
KINDS = ("counts", "means", "deviations", "active")
KEYS = {"counts": "counts", "means": "mean", "deviations": "deviation", "active": "active"}


@dataclass(frozen=True, eq=False)
class ActivationHistograms(Recorded):
    """How the activation of every neuron of one model is distributed in each language.

    Attributes:
        counts: Language code to int32 `[layers, neurons, bins + 2]`: tokens whose activation lies below the range, in
            each bin, and above it or at its upper end.
        low: float32 `[layers, neurons]`, the lower end of each neuron's range, the same in every language.
        high: The same, the upper end.
        means: Language code to float64 `[layers, neurons]`, the mean activation over the tokens that reached the
            neuron.
        deviations: The same, its standard deviation (of these tokens: divided by their number).
        active: Language code to int64 `[layers, neurons]`, tokens at which the activation was above 0.
        tokens: Language code to number of tokens read.
        metadata: Where they come from; the keys are those of statistics.
    """

    what: ClassVar[str] = "activation histograms"
    file: ClassVar[str] = HISTOGRAMS_NAME
    command: ClassVar[str] = "lape record --histograms"

    counts: Mapping[str, torch.Tensor]
    low: torch.Tensor
    high: torch.Tensor
    means: Mapping[str, torch.Tensor]
    deviations: Mapping[str, torch.Tensor]
    active: Mapping[str, torch.Tensor]
    tokens: Mapping[str, int]
    metadata: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """`(layers, neurons)`."""
        layers, neurons = self.low.shape
        return layers, neurons

    def mean(self, language: str) -> torch.Tensor:
        """Mean activation over the tokens of a language that reached each neuron: float64 `[layers, neurons]`."""
        return self.means[self.known(language)]

    def probability(self, language: str) -> torch.Tensor:
        """Share of the tokens that reached each neuron at which it was active; 0 where there were none."""
        return self.active[self.known(language)].double() / self.counts[language].sum(-1).clamp(min=1)

    def quantile(self, language: str, share: float, neurons: torch.Tensor | slice) -> torch.Tensor:
        """See `Recorded`; of tokens, those in a bin being spread over it evenly.

        Activations beyond a neuron's range are taken to lie at its end, three deviations from its mean over all
        languages. 0 for a neuron that no token reached.
        """
        counts = self.counts[self.known(language)].flatten(0, 1)[neurons].double()
        low, high = (end.flatten()[neurons].double() for end in (self.low, self.high))
        upto = counts.cumsum(-1)
        wanted = (share * upto[:, -1:]).round(decimals=6)  # 0.7 x 10 is a little above 7
        at = ((upto < wanted) | (upto == 0)).sum(-1, keepdim=True).clamp(max=counts.shape[-1] - 1)
        inside = counts.gather(1, at)
        place = at - 1 + (wanted - upto.gather(1, at) + inside) / inside.clamp(min=1)
        bins = counts.shape[-1] - 2
        found = low + (high - low) * place.squeeze(1).clamp(0, bins) / bins
        return found.where(upto[:, -1] > 0, 0.0)

    def shares(self, language: str, neurons: slice) -> torch.Tensor:
        """The share of a language's tokens in each bin, of some neurons by flat index: float64 `[neurons, bins + 2]`.

        Zeros for a neuron that no token reached.
        """
        counts = self.counts[self.known(language)].flatten(0, 1)[neurons].double()
        return counts / counts.sum(-1, keepdim=True).clamp(min=1)

    def of_layers(self, layers: Sequence[int]) -> ActivationHistograms:
        """The same of some layers, in this order; the metadata stays that of all."""
        rows = list(layers)
        if rows == list(range(self.shape[0])):
            return self
        kept: dict[str, Any] = {
            name: {code: tensor[rows] for code, tensor in getattr(self, name).items()} for name in KINDS
        }
        return replace(self, low=self.low[rows], high=self.high[rows], **kept)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `histograms.safetensors`; the same histograms give the same bytes."""
        tensors = {"low": self.low, "high": self.high}
        for code in sorted(self.tokens):
            binned = next(kind for kind in BINNED if self.tokens[code] <= torch.iinfo(kind).max)
            tensors[f"counts.{code}"] = self.counts[code].to(binned)
            tensors[f"mean.{code}"] = self.means[code].float()
            tensors[f"deviation.{code}"] = self.deviations[code].float()
            tensors[f"active.{code}"] = self.active[code].int()
        described = {"kind": "histograms", "format": FORMAT_VERSION, "tokens": dict(self.tokens)}
        save_tensors(path, tensors, {**self.metadata, **described})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ActivationHistograms:
        """Reads `histograms.safetensors`.

        Raises:
            BadFile: It is missing or damaged, or its tensors do not fit each other.
        """
        tensors, metadata = load_tensors(path, "histograms")
        check_metadata(metadata, str(path))
        warn_of_newer(metadata, str(path), FORMAT_VERSION)
        damaged = BadFile(f"The histograms in {str(path)!r} do not fit each other. Make them with {cls.command}.")
        tokens = metadata.get("tokens")
        if not tokens or not all(tokens.values()):
            raise damaged
        needed = {f"{KEYS[kind]}.{code}": kind for code in tokens for kind in KINDS}
        if not {"low", "high", *needed} <= tensors.keys():
            raise damaged
        shape, binned = tensors["low"].shape, tensors[f"counts.{next(iter(tokens))}"].shape
        if len(shape) != 2 or 0 in shape or binned[:2] != shape or len(binned) != 3 or binned[2] < 3:
            raise damaged
        for name in ("low", "high", *needed):
            tensor, expected = tensors[name], binned if needed.get(name) == "counts" else shape
            if tensor.dtype not in (*NUMBERS, *BINNED) or tensor.shape != expected:
                raise damaged
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise damaged
        found = {kind: {code: tensors[f"{KEYS[kind]}.{code}"] for code in tokens} for kind in KINDS}
        counts = {code: counted.int() for code, counted in found["counts"].items()}
        active = {code: counted.long() for code, counted in found["active"].items()}
        for code, counted in counts.items():
            reached = counted.sum(-1)
            if min(counted.min(), active[code].min()) < 0 or reached.max() > tokens[code]:
                raise damaged
            if (active[code] > reached).any():
                raise damaged
        if any(layer >= shape[0] for layer in metadata.get("layers", ())):
            raise damaged
        return cls(
            counts,
            tensors["low"].float(),
            tensors["high"].float(),
            {code: mean.double() for code, mean in found["means"].items()},
            {code: deviation.double() for code, deviation in found["deviations"].items()},
            active,
            tokens,
            metadata,
        )
