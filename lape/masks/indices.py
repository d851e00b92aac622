"""Neurons as tensors: `[n, 2]` pairs of (layer, neuron), and the flat indices they are computed with.

A flat index is layer * neurons per layer + neuron.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from lape.errors import BadFile
from lape.storage.names import INTEGERS


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
        raise BadFile(f"The neurons of {what} must be whole numbers [n, 2], not {list(pairs.shape)}.")
    pairs = pairs.long()
    if pairs.min() < 0 or pairs[:, 0].max() >= layers or pairs[:, 1].max() >= width:
        raise BadFile(f"The mask names a neuron of {what} outside the model's {size_text(shape)}.")
    flat = pairs[:, 0] * width + pairs[:, 1]
    if len(flat.unique()) < len(flat):
        raise BadFile(f"The mask names a neuron of {what} twice.")
    return flat


def columns_of(
    what: str, given: Mapping[str, torch.Tensor], order: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Checks one number per neuron, such as its mean, and returns them as float32 in the order of the neurons.

    Args:
        what: They are, for the error.
        given: Language code to `[n]`; languages may be missing.
        order: Language code to the int64 `[n]` places of its neurons.

    Raises:
        BadFile: A language is unknown, or has another number of them, or they are not finite.
    """
    if extra := set(given) - set(order):
        raise BadFile(f"The mask has {what} but no neurons for {', '.join(sorted(extra))}.")
    for code, values in given.items():
        if values.shape != order[code].shape:
            raise BadFile(f"There are {len(order[code])} neurons for {code!r} but {values.numel()} {what}.")
        if values.is_complex() or not values.float().isfinite().all():
            raise BadFile(f"The mask has {what} for {code!r} that are not finite numbers.")
    return {code: values.float()[order[code]] for code, values in given.items()}


def jaccard(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    """Shared indices over those of either; 1.0 when there are none."""
    shared = int(torch.isin(mine, theirs).sum())
    either = len(mine) + len(theirs) - shared
    return shared / either if either else 1.0


def size_text(shape: tuple[int, int]) -> str:
    """A model's shape in words."""
    return f"{shape[0]} layers x {shape[1]} neurons"
