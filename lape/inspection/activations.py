"""Activations of chosen neurons over the tokens of a text, or which of all are active, in one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import regex
import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import HookNotFired, LapeError
from lape.masks.indices import size_text
from lape.models.architectures import activation_sites, input_device
from lape.models.inputs import check_characters, check_ids, context_length, embedding_rows
from lape.models.sites import ActivationSites, Routed
from lape.recording.beginnings import beginning_of
from lape.recording.pieces import LONGEST_PIECE
from lape.recording.texts import count_tokens
from lape.storage.brief import brief


@dataclass(frozen=True, eq=False)
class Activations:
    """What some neurons did at each token of a text.

    Attributes:
        pieces: The text in pieces, whose concatenation is the text; a piece is one token, or the tokens that
            only together are whole characters, as readers count them (grapheme clusters of Unicode).
        tokens: Number of tokens of each piece; together, the rows of `values`.
        neurons: int64 `[n]`, their flat indices (layer * neurons per layer + neuron).
        values: float32 `[tokens, n]`, their activation at each token; in a mixture of experts 0 at one that was not
            routed to their expert.
    """

    __repr__ = brief

    pieces: tuple[str, ...]
    tokens: tuple[int, ...]
    neurons: torch.Tensor
    values: torch.Tensor

    def by_piece(self, values: torch.Tensor) -> torch.Tensor:
        """Means over the tokens of each piece: `[tokens, ...]` becomes `[pieces, ...]`."""
        tokens = torch.tensor(self.tokens)
        sums = values.new_zeros(len(tokens), *values.shape[1:])
        sums.index_add_(0, torch.arange(len(tokens)).repeat_interleave(tokens), values)
        return sums / tokens.view(-1, *[1] * (values.dim() - 1))


@dataclass(frozen=True, eq=False)
class ActiveNeurons:
    """Which of a model's neurons were active (> 0) at each token of a text, all of them, in a bit each.

    Attributes:
        pieces: See `Activations`.
        tokens: See there.
        bits: uint8 `[tokens / 8, neurons of the model]`, the tokens of a neuron packed from the highest bit on.
    """

    pieces: tuple[str, ...]
    tokens: tuple[int, ...]
    bits: np.ndarray

    def of(self, neurons: torch.Tensor) -> Activations:
        """Some of them, in the place of activations: 1 where a neuron was active, else 0.

        Args:
            neurons: int64 `[n]` flat indices, in any order.
        """
        found = np.unpackbits(self.bits[:, neurons.numpy()], axis=0, count=sum(self.tokens))
        return Activations(self.pieces, self.tokens, neurons, torch.from_numpy(found).float())


def activations(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    text: str,
    neurons: torch.Tensor,
    *,
    longest_tokens: int | None = None,
) -> Activations:
    """Runs a model over a text and keeps what chosen neurons did at each token.

    The text is read as a recording reads its blocks: after what the tokenizer puts before text, else after a document
    end. The activations there are left out. Only the chosen columns are kept, on the device where each activation
    lives.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer, one that can say where in the text a token is (a fast one).
        text: Any text; not empty.
        neurons: int64 `[n]` flat indices, in any order.
        longest_tokens: Refuses a text of more tokens; None leaves the model's context as the only bound.

    Raises:
        LapeError: The text is empty, too long or holds a token that the model does not have, a neuron is outside
            the model, or the tokenizer is not fast.

    Example:
        >>> seen = activations(model, tokenizer, "Bonjour", mask.flat("fr"))  # doctest: +SKIP
        >>> seen.by_piece(seen.values)  # doctest: +SKIP
    """
    sites = activation_sites(model)
    layers, width = sites.shape
    if len(neurons) == 0 or neurons.min() < 0 or neurons.max() >= layers * width:
        raise LapeError(f"Name at least one neuron, all of them inside the model's {size_text(sites.shape)}.")
    read = _read(model, tokenizer, text, longest_tokens)
    values = torch.zeros(read.inputs.shape[1], len(neurons))
    layer_of, place = neurons // width, neurons % width
    chosen = {layer: (layer_of == layer).nonzero().squeeze(1) for layer in layer_of.unique().tolist()}

    def keep(layer: int, output: torch.Tensor, routed: Routed | None) -> None:
        columns = chosen[layer]
        if routed is None:
            values[:, columns] = output[:, place[columns].to(output.device)].float().cpu()
            return
        columns = columns[place[columns] // sites.width == routed.expert]
        of_expert = (place[columns] % sites.width).to(output.device)
        values[routed.tokens.cpu()[:, None], columns] = output[:, of_expert].float().cpu()

    _run(model, sites, read.inputs, chosen, keep)
    return Activations(read.pieces, read.tokens, neurons, values[read.start :])


def active_neurons(
    model: PreTrainedModel, tokenizer: Tokenizer, text: str, *, longest_tokens: int | None = None
) -> ActiveNeurons:
    """Runs a model over a text and keeps which neurons were active at each token, of all neurons.

    Args:
        model: A causal language model.
        tokenizer: See `activations`.
        text: See there.
        longest_tokens: See there.

    Raises:
        LapeError: See there.
    """
    sites = activation_sites(model)
    layers, width = sites.shape
    read = _read(model, tokenizer, text, longest_tokens)
    total = read.inputs.shape[1] - read.start
    bits = np.zeros((-(-total // 8), layers * width), np.uint8)

    def keep(layer: int, output: torch.Tensor, routed: Routed | None) -> None:
        active = (output > 0).cpu().numpy()
        columns = slice(layer * width, (layer + 1) * width)
        if routed is not None:
            first = layer * width + routed.expert * sites.width
            columns = slice(first, first + sites.width)
            everywhere = np.zeros((read.inputs.shape[1], sites.width), bool)
            everywhere[routed.tokens.cpu().numpy()] = active
            active = everywhere
        bits[:, columns] = np.packbits(active[read.start :], axis=0)

    _run(model, sites, read.inputs, sites.layers, keep)
    return ActiveNeurons(read.pieces, read.tokens, bits)


@dataclass(frozen=True)
class _Read:
    """A text as a model reads it: its pieces, the tokens of each, all ids, and how many stand before the text."""

    pieces: tuple[str, ...]
    tokens: tuple[int, ...]
    inputs: torch.Tensor
    start: int


def _read(model: PreTrainedModel, tokenizer: Tokenizer, text: str, longest_tokens: int | None) -> _Read:
    """Tokenises a text and checks that the model can read it."""
    context = context_length(model)
    most = min((bound for bound in (longest_tokens, context) if bound), default=None)
    if most and len(text) > LONGEST_PIECE and count_tokens(tokenizer, [text], 2 * most) > most + 1:  # with its end
        raise LapeError(f"The text has more than {most:,} tokens, and no more are read; shorten it.")
    ids, pieces, tokens = pieces_of(tokenizer, text)
    start = beginning_of(tokenizer)
    inputs = torch.tensor([[*start, *ids]])
    check_ids(embedding_rows(model), inputs, tokenizer)
    longest = min((bound for bound in (longest_tokens, context and context - len(start)) if bound), default=len(ids))
    if len(ids) > longest:
        raise LapeError(f"The text has {len(ids):,} tokens and at most {longest:,} are read; shorten it.")
    return _Read(pieces, tokens, inputs, len(start))


def _run(
    model: PreTrainedModel,
    sites: ActivationSites,
    inputs: torch.Tensor,
    layers: Iterable[int],
    keep: Callable[[int, torch.Tensor, Routed | None], None],
) -> None:
    """Shows the activations of some layers `[tokens, neurons]` in a pass over one text."""
    seen: set[int] = set()

    def show(layer: int, output: torch.Tensor, routed: Routed | None) -> None:
        seen.add(layer)
        keep(layer, output.reshape(-1, output.shape[-1]), routed)

    watched = set(layers) & set(sites.layers)
    with sites.watch({layer: partial(show, layer) for layer in watched}), torch.no_grad():
        sites.decoder(input_ids=inputs.to(input_device(model)), use_cache=False)
    if missing := sorted(watched - seen):
        raise HookNotFired(f"The decoder ran, but the activations of layers {missing} did not pass their hooks.")


def pieces_of(tokenizer: Tokenizer, text: str) -> tuple[list[int], tuple[str, ...], tuple[int, ...]]:
    """Tokenises a text, and says which piece of it each token is.

    A character that is split over several tokens is one piece with all of them, and so is what is one character to
    readers (a grapheme cluster: a letter of Devanagari with its vowel sign, an emoji with its skin tone); text that
    belongs to no token, such as a space the tokenizer leaves out, goes to the next piece. No special tokens are added.

    Returns:
        Token ids, pieces whose concatenation is the text, and the number of tokens of each piece.

    Raises:
        LapeError: The text is empty or holds half a character, or the tokenizer is not a fast one.
    """
    check_characters(text)
    if not tokenizer.is_fast:
        raise LapeError("This model's tokenizer cannot say where in the text its tokens are, so they cannot be shown.")
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = encoded["input_ids"]
    if not text.strip() or not ids:
        raise LapeError("The text is empty; write something to look at.")
    whole = {found.end() for found in regex.finditer(r"\X", text)}  # where a character of readers ends
    ends: list[int] = []  # of each piece, in characters
    tokens: list[int] = []
    waiting = 0  # tokens without text of their own, before any piece
    for first, last in encoded["offset_mapping"]:
        if ends and (first < ends[-1] or last <= ends[-1] or ends[-1] not in whole):
            ends[-1] = max(ends[-1], last)
            tokens[-1] += 1
        elif last == 0:
            waiting += 1
        else:
            ends.append(last)
            tokens.append(1 + waiting)
            waiting = 0
    if not ends:
        return ids, (text,), (waiting,)
    ends[-1] = len(text)
    pieces = tuple(text[first:last] for first, last in zip([0, *ends], ends, strict=False))
    return ids, pieces, tuple(tokens)
