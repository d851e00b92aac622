"""Bootstrap intervals: how far a figure would move had other blocks of the same kind been measured."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from lape.errors import LapeError

RESAMPLES = 1000
LOW, HIGH = 0.025, 0.975


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure from all blocks and from each resample of them.

    Attributes:
        value: From all blocks.
        resampled: float64 `[resamples]`.
    """

    value: float
    resampled: torch.Tensor

    def interval(self) -> dict[str, float]:
        """As JSON holds it: `value`, and `low` and `high`, the 2.5th and 97.5th percentile."""
        low, high = self.resampled.quantile(torch.tensor([LOW, HIGH], dtype=torch.float64)).tolist()
        return {"value": self.value, "low": low, "high": high}


def draws(blocks: int, name: str, seed: int = 0) -> torch.Tensor:
    """Which blocks each resample takes: int64 `[resamples, blocks]`, the same for the same name and seed.

    Figures that are compared take the same draws, and so are paired; those of other names are independent.

    Args:
        blocks: How many there are.
        name: Whose they are, such as a language code.
        seed: Of the generator.

    Raises:
        LapeError: There are fewer than 2 blocks, which have no spread.
    """
    if blocks < 2:
        raise LapeError(f"{name!r} has {blocks} block of text, but an interval needs 2. Measure more tokens.")
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))  # of which 32 bits count
    return torch.randint(blocks, (RESAMPLES, blocks), generator=generator)


def ratio(numerators: Sequence[float], denominators: Sequence[float], drawn: torch.Tensor) -> Figure:
    """Sum over sum; with ones below, a mean.

    Args:
        numerators: One per block.
        denominators: One per block.
        drawn: See `draws`.

    Example:
        >>> ratio([1, 1, 1], [2, 2, 2], draws(3, "fr")).interval()
        {'value': 0.5, 'low': 0.5, 'high': 0.5}
    """
    above, below = (torch.tensor(values, dtype=torch.float64) for values in (numerators, denominators))
    everything = torch.arange(len(above))[None]
    whole, resampled = (above[rows].sum(1) / below[rows].sum(1) for rows in (everything, drawn))
    return Figure(float(whole), resampled)


def mean(figures: Iterable[Figure]) -> Figure:
    """The arithmetic mean of figures, resample by resample."""
    listed = list(figures)
    resampled = torch.stack([figure.resampled for figure in listed]).mean(0)
    return Figure(sum(figure.value for figure in listed) / len(listed), resampled)
