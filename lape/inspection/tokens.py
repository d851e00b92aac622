"""What a model finds of each token of a text under an intervention, and untouched: where steering has its price."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.generation.interventions import Entry
from lape.generation.passages import Passage, PassageBatch, check_passages
from lape.generation.streaming import CONTEXT_TOKENS, Row
from lape.models.architectures import decoder_layers
from lape.models.head import head_of, states_per_slice

ALTERNATIVES = 5


@dataclass(frozen=True)
class Choice:
    """A token that could come next.

    Attributes:
        text: Of the token alone.
        log_probability: In nats.
    """

    text: str
    log_probability: float


@dataclass(frozen=True)
class TokenCost:
    """A token of a text, as two models find it: the one that wrote it, and the untouched one.

    Attributes:
        text: What it adds to the text, in whole characters: nothing where it is a part of one that a later token ends,
            or no text.
        own: Its log-probability in nats under the intervention, after all that comes before it.
        untouched: The same of the untouched model.
        own_choices: The likeliest tokens in its place under the intervention, the likeliest first.
        untouched_choices: The same of the untouched model.
    """

    text: str
    own: float
    untouched: float
    own_choices: tuple[Choice, ...]
    untouched_choices: tuple[Choice, ...]

    @property
    def cost(self) -> float:
        """How much likelier the token is under the intervention than to the untouched model, in nats."""
        return self.own - self.untouched


def token_costs(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    passages: Mapping[str, Passage],
    plan: Mapping[str, Entry | None],
    *,
    alternatives: int = ALTERNATIVES,
) -> dict[str, tuple[TokenCost, ...]]:
    """Reads texts twice in one batch, under their interventions and untouched, and compares their tokens.

    The probabilities are the model's own, of a float32 softmax: what sampling makes of them, such as a temperature or a
    repetition penalty, is not in them.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        passages: Name to prompt and continuation, as token ids.
        plan: Name to the intervention that the continuation was written under; None is the untouched model.
        alternatives: How many of the likeliest tokens are kept.

    Returns:
        Name to the tokens of its continuation.

    Raises:
        LapeError: A passage is empty or too long, the plan lacks one, or a number is not finite.
    """
    if missing := [name for name in passages if name not in plan]:
        raise LapeError(f"There is no plan for {', '.join(missing)}; give an intervention or None for each passage.")
    touched = [name for name in passages if plan[name] is not None]
    rows = [passages[name] for name in (*passages, *touched)]
    entries = [*(plan[name] for name in passages), *[None] * len(touched)]
    check_passages(model, rows, entries)
    read = _read(model, tokenizer, PassageBatch(rows), entries, alternatives)
    own = dict(zip(passages, read, strict=False))
    untouched = own | dict(zip(touched, read[len(own) :], strict=True))
    return {
        name: tuple(
            TokenCost(text, mine.log_probability, other.log_probability, mine.choices, other.choices)
            for text, mine, other in zip(_texts(tokenizer, passage), own[name], untouched[name], strict=True)
        )
        for name, passage in passages.items()
    }


class _Found(NamedTuple):
    """What one pass found in the place of a token."""

    log_probability: float
    choices: tuple[Choice, ...]


def _read(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    batch: PassageBatch,
    entries: Sequence[Entry | None],
    alternatives: int,
) -> list[list[_Found]]:
    """What one pass finds of each token of each row."""
    decoded = batch.decode(model, entries)
    hidden = batch.predicting(decoded.last_hidden_state)
    scored, best, ids = [], [], []
    with torch.no_grad(), head_of(model, decoder_layers(model)[0], decoded) as logits_of:
        size = states_per_slice(model)
        for states, targets in zip(hidden.split(size), batch.targets.to(hidden.device).split(size), strict=True):
            values = logits_of(states).float().log_softmax(-1)
            scored.append(values.gather(1, targets[:, None])[:, 0])
            top = values.topk(min(alternatives, values.shape[1]))
            best.append(top.values)
            ids.append(top.indices)
    found = torch.cat(scored).tolist()
    if not all(map(math.isfinite, found)):
        raise LapeError("The model's logits are not finite; load it in another dtype (float32 or bfloat16).")
    chosen = torch.cat(ids).tolist()
    spelled = {token: str(tokenizer.decode([token])) for tokens in chosen for token in tokens}
    each = iter(
        _Found(value, tuple(Choice(spelled[token], chance) for token, chance in zip(tokens, chances, strict=True)))
        for value, tokens, chances in zip(found, chosen, torch.cat(best).tolist(), strict=True)
    )
    return [list(islice(each, size)) for size in batch.sizes]


def _texts(tokenizer: Tokenizer, passage: Passage) -> list[str]:
    """What each scored token adds to the text, whose concatenation is the text."""
    row = Row(tokenizer, list(passage.context[-CONTEXT_TOKENS:]), [])
    texts, before = [], ""
    for token in passage.scored:
        row.add(token)
        after = row.text()
        grown = after.startswith(before)  # not while the bytes of a character come
        texts.append(after[len(before) :] if grown else "")
        before = after if grown else before
    return texts
