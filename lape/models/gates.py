"""The activation of experts that have no module of their own for it: as a module, so that it can be seen."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

LIMITS = ("limit", "swiglu_limit")


class ClampedSwish(nn.Module):
    """`g * sigmoid(alpha * g)` with g at most `limit`: the activation of experts that write it out in `_apply_gate`.

    The up projection, from -limit to limit, is multiplied with it after `shift` was added.
    """

    def __init__(self, experts: nn.Module) -> None:
        super().__init__()
        scaled = next((name for name in ("alpha", "swiglu_alpha") if hasattr(experts, name)), None)
        self.alpha: float = getattr(experts, scaled) if scaled else 1.0
        self.shift = 1.0 if scaled else 0.0
        self.limit: float = getattr(experts, next(name for name in LIMITS if hasattr(experts, name)))

    def forward(self, gate: torch.Tensor) -> torch.Tensor:
        gate = gate.clamp(max=self.limit)
        return gate * torch.sigmoid(self.alpha * gate)

    def gated(self, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """What the second matrix reads."""
        return (up.clamp(-self.limit, self.limit) + self.shift) * self(gate)


class FunctionAsModule(nn.Module):
    """What experts keep as a plain function; what it gives is multiplied with the up projection."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, gate: torch.Tensor) -> torch.Tensor:
        return self.function(gate)

    def gated(self, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """What the second matrix reads."""
        return self(gate) * up
