"""The language of a text as a model's layers build it: what each layer would say if it were the last.

The residual stream after each layer goes through the model's own final norm and head, as the logit lens does
(nostalgebraist 2020; for languages Wendler et al. 2024, arXiv 2402.10588). Of the likeliest tokens at each position of
the continuation it is counted which language and which script they are of.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import HookNotFired, LapeError
from lape.generation.interventions import Entry
from lape.generation.passages import Passage, PassageBatch, check_passages
from lape.models.final_norm import final_norm
from lape.models.head import head_of, states_per_slice
from lape.models.residual import residual_stream
from lape.recording.blocks import special_ids
from lape.recording.vocabulary import TokenLanguages

TOP = 10
POSITIONS = 24
LEADING = 0.1  # of the tokens: fewer are some language's by chance
SCRIPTS = {"CJK": "Han", "FULLWIDTH": "Latin"}  # whose letters have other names in Unicode than their script


@dataclass(frozen=True)
class LayerTokens:
    """What a layer would say: its likeliest tokens at some positions, ten at each.

    Attributes:
        languages: Language code to the share of these tokens that are its own, the largest first; only of languages
            with some.
        scripts: Script to the share of these tokens whose letters are all or most of it, the largest first.
        letters: Share of these tokens that have letters.
        likeliest: The likeliest token at each position, as text.
    """

    languages: Mapping[str, float]
    scripts: Mapping[str, float]
    letters: float
    likeliest: tuple[str, ...]


def layer_tokens(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    passages: Mapping[str, Passage],
    plan: Mapping[str, Entry | None],
    known: TokenLanguages | None = None,
    *,
    top: int = TOP,
    positions: int | None = POSITIONS,
) -> Generator[dict[str, LayerTokens], None, None]:
    """Reads texts in one pass under their interventions, and says of one layer after the other what it would say.

    The logits of all layers never exist together: the head runs on slices, of which the likeliest tokens are kept.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        passages: Name to prompt and continuation, as token ids.
        plan: Name to the intervention that the continuation was written under; None is the untouched model.
        known: Which language a token is of, as counts of tokens say; without it only scripts are told.
        top: How many tokens are looked at, at each position.
        positions: At most so many of each continuation, evenly spread over it; None looks at all.

    Yields:
        Name to what a layer would say, from the first layer to the last.

    Raises:
        UnsupportedArchitecture: What the model does after its last layer is not a norm.
        LapeError: A passage is empty or too long, the plan lacks one, or a number is out of range.
    """
    if missing := [name for name in passages if name not in plan]:
        raise LapeError(f"There is no plan for {', '.join(missing)}; give an intervention or None for each passage.")
    if top < 1 or (positions is not None and positions < 1):
        raise LapeError(f"top and positions must be at least 1, not {top} and {positions}.")
    entries = [plan[name] for name in passages]
    check_passages(model, list(passages.values()), entries)
    norm, stream = final_norm(model), residual_stream(model)
    batch = PassageBatch(list(passages.values()))
    chosen = [spread(size, positions) for size in batch.sizes]
    first = [sum(batch.sizes[:place]) for place in range(len(chosen))]
    looked = torch.tensor([start + place for start, some in zip(first, chosen, strict=True) for place in some])
    streams: dict[int, torch.Tensor] = {}

    def keep(layer: int, states: torch.Tensor) -> None:
        streams[layer] = batch.predicting(states)[looked.to(states.device)]

    layers = range(stream.shape[0])
    decoded = batch.decode(model, entries, stream.watch({layer: partial(keep, layer) for layer in layers}))
    if unseen := sorted(set(layers) - streams.keys()):
        raise HookNotFired(f"The decoder ran, but the outputs of layers {unseen} did not pass their hooks.")
    told = _Told(tokenizer, known)
    device, size = decoded.last_hidden_state.device, states_per_slice(model)
    for layer in layers:
        likeliest = []
        with torch.no_grad(), head_of(model, stream.decoder, decoded) as logits_of:
            for states in norm(streams.pop(layer).to(device)).split(size):
                logits = logits_of(states)
                likeliest.append(logits.topk(min(top, logits.shape[1])).indices.cpu())
        rows = torch.cat(likeliest).split(list(map(len, chosen)))
        yield {name: told.summary(ids) for name, ids in zip(passages, rows, strict=True)}


def leading(layers: Sequence[LayerTokens]) -> tuple[str, int] | None:
    """The language that leads at the last layer, and the first layer from which on it does.

    It leads where more of the tokens are its own than any other language's, and a tenth at least. None where none leads
    at the end.

    Example:
        >>> said = [{"en": 0.2}, {"es": 0.1, "en": 0.2}, {"es": 0.3}, {"es": 0.4, "en": 0.1}]
        >>> leading([LayerTokens(each, {}, 1.0, ()) for each in said])
        ('es', 2)
    """
    code = _leader(layers[-1]) if layers else None
    if code is None:
        return None
    others = [layer for layer, found in enumerate(layers) if _leader(found) != code]
    return code, max(others, default=-1) + 1


def spread(size: int, most: int | None) -> list[int]:
    """Places evenly spread over so many, the first among them; all where there are no more than asked.

    Example:
        >>> spread(6, 3), spread(2, 3)
        ([0, 2, 4], [0, 1])
    """
    if most is None or size <= most:
        return list(range(size))
    return [place * size // most for place in range(most)]


def script_of(text: str) -> str | None:
    """The script of most of a text's letters, as Unicode names them; None where there is no letter.

    Example:
        >>> script_of(" été"), script_of("言"), script_of("12.")
        ('Latin', 'Han', None)
    """
    names = (unicodedata.name(letter, "").replace("-", " ").split(" ")[0] for letter in text if letter.isalpha())
    found = Counter(SCRIPTS.get(name, name.capitalize()) for name in names if name)
    return found.most_common(1)[0][0] if found else None


def _leader(said: LayerTokens) -> str | None:
    """The one language with the largest share, if that is one to speak of."""
    best = max(said.languages.values(), default=0.0)
    leaders = [code for code, share in said.languages.items() if share == best]
    return leaders[0] if len(leaders) == 1 and best >= LEADING else None


class _Told:
    """What is told of tokens: which text, language and script they are."""

    def __init__(self, tokenizer: Tokenizer, known: TokenLanguages | None) -> None:
        self._tokenizer = tokenizer
        self._languages, self._special = known, special_ids(tokenizer)
        self._known: dict[int, tuple[str, str | None, str | None]] = {}

    def summary(self, ids: torch.Tensor) -> LayerTokens:
        """Of tokens `[positions, top]`, the likeliest first."""
        for token in set(ids.flatten().tolist()) - self._known.keys():
            text = str(self._tokenizer.decode([token]))
            is_text = token not in self._special
            self._known[token] = text, self._language(token, text), script_of(text) if is_text else None
        found = [self._known[token] for token in ids.flatten().tolist()]
        languages, scripts = Counter(code for _, code, _ in found), Counter(script for _, _, script in found)
        languages.pop(None, None)
        letters = len(found) - scripts.pop(None, 0)
        return LayerTokens(
            {str(code): count / len(found) for code, count in languages.most_common()},
            {str(script): count / len(found) for script, count in scripts.most_common()},
            letters / len(found),
            tuple(self._known[token][0] for token in ids[:, 0].tolist()),
        )

    def _language(self, token: int, text: str) -> str | None:
        """Its language: a token needs letters to be of one, or a part of a character, which may be a letter."""
        letters = "\ufffd" in text or any(map(str.isalpha, text))
        return self._languages.of(token) if self._languages is not None and letters else None
