"""Record the mean activation of every neuron over single texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.models.architectures import activation_sites
from lape.recording.passes import Made, TextPasses
from lape.recording.rows import Rows, reading_rows
from lape.recording.sources import Source
from lape.recording.text_means import TextMeans

TEXTS = 100
TEXT_TOKENS = 64


def record_texts(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    tokens: int = TEXTS * TEXT_TOKENS,
    block: int = TEXT_TOKENS,
    batch: int | None = None,
    progress: bool = True,
    allow_short: bool = False,
    kept: Path | None = None,
) -> TextMeans:
    """Takes the mean activation of every neuron over each of some texts in each language.

    A text is a block of tokens, read by itself after what the tokenizer puts before text: all have the same length,
    where Kojima et al. (NAACL 2024) take sentences. A token that was not routed to a neuron of a mixture of experts
    counts as 0.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        corpora: Language code to documents: a sequence, or a function that opens them.
        tokens: Tokens per language, rounded up to whole texts.
        block: Tokens per text.
        batch: Texts per forward pass; None takes 2 on a CPU and 8 on a GPU.
        progress: Whether to show a progress bar on standard error.
        allow_short: Take a language that has fewer texts than asked, rather than raise.
        kept: Folder for what is made of each language as soon as it is done, see `TextPasses`.

    Returns:
        The means, on the CPU.

    Raises:
        UnsupportedArchitecture: The model cannot be hooked.
        NotEnoughText: A language has fewer texts than asked; says how many tokens there are.
        LapeError: A setting is out of range, or activations are not finite.
    """
    sites = activation_sites(model)
    given: dict[str, Any] = {"tokens": tokens, "block": block, "batch": batch, "progress": progress}
    given |= {"allow_short": allow_short, "kept": kept, "settings": sites.metadata}
    passes = TextPasses(model, tokenizer, corpora, **given)

    def averaged(batches: Iterator[torch.Tensor]) -> Made:
        means, active = [], torch.zeros(sites.shape, dtype=torch.long)
        found = torch.empty(0)

        def see(rows: Rows) -> None:
            # A product with ones where a token is in the text: the same sum on every device, in any order of tokens.
            texts = torch.arange(len(found), device=rows.values.device)[:, None] == rows.blocks
            found[:, rows.layer, rows.neurons] = (texts.float() @ rows.values).cpu() / block
            active[rows.layer, rows.neurons] += (rows.values > 0).sum(0).cpu()

        with reading_rows(sites, see, before=passes.before, block=block) as read:
            for inputs in batches:
                found = torch.zeros(len(inputs), *sites.shape)
                read(inputs)
                means.append(found)
        every = torch.cat(means)
        if not every.isfinite().all():
            raise LapeError("The model's activations are not finite; load it in another dtype (float32 or bfloat16).")
        halved = every.half()
        return {"means": halved if halved.isfinite().all() else every, "active": active}

    made = passes.by_language("texts", averaged)
    return TextMeans(
        {code: found["means"] for code, found in made.items()},
        {code: found["active"] for code, found in made.items()},
        dict(passes.tokens),
        {**passes.metadata, **sites.metadata},
    )
