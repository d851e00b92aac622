"""The same measurements on somebody's own short text, watched while they go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError, NotEnoughText
from lape.evaluation.metrics.conditions import (
    BASELINE,
    STEERED,
    Setting,
    baseline_cases,
    instruction_cases,
    steered_cases,
)
from lape.evaluation.metrics.continuations import Bench, Case, Decoding, Output, continue_cases
from lape.evaluation.metrics.dominance import dominance, over_control, own_conditions
from lape.evaluation.metrics.langspec import langspec
from lape.evaluation.metrics.language import identifier
from lape.evaluation.metrics.likelihood import Scores
from lape.evaluation.metrics.openings import HALVES
from lape.evaluation.metrics.perplexity import Matrix, block_sizes, cell_key, matrix, text_blocks
from lape.evaluation.metrics.steering import PairOutputs
from lape.evaluation.runs.watching import watched
from lape.generation.interventions import Intervention
from lape.languages import language
from lape.masks.mask import NeuronMask
from lape.recording.beginnings import check_beginning
from lape.recording.blocks import token_blocks

OWN, RANDOM, CONTROL = "own neurons", "random neurons", "random0"
TEXT_TOKENS = 1024  # of each text that are read
SHORTEST_BLOCK, LONGEST_BLOCK, BLOCKS = 8, 128, 8  # tokens, tokens, and how many blocks the shortest text gives


@dataclass(frozen=True)
class PartialResults:
    """How far a measurement is.

    Attributes:
        done: Cells that are measured.
        cells: Of all.
        results: What they come to so far, as JSON holds it.
    """

    done: int
    cells: int
    results: dict[str, Any]


def own_costs(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    mask: NeuronMask,
    texts: Mapping[str, str],
    *,
    tokens: int = TEXT_TOKENS,
    seed: int = 0,
) -> Generator[PartialResults, None, None]:
    """Switches the language of each text off, and as many random neurons, and measures every text each time.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        mask: With the languages of the texts.
        texts: By language code.
        tokens: At most so many of each text are read.
        seed: Of the random neurons and the bootstrap.

    Yields:
        Results as `lape.evaluation.metrics.dominance.compare` gives them, for the masks `own neurons` and
        `random neurons`; what has not been measured yet is None, and `dominance`, `over_control` and `langspec` come
        with the last.

    Raises:
        LapeError: A text is too short for two blocks, the model cannot score one, or a language is not in the mask.
    """
    check_beginning(mask.metadata, tokenizer)
    own = mask.only(list(texts))
    masks = {OWN: own, RANDOM: own.random_like(None, seed)}
    blocks = short_blocks(tokenizer, texts, tokens)
    switched = {name: own_conditions(name, each, blocks) for name, each in masks.items()}
    conditions = {
        condition: Intervention(masks[name], off=code) for name in masks for condition, code in switched[name].items()
    }
    sizes = {code: block_sizes(tokenizer, some) for code, some in blocks.items()}
    changing = [condition for condition, plan in conditions.items() if plan.count]
    cells, shown = len(blocks) * (1 + len(changing)), PartialResults(0, 0, {})
    for kept in watched(model, lambda cells: matrix(model, tokenizer, blocks, conditions, seed=seed, cells=cells)):
        if not shown.cells or len(kept) > shown.done:
            measured = _matrix_so_far(kept, sizes, conditions, changing, seed)
            results = _costs_so_far(measured, masks, switched, list(blocks))
            if len(kept) == cells and len(blocks) > 1:
                for name in masks:
                    results["masks"][name]["dominance"] = dominance(measured, switched[name])
                control = {RANDOM: switched[RANDOM]}
                results["masks"][OWN]["over_control"] = over_control(measured, switched[OWN], control)
                results["masks"][OWN]["langspec"] = langspec(measured, switched[OWN], control)
            shown = PartialResults(len(kept), cells, results)
        yield shown


def own_steering(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    mask: NeuronMask,
    control: NeuronMask | None,
    openings: Sequence[str],
    source: str,
    target: str,
    setting: Setting,
    *,
    max_new_tokens: int = 32,
) -> Generator[PartialResults, None, None]:
    """Continues openings untouched, steered, with random neurons, and under a plain instruction.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        mask: With both languages, and with means for the target.
        control: `mask.random_like` with means; None leaves the control out.
        openings: In the source language; one is enough.
        source: Language that goes off.
        target: Language that goes on.
        setting: How it is steered, with the mask as it is.
        max_new_tokens: Tokens of each output.

    Yields:
        `conditions`: each that is done to `outputs`, in the order of the openings: `text` and `kind`; `kinds`, how
        many are of each; `repeated_4gram_share`, their mean; and `fluency_cost_nats`, None with one opening.

    Raises:
        MeansMissing: The mask has no means for the target.
        LapeError: A language is unknown, to the mask or to the identifier, or an opening is empty or too long.
    """
    judge = identifier("py3langid", mask.languages)
    if untold := judge.untold([source, target]):
        reasons = "; ".join(f"{language(code).name}: {reason}" for code, reason in untold.items())
        raise LapeError(f"py3langid cannot tell which language the outputs are in ({reasons}). Choose two others.")
    by_source = {source: list(openings)}
    cases = {
        BASELINE: baseline_cases(by_source, source, HALVES),
        STEERED: steered_cases(by_source, {None: mask}, source, target, setting, HALVES),
    }
    if control is not None:
        cases[CONTROL] = steered_cases(by_source, {None: control}, source, target, setting, HALVES, CONTROL)
    cases |= instruction_cases(tokenizer, by_source, source, target, HALVES)
    a_condition_at_once = Decoding(max_new_tokens=max_new_tokens, rows=len(openings))
    bench = Bench(model, tokenizer, judge, a_condition_at_once)
    order = [case for some in cases.values() for case in some]
    shown = PartialResults(0, len(order), {"conditions": {}})
    for kept in watched(model, lambda cells: continue_cases(bench, order, cells)):
        if len(kept) > shown.done:
            shown = PartialResults(len(kept), len(order), {"conditions": _outcomes_so_far(kept, cases, source, target)})
        yield shown


def short_blocks(tokenizer: Tokenizer, texts: Mapping[str, str], tokens: int) -> dict[str, list[torch.Tensor]]:
    """Blocks of short texts: all of the same length, chosen so that the shortest text has several.

    Args:
        tokenizer: The model's own.
        texts: By language code.
        tokens: At most so many of each.

    Raises:
        NotEnoughText: A text has fewer tokens than two of the shortest blocks.
    """
    counts = {
        code: min(tokens, sum(1 for _ in token_blocks(tokenizer, [text], 1, code))) for code, text in texts.items()
    }
    for code, count in counts.items():
        if count < 2 * SHORTEST_BLOCK:
            raise NotEnoughText(
                f"The text in {language(code).name} has {count} tokens, but an interval needs {2 * SHORTEST_BLOCK}. "
                "Write more."
            )
    block = min(LONGEST_BLOCK, max(SHORTEST_BLOCK, min(counts.values()) // BLOCKS))
    return {
        code: text_blocks(tokenizer, {code: [text]}, tokens=counts[code] // block * block, block=block)[code]
        for code, text in texts.items()
    }


def _matrix_so_far(
    kept: Mapping[str, Any],
    sizes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
    conditions: Mapping[str, Intervention],
    changing: Sequence[str],
    seed: int,
) -> Matrix:
    """The cells that are measured; a condition that changes nothing is measured with the untouched model."""

    def scores(condition: str) -> dict[str, Scores]:
        key = condition if condition in changing else BASELINE
        found = {text: kept.get(cell_key(key, text)) for text in sizes}
        return {text: Scores(tuple(each["nll_nats"]), *sizes[text]) for text, each in found.items() if each}

    return Matrix(scores(BASELINE), {condition: scores(condition) for condition in conditions}, seed)


def _costs_so_far(
    measured: Matrix, masks: Mapping[str, NeuronMask], switched: Mapping[str, Mapping[str, str]], texts: Sequence[str]
) -> dict[str, Any]:
    values = measured.values()
    found = {
        name: {
            "neurons": {code: mask.count(code) for code in switched[name].values()},
            "off": {
                code: {text: values["conditions"][condition].get(text) for text in texts}
                for condition, code in switched[name].items()
            },
        }
        for name, mask in masks.items()
    }
    return {"texts": values["texts"], "masks": found, "controls": [RANDOM]}


def _outcomes_so_far(
    kept: Mapping[str, Any], cases: Mapping[str, Sequence[Case]], source: str, target: str
) -> dict[str, Any]:
    """Those of every condition all of whose cases are there."""
    made = {
        name: _in_order([[Output(**row) for row in kept[case.key]] for case in some])
        for name, some in cases.items()
        if all(case.key in kept for case in some)
    }
    found = {}
    for name, outputs in made.items():
        cost = PairOutputs(source, target, outputs, made[BASELINE]).fluency_cost() if len(outputs) > 1 else None
        kinds = [output.kind(source, target) for output in outputs]
        found[name] = {
            "outputs": [{"text": output.text, "kind": kind} for output, kind in zip(outputs, kinds, strict=True)],
            "kinds": dict(Counter(kinds)),
            "repeated_4gram_share": sum(output.repeated_4gram_share for output in outputs) / len(outputs),
            "fluency_cost_nats": cost and cost.interval(),
        }
    return found


def _in_order(halves: Sequence[Sequence[Output]]) -> list[Output]:
    """Outputs of the 1st, 3rd ... and of the 2nd, 4th ... opening, as the openings were."""
    return [half[place] for place in range(len(halves[0])) for half in halves if place < len(half)]
