"""pyvene: functions as interventions on the output of every activation module."""

from __future__ import annotations

import pyvene
import torch

from benchmarks.rivals.tasks import Count, Reading, Recorded, Steering


class Pyvene:
    """An `IntervenableModel`, over the decoder to record and over the whole model to generate."""

    def __init__(self, model, _tokenizer, count: Count) -> None:
        self.model, self.count = model, count

    @torch.no_grad()
    def record(self, reading: Reading) -> Recorded:
        recorded = Recorded.empty(reading.shape)

        def counting(layer: int):
            def intervention(activation: torch.Tensor, _source: None) -> None:
                self.count(recorded, layer, activation[:, reading.before :])

            return intervention

        counted = pyvene.IntervenableModel(
            [
                {"component": f"layers[{layer}].mlp.act_fn.output", "intervention": counting(layer)}
                for layer in range(reading.shape[0])
            ],
            model=self.model.model,
        )
        for batch in reading.batches:
            counted({"input_ids": batch}, use_cache=False)
        return recorded

    @torch.no_grad()
    def generate(self, steering: Steering) -> torch.Tensor:
        def editing(layer: int):
            neurons, values = steering.edits[layer]

            def intervention(activation: torch.Tensor, _source: None) -> torch.Tensor:
                activation[:, :, neurons] = values
                return activation

            return intervention

        steered = pyvene.IntervenableModel(
            [
                {"component": f"model.layers[{layer}].mlp.act_fn.output", "intervention": editing(layer)}
                for layer in steering.edits
            ],
            model=self.model,
        )
        # On the prompt and, since no position is named, at every step after it.
        _, generated = steered.generate({"input_ids": steering.prompt}, intervene_on_prompt=True, **steering.length)
        return generated
