"""The matrices that FFN activations go into: what each neuron adds to the output of its layer."""

from __future__ import annotations

import torch
from torch import nn

from lape.errors import UnsupportedArchitecture
from lape.models.architectures import FFN_NAMES, activation_sites, decoder_layers

DOWN_NAMES = ("down_proj", "dense_4h_to_h", "c_proj", "fc2", "fc_out")
UNITS_AT_ONCE = 512


def down_projections(model: nn.Module) -> tuple[nn.Module | None, ...]:
    """The module of each layer that takes the activations; None for a layer that has no neurons.

    Raises:
        UnsupportedArchitecture: One is not found by its name, or the model is a mixture of experts.
    """
    sites, (_, layers) = activation_sites(model), decoder_layers(model)
    if sites.experts > 1:
        raise UnsupportedArchitecture(f"{type(model).__name__} is a mixture of experts: it has no such matrix a layer.")
    found: list[nn.Module | None] = [None] * len(layers)
    for index in sites.layers:
        inside = [getattr(layers[index], name, None) for name in FFN_NAMES]
        owner = next((ffn for ffn in inside if isinstance(ffn, nn.Module)), layers[index])  # OPT has none
        named = (getattr(owner, name, None) for name in DOWN_NAMES)
        found[index] = down = next((module for module in named if isinstance(module, nn.Module)), None)
        if down is None:
            raise UnsupportedArchitecture(
                f"{type(model).__name__}: the matrix after the activations of layer {index} is called none of "
                f"{', '.join(DOWN_NAMES)}."
            )
    return tuple(found)


def column_norms(down: nn.Module, neurons: int, like: torch.Tensor) -> torch.Tensor:
    """The Euclidean norm of each neuron's column, by asking the module, quantised or not: float32 `[neurons]`.

    Args:
        down: As above.
        neurons: Of the layer.
        like: A tensor of the type and on the device of what it takes.
    """
    norms = []
    with torch.no_grad():
        nothing = down(like.new_zeros(1, neurons)).float()  # its bias
        for start in range(0, neurons, UNITS_AT_ONCE):
            size = min(UNITS_AT_ONCE, neurons - start)
            units = like.new_zeros(size, neurons)
            units[torch.arange(size), torch.arange(start, start + size)] = 1
            norms.append((down(units).float() - nothing).norm(dim=1))
    return torch.cat(norms)
