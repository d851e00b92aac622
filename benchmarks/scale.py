"""What recording would take at 7B and 70B, worked out on paper: `python -m benchmarks.scale`.

Nothing is run. Parameters are counted on models without weights, memory is what `load_model` would ask for, and time
follows from three numbers that are assumed and can be changed: what a card computes, how much of it is used, its price.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import ceil

import torch
from transformers import LlamaConfig, PreTrainedModel

from lape.models.memory import empty_model, needed_bytes, weight_bytes

# As in their config.json on the Hub.
MODELS = {
    "7B": LlamaConfig(),
    "70B": LlamaConfig(
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
    ),
}
RECORDING_OVER_DECODER = 0.97  # speed, docs/speed.md
FILE_BYTES, TALLY_BYTES = 4 + 4 + 2, 8 + 8 + 8  # of a neuron and language: in the file, and while it is recorded
LANGUAGES, CARDS = (7, 30), (1, 8, 64)


@dataclass(frozen=True)
class Card:
    """What is assumed of a card.

    Attributes:
        flops: Dense bfloat16 operations a second, at its peak.
        used: Share of them that a forward pass gets.
        memory: Bytes.
        price: Dollars an hour.
    """

    flops: float
    used: float
    memory: float
    price: float


def main() -> None:
    """Prints the tables of docs/scale.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=float, default=1e8, help="tokens a language")
    parser.add_argument("--tflops", type=float, default=989, help="peak of a card, dense bfloat16 (H100 SXM: 989)")
    parser.add_argument("--used", type=float, default=0.4, help="share of the peak that a forward pass gets")
    parser.add_argument("--gb", type=float, default=80, help="memory of a card")
    parser.add_argument("--price", type=float, default=2.5, help="dollars a card hour")
    options = parser.parse_args()
    card = Card(options.tflops * 1e12, options.used, options.gb * 1e9, options.price)
    models = {name: empty_model(config) for name, config in MODELS.items()}
    print("| model | parameters | FLOP a token | card hours a language | bfloat16 | 4-bit | statistics, 7 and 30 |")
    print("|---|---|---|---|---|---|---|")
    for name, model in models.items():
        full, small = (needed(model, quantization) / 1e9 for quantization in (None, "4bit"))
        files = " and ".join(f"{values(model, count) * FILE_BYTES / 1e9:.2f} GB" for count in LANGUAGES)
        print(
            f"| {name} | {model.num_parameters() / 1e9:.2f} B | {flops(model) / 1e9:.1f} G | "
            f"{hours(model, options.tokens, card):.2f} | {full:.0f} GB | {small:.0f} GB | {files} |"
        )
    print()
    print(
        "| model, languages | cards | copies of the model | hours | card hours | dollars |\n|---|---|---|---|---|---|"
    )
    for name, model in models.items():
        for languages in LANGUAGES:
            for cards in CARDS:
                print(f"| {name}, {languages} | {row(model, languages * options.tokens, cards, card)} |")


def row(model: PreTrainedModel, tokens: float, cards: int, card: Card) -> str:
    """Copies, hours, card hours and dollars of a recording.

    The layers of a copy that needs several cards take turns, as under a device map, so that one of them works at a
    time. Where not even one copy fits, it is in 4-bit.
    """
    each = ceil(needed(model) / card.memory)
    form = "bfloat16"
    if each > cards:
        each, form = ceil(needed(model, "4bit") / card.memory), "4-bit"
    copies = cards // each
    taken = hours(model, tokens, card) / copies
    return f"{cards} | {copies} in {form} | {taken:,.1f} | {taken * cards:,.0f} | {taken * cards * card.price:,.0f}"


def hours(model: PreTrainedModel, tokens: float, card: Card) -> float:
    """Of one card."""
    return tokens * flops(model) / (card.flops * card.used) / RECORDING_OVER_DECODER / 3600


def flops(model: PreTrainedModel) -> float:
    """Of a token in the decoder: two for each weight of its matrices, without those of embeddings and head."""
    layers = model.get_decoder().layers
    return 2.0 * sum(weight.numel() for weight in layers.parameters() if weight.dim() == 2)


def needed(model: PreTrainedModel, quantization: str | None = None) -> float:
    """Bytes that `load_model` asks for."""
    full = weight_bytes(model, torch.bfloat16)
    return needed_bytes(weight_bytes(model, torch.bfloat16, quantization), full)  # type: ignore[arg-type]


def values(model: PreTrainedModel, languages: int) -> int:
    """Neurons times languages."""
    return model.config.num_hidden_layers * model.config.intermediate_size * languages


if __name__ == "__main__":
    main()
