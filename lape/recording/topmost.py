"""Record where in a text each neuron is most active."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.models.architectures import activation_sites
from lape.recording.blocks import document_end
from lape.recording.passes import Made, TextPasses
from lape.recording.rows import Rows, reading_rows
from lape.recording.sources import Source
from lape.recording.top_texts import TopTexts

KEPT = 4  # texts of a neuron
NOWHERE = -1


def record_top_texts(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    tokens: int = 10_000,
    block: int = 128,
    batch: int | None = None,
    progress: bool = True,
    allow_short: bool = False,
    licence: str | None = None,
    kept: Path | None = None,
) -> TopTexts:
    """Finds the tokens at which each neuron is most active, over the texts of all languages.

    Of a document in a block only the token of highest activation counts, the first one of several, so that a neuron's
    texts are different ones. What is not above 0 is left out, and so are document ends.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        corpora: Language code to documents: a sequence, or a function that opens them.
        tokens: Tokens per language, rounded up to whole blocks.
        block: Tokens per block, the context each token is seen in.
        batch: Blocks per forward pass; None takes 2 on a CPU and 8 on a GPU.
        progress: Whether to show a progress bar on standard error.
        allow_short: Take a language that has less text than asked, rather than raise.
        licence: Under which terms the text may be shown to others; None where that is not known.
        kept: Folder for what is made of each language as soon as it is done, see `TextPasses`.

    Returns:
        The four highest of each neuron, on the CPU; equal ones by language code and place.

    Raises:
        UnsupportedArchitecture: The model cannot be hooked.
        NotEnoughText: A language has less text than asked; says how many tokens there are.
        LapeError: A setting is out of range, or activations are not finite.
    """
    sites = activation_sites(model)
    given: dict[str, Any] = {"tokens": tokens, "block": block, "batch": batch, "progress": progress}
    given |= {"allow_short": allow_short, "kept": kept, "settings": {**sites.metadata, "top_texts": KEPT}}
    passes = TextPasses(model, tokenizer, corpora, **given)
    end = document_end(tokenizer)

    def highest(batches: Iterator[torch.Tensor]) -> Made:
        best = _Best(sites.shape)
        read: list[torch.Tensor] = []
        documents = torch.empty(0)

        def see(rows: Rows) -> None:
            of = documents.to(rows.values.device)[rows.blocks, rows.places]
            places = (sum(map(len, read[:-1])) + rows.blocks) * block + rows.places
            best.add(rows.layer, rows.neurons, *_peaks(rows.values, of, places, int(documents.max()) + 1))

        with reading_rows(sites, see, before=passes.before, block=block) as run:
            for inputs in batches:
                read.append(inputs[:, passes.before :].cpu())
                documents = _documents(read[-1], end)
                run(inputs)
        return {"ids": torch.cat(read).int(), "places": best.places.int(), "values": best.values}

    made = passes.by_language("top-texts", highest)
    best, before = _Best(sites.shape), 0
    for code in sorted(made):
        for layer in sites.layers:
            places, values = made[code]["places"][:, layer].long(), made[code]["values"][:, layer]
            best.add(layer, slice(0, sites.neurons), values, torch.where(places < 0, places, places + before))
        before += made[code]["ids"].numel()
    said = {} if licence is None else {"licence": licence}
    ids = {code: found["ids"].long() for code, found in made.items()}
    return TopTexts(ids, best.places, best.values, {**passes.metadata, **sites.metadata, **said})


class _Best:
    """The highest activations so far and where they were, highest first; what came earlier goes first."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.values = torch.zeros(KEPT, *shape)
        self.places = torch.full((KEPT, *shape), NOWHERE)

    def add(self, layer: int, neurons: slice, values: torch.Tensor, places: torch.Tensor) -> None:
        """Takes `[n, neurons]` more of a layer, in the order of their places."""
        if not values.isfinite().all():
            raise LapeError("The model's activations are not finite; load it in another dtype (float32 or bfloat16).")
        values = torch.cat([self.values[:, layer, neurons], values.cpu()])
        places = torch.cat([self.places[:, layer, neurons], places.cpu()])
        places = torch.where(values > 0, places, NOWHERE)
        values, order = values.clamp(min=0).sort(dim=0, descending=True, stable=True)
        self.values[:, layer, neurons] = values[:KEPT]
        self.places[:, layer, neurons] = places.gather(0, order)[:KEPT]


def _documents(ids: torch.Tensor, end: int | None) -> torch.Tensor:
    """Which document of a batch each token is in, counted on from block to block; -1 for document ends."""
    ends = torch.zeros_like(ids, dtype=torch.bool) if end is None else ids == end
    begins = torch.zeros_like(ends)
    begins[:, 0] = True
    begins[:, 1:] = ends[:, :-1]
    return torch.where(ends, -1, begins.flatten().cumsum(0).view_as(ids) - 1)


def _peaks(
    values: torch.Tensor, documents: torch.Tensor, places: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest value of each neuron in each document, and the first place that has it: `[documents, neurons]`."""
    inside = documents >= 0
    values, documents, places = values[inside], documents[inside], places[inside]
    of = documents[:, None].expand_as(values)
    highest = values.new_zeros(count, values.shape[1]).scatter_reduce(0, of, values, "amax")
    nowhere = torch.iinfo(torch.long).max
    there = torch.where(values == highest[documents], places[:, None], nowhere)
    first = torch.full_like(highest, nowhere, dtype=torch.long).scatter_reduce(0, of, there, "amin")
    return highest, first
