"""What reads blocks of tokens and counts active neurons: a model that is loaded here, or one that an engine has."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from lape.errors import LapeError, LapeWarning
from lape.models.architectures import activation_sites, input_device
from lape.models.identity import ModelIdentity, identity
from lape.models.inputs import context_length, embedding_rows
from lape.models.machine import this_machine
from lape.models.sites import ActivationSites
from lape.recording.counting import Counts, counting

CPU_BATCH = 2  # more blocks at once do not pass a CPU faster, and leave its cache
MOST_BATCH = 64

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
        library: Of the packages that run it: name to version.
    """

    identity: ModelIdentity
    architecture: str
    shape: tuple[int, int]
    experts: int
    layout: Mapping[str, Any]
    rows: int
    context: int | None
    library: Mapping[str, str]

    @abstractmethod
    def batch(self, block: int) -> int:
        """Blocks of so many tokens to give it at once, unless the user says otherwise."""

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
            library={"transformers": transformers.__version__},
            model=model,
        )

    def batch(self, block: int) -> int:
        """As many as fit into half of the free memory of each GPU, up to 64 and a power of two; 2 on a CPU."""
        used = {parameter.device for parameter in self.model.parameters()} - {torch.device("cpu"), torch.device("meta")}
        if not used:
            return CPU_BATCH
        free = this_machine().gpu_free
        token = bytes_of_token(self.model, activation_sites(self.model), block)
        return blocks_that_fit(min(free[device.index or 0] for device in used) // 2, block * token)

    @contextmanager
    def counting(self, block: int, before: Sequence[int], *, apart: bool) -> Iterator[Count]:
        """See `ActivationCounter`; the decoder reads without the language-model head.

        Where memory does not suffice for a batch, it is read in two halves, and those that follow are never larger.
        """
        sites, device = activation_sites(self.model), input_device(self.model)
        prefix = torch.tensor(before, dtype=torch.long)
        at_once: int | None = None  # no bound

        with counting(sites, block, before=len(before), apart=apart, ending=True) as counted:

            def count(blocks: torch.Tensor) -> Counts:
                nonlocal at_once
                if at_once is not None and len(blocks) > at_once:
                    first, *others = map(count, blocks.split(at_once))
                    for later in others:
                        first = first.and_then(later, apart=apart)
                    return first
                inputs = torch.cat([prefix.expand(len(blocks), -1), blocks], dim=1).to(device)
                try:
                    with torch.no_grad():
                        return counted(partial(sites.decoder, input_ids=inputs, use_cache=False))
                except RuntimeError as error:
                    if not _lacks_memory(error):
                        raise
                    if len(blocks) == 1:
                        raise LapeError(
                            f"Out of memory with one block of {block} tokens; give a smaller one."
                        ) from error
                at_once = (len(blocks) + 1) // 2  # here the error, and the tensors it holds, are gone
                if torch.accelerator.is_available():
                    torch.accelerator.empty_cache()
                said = f"Out of memory with {len(blocks)} blocks at once; going on with {at_once}."
                warnings.warn(said, LapeWarning, stacklevel=2)
                return count(blocks)

            yield count


def _lacks_memory(error: RuntimeError) -> bool:
    """Whether a pass failed because memory did not suffice, on whatever device."""
    from accelerate.utils.memory import should_reduce_batch_size  # not there where an engine runs the model

    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)


def bytes_of_token(model: PreTrainedModel, sites: ActivationSites, block: int) -> int:
    """Bytes that a decoder layer and its count need at most for each token of a pass, an estimate on the safe side.

    In the model's dtype eight vectors as wide as the residual stream, three as wide as the FFN, and the token's row of
    the attention of every head; in float32 two copies of the activation, which the count is made of.
    """
    config = model.config.get_text_config()
    attention = block * (getattr(config, "num_attention_heads", None) or 0)
    return (8 * config.hidden_size + 3 * sites.neurons + attention) * model.dtype.itemsize + 8 * sites.neurons


def blocks_that_fit(free_bytes: int, bytes_of_block: int) -> int:
    """The largest power of two of blocks that fit into so many bytes, from 1 to 64."""
    fitting = max(1, min(MOST_BATCH, free_bytes // bytes_of_block))
    return int(2 ** (fitting.bit_length() - 1))
