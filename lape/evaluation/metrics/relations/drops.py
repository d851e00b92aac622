"""The drop matrix: with a relation's neurons off, which right answers to each relation's questions are lost?

After Liu et al., "On Relation-Specific Neurons in Large Language Models" (EMNLP 2025, arXiv 2502.17355). Only what the
untouched model answers rightly is asked, so that a share of answers lost is their drop in accuracy over the accuracy
before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.evaluation.metrics.bootstrap import Figure, draws, mean, ratio
from lape.evaluation.metrics.cells import Cells, fresh, one_by_one
from lape.evaluation.metrics.firing import OWN
from lape.evaluation.metrics.relations.facts import FEWEST_RIGHT, Facts, Right, only_right, right_answers
from lape.generation.interventions import Intervention
from lape.masks.mask import NeuronMask

UNTOUCHED = "relations untouched"


def drop_matrix(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    facts: Facts,
    mask: NeuronMask,
    *,
    seeds: Sequence[int],
    seed: int = 0,
    cells: Cells = fresh,
) -> dict[str, Any]:
    """The right answers that each relation loses with the neurons of each off, and with as many random ones.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        facts: Questions that nothing was chosen on, of relations of the mask.
        mask: Its labels are relations.
        seeds: Of the random masks, one or more.
        seed: Of the resamples.
        cells: Keeps results; see `lape.evaluation.runs.ledger`.

    Returns:
        asked, right: relation -> how many questions, and how many of them the untouched model answers rightly
        and what `drop_figures` gives, of the relations with 4 right answers or more

    Raises:
        LapeError: There are fewer than two such relations.
    """
    before = cells(one_by_one({UNTOUCHED: partial(right_answers, model, tokenizer, facts)}))[UNTOUCHED]
    known = only_right(facts, before)
    if len(known) < 2:
        raise LapeError(
            f"The model answers {FEWEST_RIGHT} held-out questions rightly in {len(known)} relations of the mask; a "
            "matrix needs 2. Take a larger model, or easier questions with --facts."
        )
    masks = {OWN: mask, **{f"random{number}": mask.random_like(None, number) for number in seeds}}
    keys = {(name, off): f"relations {name} off={off}" for name in masks for off in known}
    computes = {
        key: partial(right_answers, model, tokenizer, known, Intervention(masks[name], off=off))
        for (name, off), key in keys.items()
    }
    found = cells(one_by_one(computes))
    return {
        "asked": {label: len(right) for label, right in before.items()},
        "right": {label: sum(right) for label, right in before.items()},
        "neurons": {label: mask.count(label) for label in known},
        **drop_figures({name: {off: found[keys[name, off]] for off in known} for name in masks}, seed),
    }


def drop_figures(right: Mapping[str, Mapping[str, Mapping[str, Right]]], seed: int = 0) -> dict[str, Any]:
    """The figures of `drop_matrix`.

    Args:
        right: Name of the mask, then the relation whose neurons are off, then the one that is asked, to 1 for each
            answer that stays right and 0 for each that is lost.
        seed: Of the resamples.

    Returns:
        masks: name -> `lost`: relation off -> relation asked -> share of the right answers that are lost; `elsewhere`:
            relation off -> mean over the other ones; `own` and `others`: means of both over relations
        random: `own` and `others`, means over the random masks
        over_random: what `own` of the mask itself is above that of random ones
        Shares are {value, low, high}, the ends of a bootstrap interval over questions, and differences are paired.
    """
    lost = {
        name: {
            off: {label: _lost(right_of, label, seed) for label, right_of in asked.items()}
            for off, asked in of_mask.items()
        }
        for name, of_mask in right.items()
    }
    elsewhere = {
        name: {off: mean(each for label, each in row.items() if label != off) for off, row in matrix.items()}
        for name, matrix in lost.items()
    }
    own = {name: mean(row[off] for off, row in matrix.items()) for name, matrix in lost.items()}
    others = {name: mean(rows.values()) for name, rows in elsewhere.items()}
    random = [name for name in right if name != OWN]
    by_chance = mean(own[name] for name in random)
    difference = Figure(own[OWN].value - by_chance.value, own[OWN].resampled - by_chance.resampled)
    return {
        "masks": {
            name: {
                "lost": {off: {label: each.interval() for label, each in row.items()} for off, row in matrix.items()},
                "elsewhere": {off: each.interval() for off, each in elsewhere[name].items()},
                "own": own[name].interval(),
                "others": others[name].interval(),
            }
            for name, matrix in lost.items()
        },
        "random": {"own": by_chance.interval(), "others": mean(others[name] for name in random).interval()},
        "over_random": difference.interval(),
    }


def _lost(right: Right, label: str, seed: int) -> Figure:
    return ratio([1 - one for one in right], [1] * len(right), draws(len(right), label, seed))
