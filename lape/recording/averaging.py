"""Record the mean activation of every neuron over single texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.models.architectures import activation_sites, input_device
from lape.models.inputs import check_ids, context_length, embedding_rows
from lape.models.sites import ActivationSites
from lape.recording.beginnings import prefix_of
from lape.recording.passes import LIBRARY, Made, TextPasses, counted_and_hashed, read_by, today
from lape.recording.rows import Rows, reading_rows
from lape.recording.sources import Source
from lape.recording.text_means import TextMeans
from lape.storage.names import check_label

TEXTS = 100
TEXT_TOKENS = 64
PROMPTS_AT_ONCE = 16  # in one pass


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
        means, active = _averaged(sites, batches, passes.before, block)
        return {"means": _halved(means), "active": active}

    made = passes.by_language("texts", averaged)
    return TextMeans(
        {code: found["means"] for code, found in made.items()},
        {code: found["active"] for code, found in made.items()},
        dict(passes.tokens),
        {**passes.metadata, **sites.metadata},
    )


def record_prompts(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompts: Mapping[str, Sequence[str]],
    *,
    source: str = "prompts",
    progress: bool = True,
) -> TextMeans:
    """Takes the mean activation of every neuron over each of some short texts, which may differ in length.

    Each is read as a model that goes on with it reads it. Texts of one length are read together, so that none is
    padded; `block` in the metadata is the length of the longest.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompts: Label to texts.
        source: What the metadata calls them.
        progress: Whether to show a progress bar on standard error.

    Returns:
        The means, on the CPU, in the order of the texts.

    Raises:
        UnsupportedArchitecture: The model cannot be hooked.
        LapeError: A text is empty or too long, or activations are not finite.
    """
    sites, device = activation_sites(model), input_device(model)
    before, context = prefix_of(tokenizer), context_length(model)
    ids = {label: tokenizer(list(texts), add_special_tokens=False)["input_ids"] for label, texts in prompts.items()}
    longest = max(len(row) for rows in ids.values() for row in rows)
    for label, rows in ids.items():
        check_label(label)
        if not all(rows):
            raise LapeError(f"A text of {label!r} is empty. Leave it out.")
        check_ids(embedding_rows(model), torch.tensor([token for row in rows for token in row]), tokenizer)
    if context is not None and len(before) + longest > context:
        raise LapeError(f"A text has {longest} tokens, which exceed the model's context of {context}. Leave it out.")
    prefix = torch.tensor(before, dtype=torch.long)
    means, active = {}, {}
    with tqdm(total=sum(map(len, ids.values())), unit="text", desc="texts", disable=not progress) as bar:
        for label, rows in ids.items():
            found = torch.zeros(len(rows), *sites.shape)
            active[label] = torch.zeros(sites.shape, dtype=torch.long)
            for length in sorted({*map(len, rows)}):
                places = [place for place, row in enumerate(rows) if len(row) == length]
                alike = torch.tensor([rows[place] for place in places])
                inputs = torch.cat([prefix.expand(len(places), -1), alike], dim=1).to(device)
                found[places], fired = _averaged(sites, inputs.split(PROMPTS_AT_ONCE), len(before), length)
                active[label] += fired
                bar.update(len(places))
            means[label] = _halved(found)
    tokens = {label: sum(map(len, rows)) for label, rows in ids.items()}
    corpora = {
        label: [{"source": source, "sha256": counted_and_hashed(map(torch.tensor, rows))[1], "tokens": tokens[label]}]
        for label, rows in ids.items()
    }
    made = {"tokens": tokens, "corpora": corpora, "library": LIBRARY, "date": today()}
    return TextMeans(means, active, tokens, {**read_by(model, tokenizer, longest), **made, **sites.metadata})


def _averaged(
    sites: ActivationSites, batches: Iterable[torch.Tensor], before: int, block: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Means over each text of some batches, float32 `[texts, layers, neurons]`; how often each neuron was active."""
    means, active = [], torch.zeros(sites.shape, dtype=torch.long)
    found = torch.empty(0)

    def see(rows: Rows) -> None:
        # A product with ones where a token is in the text: the same sum on every device, in any order of tokens.
        texts = torch.arange(len(found), device=rows.values.device)[:, None] == rows.blocks
        found[:, rows.layer, rows.neurons] = (texts.float() @ rows.values).cpu() / block
        active[rows.layer, rows.neurons] += (rows.values > 0).sum(0).cpu()

    with reading_rows(sites, see, before=before, block=block) as read:
        for inputs in batches:
            found = torch.zeros(len(inputs), *sites.shape)
            read(inputs)
            means.append(found)
    return torch.cat(means), active


def _halved(means: torch.Tensor) -> torch.Tensor:
    """In half as many bytes where they fit."""
    if not means.isfinite().all():
        raise LapeError("The model's activations are not finite; load it in another dtype (float32 or bfloat16).")
    halved = means.half()
    return halved if halved.isfinite().all() else means
