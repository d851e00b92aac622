"""What a neuron writes: the tokens that its direction in the residual stream raises and lowers.

The column of a neuron in the matrix after the activations, read through the model's own final norm and head, as Geva
et al. (EMNLP 2022, arXiv 2203.14680) read the value vectors of feed-forward layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import HookNotFired, LapeError
from lape.models.architectures import activation_sites, input_device
from lape.models.down import down_projections
from lape.models.experts import ExpertsSite, ScoredSite
from lape.models.hooks import Hook, hooked
from lape.models.residual import residual_stream
from lape.models.sites import DenseSite
from lape.recording.blocks import special_ids

TOKENS = 20  # of either list


@dataclass(frozen=True)
class WrittenToken:
    """A token of the vocabulary, and what a neuron does to it.

    Attributes:
        id: Its id.
        text: Its text; for a part of a character the tokenizer's own name of it.
        score: How far its logit is above the mean of the vocabulary, in standard deviations of the vocabulary.
    """

    id: int
    text: str
    score: float


@dataclass(frozen=True)
class Written:
    """What one neuron writes.

    Attributes:
        raised: The tokens of highest score, highest first.
        lowered: Those of lowest score, lowest first.
        gated: Whether the activation is multiplied with a second projection before it is written, whose sign can turn
            the two lists around at a token.
    """

    raised: tuple[WrittenToken, ...]
    lowered: tuple[WrittenToken, ...]
    gated: bool


def writes(model: PreTrainedModel, tokenizer: Tokenizer, layer: int, neuron: int, *, tokens: int = TOKENS) -> Written:
    """Tells which tokens a neuron raises and lowers by what it adds to the residual stream.

    With w what the layer adds to an empty stream for a unit input of this neuron alone (its column of the down
    projection, through the family's norm or factor after it where there is one), the logits are

        z = head(norm(w)) - head(norm(0))

    with the model's own final norm and head; a score is (z - mean) / deviation over the vocabulary. The norm divides by
    the length of w, so scores compare tokens of a neuron, and say nothing of how much the neuron writes. Of random
    directions the highest of 250,000 scores is about 4.6.

    Raised holds where the neuron's input to the down projection is positive. Without a gate that is its activation.
    Of gated layers (`Written.gated`) it is the activation times a second projection of either sign: where that is
    negative, or the activation is (GELU and SiLU go a little below 0), the lists change places. What later layers make
    of what is written is left out, and early layers write for them rather than for the head.

    In a mixture of experts w is the column of the neuron's own expert, for a token that the router sends there with a
    weight of 1; routers weigh with positive numbers.

    Args:
        model: A causal language model, quantised ones included.
        tokenizer: Its tokenizer.
        layer: From 0.
        neuron: Its place in the layer, from 0.
        tokens: How many of either list. Special tokens, and those that no text is made of, are left out.

    Raises:
        UnsupportedArchitecture: The model's matrices or residual stream are not found.
        LapeError: There is no such neuron.
    """
    logits = written_logits(model, layer, neuron)
    known = torch.zeros(len(logits), dtype=torch.bool)
    known[: len(tokenizer)] = True
    known[[id for id in special_ids(tokenizer) if id < len(logits)]] = False
    ids = known.nonzero().squeeze(1)
    scores = logits[ids]
    scores = (scores - scores.mean()) / scores.std(correction=0).clamp(min=torch.finfo(scores.dtype).tiny)
    order = scores.argsort(descending=True, stable=True)

    def listed(places: torch.Tensor) -> tuple[WrittenToken, ...]:
        found = ids[places].tolist()
        pairs = zip(found, texts_of(tokenizer, found), scores[places].tolist(), strict=True)
        return tuple(WrittenToken(id, text, score) for id, text, score in pairs)

    return Written(listed(order[:tokens]), listed(order.flip(0)[:tokens]), _gated(model, layer))


def written_logits(model: PreTrainedModel, layer: int, neuron: int) -> torch.Tensor:
    """The logits z of `writes`, of all rows of the head: float64 `[vocabulary]`, on the CPU.

    One pass over a token in two rows: in both the layer gets an empty stream, and its down projection, or its experts,
    give nothing in one row and the neuron's column in the other. What the layer then gives takes the place of the
    stream before the final norm.

    Raises:
        UnsupportedArchitecture: See `writes`.
        LapeError: There is no such neuron.
    """
    sites, stream = activation_sites(model), residual_stream(model)
    if layer not in sites.layers or not 0 <= neuron < sites.neurons:
        raise LapeError(f"There is no neuron {layer}.{neuron} in {type(model).__name__}.")
    states: list[torch.Tensor] = []

    def emptied(_module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if arguments:
            return (torch.zeros_like(arguments[0]), *arguments[1:]), named
        return arguments, {**named, "hidden_states": torch.zeros_like(named["hidden_states"])}

    def keep(given: torch.Tensor) -> None:
        states[:] = [given[1] - given[0]]

    def put(given: torch.Tensor) -> torch.Tensor:
        if not states:
            raise HookNotFired(f"The model ran, but layer {layer} did not pass its hook.")
        return torch.stack([torch.zeros_like(given[0]), states[0].to(given)])

    def kept_and_put(given: torch.Tensor) -> torch.Tensor:
        keep(given)
        return put(given)

    last = stream.shape[0] - 1
    seeing = {last: kept_and_put} if layer == last else {layer: keep, last: put}
    ids = torch.zeros((2, 1), dtype=torch.long, device=input_device(model))
    writing = _column_only(model, layer, neuron)
    with hooked(before={stream.layers[layer]: emptied}, after=writing), stream.watch(seeing), torch.no_grad():
        nothing, found = model(input_ids=ids, use_cache=False).logits[:, 0].double().cpu()
    return found - nothing


def _column_only(model: PreTrainedModel, layer: int, neuron: int) -> dict[nn.Module, Hook]:
    """A hook on what adds a neuron's column: it gives nothing in the first of two rows, the column in the second."""
    sites = activation_sites(model)
    site = sites.sites[layer]
    if isinstance(site, DenseSite):

        def projected(module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            units = inputs[0].new_zeros(2, inputs[0].shape[-1])
            units[1, neuron] = 1
            with torch.no_grad():
                given = module.forward(units)
            return (given - given[0]).to(output.dtype).view_as(output)  # without the bias

        return {_down(model, layer): projected}
    assert isinstance(site, ExpertsSite | ScoredSite)
    column = site.column(*divmod(neuron, sites.width))

    def routed(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        given = torch.zeros_like(output)
        given.view(-1, 2, output.shape[-1])[0, 1] = column  # of some families each expert has two rows, which are added
        return given

    return {site.experts: routed}


def _down(model: PreTrainedModel, layer: int) -> nn.Module:
    down = down_projections(model)[layer]
    assert down is not None  # a layer that has neurons
    return down


@contextmanager
def written_inputs(model: PreTrainedModel, layer: int, neuron: int) -> Iterator[list[torch.Tensor]]:
    """Collects what a neuron gives to its down projection in every pass for as long as the block runs.

    Its sign is that of what is written: positive where `Written.raised` is raised.

    Yields:
        A list that gets float32 `[tokens]` for each pass, on the CPU; 0 at a token that was routed to another expert.

    Raises:
        UnsupportedArchitecture: See `writes`.
    """
    sites = activation_sites(model)
    site = sites.sites[layer]
    if isinstance(site, ExpertsSite | ScoredSite):
        with site.inputs(*divmod(neuron, sites.width)) as routed:
            yield routed
        return
    given: list[torch.Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[torch.Tensor, ...], _named: object) -> None:
        given.append(inputs[0][..., neuron].flatten().float().cpu())

    with hooked(before={_down(model, layer): keep}):
        yield given


def texts_of(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """The text of single tokens; of a part of a character the tokenizer's own name of it."""
    decoded = [str(tokenizer.decode([id], clean_up_tokenization_spaces=False)) for id in ids]
    names = tokenizer.convert_ids_to_tokens(list(ids))
    return [name if not text or "�" in text else text for text, name in zip(decoded, names, strict=True)]


def _gated(model: PreTrainedModel, layer: int) -> bool:
    """Whether what goes into the down projection is not the activation itself."""
    sites = activation_sites(model)
    site = sites.sites[layer]
    if isinstance(site, ExpertsSite | ScoredSite):
        return getattr(site.experts, "has_gate", True)  # those of a Llama 4, which do not say, have one
    seen: dict[str, torch.Tensor] = {}

    def activated(output: torch.Tensor, _routed: object) -> None:
        seen["activation"] = output.reshape(-1, output.shape[-1]).float()

    def given(_module: nn.Module, arguments: tuple[torch.Tensor, ...], _named: object) -> None:
        seen["input"] = arguments[0].reshape(-1, arguments[0].shape[-1]).float()

    ids = torch.zeros((1, 1), dtype=torch.long, device=input_device(model))
    with sites.watch({layer: activated}), hooked(before={_down(model, layer): given}), torch.no_grad():
        sites.decoder(input_ids=ids, use_cache=False)
    return seen["activation"].shape != seen["input"].shape or not torch.allclose(seen["activation"], seen["input"])
