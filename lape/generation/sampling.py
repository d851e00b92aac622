"""How the next token is chosen: penalty, temperature, top-p, noise shared by all rows, and stopping.

transformers' own samplers run after custom processors and draw per row, so generation is greedy over scores
that these processors have already made: adding Gumbel noise to the scores and taking the largest is a sample.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

COLDEST = 1e-6  # colder is the same, until scores divided by the temperature are infinite


def processors(
    attention_mask: torch.Tensor, temperature: float, top_p: float, repetition_penalty: float, seed: int
) -> LogitsProcessorList:
    """The chain of processors for a batch, in order: penalty, temperature, top-p, noise.

    Args:
        attention_mask: `[rows, prompt positions]`, 0 where a prompt is padded.
        temperature: 0 is greedy: neither temperature, top-p nor noise.
        top_p: Share of probability to sample from.
        repetition_penalty: 1 is none.
        seed: Of the noise.
    """
    chain = LogitsProcessorList()
    if repetition_penalty != 1:
        chain.append(_RepetitionPenalty(repetition_penalty, attention_mask))
    if temperature > 0:
        chain.append(TemperatureLogitsWarper(max(float(temperature), COLDEST)))
        if top_p < 1:
            chain.append(TopPLogitsWarper(top_p))
        chain.append(_SharedGumbel(seed, attention_mask.device))
    return chain


class Stop(StoppingCriteria):
    """Ends every row when one of the events is set, and rows past the first `rows` at once."""

    def __init__(self, events: list[threading.Event], rows: int) -> None:
        self._events = events
        self._rows = rows

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        stopped = any(event.is_set() for event in self._events)
        return (torch.arange(len(input_ids), device=input_ids.device) >= self._rows) | stopped


class _RepetitionPenalty(LogitsProcessor):
    """The repetition penalty of Keskar et al. 2019 (arXiv 1909.05858) over tokens that are not padding.

    transformers' own counts the padding too, and padding is often the eos token.
    """

    def __init__(self, penalty: float, attention_mask: torch.Tensor) -> None:
        self._penalty = penalty
        self._padded = attention_mask == 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        seen = input_ids.clone()
        prompt = seen[:, : self._padded.shape[1]]
        prompt[self._padded] = seen[:, -1:].expand_as(prompt)[self._padded]
        found = scores.gather(1, seen)
        return scores.scatter(1, seen, torch.where(found < 0, found * self._penalty, found / self._penalty))


class _SharedGumbel(LogitsProcessor):
    """Adds one Gumbel noise vector to all rows, so that the argmax is a sample with noise they share."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._generator = torch.Generator(device).manual_seed(seed)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        noise = torch.empty_like(scores[0]).exponential_(generator=self._generator)
        return scores - noise.clamp_min(torch.finfo(noise.dtype).tiny).log()
