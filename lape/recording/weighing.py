"""Record importance: what each neuron adds to its layer's output, ranked among the layer's neurons in every block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import HookNotFired, LapeError
from lape.models.architectures import activation_sites, input_device
from lape.models.down import column_norms, down_projections
from lape.models.hooks import hooked
from lape.recording.importance import Importance
from lape.recording.passes import Made, TextPasses
from lape.recording.sources import Source


def record_importance(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    tokens: int = 10_000,
    block: int = 128,
    batch: int | None = None,
    progress: bool = True,
    allow_short: bool = False,
    kept: Path | None = None,
) -> Importance:
    """Ranks every neuron in its layer by what it adds, in each block of each language's text.

    Args:
        model: A causal language model with a dense FFN, 4-bit and dispatched ones too.
        tokenizer: Its tokenizer.
        corpora: Language code to documents: a sequence, or a function that opens them.
        tokens: Tokens per language, rounded up to whole blocks.
        block: Tokens per block. A neuron must be important in every one of them, so there may be fewer that are, the
            more and the shorter they are.
        batch: Blocks per forward pass; None takes 2 on a CPU and 8 on a GPU.
        progress: Whether to show a progress bar on standard error.
        allow_short: Take a language that has less text than asked, rather than raise.
        kept: Folder for what is made of each language as soon as it is done, see `TextPasses`.

    Returns:
        The ranks, on the CPU.

    Raises:
        UnsupportedArchitecture: The model cannot be hooked, or the matrices after its activations are not found.
        NotEnoughText: A language has fewer tokens than asked; says how many.
        LapeError: A setting is out of range, or a number is not finite.
    """
    sites, downs = activation_sites(model), down_projections(model)
    layer_of = {down: layer for layer, down in enumerate(downs) if down is not None}
    given: dict[str, Any] = {"tokens": tokens, "block": block, "batch": batch, "progress": progress}
    given |= {"allow_short": allow_short, "kept": kept, "settings": sites.metadata}
    passes = TextPasses(model, tokenizer, corpora, **given)
    norms: dict[nn.Module, torch.Tensor] = {}
    seen: dict[int, torch.Tensor] = {}
    sums, active = torch.empty(0), torch.empty(0)

    def rows(values: torch.Tensor) -> torch.Tensor:
        """What is recorded of a pass: `[blocks, tokens, neurons]`."""
        return values.reshape(-1, passes.before + block, values.shape[-1])[:, passes.before :].float()

    def fired(layer: int, values: torch.Tensor, _routed: object) -> None:
        recorded = rows(values)
        sums[layer] += recorded.sum((0, 1)).cpu()
        active[layer] += (recorded > 0).sum((0, 1)).cpu()

    def added(down: nn.Module, args: tuple[torch.Tensor, ...], _kwargs: object) -> None:
        seen[layer_of[down]] = (rows(args[0]).norm(dim=1) * norms[down]).cpu()

    def measure(down: nn.Module, args: tuple[torch.Tensor, ...], _kwargs: object) -> None:
        if down not in norms:
            norms[down] = torch.empty(0)  # the module is called again, for its columns
            norms[down] = column_norms(down, sites.neurons, args[0])

    def ranked(batches: Iterator[torch.Tensor]) -> Made:
        nonlocal sums, active
        sums, active = torch.zeros(sites.shape).double(), torch.zeros(sites.shape).long()
        worst = torch.zeros(sites.shape).long()
        for ids in batches:
            seen.clear()
            with torch.no_grad():
                sites.decoder(input_ids=ids, use_cache=False)
            if missing := sorted(set(sites.layers) - set(seen)):
                raise HookNotFired(f"The decoder ran, but what the layers {missing} add did not pass its hooks.")
            for layer, importance in seen.items():
                if not importance.isfinite().all():
                    raise LapeError("The model's activations are not finite; load it in another dtype.")
                ranks = importance.sort(dim=1, descending=True, stable=True).indices.argsort(dim=1)
                worst[layer] = torch.maximum(worst[layer], ranks.max(0).values)
        return {"worst": worst, "sum": sums, "active": active}

    with hooked(before=dict.fromkeys(layer_of, measure)), torch.no_grad():
        sites.decoder(input_ids=torch.zeros((1, 1), dtype=torch.long, device=input_device(model)), use_cache=False)
    watching = sites.watch({layer: partial(fired, layer) for layer in sites.layers})
    with watching, hooked(before=dict.fromkeys(layer_of, added)):
        made = passes.by_language("importance", ranked)
    return Importance.gathered(made, {**passes.metadata, **sites.metadata})
