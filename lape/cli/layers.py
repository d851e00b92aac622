"""What `lape look --layers` prints: the language of a text's continuation as the layers build it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lape.cli.common import codes, emit, load_model, table
from lape.generation.settings import MODE, STRENGTH

if TYPE_CHECKING:
    from lape.inspection.layers import LayerTokens
    from lape.recording.vocabulary import TokenLanguages

NAMED = 4  # languages or scripts of a layer


def add_layers(look: argparse.ArgumentParser) -> None:
    """Adds the options of it to the command."""
    look.add_argument(
        "--layers", action="store_true", help="continue the text, and say which language each layer would write"
    )
    look.add_argument("--off", type=codes, default=[], help="with --layers: languages to switch off, such as fr")
    look.add_argument("--on", help="with --layers: language to steer to")
    look.add_argument("--mode", default=MODE, help="replace, add or scale (default: %(default)s)")
    look.add_argument("--strength", type=float, default=STRENGTH, help="factor of the mode (default: %(default)s)")
    look.add_argument("--max-new-tokens", type=int, default=24, help="of each continuation (default: %(default)s)")


def look_at_layers(options: argparse.Namespace) -> None:
    """Carries it out."""
    from lape.generation.generate import side_by_side
    from lape.generation.interventions import Intervention
    from lape.generation.passages import Passage
    from lape.generation.prompts import encode
    from lape.generation.settings import REPETITION_PENALTY
    from lape.inspection.layers import layer_tokens
    from lape.masks.bundled import bundled_folder
    from lape.masks.mask import NeuronMask

    folder = options.mask or bundled_folder(options.model)
    mask = NeuronMask.load(folder)
    variants: dict[str, Intervention | None] = {"on": None}
    if options.off:
        variants["off"] = Intervention(mask, off=options.off)
    if options.on:
        steer = {"on": options.on, "mode": options.mode, "strength": options.strength}
        variants["steered"] = Intervention(mask, off=options.off, **steer)
    model, tokenizer = load_model(options)
    known = _known(folder, model)
    settings = {"max_new_tokens": options.max_new_tokens, "repetition_penalty": REPETITION_PENALTY}
    *_, last = side_by_side(model, tokenizer, options.text, variants, **settings)
    (context,) = encode(model, tokenizer, [options.text])["input_ids"].tolist()
    passages = {name: Passage(context, ids) for name, ids in last.token_ids.items()}
    layers: dict[str, list[LayerTokens]] = {name: [] for name in passages}
    for layer in layer_tokens(model, tokenizer, passages, variants, known, positions=None):
        for name, said in layer.items():
            layers[name].append(said)
    found = {"text": options.text, "columns": {name: _plain(last.texts[name], layers[name]) for name in layers}}
    parts = [_text(name, last.texts[name], layers[name], known is not None) for name in layers]
    emit(options, found, "\n\n".join(parts))


def _known(folder: Any, model: Any) -> TokenLanguages | None:
    """Which language each token is of, where that was counted beside the mask."""
    from lape.recording.vocabulary import vocabulary_beside

    counts = vocabulary_beside(folder)
    if counts is None:
        return None
    counts.check(model)
    return counts.token_languages()


def _plain(text: str, layers: Sequence[LayerTokens]) -> dict[str, Any]:
    """A column as JSON has it."""
    from lape.inspection.layers import leading

    lead = leading(layers)
    return {
        "text": text,
        "leading": None if lead is None else {"language": lead[0], "from_layer": lead[1]},
        "layers": [
            {
                "languages": _rounded(said.languages),
                "scripts": _rounded(said.scripts),
                "letters": round(said.letters, 4),
                "likeliest": list(said.likeliest),
            }
            for said in layers
        ],
    }


def _text(name: str, text: str, layers: Sequence[LayerTokens], counted: bool) -> str:
    """A column for people: a line for each layer."""
    from lape.inspection.layers import leading

    rows = [
        (
            layer,
            _listed(said.languages if counted else said.scripts),
            " ".join(map(repr, said.likeliest[:NAMED])),
        )
        for layer, said in enumerate(layers)
    ]
    what = (
        "languages" if counted else "scripts (no vocabulary.safetensors is beside the mask: lape record --vocabulary)"
    )
    lead = leading(layers)
    end = "No language leads at the last layer." if lead is None else f"{lead[0]} leads from layer {lead[1]} on."
    head = f"{name}: {text.strip()!r}\nlayer, {what} that its 10 likeliest tokens are of, likeliest tokens"
    return "\n".join([head, *table(rows, right=[0]), *([end] if counted else [])])


def _listed(shares: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {share:.2f}" for name, share in list(shares.items())[:NAMED])


def _rounded(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}
