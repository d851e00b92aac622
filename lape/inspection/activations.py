"""Activations of chosen neurons over the tokens of a text, in one forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import HookNotFired, LapeError
from lape.masks.indices import size_text
from lape.models.architectures import activation_sites, input_device
from lape.models.inputs import check_characters, check_ids, context_length, embedding_rows
from lape.models.sites import Routed
from lape.recording.beginnings import beginning_of
from lape.recording.pieces import LONGEST_PIECE
from lape.recording.texts import count_tokens


@dataclass(frozen=True, eq=False)
class Activations:
    """What some neurons did at each token of a text.

    Attributes:
        pieces: The text in pieces, whose concatenation is the text; a piece is one token, or the tokens that
            only together are whole characters.
        tokens: Number of tokens of each piece; together, the rows of `values`.
        neurons: int64 `[n]`, their flat indices (layer * neurons per layer + neuron).
        values: float32 `[tokens, n]`, their activation at each token; in a mixture of experts 0 at one that was not
            routed to their expert.
    """

    pieces: tuple[str, ...]
    tokens: tuple[int, ...]
    neurons: torch.Tensor
    values: torch.Tensor

    def by_piece(self, values: torch.Tensor) -> torch.Tensor:
        """Means over the tokens of each piece: `[tokens, ...]` becomes `[pieces, ...]`."""
        return torch.stack([part.mean(0) for part in values.split(self.tokens)])


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
    values = torch.zeros(inputs.shape[1], len(neurons))
    layer_of, place = neurons // width, neurons % width
    chosen = {layer: (layer_of == layer).nonzero().squeeze(1) for layer in layer_of.unique().tolist()}
    seen: set[int] = set()

    def keep(layer: int, output: torch.Tensor, routed: Routed | None) -> None:
        seen.add(layer)
        columns = chosen[layer]
        read = output.reshape(-1, output.shape[-1])
        if routed is None:
            values[:, columns] = read[:, place[columns].to(read.device)].float().cpu()
            return
        columns = columns[place[columns] // sites.width == routed.expert]
        of_expert = (place[columns] % sites.width).to(read.device)
        values[routed.tokens.cpu()[:, None], columns] = read[:, of_expert].float().cpu()

    with sites.watch({layer: partial(keep, layer) for layer in chosen}), torch.no_grad():
        sites.decoder(input_ids=inputs.to(input_device(model)), use_cache=False)
    if missing := sorted(set(chosen) & set(sites.layers) - seen):
        raise HookNotFired(f"The decoder ran, but the activations of layers {missing} did not pass their hooks.")
    return Activations(pieces, tokens, neurons, values[len(start) :])


def pieces_of(tokenizer: Tokenizer, text: str) -> tuple[list[int], tuple[str, ...], tuple[int, ...]]:
    """Tokenises a text, and says which piece of it each token is.

    A character that is split over several tokens is one piece with all of them; text that belongs to no token, such
    as a space the tokenizer leaves out, goes to the next piece. No special tokens are added.

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
    ends: list[int] = []  # of each piece, in characters
    tokens: list[int] = []
    waiting = 0  # tokens without text of their own, before any piece
    for first, last in encoded["offset_mapping"]:
        if ends and (first < ends[-1] or last <= ends[-1]):
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
