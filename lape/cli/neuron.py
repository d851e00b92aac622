"""The command that tells all of one neuron: neuron."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lape.cli.common import add, add_model, emit, load_model, table

TEXT_DECIMALS, JSON_DECIMALS = 2, 4


def register(commands: Any) -> None:
    """Adds the command of this module."""
    neuron = add(
        commands, "neuron", _neuron, "tell all of one neuron: where it is active, what it writes, which are like it"
    )
    add_model(neuron)
    neuron.add_argument("name", metavar="NAME", help="layer and number, such as 17.1695; 23.e5.476 in a mixture")
    neuron.add_argument("--mask", type=Path, help="folder with mask.safetensors (default: the model's bundled one)")
    neuron.add_argument("--limit", type=int, default=10, metavar="N", help="of each list (default: %(default)s)")


def _neuron(options: argparse.Namespace) -> None:
    from lape.errors import LapeError, UnsupportedArchitecture
    from lape.inspection.profiles import neighbours
    from lape.inspection.table import activity
    from lape.inspection.writes import writes
    from lape.masks.bundled import bundled_folder
    from lape.masks.indices import named_neuron
    from lape.masks.mask import NeuronMask
    from lape.recording.statistics import statistics_beside
    from lape.recording.top_texts import top_texts_beside

    if options.limit < 1:
        raise LapeError(f"--limit is a whole number from 1 on, not {options.limit}.")
    folder = options.mask or bundled_folder(options.model)
    mask, statistics, top = NeuronMask.load(folder), statistics_beside(folder), top_texts_beside(folder)
    layer, neuron = place = named_neuron(options.name, mask.shape, mask.experts)
    model, tokenizer = load_model(options)
    mask.check(model)
    if top is not None:
        top.check(model)
    belongs = [code for code in mask.languages if [layer, neuron] in mask.neurons[code].tolist()]
    active = {} if statistics is None else activity(statistics, mask.languages, *place)
    near = () if statistics is None else neighbours(statistics, mask.languages, *place, limit=options.limit)
    texts = () if top is None else top.texts(tokenizer, *place)
    found: dict[str, Any] = {
        "name": options.name.strip(),
        "layer": layer,
        "neuron": neuron,
        "belongs": belongs,
        "active": {
            code: {"probability": round(one.probability, JSON_DECIMALS), "mean": round(one.mean, JSON_DECIMALS)}
            for code, one in active.items()
        },
        "writes": None,
        "texts": [{**vars(text), "value": round(text.value, JSON_DECIMALS)} for text in texts],
        "neighbours": [{"name": one.name, "similarity": round(one.similarity, JSON_DECIMALS)} for one in near],
    }
    try:
        written = writes(model, tokenizer, *place, tokens=options.limit)
        lists = {"raised": written.raised, "lowered": written.lowered}
        found["writes"] = {
            "gated": written.gated,
            **{
                name: [{**vars(token), "score": round(token.score, JSON_DECIMALS)} for token in tokens]
                for name, tokens in lists.items()
            },
        }
        said = [
            f"{name}: {', '.join(f'{token.text!r} {token.score:+.1f}' for token in tokens)}"
            for name, tokens in lists.items()
        ]
        said.append(
            "Scores: standard deviations of the logit above the vocabulary's mean; a random direction reaches 4.6."
        )
        said += ["The two change places where the up projection is negative."] if written.gated else []
    except UnsupportedArchitecture as error:
        found["writes_not_told"] = str(error)
        said = [str(error)]
    order = sorted(active, key=lambda code: -active[code].probability)
    rows = [(code, f"{active[code].probability:.1%}", f"{active[code].mean:.{TEXT_DECIMALS}f}") for code in order]
    lines = [f"{found['name']}: a neuron of {', '.join(belongs) or 'no language'}."]
    lines += table([("language", "active", "mean"), *rows], right=(1, 2)) if rows else ["There are no statistics here."]
    lines += ["", "What it writes", *said]
    if texts:
        shown = [
            (f"{text.value:.2f}", text.language, f"{text.before}[{text.token}]{text.after}".replace("\n", " "))
            for text in texts
        ]
        lines += ["", "Texts that fire it most", *table(shown, right=(0,))]
    if near:
        lines += [
            "",
            "Neurons of like profile",
            *table([(one.name, f"{one.similarity:.3f}") for one in near], right=(1,)),
        ]
    emit(options, found, "\n".join(lines))
