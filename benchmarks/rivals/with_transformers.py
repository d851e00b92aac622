"""Plain transformers: the floor, and forwards replaced by hand as in the code of papers."""

from __future__ import annotations

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


class Decoder(Plain):
    """The same without the language-model head, which a recording does not need."""

    @torch.no_grad()
    def record(self, reading: Reading) -> None:
        for batch in reading.batches:
            self.model.model(input_ids=batch, use_cache=False)


class Replaced(Plain):
    """The forward of every FFN replaced by one that counts, or edits, between its own lines."""

    def __init__(self, model, tokenizer, count: Count) -> None:
        super().__init__(model, tokenizer, count)
        self.count = count
        self.ffns = [layer.mlp for layer in model.model.layers]

    def record(self, reading: Reading) -> Recorded:
        recorded = Recorded.empty(reading.shape)

        def counting(layer: int):
            def forward(ffn, hidden: torch.Tensor) -> torch.Tensor:
                activation = ffn.act_fn(ffn.gate_proj(hidden))
                self.count(recorded, layer, activation[:, reading.before :])
                return ffn.down_proj(activation * ffn.up_proj(hidden))

            return forward

        self._replace(counting)
        super().record(reading)
        self._restore()
        return recorded

    def generate(self, steering: Steering) -> torch.Tensor:
        def editing(layer: int):
            def forward(ffn, hidden: torch.Tensor) -> torch.Tensor:
                activation = ffn.act_fn(ffn.gate_proj(hidden))
                if layer in steering.edits:
                    neurons, values = steering.edits[layer]
                    activation[:, :, neurons] = values
                return ffn.down_proj(activation * ffn.up_proj(hidden))

            return forward

        self._replace(editing)
        generated = super().generate(steering)
        self._restore()
        return generated

    def _replace(self, forward_of) -> None:
        for layer, ffn in enumerate(self.ffns):
            ffn.forward = MethodType(forward_of(layer), ffn)

    def _restore(self) -> None:
        for ffn in self.ffns:
            del ffn.forward
