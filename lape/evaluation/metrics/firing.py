"""How often the language of a text is told by which language's neurons fire most, as the tab Neurons colors it.

A held-out line is in the language of highest level, see `lape.inspection.firing`, with the shares of active neurons
averaged over its tokens; every line gets a language. The tab colors token by token, and leaves a token without color
where no language stands out. As many random neurons of the same layers, compared with what is usual for them, are
the control.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import NotEnoughText
from lape.evaluation.metrics.bootstrap import draws, mean, ratio
from lape.evaluation.metrics.cells import Cells, fresh, one_by_one
from lape.evaluation.metrics.language import MIN_WIDTH, text_width
from lape.inspection.activations import Activations, activations
from lape.inspection.firing import firing, mask_neurons
from lape.masks.mask import NeuronMask
from lape.recording.sources import Source, open_source
from lape.recording.statistics import ActivationStatistics

OWN = "own"  # the mask itself, beside its random controls
LINES_AT_ONCE = 16  # whose activations are held together


def held_out_lines(source: Source, count: int, seed: int, language: str) -> list[str]:
    """Lines of a text, chosen by chance; the same text and seed give the same ones.

    Args:
        source: Documents.
        count: How many lines, of at least 20 columns each.
        seed: Of the choice.
        language: Whose text it is, for the error.

    Raises:
        NotEnoughText: There are fewer.
    """
    documents = open_source(source, language)
    lines = dict.fromkeys(line.strip() for document in documents for line in document.split("\n"))
    wide = [line for line in lines if text_width(line) >= MIN_WIDTH]
    if len(wide) < count:
        raise NotEnoughText(
            f"The held-out text of {language!r} has {len(wide)} lines of {MIN_WIDTH} columns or more; {count} were "
            "asked for. Add text, or ask for fewer."
        )
    return random.Random(f"{seed} {language}").sample(wide, count)


def told_by_firing(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    lines: Mapping[str, Sequence[str]],
    mask: NeuronMask,
    statistics: ActivationStatistics | None = None,
    *,
    seeds: Sequence[int] = (0,),
    seed: int = 0,
    cells: Cells = fresh,
) -> dict[str, Any]:
    """Tells the language of lines by the neurons that fire, among the languages of a mask.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer, a fast one.
        lines: By language of the mask, at least two of each.
        mask: The languages to choose from.
        statistics: What is usual, of these languages at least; None compares shares as they are.
        seeds: Of the random controls.
        seed: Of the resamples.
        cells: Keeps what is told of each text under `firing text=<code>`.

    Returns:
        `lines`: code to how many. `guessing`: accuracy of a guess. `masks`: `own` and `random<seed>` to `accuracy`,
        the mean over languages, and `languages`: code to `accuracy`, `told`, how many of the lines are told to be in
        each language, and `token_shares`: of the tokens those colored `right`, `wrong` and `none`.
        Accuracies are {value, low, high}, the ends of a bootstrap interval over lines.
    """
    masks = {OWN: mask, **{f"random{number}": mask.random_like(statistics, number) for number in seeds}}
    neurons = torch.cat([mask_neurons(each) for each in masks.values()]).unique()

    def tell(code: str) -> dict[str, Any]:
        found: dict[str, Any] = {name: {"lines": [], "tokens": Counter()} for name in masks}
        for start in range(0, len(lines[code]), LINES_AT_ONCE):
            some = lines[code][start : start + LINES_AT_ONCE]
            seen = [activations(model, tokenizer, line, neurons) for line in some]
            for name, each in masks.items():
                for line in firing(_joined([_one_piece(line) for line in seen]), each, statistics):
                    found[name]["lines"].append(max(line.levels, key=line.levels.__getitem__))
                for piece in firing(_joined(seen), each, statistics):
                    colored = "none" if piece.language is None else "right" if piece.language == code else "wrong"
                    found[name]["tokens"][colored] += piece.tokens
        return found

    kept = cells(one_by_one({f"firing text={code}": partial(tell, code) for code in lines}))
    told = {code: kept[f"firing text={code}"] for code in lines}
    return {
        "lines": {code: len(some) for code, some in lines.items()},
        "guessing": 1 / len(mask.languages),
        "masks": {name: firing_figures({code: told[code][name] for code in lines}, seed) for name in masks},
    }


def firing_figures(told: Mapping[str, Mapping[str, Any]], seed: int = 0) -> dict[str, Any]:
    """The figures of one mask of `told_by_firing`.

    Args:
        told: Language of the text to `lines`, the language each is told to be in, and `tokens`, those colored
            `right`, `wrong` and `none`.
        seed: Of the resamples.
    """
    lines = {code: found["lines"] for code, found in told.items()}
    accuracy = {
        code: ratio([line == code for line in some], [1] * len(some), draws(len(some), code, seed))
        for code, some in lines.items()
    }
    return {
        "accuracy": mean(accuracy.values()).interval(),
        "languages": {
            code: {
                "accuracy": accuracy[code].interval(),
                "told": dict(Counter(lines[code]).most_common()),
                "token_shares": {
                    name: found["tokens"].get(name, 0) / sum(found["tokens"].values())
                    for name in ("right", "wrong", "none")
                },
            }
            for code, found in told.items()
        },
    }


def _one_piece(seen: Activations) -> Activations:
    """A text as one piece, whose shares are means over all of its tokens."""
    return replace(seen, pieces=("".join(seen.pieces),), tokens=(sum(seen.tokens),))


def _joined(seen: Sequence[Activations]) -> Activations:
    """What several texts did, one after another."""
    return Activations(
        pieces=tuple(chain.from_iterable(each.pieces for each in seen)),
        tokens=tuple(chain.from_iterable(each.tokens for each in seen)),
        neurons=seen[0].neurons,
        values=torch.cat([each.values for each in seen]),
    )
