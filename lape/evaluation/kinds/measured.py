"""What can be measured of a mask without generating text, each as work that is checked before it begins."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from lape.errors import LapeError
from lape.evaluation.metrics.dominance import compare, own_conditions
from lape.evaluation.metrics.harm import Item, next_line_check, next_line_items
from lape.evaluation.metrics.layers import layers
from lape.evaluation.metrics.stability import selection, selection_summary, stability
from lape.evaluation.runs.evidence import Cell
from lape.evaluation.runs.run import Options, Subject, Work, json_hash, narrowed
from lape.identify import METHODS, equal_count, identify
from lape.languages import language
from lape.masks.mask import NeuronMask
from lape.recording.sources import Source, describe
from lape.storage.names import GROUPS_NAME, STATISTICS_NAME

EQUAL, EXCLUSIVE = "equal count", "exclusive"
STABLE_SHARE_WANTED = 0.25  # of the recording's tokens, for a mask that agrees well enough with the whole one's


def perplexity(subject: Subject, options: Options) -> Work:
    """The matrix of costs, with random controls, the other methods at the same counts, and equal counts."""
    texts = subject.blocks(options.tokens, options.block)
    main = str(subject.mask.metadata.get("method", "mask"))
    controls = {f"random {seed}": subject.mask.random_like(None, seed) for seed in range(options.seeds)}
    rivals, left_out = rival_masks(subject, main)
    masks = {main: subject.mask, **rivals, **controls}
    conditions = [
        mask.count(code) for name, mask in masks.items() for code in own_conditions(name, mask, texts).values()
    ]
    settings = subject.settings(
        loaded=subject.model_settings(),
        corpora=subject.text_settings(texts),
        masks=list(masks),
        mask_name=main,
        statistics=subject.hash_of(STATISTICS_NAME),
        tokens=options.tokens,
        block=options.block,
        seeds=list(range(options.seeds)),
        resamples_seed=options.seed,
    )

    def measure(cell: Cell) -> dict[str, Any]:
        model, tokenizer = subject.loaded
        found = compare(model, tokenizer, texts, masks, {main: list(controls)}, seed=options.seed, cell=cell)
        return {**found, "controls": list(controls), "left_out": left_out}

    def summary(results: Mapping[str, Any]) -> str:
        dominance, control = (results["masks"][main][key] for key in ("dominance", "over_control"))
        return (
            f"Switching a language off costs its own text {dominance['own_nats']['value']:.3f} nats per token and "
            f"other texts {dominance['others_nats']['value']:.4f}: a dominance of {dominance['value']:.1f}, wanted "
            f"{dominance['wanted']:g}. As many random neurons cost it {control['control_nats']['value']:.4f}: a ratio "
            f"of {control['value']:.1f}, wanted {control['wanted']:g}."
        )

    cells = len(texts) * (1 + sum(map(bool, conditions)))
    return Work("Perplexity: what switching each language off costs each text", settings, cells, measure, summary)


def rival_masks(subject: Subject, main: str) -> tuple[dict[str, NeuronMask], dict[str, str]]:
    """Masks to compare with, and those that cannot be had, with the reason.

    The other methods get as many neurons for each language as the mask has. The mask's own method is also measured
    with the same number for every language, and the mask itself without the neurons that several languages share.
    """
    masks: dict[str, NeuronMask] = {}  # every method tells the same languages apart, whichever are measured
    left_out: dict[str, str] = {}
    statistics, mask = subject.statistics, subject.whole_mask
    counts = {code: mask.count(code) for code in mask.languages}
    exclusive = mask.exclusive()
    if any(exclusive.count(code) < counts[code] for code in counts):
        masks[EXCLUSIVE] = narrowed(exclusive, subject.languages)
    if statistics is None:
        return masks, dict.fromkeys((EQUAL, "other methods"), f"There is no {STATISTICS_NAME} beside the mask.")
    makers: dict[str, Callable[[], NeuronMask]] = {EQUAL: partial(equal_count, mask, statistics)}
    for name in METHODS:
        if name != main:
            makers[name] = partial(identify, statistics, name, mask.languages, per_language=counts)
    for name, make in makers.items():
        try:
            masks[name] = narrowed(make(), subject.languages)
        except LapeError as error:
            left_out[name] = str(error)
    return masks, left_out


def layers_of(subject: Subject, others: Mapping[str, NeuronMask]) -> Work:
    """Where the neurons lie, and what languages, methods and other masks share.

    Args:
        subject: The mask.
        others: Masks to compare with, beside those of the other methods: of the same model, or of one of its shape.
    """
    mask = subject.mask
    rivals, left_out = rival_masks(subject, str(mask.metadata.get("method", "mask")))
    compared = {
        **rivals,
        **{
            name: narrowed(other, [code for code in mask.languages if code in other.neurons])
            for name, other in others.items()
        },
    }
    settings = subject.settings(
        statistics=subject.hash_of(STATISTICS_NAME),
        masks=list(compared),
        others={
            name: json_hash({code: other.flat(code).tolist() for code in other.languages})
            for name, other in others.items()
        },
    )

    def measure(cell: Cell) -> dict[str, Any]:
        return {**layers(mask, compared, cell=cell), "left_out": left_out}

    def summary(results: Mapping[str, Any]) -> str:
        depth = results["depth"]
        places = [found for found in depth["languages"].values() if found["neurons"]]
        if not places:
            return "No language has a neuron."
        first, last = (_mean(found[f"{end}_eighth_share"] for found in places) for end in ("first", "last"))
        pairs = {
            (a, b): value
            for a, row in results["language_overlap"].items()
            for b, value in row.items()
            if a < b and value
        }
        alike = max(pairs, key=lambda pair: pairs[pair], default=None)
        names = " and ".join(language(code).name for code in alike or ())
        most = f" Most alike are {names}, with a Jaccard index of {pairs[alike]:.2f}." if alike else ""
        return (
            f"On average over {len(places)} languages {100 * first:.0f} % of the neurons lie in the first eighth of "
            f"the depth and {100 * last:.0f} % in the last (spread evenly: "
            f"{100 * depth['even_first_eighth_share']:.0f} and {100 * depth['even_last_eighth_share']:.0f} %).{most}"
        )

    cells = 2 + 2 * len(compared) + math.comb(len(compared), 2)
    return Work(
        "Layers: where the neurons lie, and what languages and methods share", settings, cells, measure, summary
    )


def stability_of(subject: Subject, options: Options) -> Work:
    """How the mask depends on the number of tokens, and how often each neuron is selected from resampled text."""
    if (groups := subject.groups) is None:
        raise LapeError(
            f"There is no {GROUPS_NAME} beside the mask. Stability needs the counts of groups of blocks: record again "
            "with --groups 16."
        )
    mask, languages = subject.whole_mask, list(subject.whole_mask.languages)
    method, of_method = str(mask.metadata.get("method")), dict(mask.metadata.get("settings", {}))
    longest = max(groups.blocks[code] for code in languages if code in groups.blocks)
    settings = subject.settings(groups=subject.hash_of(GROUPS_NAME), seed=options.seed)

    def reached(found: Mapping[str, Any]) -> dict[str, Any]:
        shares = [found[which]["share"] for which in ("spread_enough", "enough")]
        passed = any(share is not None and share <= STABLE_SHARE_WANTED for share in shares)
        return {"wanted_share": STABLE_SHARE_WANTED, "passed": passed}

    def measure(cell: Cell) -> dict[str, Any]:
        found = stability(groups, method, languages, cell=cell, **of_method)
        try:
            selected = cell(
                "stability selection", lambda: selection_summary(selection(groups, mask, seed=options.seed))
            )
        except LapeError as error:
            return {**found, **reached(found), "selection": None, "selection_left_out": str(error)}
        return {**found, **reached(found), "selection": selected}

    def summary(results: Mapping[str, Any]) -> str:
        last, jaccard = results["points"][-1], results["enough"]["jaccard"]
        parts = [
            f"{found['tokens']:,} tokens a language {how} ({100 * found['share']:.0f} % of the recording)"
            for how, found in (
                ("spread evenly over the text", results["spread_enough"]),
                ("from its beginning", results["enough"]),
            )
            if found["share"] is not None
        ]
        said = (
            f"A mask from {', or from '.join(parts)}, wanted from at most {100 * STABLE_SHARE_WANTED:.0f} %, agrees "
            f"with the whole one at {jaccard:g} or more"
            if parts
            else f"No part of the recording that was looked at agrees with the whole one at {jaccard:g}"
        )
        halves = "have no neurons" if last["halves_mean"] is None else f"agree at {last['halves_mean']:.2f}"
        return f"{said} (mean Jaccard index); the masks of its two halves {halves}."

    cells = sum(number < longest for number in groups.snapshots) + 2
    return Work("Stability: how the mask depends on the text it was made from", settings, cells, measure, summary)


def harm(subject: Subject, options: Options) -> Work:
    """Whether the model still tells the next line of a text, in every language."""
    items = {
        code: next_line_items(source, options.items, options.seed, code) for code, source in subject.text().items()
    }
    settings = subject.settings(
        loaded=subject.model_settings(),
        corpora={code: _questions(subject.corpora[code], some) for code, some in items.items()},
        items=options.items,
        seed=options.seed,
    )

    def measure(cell: Cell) -> dict[str, Any]:
        return next_line_check(*subject.loaded, items, subject.mask, cell, seed=options.seed)

    def summary(results: Mapping[str, Any]) -> str:
        before = _mean(found["accuracy"]["value"] for found in results["before"].values())
        own = _mean(results["after"][code][code]["change"]["value"] for code in results["after"] if code in items)
        other = _mean(found["change"]["value"] for found in results["elsewhere"].values())
        return (
            f"The untouched model tells the next line of a text from three others in {100 * before:.0f} % of the "
            f"questions (a guess: 25 %). Switching a language off changes that by {100 * own:+.1f} points in its own "
            f"text and by {100 * other:+.1f} in the others."
        )

    cells = len(items) * (1 + len(subject.mask.languages))
    return Work("Harm: telling the next line of a text, before and after", settings, cells, measure, summary)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def _questions(source: Source, items: Sequence[Item]) -> dict[str, Any]:
    return {"source": describe(source), "questions_sha256": json_hash([asdict(item) for item in items])}
