"""The parts of a model that workers have, put together: layers of a pipeline, neurons of tensor parallelism."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lape.errors import LapeError


def whole_shape(shards: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Layers and neurons per layer of the model that workers describe together.

    Args:
        shards: What `lape_describe` of each worker returned.

    Raises:
        LapeError: A worker refused, or together they do not have every neuron of every layer once.
    """
    for shard in shards:
        if "refused" in shard:
            raise LapeError(shard["refused"])
    shape = 1 + max(max(shard["layers"]) for shard in shards), max(shard["neurons"][1] for shard in shards)
    have = torch.zeros(shape, dtype=torch.int32)
    for shard in shards:
        have[shard["layers"], slice(*shard["neurons"])] += 1
    if not (have == 1).all():
        raise LapeError(
            "The workers of vLLM do not have every neuron of every layer once. Each needs a part of its own: "
            "tensor and pipeline parallelism work, copies of the model (data parallelism) do not."
        )
    return shape


def whole_counts(shards: Sequence[Mapping[str, Any]], shape: tuple[int, int], tokens: int) -> torch.Tensor:
    """What workers counted, as one tensor.

    Args:
        shards: What `lape_counted` of each worker returned, in any order.
        shape: Layers and neurons per layer.
        tokens: That each of them should have counted.

    Returns:
        float64 `[layers, rows + 2, neurons]`.

    Raises:
        LapeError: A worker counted other tokens: some were read twice, or by another worker.
    """
    if wrong := sorted({shard["tokens"] for shard in shards} - {tokens}):
        raise LapeError(
            f"vLLM read {', '.join(f'{each:,}' for each in wrong)} tokens of blocks instead of {tokens:,}: it runs "
            "out of memory for keys and values and reads some again, or several copies of the model share the work. "
            "Give a smaller batch, and start one copy."
        )
    layers, neurons = shape
    parts = [
        torch.frombuffer(bytearray(shard["counts"]), dtype=torch.float64).view(
            len(shard["layers"]), -1, shard["neurons"][1] - shard["neurons"][0]
        )
        for shard in shards
    ]
    whole = torch.empty((layers, parts[0].shape[1], neurons), dtype=torch.float64)
    for shard, part in zip(shards, parts, strict=True):
        whole[shard["layers"], :, slice(*shard["neurons"])] = part
    return whole
