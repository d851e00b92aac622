"""Relevance: how much each neuron counts for what the model predicts of text in each language, block by block.

The relevance of a neuron in a block is the sum, over the block's tokens, of its activation times the gradient of the
model's logits for the tokens that come next (their mean over the block). The gradient is that of the rules in
`lape/models/backward_rules.py` (`Relevance`), which makes it the neuron's share of those logits, or the plain one
(`GradientRelevance`).

File `relevance.safetensors`, or `gradient.safetensors` of the plain one, per language code and neuron float32
`[layers, neurons]`: `relevance.<code>`, the mean over blocks; `kurtosis.<code>`, the excess kurtosis over blocks; and
`sum.<code>`, the activation summed over all tokens; int32 `active.<code>`, the tokens at which it was above 0. One
metadata key `lape` with the keys of statistics (`lape/recording/statistics.py`) and `kind` "relevance" or "gradient".
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch

from lape.errors import BadFile
from lape.recording.recorded import Recorded
from lape.storage.files import FORMAT_VERSION, load_tensors, save_tensors
from lape.storage.metadata import check_metadata, warn_of_newer
from lape.storage.names import GRADIENT_NAME, INTEGERS, NUMBERS, RELEVANCE_NAME

COLUMNS = ("relevance", "kurtosis", "sum", "active")


@dataclass(frozen=True, eq=False)
class BlockRelevance(Recorded):
    """How much each neuron of one model counts for its own predictions, per language; see the two kinds below.

    Attributes:
        relevance: Language code to float64 `[layers, neurons]`: mean over the language's blocks, in logits per
            predicted token. Positive where the neuron speaks for the tokens that come, negative where against them.
        kurtosis: The same: excess kurtosis over the blocks, without bias; 0 for one that is the same in all.
        sum: The same: the activation summed over all tokens.
        active: Language code to int64 `[layers, neurons]`: tokens at which the activation was above 0.
        tokens: Language code to number of tokens.
        metadata: Where they come from; the keys are those of statistics.
    """

    kind: ClassVar[str]

    relevance: Mapping[str, torch.Tensor]
    kurtosis: Mapping[str, torch.Tensor]
    sum: Mapping[str, torch.Tensor]
    active: Mapping[str, torch.Tensor]
    tokens: Mapping[str, int]
    metadata: Mapping[str, Any]

    @property
    def shape(self) -> tuple[int, int]:
        """`(layers, neurons)`."""
        layers, neurons = next(iter(self.sum.values())).shape
        return layers, neurons

    def mean(self, language: str) -> torch.Tensor:
        """Mean activation over the tokens of a language: float64 `[layers, neurons]`."""
        return self.sum[self.known(language)] / self.tokens[language]

    def probability(self, language: str) -> torch.Tensor:
        """Share of a language's tokens at which each neuron was active: float64 `[layers, neurons]`."""
        return self.active[self.known(language)].double() / self.tokens[language]

    def blocks(self, language: str) -> int:
        """Blocks of a language."""
        return self.tokens[self.known(language)] // int(self.metadata["block"])

    def of_layers(self, layers: Sequence[int]) -> Self:
        """The same of some layers, in this order; the metadata stays that of all."""
        rows = list(layers)
        return replace(
            self, **{name: {code: found[rows] for code, found in getattr(self, name).items()} for name in COLUMNS}
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file; the same relevance gives the same bytes."""
        tensors = {f"{name}.{code}": getattr(self, name)[code].float() for code in self.tokens for name in COLUMNS}
        tensors |= {f"active.{code}": counts.int() for code, counts in self.active.items()}
        described = {"kind": self.kind, "format": FORMAT_VERSION, "tokens": dict(self.tokens)}
        save_tensors(path, tensors, {**self.metadata, **described})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a file of this kind.

        Raises:
            BadFile: It is missing or damaged, or its tensors do not fit each other.
        """
        tensors, metadata = load_tensors(path, cls.kind)
        check_metadata(metadata, str(path))
        warn_of_newer(metadata, str(path), FORMAT_VERSION)
        tokens = metadata.get("tokens")
        if not tokens or not all(tokens.values()) or not metadata.get("block"):
            raise BadFile(f"{str(path)!r} does not say how many tokens were read, or in which blocks.")
        shape = tensors.get(f"sum.{next(iter(tokens))}", torch.empty(0)).shape
        for name in (f"{column}.{code}" for code in tokens for column in COLUMNS):
            if name not in tensors:
                raise BadFile(f"{str(path)!r} lacks the tensor {name!r}.")
            tensor = tensors[name]
            if tensor.dtype not in NUMBERS or tensor.shape != shape or len(shape) != 2 or not tensor.numel():
                raise BadFile(f"{str(path)!r} holds the tensor {name!r} in another form than [layers, neurons].")
            if not tensor.isfinite().all():
                raise BadFile(f"{str(path)!r} holds numbers that are not finite in {name!r}.")
        for code, most in tokens.items():
            counts = tensors[f"active.{code}"]
            if counts.dtype not in INTEGERS or counts.min() < 0 or counts.max() > most:
                raise BadFile(f"{str(path)!r} counts a neuron active more often than there were tokens.")
        if any(layer >= shape[0] for layer in metadata.get("layers", ())):
            raise BadFile(f"{str(path)!r} names layers that it has no relevance of.")
        columns = ({code: tensors[f"{name}.{code}"].double() for code in tokens} for name in COLUMNS[:-1])
        return cls(*columns, {code: tensors[f"active.{code}"].long() for code in tokens}, tokens, metadata)


class Relevance(BlockRelevance):
    """By the rules of layer-wise relevance propagation."""

    what: ClassVar[str] = "relevances"
    file: ClassVar[str] = RELEVANCE_NAME
    command: ClassVar[str] = "lape record --relevance"
    kind: ClassVar[str] = "relevance"


class GradientRelevance(BlockRelevance):
    """By plain gradients."""

    what: ClassVar[str] = "gradients"
    file: ClassVar[str] = GRADIENT_NAME
    command: ClassVar[str] = "lape record --gradient"
    kind: ClassVar[str] = "gradient"
