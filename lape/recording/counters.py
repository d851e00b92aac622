"""What reads blocks of tokens and counts active neurons: a model that is loaded here, or one that an engine has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from lape.models.architectures import activation_sites, input_device
from lape.models.identity import ModelIdentity, identity
from lape.models.inputs import context_length, embedding_rows
from lape.recording.counting import AllCounted, Counts, counting

Count = Callable[[torch.Tensor], Counts]  # of blocks, int64 `[blocks, block]`


@dataclass(frozen=True)
class ActivationCounter(ABC):
    """A model as a recording needs it.

    Attributes:
        identity: Which model it is.
        architecture: Its model type.
        shape: Layers, and neurons per layer.
        experts: Per layer; 1 for a dense model.
        layout: What statistics say of a model that is not dense in every layer; empty for one that is.
        rows: How many token ids it has.
        context: The most tokens it reads at once; None where there is no bound.
        batch: Blocks to give it at once unless the user says otherwise.
        library: Of the packages that run it: name to version.
    """

    identity: ModelIdentity
    architecture: str
    shape: tuple[int, int]
    experts: int
    layout: Mapping[str, Any]
    rows: int
    context: int | None
    batch: int
    library: Mapping[str, str]

    @abstractmethod
    def counting(self, block: int, before: Sequence[int], *, apart: bool) -> AbstractContextManager[Count]:
        """Gives a function that reads a batch of blocks and returns its counts, for as long as the context is open.

        Args:
            block: Tokens per block.
            before: What is read before each block, and not counted.
            apart: Whether to count each block of a batch apart, else the batch as one.

        Yields:
            A function of int64 `[blocks, block]` that returns what was counted.
        """


@dataclass(frozen=True)
class ModelCounter(ActivationCounter):
    """A model of transformers, hooked while it counts."""

    model: PreTrainedModel

    @classmethod
    def of(cls, model: PreTrainedModel) -> ModelCounter:
        """Of a causal language model.

        Raises:
            UnsupportedArchitecture: It cannot be hooked.
        """
        sites = activation_sites(model)
        return cls(
            identity=identity(model),
            architecture=model.config.model_type,
            shape=sites.shape,
            experts=sites.experts,
            layout=sites.metadata,
            rows=embedding_rows(model),
            context=context_length(model),
            batch=2 if input_device(model).type == "cpu" else 8,
            library={"transformers": transformers.__version__},
            model=model,
        )

    @contextmanager
    def counting(self, block: int, before: Sequence[int], *, apart: bool) -> Iterator[Count]:
        """See `ActivationCounter`; the decoder reads without the language-model head."""
        sites, device = activation_sites(self.model), input_device(self.model)
        prefix = torch.tensor(before, dtype=torch.long)
        with counting(sites, block, before=len(before), apart=apart, ending=True) as take:

            def count(blocks: torch.Tensor) -> Counts:
                inputs = torch.cat([prefix.expand(len(blocks), -1), blocks], dim=1)
                with torch.no_grad(), suppress(AllCounted):
                    sites.decoder(input_ids=inputs.to(device), use_cache=False)
                return take()

            yield count
