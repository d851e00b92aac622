"""Means of the residual stream: where each language lies in it, layer by layer.

What `lape.generation.residual` moves a text with. They are values of one model, as statistics are.

File `residuals.safetensors`, per language code: `sum.<code>` float32 `[layers, dimensions]`, the stream after each
layer summed over all tokens, and `norm_sum.<code>` float32 `[layers]`, its Euclidean norm summed over them. For each
layer at which it was kept `covariance.<layer>` float32 `[dimensions, dimensions]`, of the tokens around the mean of
their language, over all languages. One metadata key `lape` with the keys of statistics
(`lape/recording/statistics.py`) and `kind` "residuals".
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from lape.errors import BadFile, MaskMismatch, unknown_label
from lape.models.identity import identity, warn_of_another
from lape.models.residual import residual_stream
from lape.recording.recorded import recording_text
from lape.storage.files import FORMAT_VERSION, load_tensors, save_tensors
from lape.storage.metadata import check_metadata, warn_of_newer
from lape.storage.names import NUMBERS, RESIDUALS_NAME

COVARIANCE = re.compile(r"covariance\.(0|[1-9][0-9]{0,4})")


@dataclass(frozen=True, eq=False)
class ResidualMeans:
    """Sums of the residual stream of one model over each language's tokens.

    Attributes:
        file: The name of its file in a folder.
        sum: Language code to float64 `[layers, dimensions]`, of the stream after each layer.
        norm_sum: Language code to float64 `[layers]`, of its Euclidean norm.
        tokens: Language code to number of tokens.
        metadata: Where they come from; the keys are those of statistics.
        covariances: Layer to float64 `[dimensions, dimensions]`: the covariance of tokens around the mean of their
            language, over all languages' tokens; only of layers at which it was kept.
    """

    file: ClassVar[str] = RESIDUALS_NAME

    sum: Mapping[str, torch.Tensor]
    norm_sum: Mapping[str, torch.Tensor]
    tokens: Mapping[str, int]
    metadata: Mapping[str, Any]
    covariances: Mapping[int, torch.Tensor] = field(default_factory=dict)

    def __repr__(self) -> str:
        return recording_text(self, "dimensions")

    @property
    def languages(self) -> tuple[str, ...]:
        """Language codes, sorted."""
        return tuple(sorted(self.tokens))

    @property
    def shape(self) -> tuple[int, int]:
        """`(layers, dimensions)`."""
        layers, dimensions = next(iter(self.sum.values())).shape
        return layers, dimensions

    def mean(self, languages: Sequence[str] = ()) -> torch.Tensor:
        """The mean over some languages' means, float64 `[layers, dimensions]`; no language stands for all.

        Every language counts the same, however many tokens it has: what all share is then their content (ReCoVeR,
        arXiv 2509.14814).
        """
        means = [self.sum[self.known(code)] / self.tokens[code] for code in languages or self.languages]
        return torch.stack(means).mean(0)

    def norm(self, languages: Sequence[str] = ()) -> torch.Tensor:
        """The mean length of the stream after each layer over the same, float64 `[layers]`."""
        norms = [self.norm_sum[self.known(code)] / self.tokens[code] for code in languages or self.languages]
        return torch.stack(norms).mean(0)

    def known(self, language: str) -> str:
        """Returns a language code, or raises when there are no means of it."""
        if language not in self.tokens:
            raise unknown_label("language in these residual means", language, self.tokens)
        return language

    def check(self, model: nn.Module) -> None:
        """Refuses a model of another shape; warns when it is another model or revision.

        Raises:
            MaskMismatch: The model has another number of layers or dimensions; names both.
        """
        shape, given = residual_stream(model).shape, identity(model)  # type: ignore[arg-type]
        if shape != self.shape:
            mine, theirs = (f"{layers} layers x {width} dimensions" for layers, width in (self.shape, shape))
            name = self.metadata.get("model", "an unnamed model")
            raise MaskMismatch(f"The residual means are of {name} with {mine}, but {given.model} has {theirs}.")
        warn_of_another("The residual means were", self.metadata, given)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `residuals.safetensors`; the same means give the same bytes."""
        tensors = {f"covariance.{layer}": found.float() for layer, found in self.covariances.items()}
        for code in self.languages:
            tensors[f"sum.{code}"] = self.sum[code].float()
            tensors[f"norm_sum.{code}"] = self.norm_sum[code].float()
        save_tensors(path, tensors, {**self.metadata, "kind": "residuals", "format": FORMAT_VERSION})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ResidualMeans:
        """Reads `residuals.safetensors`.

        Raises:
            BadFile: It is missing or damaged, or its tensors do not fit each other.
        """
        tensors, metadata = load_tensors(path, "residuals")
        check_metadata(metadata, str(path))
        warn_of_newer(metadata, str(path), FORMAT_VERSION)
        tokens = metadata.get("tokens")
        if not tokens or not all(tokens.values()):
            raise BadFile(f"{str(path)!r} does not say how many tokens were read.")
        needed = [f"{kind}.{code}" for code in tokens for kind in ("sum", "norm_sum")]
        if missing := [name for name in needed if name not in tensors]:
            raise BadFile(f"{str(path)!r} lacks the tensor {missing[0]!r}.")
        layered = {int(found[1]): name for name in tensors if (found := COVARIANCE.fullmatch(name))}
        layers, width = (*tensors[f"sum.{next(iter(tokens))}"].shape, 0, 0)[:2]
        expected: dict[str, tuple[int, ...]] = {f"sum.{code}": (layers, width) for code in tokens}
        expected |= {f"norm_sum.{code}": (layers,) for code in tokens}
        expected |= dict.fromkeys(layered.values(), (width, width))
        for name, shape in expected.items():
            tensor = tensors[name]
            if tensor.dtype not in NUMBERS or tuple(tensor.shape) != shape or not tensor.numel():
                raise BadFile(f"{str(path)!r} holds the tensor {name!r} in another form than {list(shape)} numbers.")
            if not tensor.isfinite().all():
                raise BadFile(f"{str(path)!r} holds numbers that are not finite in {name!r}.")
        if beyond := [layer for layer in layered if layer >= layers]:
            raise BadFile(f"{str(path)!r} holds the covariance of layer {beyond[0]}, but has only {layers} layers.")
        return cls(
            {code: tensors[f"sum.{code}"].double() for code in tokens},
            {code: tensors[f"norm_sum.{code}"].double() for code in tokens},
            tokens,
            metadata,
            {layer: tensors[layered[layer]].double() for layer in sorted(layered)},
        )


def residuals_beside(mask: str | os.PathLike[str]) -> ResidualMeans | None:
    """The means of the residual stream that lie beside a mask, or None where there are none.

    Args:
        mask: A mask's folder or file.

    Raises:
        BadFile: They are damaged.
    """
    folder = Path(mask) if Path(mask).is_dir() else Path(mask).parent
    file = folder / RESIDUALS_NAME
    return ResidualMeans.load(file) if file.is_file() else None
