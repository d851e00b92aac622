"""Mean and excess kurtosis of what comes one by one, kept without what has come."""

from __future__ import annotations

from dataclasses import dataclass

import torch

LEAST_OBSERVATIONS = 4  # for a kurtosis without bias


@dataclass(frozen=True)
class Moments:
    """The first four central moments of some tensors of one shape; replaced as a whole after each.

    Attributes:
        count: Tensors so far.
        mean: float64, of their shape.
        powers: The sums of the second, third and fourth power of the deviations from it.
    """

    count: int
    mean: torch.Tensor
    powers: tuple[torch.Tensor, torch.Tensor, torch.Tensor]

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Moments:
        none = torch.zeros(shape, dtype=torch.float64)
        return cls(0, none, (none, none, none))

    def add(self, value: torch.Tensor) -> Moments:
        """Adds one, without loss of precision (Pébay 2008, SAND2008-6212)."""
        count = self.count + 1
        second, third, fourth = self.powers
        apart = value.double() - self.mean
        step = apart / count
        new = apart * step * self.count
        fourth = fourth + new * step**2 * (count**2 - 3 * count + 3) + 6 * step**2 * second - 4 * step * third
        third = third + new * step * (count - 2) - 3 * step * second
        return Moments(count, self.mean + step, (second + new, third, fourth))

    def kurtosis(self) -> torch.Tensor:
        """Excess kurtosis without bias, as of a sample (G2 of Joanes and Gill 1998); 0 where nothing varies."""
        n, (second, _, fourth) = self.count, self.powers
        if n < LEAST_OBSERVATIONS:
            return torch.zeros_like(self.mean)
        varies = second > 0
        biased = torch.where(varies, n * fourth / second.where(varies, 1.0) ** 2, 3.0) - 3
        return torch.where(varies, (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * biased + 6), 0.0)
