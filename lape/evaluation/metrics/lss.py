"""LSS, the language-shift score: how often switching neurons makes a text in the target language more likely.

An item is a paragraph and its translation, both read after the paragraph before it in the source language. With
d = log P(translation) - log P(paragraph), LSS is the share of items whose d grows (the score of arXiv 2507.22581 and
its code, tauimbz/lang-task-neuron, on paragraphs instead of facts). Nothing is generated, so it also shows what is
too weak to change the output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError, NotEnoughText
from lape.evaluation.metrics.bootstrap import Figure, draws, mean, ratio
from lape.evaluation.metrics.cells import Cells, Compute, fresh, one_by_one
from lape.evaluation.metrics.conditions import BASELINE, STEERED, Masks, Setting, controls
from lape.evaluation.metrics.language import MIN_WIDTH, text_width
from lape.evaluation.metrics.likelihood import negative_log_likelihoods
from lape.evaluation.metrics.parallel import Parallel, parallel_paragraphs
from lape.evaluation.metrics.steering import Pair
from lape.generation.interventions import Intervention
from lape.generation.passages import Passage
from lape.recording.beginnings import beginning_of
from lape.recording.sources import Source, check_sources
from lape.recording.statistics import ActivationStatistics

CONTEXT_TOKENS, SCORED_TOKENS = 48, 32  # the end of what is read before, the beginning of what is scored


def lss_items(corpora: Mapping[str, Source], pairs: Sequence[Pair], count: int = 20) -> dict[Pair, list[Parallel]]:
    """Parallel paragraphs for each pair of languages, spread evenly over the text.

    Args:
        corpora: Language code to held-out documents that are translations of each other; see `parallel_paragraphs`.
        pairs: Sources and targets.
        count: Items per pair, at least 2. Those narrower than 20 columns are passed over.

    Raises:
        NotEnoughText: The texts of a pair have fewer parallel paragraphs, as those that are no translations do.
    """
    if count < 2:
        raise LapeError(f"An interval needs 2 items per pair, not {count}.")
    check_sources(corpora)
    chosen = {}
    for source, target in pairs:
        found = [
            item
            for item in parallel_paragraphs(corpora[source], corpora[target])
            if min(text_width(item.source), text_width(item.target)) >= MIN_WIDTH
        ]
        if len(found) < count:
            raise NotEnoughText(
                f"The held-out texts of {source!r} and {target!r} have {len(found)} parallel paragraphs, but {count} "
                "were asked for. Ask for fewer, or give texts that are translations of each other."
            )
        chosen[source, target] = [found[len(found) * place // count] for place in range(count)]
    return chosen


def lss(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    masks: Masks,
    items: Mapping[Pair, Sequence[Parallel]],
    settings: Mapping[Pair, Setting],
    *,
    statistics: ActivationStatistics | None = None,
    seeds: Sequence[int] = (0,),
    cells: Cells = fresh,
) -> dict[str, Any]:
    """Measures LSS with the source off and the target on, and with random neurons instead.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        masks: By top rate.
        items: Pair to its items, at least 2.
        settings: The pairs to measure, and how each is steered.
        statistics: Where the random control's means come from; None leaves the control out.
        seeds: Of the random control.
        cells: Keeps likelihoods under keys such as `lss steered off=en on=fr replace x2`.

    Returns:
        `pairs`: source to target to `items`, `setting` and `conditions`: name to `lss` and `shift_nats`, the mean
        growth of d; `averages`: condition to both. Figures are `{value, low, high}`.
    """
    random = controls(masks, statistics, seeds)
    plans = {
        pair: {name: setting.intervention(some, *pair) for name, some in {STEERED: masks, **random}.items()}
        for pair, setting in settings.items()
    }
    keys = {
        pair: {
            BASELINE: f"lss {BASELINE} source={pair[0]} target={pair[1]}",
            **{name: f"lss {name} off={pair[0]} on={pair[1]} {settings[pair]}" for name in conditions},
        }
        for pair, conditions in plans.items()
    }
    computes: dict[str, Compute] = {
        key: partial(_advantages, model, tokenizer, items[pair], plans[pair].get(name))
        for pair, by_name in keys.items()
        for name, key in by_name.items()
    }
    measured = cells(one_by_one(computes))
    figures: dict[str, dict[str, list[Figure]]] = {}
    pairs: dict[str, dict[str, Any]] = {}
    for (source, target), conditions in plans.items():
        pair, setting = (source, target), settings[source, target]
        before = measured[keys[pair][BASELINE]]
        drawn = draws(len(before), f"{source} {target}")
        found = {}
        for name in conditions:
            after = measured[keys[pair][name]]
            shifts = [late - early for early, late in zip(before, after, strict=True)]
            ones = [1.0] * len(shifts)
            both = {
                "lss": ratio([shift > 0 for shift in shifts], ones, drawn),
                "shift_nats": ratio(shifts, ones, drawn),
            }
            found[name] = {figure: value.interval() for figure, value in both.items()}
            for figure, value in both.items():
                figures.setdefault(name, {}).setdefault(figure, []).append(value)
        content = {"items": len(before), "setting": asdict(setting), "conditions": found}
        pairs.setdefault(source, {})[target] = content
    averages = {
        name: {figure: mean(values).interval() for figure, values in by_figure.items()}
        for name, by_figure in figures.items()
    }
    return {"pairs": pairs, "averages": averages}


def _advantages(
    model: PreTrainedModel, tokenizer: Tokenizer, items: Sequence[Parallel], plan: Intervention | None
) -> list[float]:
    """The d of each item, in nats."""
    texts = [text for item in items for text in (f"{item.before}\n", item.target, item.source)]
    ids = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    start = beginning_of(tokenizer)
    rows = []
    for before, target, source in zip(ids[::3], ids[1::3], ids[2::3], strict=True):
        context = start + before[-CONTEXT_TOKENS:]
        rows += [Passage(context, target[:SCORED_TOKENS]), Passage(context, source[:SCORED_TOKENS])]
    nats = negative_log_likelihoods(model, rows, plan)
    return [source - target for target, source in zip(nats[::2], nats[1::2], strict=True)]
