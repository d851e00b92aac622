"""Plain transformers: the floors, and forwards replaced by hand as in the code of papers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType

import torch

from benchmarks.rivals.tasks import Count, Reading, Recorded, Steering


class Plain:
    """Neither counts nor steers: what the passes alone cost."""

    def __init__(self, model, _tokenizer, _count: Count) -> None:
        self.model = model

    @torch.no_grad()
    def record(self, reading: Reading) -> None:
        for batch in reading.batches:
            self.model(input_ids=batch, use_cache=False)

    def generate(self, steering: Steering) -> torch.Tensor:
        return self.model.generate(steering.prompt, **steering.length)


class Decoder:
    """The passes without the language-model head, which a recording does not need."""

    def __init__(self, model, _tokenizer, _count: Count) -> None:
        self.decoder = model.model

    @torch.no_grad()
    def record(self, reading: Reading) -> None:
        for batch in reading.batches:
            self.decoder(input_ids=batch, use_cache=False)


class Replaced:
    """The forward of every FFN replaced by one that counts, or edits, between its own lines."""

    def __init__(self, model, tokenizer, count: Count) -> None:
        self.plain, self.count = Plain(model, tokenizer, count), count
        self.ffns = [layer.mlp for layer in model.model.layers]

    def record(self, reading: Reading) -> Recorded:
        recorded = Recorded.empty(reading.shape)

        def forward_of(layer: int) -> Callable:
            def forward(ffn, hidden: torch.Tensor) -> torch.Tensor:
                activation = ffn.act_fn(ffn.gate_proj(hidden))
                self.count(recorded, layer, activation[:, reading.before :])
                return ffn.down_proj(activation * ffn.up_proj(hidden))

            return forward

        with self._replaced(forward_of):
            self.plain.record(reading)
        return recorded

    def generate(self, steering: Steering) -> torch.Tensor:
        def forward_of(layer: int) -> Callable:
            def forward(ffn, hidden: torch.Tensor) -> torch.Tensor:
                activation = ffn.act_fn(ffn.gate_proj(hidden))
                if layer in steering.edits:
                    neurons, values = steering.edits[layer]
                    activation[:, :, neurons] = values
                return ffn.down_proj(activation * ffn.up_proj(hidden))

            return forward

        with self._replaced(forward_of):
            return self.plain.generate(steering)

    @contextmanager
    def _replaced(self, forward_of: Callable[[int], Callable]) -> Iterator[None]:
        for layer, ffn in enumerate(self.ffns):
            ffn.forward = MethodType(forward_of(layer), ffn)
        yield
        for ffn in self.ffns:
            del ffn.forward
