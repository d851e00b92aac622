"""Move the residual stream towards a language: what the literature does in the place of switching neurons.

Every way takes the means of `lape.recording.residual_means`, and moves from the mean of the languages that are off to
that of the one that is on. Strengths are relative to the stream as it is (raw norms), since its length differs between
models and grows from layer to layer: 1 is the way from one mean to the other.

- `diffmean` adds the difference of the means, at one layer (CLaS-Bench, arXiv 2601.08331).
- `dimensions` overwrites the dimensions in which the means after the last layer differ most with what they are there
  in the language that is on, brought to the length of the stream at the edited layer (arXiv 2510.07213, whose factors
  were chosen for one layer of one model each, and whose outliers come from BOS, which is not counted here).
- `recover` adds the difference at every layer, of n layers an nth of it at each, and gives the stream its length back
  (ReCoVeR, arXiv 2509.14814, which adds a vector of length 1 at each instead, and leaves the first token alone).
- `lda` adds the part of the difference that lies in the space of linear discriminant analysis, at the middle layer
  (Language Surgery, arXiv 2506.12450; here of tokens, with all components and back in the stream's own scale).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

import torch

from lape.errors import LapeError, unknown_label
from lape.generation.edits import Positions, check_edit, check_layers
from lape.recording.residual import middle_layer
from lape.recording.residual_means import ResidualMeans
from lape.storage.brief import brief

DEPTH = 0.6  # of the layer that is edited by ways that edit one
DIMENSIONS = 400


@dataclass(frozen=True)
class StreamEdit:
    """What is done to the stream after one layer, at every token.

    Attributes:
        shift: float32 `[dimensions]`, which is added.
        kept: bool `[dimensions]`, False where the stream is 0 before; None keeps all.
        restores_norm: Whether every token has its Euclidean norm afterwards that it had before.
    """

    shift: torch.Tensor
    kept: torch.Tensor | None = None
    restores_norm: bool = False

    @property
    def count(self) -> int:
        """How many dimensions it changes."""
        moved = self.shift != 0 if self.kept is None else (self.shift != 0) | ~self.kept
        return int(moved.sum())


@dataclass(frozen=True)
class ResidualIntervention:
    """A move of the residual stream towards a language.

    Attributes:
        means: Where the languages lie in the stream.
        on: Language to move to.
        off: Language or languages to move from; none is the mean over all languages of `means`, their content.
        method: One of `RESIDUAL_METHODS`.
        strength: 1 is the whole way.
        layers: After which the stream is edited; None is where the method does so.
        positions: `all`, only those of the `prompt` (the pass that begins with an empty key-value cache),
            or only those `generated` after it.
        dimensions: How many `dimensions` overwrites.

    Raises:
        UnknownLabel: A language, method or position does not exist; names the near ones.
        LapeError: The model has no such layers or not so many dimensions, a number is out of range, there is nothing
            to move from, or `lda` is to edit a layer whose covariance the means do not have.
    """

    __repr__ = brief

    means: ResidualMeans
    _: KW_ONLY
    on: str
    off: str | Sequence[str] = ()
    method: str = "diffmean"
    strength: float = 1.0
    layers: range | None = None
    positions: Positions = "all"
    dimensions: int = DIMENSIONS

    def __post_init__(self) -> None:
        off = (self.off,) if isinstance(self.off, str) else tuple(self.off)
        object.__setattr__(self, "off", off)
        for code in (self.on, *off):
            self.means.known(code)
        if {self.on} == set(off or self.means.languages):
            raise LapeError(f"There is nothing to move from but {self.on!r} itself; name another language in off.")
        if self.method not in RESIDUAL_METHODS:
            raise unknown_label("way of moving the residual stream", self.method, RESIDUAL_METHODS)
        check_edit(self.positions, strength=self.strength)
        check_layers(self.layers, self.means.shape[0])
        if self.method == "dimensions" and not 1 <= self.dimensions <= self.means.shape[1]:
            raise LapeError(f"dimensions must be from 1 to {self.means.shape[1]}, not {self.dimensions}.")
        if self.method == "lda" and (missing := set(self.edited_layers) - set(self.means.covariances)):
            raise LapeError(
                f"The means have no covariance of layers {sorted(missing)}, which 'lda' needs. Record them with "
                "covariance_layers, or name layers that have one."
            )

    @property
    def edited_layers(self) -> range:
        """The layers after which the stream is edited."""
        return RESIDUAL_METHODS[self.method].layers(self.means.shape[0]) if self.layers is None else self.layers

    @property
    def difference(self) -> torch.Tensor:
        """From the mean of the languages that are off to that of the one that is on, float64 `[layers, dimensions]`."""
        return self.means.mean([self.on]) - self.means.mean(self.off)

    @property
    def count(self) -> int:
        """How many dimensions are changed, over all layers."""
        return sum(edit.count for edit in self.edits().values())

    def edits(self) -> Mapping[int, StreamEdit]:
        """What is done after each edited layer; those at which nothing changes are left out."""
        edit = RESIDUAL_METHODS[self.method].edit
        found = {layer: edit(self, layer) for layer in self.edited_layers}
        return {layer: edit for layer, edit in found.items() if edit.count}


@dataclass(frozen=True)
class ResidualMethod:
    """A way of moving the residual stream.

    Attributes:
        layers: Number of layers of the model to those that are edited unless somebody says otherwise.
        edit: What is done after one layer.
        strength: That the page takes. To keep the norm shortens the way, so that `recover` takes more than 1; at 1.25
            it steers Gemma 3 270M as often as LAPE's neurons at less cost (dev half of the openings in `lape bench`).
    """

    layers: Callable[[int], range]
    edit: Callable[[ResidualIntervention, int], StreamEdit]
    strength: float = 1.0


def diffmean(entry: ResidualIntervention, layer: int) -> StreamEdit:
    """Adds the difference of the means."""
    return StreamEdit((entry.strength * entry.difference[layer]).float())


def recover(entry: ResidualIntervention, layer: int) -> StreamEdit:
    """Adds the layer's part of the difference of the means, and restores the norm.

    With nothing off it is the language's vector beside the content that all languages share. From one language to
    another the content is in both vectors, and cancels out.
    """
    part = entry.strength / len(entry.edited_layers)
    return StreamEdit((part * entry.difference[layer]).float(), restores_norm=True)


def dimensions(entry: ResidualIntervention, layer: int) -> StreamEdit:
    """Overwrites the dimensions in which the means after the last layer differ most; ties go to the lower ones."""
    order = entry.difference[-1].abs().sort(descending=True, stable=True).indices
    chosen = order[: entry.dimensions]
    length = entry.means.norm([entry.on])
    target = entry.means.mean([entry.on])[-1] * (entry.strength * length[layer] / length[-1])
    kept = torch.ones(len(target), dtype=torch.bool)
    kept[chosen] = False
    return StreamEdit(target.masked_fill(kept, 0).float(), kept)


def lda(entry: ResidualIntervention, layer: int) -> StreamEdit:
    """Adds the part of the difference of the means that lies in the space of linear discriminant analysis.

    Dimensions are divided by their standard deviation over all tokens, as the method does before. The discriminants
    span what the means' differences from each other become under the inverse of the covariance within languages.
    """
    means, within = entry.means, entry.means.covariances[layer]
    of_language = torch.stack([means.mean([code])[layer] for code in means.languages])
    tokens = torch.tensor([means.tokens[code] for code in means.languages], dtype=torch.float64)[:, None]
    around = of_language - (tokens * of_language).sum(0) / tokens.sum()
    deviation = (within.diagonal() + (tokens * around**2).sum(0) / tokens.sum()).sqrt()
    deviation = deviation.masked_fill(deviation == 0, 1)
    scaled = within / torch.outer(deviation, deviation)
    # sklearn leaves out directions whose deviation is below 1e-4 of the largest.
    inverse = torch.linalg.pinv(scaled, hermitian=True, rtol=1e-8)
    apart = (of_language[1:] - of_language[0]) / deviation
    basis = torch.linalg.svd(inverse @ apart.T, full_matrices=False).U  # of the discriminants
    shift = basis @ (basis.T @ (entry.difference[layer] / deviation)) * deviation
    return StreamEdit((entry.strength * shift).float())


def one_layer(layers: int) -> range:
    """The layer at 0.6 of the depth."""
    layer = min(round(DEPTH * layers), layers - 1)
    return range(layer, layer + 1)


def the_middle(layers: int) -> range:
    """The layer that ends the first half."""
    return range(middle_layer(layers), middle_layer(layers) + 1)


RESIDUAL_METHODS: Mapping[str, ResidualMethod] = {
    "diffmean": ResidualMethod(one_layer, diffmean),
    "dimensions": ResidualMethod(one_layer, dimensions),
    "recover": ResidualMethod(range, recover, strength=1.25),
    "lda": ResidualMethod(the_middle, lda),
}
