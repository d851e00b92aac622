"""The language-model head of a model, on hidden states of one's own choice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from lape.models.architectures import input_device

SLICE_LOGITS = 2**24  # that exist at once: 64 MB in float32, whatever the batch


def states_per_slice(model: PreTrainedModel) -> int:
    """How many hidden states the head is given at once, so that there are not too many logits."""
    return max(1, SLICE_LOGITS // model.config.get_text_config().vocab_size)


@contextmanager
def head_of(
    model: PreTrainedModel, decoder: nn.Module, decoded: ModelOutput
) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """Gives the model's own way from hidden states `[n, hidden]` to logits `[n, vocabulary]`.

    The head alone is not enough: families scale or cap what it gives. So the whole model is called, with a decoder
    that hands over the hidden states instead of computing them, in an output of its own kind: families read more of
    it than these.

    Args:
        model: A causal language model.
        decoder: Its stack of layers.
        decoded: What the decoder gave of some pass.
    """
    states: list[torch.Tensor] = []

    def handed_over(*_args: object, **_kwargs: object) -> ModelOutput:
        return type(decoded)(**{**decoded, "last_hidden_state": states[-1]})

    def logits_of(hidden: torch.Tensor) -> torch.Tensor:
        states[:] = [hidden[None]]
        placeholder = torch.zeros((1, len(hidden)), dtype=torch.long, device=input_device(model))
        return model(input_ids=placeholder, use_cache=False).logits[0]

    own = vars(decoder).get("forward")  # accelerate puts one there
    vars(decoder)["forward"] = handed_over
    try:
        yield logits_of
    finally:
        del vars(decoder)["forward"]
        if own is not None:
            vars(decoder)["forward"] = own
