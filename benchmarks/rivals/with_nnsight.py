"""nnsight: traces that count, and a traced generation."""

from __future__ import annotations

import torch
from nnsight import TransformersModel

from benchmarks.rivals.tasks import Count, Reading, Recorded, Steering


class NNsight:
    """`trace` that stops at the last activation, and `generate` with an edit at every step."""

    stops = True

    def __init__(self, model, tokenizer, count: Count) -> None:
        self.model = TransformersModel(model, tokenizer=tokenizer, task="text-generation")
        self.count = count

    @torch.no_grad()
    def record(self, reading: Reading) -> Recorded:
        recorded = Recorded.empty(reading.shape)
        for batch in reading.batches:
            with self.model.trace(batch, use_cache=False) as tracer:
                for layer in range(reading.shape[0]):
                    activation = self.model.model.layers[layer].mlp.act_fn.output
                    self.count(recorded, layer, activation[:, reading.before :])
                if self.stops:
                    tracer.stop()
        return recorded

    def generate(self, steering: Steering) -> torch.Tensor:
        with self.model.generate(steering.prompt, **steering.length) as tracer:
            for _step in tracer.iter[: steering.new_tokens]:
                for layer, (neurons, values) in steering.edits.items():
                    self.model.model.layers[layer].mlp.act_fn.output[:, :, neurons] = values
            generated = tracer.result.save()
        return generated


class WholePass(NNsight):
    """`trace` without `stop`, which who does not look for it writes: the head is computed too."""

    stops = False
