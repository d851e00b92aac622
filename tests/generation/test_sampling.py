"""The processors that choose the next token, by themselves."""

from __future__ import annotations

import pytest
import torch
from families import EOS
from transformers import RepetitionPenaltyLogitsProcessor

from lape.generation.sampling import processors

SCORES = torch.tensor([[2.0, 1.0, 0.5, 0.0, -1.0]])
OUT_OF_THE_QUESTION = 20.5  # chi-square of four degrees of freedom: one draw in 2500 is above


def draws(scores: torch.Tensor, count: int, **settings: float) -> torch.Tensor:
    """Tokens chosen from the same scores `[rows, vocabulary]`, each with a seed of its own: `[count, rows]`."""
    ids, mask = torch.zeros(len(scores), 1, dtype=torch.long), torch.ones(len(scores), 1)
    chosen = {"temperature": 1.0, "top_p": 1.0, "repetition_penalty": 1.0} | settings
    return torch.stack([processors(mask, **chosen, seed=seed)(ids, scores.clone()).argmax(-1) for seed in range(count)])


def chi_square(drawn: torch.Tensor, probability: torch.Tensor) -> float:
    expected = probability * len(drawn)
    return float(((drawn.bincount(minlength=len(probability)) - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_noise_draws_from_the_softmax(temperature: float) -> None:
    drawn = draws(SCORES, 2000, temperature=temperature)[:, 0]
    assert chi_square(drawn, (SCORES[0] / temperature).softmax(-1)) < OUT_OF_THE_QUESTION
    assert chi_square(drawn, (SCORES[0] / temperature * 2).softmax(-1)) > OUT_OF_THE_QUESTION


def test_noise_is_new_at_every_step() -> None:
    chain = processors(torch.ones(1, 1), 1.0, 1.0, 1.0, seed=0)
    drawn = torch.cat([chain(torch.zeros(1, 1).long(), SCORES.clone()).argmax(-1) for _ in range(1000)])
    assert chi_square(drawn, SCORES[0].softmax(-1)) < OUT_OF_THE_QUESTION


def test_rows_share_their_noise() -> None:
    drawn = draws(torch.cat([SCORES, SCORES, SCORES.flip(1)]), 300)
    assert torch.equal(drawn[:, 0], drawn[:, 1])
    assert not torch.equal(drawn[:, 0], drawn[:, 2])


def test_top_p_draws_from_the_most_likely_only() -> None:
    # The softmax is .56 .21 .13 .08 .03: two tokens make up .77, three .89.
    drawn = draws(SCORES, 2000, top_p=0.8)[:, 0]
    assert drawn.unique().tolist() == [0, 1, 2]
    assert chi_square(drawn, SCORES[0, :3].softmax(-1)) < OUT_OF_THE_QUESTION
    assert draws(SCORES, 50, top_p=0.5).unique().tolist() == [0]


def test_top_p_counts_after_the_temperature() -> None:
    # At temperature 2 the softmax is .37 .23 .18 .14 .08, so three tokens make up .7; at 1 two would: .56 .21.
    assert draws(SCORES, 200, temperature=2.0, top_p=0.7).unique().tolist() == [0, 1, 2]
    # At 0.5 it is .83 .11: the first alone makes up .7.
    assert draws(SCORES, 200, temperature=0.5, top_p=0.7).unique().tolist() == [0]


def test_a_tiny_temperature_is_nearly_greedy() -> None:
    assert draws(10 * SCORES.flip(1), 20, temperature=1e-40).unique().tolist() == [4]


def test_temperature_zero_is_greedy() -> None:
    assert draws(SCORES, 50, temperature=0.0, top_p=0.9).unique().tolist() == [0]
    assert len(processors(torch.ones(1, 1), 0.0, 0.9, 1.0, seed=0)) == 0


@pytest.mark.parametrize("penalty", [1.3, 0.7])
def test_the_repetition_penalty_is_the_usual_one(penalty: float) -> None:
    scores = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    prompts, longer = (torch.randint(0, 20, (3, length)) for length in (7, 11))
    usual = RepetitionPenaltyLogitsProcessor(penalty)
    chain = processors(torch.ones_like(prompts), 0.0, 1.0, penalty, seed=0)
    for ids in (prompts, longer):
        expected = usual(ids, scores.clone())
        assert torch.equal(chain(ids, scores.clone()), expected)
        assert not torch.equal(expected, scores)


def test_the_repetition_penalty_does_not_count_padding() -> None:
    scores = torch.tensor([[4.0, 3.0, -2.0, 1.0], [4.0, 3.0, -2.0, 1.0]])
    ids = torch.tensor([[EOS, EOS, 2, 3], [0, EOS, 3, 3]])  # padded with eos; eos is part of the prompt
    chain = processors(torch.tensor([[0, 0, 1], [1, 1, 1]]), 0.0, 1.0, 2.0, seed=0)
    assert chain(ids, scores).tolist() == [[4.0, 3.0, -4.0, 0.5], [2.0, 1.5, -2.0, 0.5]]
