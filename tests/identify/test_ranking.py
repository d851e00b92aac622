"""The order statistic, whichever values it copies."""

from __future__ import annotations

import pytest
import torch

from lape.identify.ranking import SAMPLED_VALUES, order_statistic

SPREAD = torch.rand(3, 2 * SAMPLED_VALUES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MISLEADING = torch.zeros(4, SAMPLED_VALUES, dtype=torch.float64)
MISLEADING[:, ::4] = 1  # all that a sample of every fourth sees


@pytest.mark.parametrize("values", [SPREAD, SPREAD.round(decimals=1), MISLEADING, SPREAD[:, :3]])
@pytest.mark.parametrize("rate", [0, 0.3, 0.5, 0.95, 1])
def test_an_order_statistic_is_that_of_the_sorted_values(values: torch.Tensor, rate: float) -> None:
    expected = sorted(values.flatten().tolist())[max(round(rate * values.numel()), 1) - 1]
    assert order_statistic(values, rate) == expected
