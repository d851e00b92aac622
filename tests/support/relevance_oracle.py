"""Relevance of a small Llama by layer-wise propagation: relevances handed down step by step, without a gradient.

Whatever is a sum of parts hands its relevance down in proportion to them; a product hands half to each factor; a norm
and an activation function hand it on as it is; a softmax hands down `x (R - p sum(R))`.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

Tensor = torch.Tensor


def relevance_by_hand(model: PreTrainedModel, ids: list[int], first: int = 0) -> Tensor:
    """Relevance of every activation for the mean logit of what comes next, the largest at the end.

    Args:
        model: A Llama in float64, without biases.
        ids: Of one text.
        first: Position of the first prediction.

    Returns:
        `[layers, positions, neurons]`.
    """
    steps = []
    stream = model.model.embed_tokens.weight[ids]
    for layer in model.model.layers:
        attended = _Attention(model, layer.self_attn, _normed(layer.input_layernorm, stream))
        between = stream + attended.output
        read = _normed(layer.post_attention_layernorm, between)
        gate, up = read @ layer.mlp.gate_proj.weight.T, read @ layer.mlp.up_proj.weight.T
        fired = gate * torch.sigmoid(gate)
        added = (fired * up) @ layer.mlp.down_proj.weight.T
        steps.append((layer, stream, attended, between, read, gate, up, fired, added))
        stream = between + added
    last = _normed(model.model.norm, stream)
    logits = last @ model.lm_head.weight.T
    picked = torch.zeros_like(logits)
    for position in range(first, len(ids)):
        token = ids[position + 1] if position + 1 < len(ids) else int(logits[position].argmax())
        picked[position, token] = logits[position, token] / (len(ids) - first)
    relevance = _linear(picked, last, model.lm_head.weight)
    found = []
    for layer, stream, attended, between, read, _gate, up, fired, added in reversed(steps):
        of_added = relevance * added / (between + added)
        product = _linear(of_added, fired * up, layer.mlp.down_proj.weight)
        found.append(product / 2)
        of_read = _linear(product / 2, read, layer.mlp.gate_proj.weight)  # an activation's relevance is its gate's
        of_read = of_read + _linear(product / 2, read, layer.mlp.up_proj.weight)
        relevance = relevance * between / (between + added) + of_read
        of_attended = relevance * attended.output / between
        relevance = relevance * stream / between + attended.down(of_attended)
    return torch.stack(found[::-1])


class _Attention:
    """One layer's attention over one text, head by head."""

    def __init__(self, model: PreTrainedModel, module: torch.nn.Module, read: Tensor) -> None:
        config = model.config
        self.module, self.read, self.size = module, read, config.head_dim
        self.turns = _turns(len(read), self.size, float(config.rope_parameters["rope_theta"]))
        shared = config.num_attention_heads // config.num_key_value_heads
        self.heads = [(head, head // shared) for head in range(config.num_attention_heads)]
        self.mixed = torch.cat([self._head(*heads)[-1] for heads in self.heads], dim=1)
        self.output = self.mixed @ module.o_proj.weight.T

    def _rows(self, projection: str, head: int) -> Tensor:
        return getattr(self.module, projection).weight[head * self.size : (head + 1) * self.size]

    def _head(self, head: int, shared: int) -> tuple[Tensor, ...]:
        query, key = self.read @ self._rows("q_proj", head).T, self.read @ self._rows("k_proj", shared).T
        turned_query, turned_key = (torch.einsum("tij,tj->ti", self.turns, rows) for rows in (query, key))
        scores = turned_query @ turned_key.T / self.size**0.5
        unseen = torch.ones_like(scores).triu(1).bool()
        chances = scores.masked_fill(unseen, -torch.inf).softmax(1)
        value = self.read @ self._rows("v_proj", shared).T
        return query, key, turned_query, turned_key, scores, chances, value, chances @ value

    def down(self, relevance: Tensor) -> Tensor:
        """Relevance of what was read, from that of the output."""
        mixed = _linear(relevance, self.mixed, self.module.o_proj.weight)
        found = torch.zeros_like(self.read)
        for head, shared in self.heads:
            query, key, turned_query, turned_key, scores, chances, value, out = self._head(head, shared)
            part = mixed[:, head * self.size : (head + 1) * self.size] / out
            terms = torch.einsum("ts,sd,td->tsd", chances, value, part) / 2  # the product's, half for each factor
            of_value, of_chances = terms.sum(0), terms.sum(2)
            of_scores = scores * (of_chances - chances * of_chances.sum(1, keepdim=True))
            ratio = (of_scores / scores) / self.size**0.5
            pairs = torch.einsum("ts,td,sd->tsd", ratio, turned_query, turned_key) / 2
            of_query = _turned_back(pairs.sum(1), query, turned_query, self.turns)
            of_key = _turned_back(pairs.sum(0), key, turned_key, self.turns)
            for of_rows, projection, at in (
                (of_query, "q_proj", head),
                (of_key, "k_proj", shared),
                (of_value, "v_proj", shared),
            ):
                found += _linear(of_rows, self.read, self._rows(projection, at))
        return found


def _linear(relevance: Tensor, read: Tensor, weight: Tensor) -> Tensor:
    """Each input's part in every output, times that output's relevance."""
    outputs = read @ weight.T
    parts = read[:, None, :] * weight[None] / outputs[:, :, None]
    return (parts * relevance[:, :, None]).sum(1)


def _normed(norm: torch.nn.Module, stream: Tensor) -> Tensor:
    return stream / (stream.square().mean(-1, keepdim=True) + norm.variance_epsilon).sqrt() * norm.weight


def _turns(positions: int, size: int, theta: float) -> Tensor:
    """The rotation of each position as a matrix."""
    turns = torch.zeros(positions, size, size, dtype=torch.float64)
    for position in range(positions):
        for pair in range(size // 2):
            angle = torch.tensor(position / theta ** (2 * pair / size), dtype=torch.float64)
            one, other = pair, pair + size // 2
            turns[position, one, one] = turns[position, other, other] = angle.cos()
            turns[position, one, other], turns[position, other, one] = -angle.sin(), angle.sin()
    return turns


def _turned_back(relevance: Tensor, rows: Tensor, turned: Tensor, turns: Tensor) -> Tensor:
    return torch.einsum("tij,tj,ti->tj", turns, rows, relevance / turned)
