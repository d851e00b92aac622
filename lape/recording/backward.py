"""Record relevance: backward passes from the model's logits to its activations, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import HookNotFired, LapeError, UnsupportedArchitecture
from lape.models.architectures import activation_sites, input_device
from lape.models.backward_rules import relevance_rules
from lape.models.head import head_of, states_per_slice
from lape.models.hooks import hooked
from lape.models.sites import ActivationSites
from lape.recording.moments import LEAST_OBSERVATIONS, Moments
from lape.recording.passes import Made, TextPasses
from lape.recording.relevance import BlockRelevance, Relevance
from lape.recording.sources import Source

R = TypeVar("R", bound=BlockRelevance)

BLOCK = 128
READABLE_ATTENTION = ("sdpa", "eager")  # whose backward pass goes through operations that have rules


class Backward(NamedTuple):
    """What a pass forward and back gave, on the CPU.

    Attributes:
        relevance: float32 `[blocks, layers, neurons]`.
        sum: float32 `[layers, neurons]`, of the activation over all tokens of the blocks.
        active: int64 `[layers, neurons]`, those of the tokens at which the activation was above 0.
    """

    relevance: torch.Tensor
    sum: torch.Tensor
    active: torch.Tensor


@contextmanager
def backward_passes(
    model: PreTrainedModel, *, before: int = 0, rules: bool = True
) -> Iterator[Callable[[torch.Tensor], Backward]]:
    """Gives a function of token ids `[blocks, before + block]` that reads them, and goes back from their logits.

    What is gone back from is, for each block, the mean over its predictions of the logit of the token that comes next
    and, at the end, of the largest logit (CRANE, arXiv 2601.04664). Each neuron's activation times its gradient is
    summed over the block's tokens.

    Args:
        model: A causal language model with a dense FFN in every layer that has one.
        before: Tokens at the beginning of each row that are read only.
        rules: Whether the gradient is that of `lape.models.backward_rules`, or the plain one.

    Raises:
        UnsupportedArchitecture: Its activations are not found, it is a mixture of experts, or its attention is
            computed by a kernel that has no rules.
    """
    sites = activation_sites(model)
    _check(model, sites, rules)
    modules = [module for module in sites.modules if module is not None]
    with ExitStack() as stack:
        for parameter in model.parameters():  # gradients are of activations alone
            stack.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(False)
        _unpack(model)
        yield partial(_read, model, sites, modules if rules else None, before)


def _check(model: PreTrainedModel, sites: ActivationSites, rules: bool) -> None:
    name = type(model).__name__
    if sites.experts > 1:
        raise UnsupportedArchitecture(f"{name} is a mixture of experts: what its router decides has no relevance.")
    attention = getattr(model.config.get_text_config(), "_attn_implementation", "eager")
    if rules and attention not in READABLE_ATTENTION:
        raise UnsupportedArchitecture(
            f"{name} computes attention by {attention!r}, through which relevance cannot be followed; load it with "
            f"attn_implementation={READABLE_ATTENTION[0]!r}."
        )


def _unpack(model: PreTrainedModel) -> None:
    """Has bitsandbytes put back 4-bit weights that it has packed for CPUs, through which it cannot go back.

    It packs them in the first pass without gradients and puts them back when they are to be saved.
    """
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            module.state_dict()


def _read(
    model: PreTrainedModel,
    sites: ActivationSites,
    ruled: list[nn.Module] | None,
    before: int,
    ids: torch.Tensor,
) -> Backward:
    seen: dict[int, torch.Tensor] = {}

    def keep(layer: int, values: torch.Tensor, _routed: object) -> None:
        seen[layer] = values

    start = hooked(after={model.get_input_embeddings(): lambda _module, _ids, found: found.detach().requires_grad_()})
    rules = nullcontext() if ruled is None else relevance_rules(ruled)
    watching = sites.watch({layer: partial(keep, layer) for layer in sites.layers})
    with torch.enable_grad(), start, rules, watching:
        decoded = sites.decoder(input_ids=ids, use_cache=False)
        hidden = decoded.last_hidden_state
        if missing := sorted(set(sites.layers) - set(seen)):
            raise HookNotFired(f"The decoder ran, but the activations of layers {missing} did not pass their hooks.")
        with head_of(model, sites.decoder, decoded) as logits_of:
            gradient = _gradient_of_logits(logits_of, hidden.detach(), ids, before, states_per_slice(model))
        gradients = torch.autograd.grad(hidden, [seen[layer] for layer in sites.layers], gradient)
    shape = (*ids.shape, sites.neurons)
    relevance = torch.zeros(len(ids), *sites.shape)
    sums, active = torch.zeros(sites.shape), torch.zeros(sites.shape, dtype=torch.long)
    for layer, found in zip(sites.layers, gradients, strict=True):
        values = seen[layer].detach().float().reshape(shape)[:, before:]
        relevance[:, layer] = (values * found.float().reshape(shape)[:, before:]).sum(1).cpu()
        sums[layer] = values.sum((0, 1)).cpu()
        active[layer] = (values > 0).sum((0, 1)).cpu()
    if not (relevance.isfinite().all() and sums.isfinite().all()):
        raise LapeError("The model's relevance is not finite; load it in another dtype (float32 or bfloat16).")
    return Backward(relevance, sums, active)


def _gradient_of_logits(
    logits_of: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor, ids: torch.Tensor, before: int, size: int
) -> torch.Tensor:
    """The gradient, by the hidden states, of each row's mean logit of what comes next; some states at a time."""
    first = max(0, before - 1)  # the state that predicts the first token of the block, or the second
    following = torch.nn.functional.pad(ids[:, first + 1 :], (0, 1), value=-1)  # nobody knows what comes last
    states, wanted = hidden[:, first:].flatten(0, 1), following.flatten().to(hidden.device)
    found = []
    for some, next_ids in zip(states.split(size), wanted.split(size), strict=True):
        some = some.requires_grad_()
        logits = logits_of(some)
        next_ids = torch.where(next_ids < 0, logits.argmax(-1), next_ids.to(logits.device))
        picked = logits.gather(1, next_ids[:, None]).float().sum()
        found.append(torch.autograd.grad(picked / following.shape[1], some)[0])
    gradient = torch.zeros_like(hidden)
    gradient[:, first:] = torch.cat(found).view_as(hidden[:, first:])
    return gradient


