"""Hypothesis strategies that several rooms draw from: masks and statistics."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from samples import METADATA

from lape import ActivationStatistics, NeuronMask

SHAPE = (3, 5)
CODES = ("fr", "zh-Hant", "x_1", "A")

finite = st.floats(-1e6, 1e6, width=32)


def flats(shape: tuple[int, int] = SHAPE) -> st.SearchStrategy[list[int]]:
    """Flat indices in any order, also none."""
    return st.lists(st.integers(0, shape[0] * shape[1] - 1), unique=True)


def pairs(flat: list[int], width: int = SHAPE[1]) -> torch.Tensor:
    return torch.tensor([(index // width, index % width) for index in flat], dtype=torch.long).view(-1, 2)


@st.composite
def masks(draw: Any, codes: tuple[str, ...] = CODES, shape: tuple[int, int] = SHAPE) -> NeuronMask:
    """A mask of some languages in any order, each with any neurons, some with means and selection probabilities."""
    chosen = draw(st.lists(st.sampled_from(codes), unique=True, min_size=1))
    flat = {code: draw(flats(shape)) for code in chosen}
    means, selection = (
        {
            code: torch.tensor(draw(st.lists(values, min_size=len(flat[code]), max_size=len(flat[code]))))
            for code in chosen
            if draw(st.booleans())
        }
        for values in (finite, st.floats(0, 1, width=32))
    )
    return NeuronMask({code: pairs(flat[code], shape[1]) for code in chosen}, means, shape, {}, selection)


@st.composite
def statistics(draw: Any, most_tokens: int = 2**40) -> ActivationStatistics:
    """Statistics of some languages, with counts beyond int32 too; sums are whole, so that adding them is exact."""
    chosen = draw(st.lists(st.sampled_from(CODES), unique=True, min_size=1))
    tokens = {code: draw(st.integers(1, most_tokens)) for code in chosen}

    def table(values: st.SearchStrategy, dtype: torch.dtype) -> torch.Tensor:
        row = st.lists(values, min_size=SHAPE[1], max_size=SHAPE[1])
        return torch.tensor(draw(st.lists(row, min_size=SHAPE[0], max_size=SHAPE[0])), dtype=dtype)

    whole = st.integers(-(2**20), 2**20)
    active = {code: table(st.integers(0, tokens[code]), torch.int64) for code in chosen}
    return ActivationStatistics(
        active,
        {code: table(whole, torch.float64) for code in chosen},
        {code: table(whole.map(abs), torch.float64) * (active[code] > 0) for code in chosen},
        tokens,
        {**METADATA, "tokens": tokens, "corpora": {code: [{"source": code}] for code in chosen}},
    )
