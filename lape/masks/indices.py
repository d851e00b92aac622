"""Neurons as tensors: `[n, 2]` pairs of (layer, neuron), and the flat indices they are computed with.

A flat index is layer * neurons per layer + neuron.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch

from lape.errors import BadFile, LapeError
from lape.storage.names import INTEGERS, types_text


def pairs_of(flat: torch.Tensor, width: int) -> torch.Tensor:
    """Flat indices `[n]` as int32 (layer, neuron) pairs `[n, 2]`."""
    return torch.stack([flat // width, flat % width], dim=1).to(torch.int32)


def flat_of(pairs: torch.Tensor, shape: tuple[int, int], what: str) -> torch.Tensor:
    """Checks (layer, neuron) pairs and returns them as int64 flat indices `[n]`, in their order.

    Args:
        pairs: Whole numbers `[n, 2]`.
        shape: `(layers, neurons per layer)` of the model.
        what: Whose neurons they are, for the error, such as `"'fr'"`.

    Raises:
        BadFile: They are not pairs, lie outside the model, or name a neuron twice.

    Example:
        >>> flat_of(torch.tensor([[0, 3], [1, 2]]), (2, 4), "'fr'").tolist()
        [3, 6]
    """
    layers, width = shape
    if pairs.numel() == 0:
        return torch.empty(0, dtype=torch.long)
    if pairs.dim() != 2 or pairs.shape[1] != 2 or pairs.dtype not in INTEGERS:
        given = f"{types_text(pairs.dtype)} {list(pairs.shape)}"
        raise BadFile(f"The neurons of {what} must be whole numbers [n, 2] in {types_text(*INTEGERS)}, not {given}.")
    pairs = pairs.long()
    if pairs.min() < 0 or pairs[:, 0].max() >= layers or pairs[:, 1].max() >= width:
        raise BadFile(f"The mask names a neuron of {what} outside the model's {size_text(shape)}.")
    flat = pairs[:, 0] * width + pairs[:, 1]
    if len(flat.unique()) < len(flat):
        raise BadFile(f"The mask names a neuron of {what} twice.")
    return flat


def jaccard(mine: torch.Tensor, theirs: torch.Tensor) -> float | None:
    """Shared indices over those of either; None when there are none, of which nothing can be said."""
    shared = int(torch.isin(mine, theirs).sum())
    either = len(mine) + len(theirs) - shared
    return shared / either if either else None


def overlaps(sets: Sequence[torch.Tensor]) -> list[list[float | None]]:
    """`jaccard` of every pair of many sets of distinct indices, in their order."""
    indices, columns = torch.cat([*sets]).unique(return_inverse=True)
    rows = torch.arange(len(sets)).repeat_interleave(torch.tensor([len(one) for one in sets]))
    member = torch.zeros(len(sets), len(indices), dtype=torch.float64)
    member[rows, columns] = 1
    shared = member @ member.T  # whole numbers, which float64 adds up exactly
    either = shared.diag()[:, None] + shared.diag() - shared
    found = (shared / either).tolist()
    return [[None if math.isnan(value) else value for value in row] for row in found]  # 0 / 0, of none at all


def size_text(shape: tuple[int, int], experts: int = 1) -> str:
    """A model's shape in words, with the experts of a mixture."""
    layers, neurons = shape
    inside = f"{neurons} neurons" if experts == 1 else f"{experts} experts x {neurons // experts} neurons"
    return f"{layers} layers x {inside}"


def neuron_name(layer: int, neuron: int, width: int, experts: int = 1) -> str:
    """A neuron's short name, with its expert in a mixture.

    Args:
        layer: Its layer.
        neuron: Its number in the layer.
        width: Neurons per layer.
        experts: Experts per layer.

    Example:
        >>> neuron_name(23, 476, 2048), neuron_name(23, 5 * 512 + 476, 4096, 8)
        ('23.476', '23.e5.476')
    """
    if experts == 1:
        return f"{layer}.{neuron}"
    expert, place = divmod(neuron, width // experts)
    return f"{layer}.e{expert}.{place}"


def named_neuron(name: str, shape: tuple[int, int], experts: int = 1) -> tuple[int, int]:
    """The layer and the number of a neuron by its short name, see `neuron_name`.

    Args:
        name: What somebody wrote.
        shape: `(layers, neurons per layer)` of the model.
        experts: Experts per layer.

    Raises:
        LapeError: The model has no neuron of this name.

    Example:
        >>> named_neuron("23.476", (26, 2048)), named_neuron("23.e5.476", (26, 4096), 8)
        ((23, 476), (23, 3036))
    """
    layers, width = shape
    inside = width // experts
    found = re.fullmatch(r"([0-9]{1,6})\.(?:e([0-9]{1,6})\.)?([0-9]{1,9})", name.strip())
    if found and (found[2] is None) == (experts == 1):
        layer, expert, place = int(found[1]), int(found[2] or 0), int(found[3])
        if layer < layers and expert < experts and place < inside:
            return layer, expert * inside + place
    example = neuron_name(layers - 1, width - 1, width, experts)
    shown = name if len(name) <= 20 else f"{name[:20]}…"
    raise LapeError(f"There is no neuron {shown!r}; their names go up to {example} in this model.")
