"""Whether switching a language off costs that language, and not the others: masks compared by two figures.

- Dominance: mean cost of a language's own neurons to its own text, over their mean cost to the other texts.
- Over control: the same mean own cost, over that of masks of as many random neurons.

A random mask stands for all others like it, so each of its languages is measured on its own text and one other alone.
Costs are changes of log-perplexity in nats per token. A divisor below 0.005 nats counts as 0.005, and the result
says so: a ratio to next to nothing would mean nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError, unknown_label
from lape.evaluation.metrics.bootstrap import Figure, mean
from lape.evaluation.metrics.cells import Cells, fresh
from lape.evaluation.metrics.langspec import langspec
from lape.evaluation.metrics.perplexity import Matrix, matrix
from lape.generation.interventions import Intervention
from lape.masks.mask import NeuronMask

FLOOR_NATS = 0.005


def compare(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    texts: Mapping[str, Sequence[torch.Tensor]],
    masks: Mapping[str, NeuronMask],
    controls: Mapping[str, Sequence[str]],
    *,
    others: int | None = None,
    batch: int | None = None,
    seed: int = 0,
    cells: Cells = fresh,
) -> dict[str, Any]:
    """Switches every language off by every mask, and measures all texts each time; controls on two of them.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        texts: Language code to held-out blocks; see `text_blocks`.
        masks: By name, the random ones too. Languages without text are left out.
        controls: Name of a mask to the names of its random controls, such as `mask.random_like(None, seed)` of it.
        others: How many texts are measured besides the own one, those that follow it; None takes all.
        batch: Blocks per forward pass; None takes what fills the device.
        seed: Of the bootstrap.
        cells: Keeps results under `perplexity <mask> off=<code> text=<code>`.

    Returns:
        As JSON holds it: `texts` as of `Matrix.values`, and for each of `masks`: `neurons` by language; `off`,
        language off to text to costs (a control's own text, and the one that follows it); `dominance`; and
        `over_control` and `langspec`, where there are controls.

    Raises:
        LapeError: A name is unknown, fewer than 2 languages have text, a text has fewer than 2 blocks, or the model
            cannot score one.
    """
    for name in (*controls, *(control for names in controls.values() for control in names)):
        if name not in masks:
            raise unknown_label("mask to compare", name, masks)
    own = {name: own_conditions(name, mask, texts) for name, mask in masks.items()}
    if short := [name for name, languages in own.items() if not languages or len(texts) < 2]:
        raise LapeError(f"The mask {short[0]!r} needs text in one of its languages, and in another one beside.")
    conditions = {
        condition: Intervention(masks[name], off=code) for name in masks for condition, code in own[name].items()
    }
    random = {control for names in controls.values() for control in names}
    only = {
        condition: following(list(texts), code, 1 if name in random else others)
        for name in masks
        for condition, code in own[name].items()
    }
    measured = matrix(model, tokenizer, texts, conditions, only=only, batch=batch, seed=seed, cells=cells)
    values = measured.values()
    summaries = {}
    for name, mask in masks.items():
        summaries[name] = {
            "neurons": {code: mask.count(code) for code in own[name].values()},
            "off": {code: values["conditions"][condition] for condition, code in own[name].items()},
            "dominance": dominance(measured, own[name]),
        }
        if controls.get(name):
            by_control = {control: own[control] for control in controls[name]}
            summaries[name]["over_control"] = over_control(measured, own[name], by_control)
            summaries[name]["langspec"] = langspec(measured, own[name], by_control)
    return {"texts": values["texts"], "masks": summaries}


def following(order: Sequence[str], code: str, others: int | None) -> list[str]:
    """A language and those that follow it, at most so many, round and round; None gives all.

    Example:
        >>> following(["de", "en", "fr"], "en", 1), following(["de", "en", "fr"], "fr", None)
        (['en', 'fr'], ['fr', 'de', 'en'])
    """
    place = order.index(code)
    return [*order[place:], *order[:place]][: None if others is None else 1 + others]


def own_conditions(name: str, mask: NeuronMask, languages: Collection[str]) -> dict[str, str]:
    """Names of the conditions that switch a mask's languages off, each to the language."""
    return {f"{name} off={code}": code for code in mask.languages if code in languages}


def dominance(measured: Matrix, own: Mapping[str, str]) -> dict[str, Any]:
    """Mean cost to the own language over the mean cost to the others.

    Args:
        measured: With these conditions, each on its own text and at least another.
        own: Condition to the language that it switches off.
    """
    others = [
        (condition, text) for condition in own for text in measured.conditions[condition] if text != own[condition]
    ]
    mine, theirs = _mean(measured, own.items()), _mean(measured, others)
    return {
        **_floored_ratio(mine, theirs),
        "own_nats": mine.interval(),
        "others_nats": theirs.interval(),
    }


def over_control(measured: Matrix, own: Mapping[str, str], controls: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Mean cost to the own language over the same of random masks, averaged over them.

    Args:
        measured: With the conditions of all of them.
        own: Condition to the language that it switches off.
        controls: Name of each random mask to the same of it.
    """
    mine = _mean(measured, own.items())
    random = {name: _mean(measured, conditions.items()) for name, conditions in controls.items()}
    theirs = mean(random.values())
    return {
        **_floored_ratio(mine, theirs),
        "own_nats": mine.interval(),
        "control_nats": theirs.interval(),
        "control_nats_by_mask": {name: cost.value for name, cost in random.items()},
    }


def _floored_ratio(mine: Figure, theirs: Figure) -> dict[str, Any]:
    divisor = Figure(max(theirs.value, FLOOR_NATS), theirs.resampled.clamp(min=FLOOR_NATS))
    ratio = Figure(mine.value / divisor.value, mine.resampled / divisor.resampled)
    return {
        **ratio.interval(),
        "floor_nats": FLOOR_NATS,
        "floored": theirs.value < FLOOR_NATS,
    }


def _mean(measured: Matrix, cells: Iterable[tuple[str, str]]) -> Figure:
    """Mean cost over (condition, text)."""
    return mean(measured.delta_nats(condition, text) for condition, text in cells)
