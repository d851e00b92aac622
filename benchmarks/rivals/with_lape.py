"""lape itself."""

from __future__ import annotations

import torch

import lape
from benchmarks.rivals.tasks import Count, Reading, Recorded, Steering


class Lape:
    """`lape.record` and `lape.intervene`."""

    def __init__(self, model, tokenizer, _count: Count) -> None:
        self.model, self.tokenizer = model, tokenizer

    def record(self, reading: Reading) -> Recorded:
        settings = {"tokens": reading.tokens, "block": reading.block, "batch": reading.batch, "progress": False}
        found = lape.record(self.model, self.tokenizer, {"fr": reading.documents}, **settings)
        return Recorded(found.active["fr"], found.sum["fr"], found.positive_sum["fr"])

    def generate(self, steering: Steering) -> torch.Tensor:
        with lape.intervene(self.model, steering.intervention):
            return self.model.generate(steering.prompt, **steering.length)
