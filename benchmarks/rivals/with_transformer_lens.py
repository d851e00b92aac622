"""TransformerLens: hooks of a `TransformerBridge` over the model.

It has hook points before the activation function and after the product with the linear branch, none between.
"""

from __future__ import annotations

import torch
from transformer_lens.model_bridge import TransformerBridge

from benchmarks.rivals.tasks import Count, Reading, Recorded, Steering


class TransformerLens:
    """`run_with_hooks` that stops after the last block, and `generate` within `hooks`."""

    def __init__(self, model, tokenizer, count: Count) -> None:
        self.model = TransformerBridge.boot_transformers(model.config.name_or_path, hf_model=model, tokenizer=tokenizer)
        self.activation = model.model.layers[0].mlp.act_fn
        self.count = count

    @torch.no_grad()
    def record(self, reading: Reading) -> Recorded:
        recorded = Recorded.empty(reading.shape)
        layers = reading.shape[0]

        def counting(layer: int):
            def hook(gate: torch.Tensor, hook: object) -> None:
                self.count(recorded, layer, self.activation(gate[:, reading.before :]))

            return hook

        hooks = [(f"blocks.{layer}.mlp.hook_pre", counting(layer)) for layer in range(layers)]
        for batch in reading.batches:
            self.model.run_with_hooks(batch, return_type=None, stop_at_layer=layers, fwd_hooks=hooks)
        return recorded

    @torch.no_grad()
    def generate(self, steering: Steering) -> torch.Tensor:
        linear: dict[int, torch.Tensor] = {}
        hooks = []
        for layer, (neurons, values) in steering.edits.items():

            def keep(branch: torch.Tensor, hook: object, layer=layer, neurons=neurons) -> None:
                linear[layer] = branch[:, :, neurons]

            def edit(product: torch.Tensor, hook: object, layer=layer, neurons=neurons, values=values) -> torch.Tensor:
                product[:, :, neurons] = values * linear[layer]
                return product

            hooks += [(f"blocks.{layer}.mlp.hook_pre_linear", keep), (f"blocks.{layer}.mlp.hook_post", edit)]
        with self.model.hooks(fwd_hooks=hooks):
            return self.model.generate(
                steering.prompt, max_new_tokens=steering.new_tokens, do_sample=False, stop_at_eos=False, verbose=False
            )