def record_relevance(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    kind: type[R] = Relevance,  # type: ignore[assignment]  # which R then is
    tokens: int = 10_000,
    block: int = BLOCK,
    batch: int | None = None,
    progress: bool = True,
    allow_short: bool = False,
    kept: Path | None = None,
) -> R:
    """Records the relevance of every neuron for the model's predictions of each language's text.

    Args:
        model: A causal language model with a dense FFN, 4-bit and dispatched ones too. Gradients have its dtype;
            float32 is the most exact.
        tokenizer: Its tokenizer.
        corpora: Language code to documents: a sequence, or a function that opens them.
        kind: `Relevance`, or `GradientRelevance` for the plain gradient.
        tokens: Tokens per language, rounded up to whole blocks.
        block: Tokens per block. Kurtosis is over blocks, so short ones give a truer one; it needs four.
        batch: Blocks per pass; None takes 1 on a CPU and 4 on a GPU. A backward pass holds all activations.
        progress: Whether to show a progress bar on standard error.
        allow_short: Take a language that has less text than asked, rather than raise.
        kept: Folder for what is made of each language as soon as it is done, see `TextPasses`.

    Returns:
        The relevance, on the CPU.

    Raises:
        UnsupportedArchitecture: The model cannot be hooked, or relevance cannot be followed through it.
        NotEnoughText: A language has fewer tokens than asked; says how many.
        LapeError: A setting is out of range, there are fewer than four blocks, or a number is not finite.

    Example:
        >>> relevance = record_relevance(model, tokenizer, {"fr": french, "en": english})  # doctest: +SKIP
    """
    sites = activation_sites(model)
    batch = (1 if input_device(model).type == "cpu" else 4) if batch is None else batch
    given: dict[str, Any] = {"tokens": tokens, "block": block, "batch": batch, "progress": progress}
    given |= {"allow_short": allow_short, "kept": kept, "settings": {**sites.metadata, "batch": batch}}
    passes = TextPasses(model, tokenizer, corpora, **given)
    if (asked := -(-tokens // block)) < LEAST_OBSERVATIONS:
        raise _few_blocks(f"{tokens} tokens", asked)

    with backward_passes(model, before=passes.before, rules=kind is Relevance) as read:

        def moments(batches: Iterator[torch.Tensor]) -> Made:
            found, sums = Moments.empty(sites.shape), torch.zeros(sites.shape, dtype=torch.float64)
            active = torch.zeros(sites.shape, dtype=torch.long)
            for ids in batches:
                back = read(ids)
                for relevance in back.relevance:
                    found = found.add(relevance)
                sums += back.sum
                active += back.active
            if found.count < LEAST_OBSERVATIONS:
                raise _few_blocks("a language's tokens", found.count)
            return {"relevance": found.mean, "kurtosis": found.kurtosis(), "sum": sums, "active": active}

        made = passes.by_language(kind.kind, moments)
    return kind.gathered(made, {**passes.metadata, **sites.metadata})


def _few_blocks(what: str, blocks: int) -> LapeError:
    return LapeError(
        f"Relevance needs {LEAST_OBSERVATIONS} blocks or more; {what} are {blocks}. Ask for more, or shorter ones."
    )
