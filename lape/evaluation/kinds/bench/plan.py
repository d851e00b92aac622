"""The comparison of methods and of ways of switching, as work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from lape.errors import LapeError, unknown_label
from lape.evaluation.kinds.bench.masks import COUNTS, GIVEN, RANDOM, Compared, compared, halves_agree, methods_of
from lape.evaluation.kinds.bench.section import summary
from lape.evaluation.kinds.steered import judge_of, openings_of, output_settings, own_rate
from lape.evaluation.metrics.bootstrap import mean
from lape.evaluation.metrics.cells import Cells, one_by_one, under
from lape.evaluation.metrics.conditions import BASELINE, Openings, baseline_cases, off_cases
from lape.evaluation.metrics.contest import RULE, Entrant, contest, front
from lape.evaluation.metrics.continuations import Bench, continue_cases
from lape.evaluation.metrics.dominance import compare
from lape.evaluation.metrics.language_retention import retained_share
from lape.evaluation.metrics.openings import TEST
from lape.evaluation.metrics.perplexity import text_blocks
from lape.evaluation.metrics.ways import WAYS
from lape.evaluation.runs.evidence import text_hash
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options, Work
from lape.identify import reads
from lape.masks.mask import NeuronMask
from lape.recording.residual_means import ResidualMeans
from lape.recording.vocabulary import TokenCounts, count_tokens
from lape.storage.names import RESIDUALS_NAME, STATISTICS_NAME

OTHERS = 4  # texts besides its own that each language is measured on: all of them would take an hour a mask
ELSEWHERE = "elsewhere"


def plan(subject: Subject, options: Options) -> Work:
    """Every chosen method at every chosen count, switched the first way; and the given mask every other way.

    Raises:
        UnknownLabel: There is no method, count or way of a name, or no strengths of a way that is compared.
        LapeError: What a named one needs is not there, or there is nothing to compare.
    """
    judge, mask = judge_of(subject, options), subject.mask
    source = mask.known(options.source)
    prompts = {code: list(texts) for code, texts in openings_of(subject, options).items() if not judge.untold([code])}
    targets = [code for code in mask.languages if code != source and not judge.untold([source, code])]
    if source not in prompts or not targets:
        raise LapeError(f"A comparison needs openings in {source!r}, and another language that can be told from it.")
    methods, lacking = methods_of(subject, options.methods)
    for name in options.counts:
        if name not in COUNTS:
            raise unknown_label("number of neurons to compare at", name, COUNTS)
    ways, left_out = _ways(subject, options.ways)
    strengths = {name: tuple(options.strengths.get(name, WAYS[name].strengths)) for name in ways}
    texts = subject.blocks(options.tokens, options.block)
    elsewhere = {code: text for code, text in subject.elsewhere.items() if code in mask.languages}
    others = text_blocks(subject.loaded[1], elsewhere, tokens=options.tokens, block=options.block) if elsewhere else {}
    described = output_settings(
        subject,
        options,
        prompts,
        {own_rate(subject): mask},
        source=source,
        targets=targets,
        methods=methods,
        counts=list(options.counts),
        strengths={name: list(some) for name, some in strengths.items()},
        items=options.items,
        corpora=subject.text_settings(texts),
        elsewhere={code: text_hash(elsewhere[code], some) for code, some in others.items()},
        others=OTHERS,
        tokens=options.tokens,
        block=options.block,
        seeds=list(range(options.seeds)),
        recordings={
            file: subject.hash_of(file) for file in sorted({*(reads(name).file for name in methods), RESIDUALS_NAME})
        },
    )

    def measure(cells: Cells) -> dict[str, Any]:
        model, tokenizer = subject.loaded
        masks, same = compared(subject, methods, options.counts)
        entrants = _entrants(subject, masks, ways, strengths, source)
        bench = Bench(model, tokenizer, judge, options.decoding)
        found = contest(bench, entrants, prompts[source], source, targets, items=options.items, cells=cells)
        costs = _costs(subject, masks, texts, options.seeds, cells)
        moved = _costs(subject, masks, others, options.seeds, under(ELSEWHERE, cells)) if len(others) > 1 else {}
        kept = _kept(bench, masks, {code: some[: 2 * options.items] for code, some in prompts.items()}, cells)
        told = cells(
            one_by_one(
                {
                    f"identified {name}": partial(_told, subject, one)
                    for name, one in masks.items()
                    if one.how is not None
                }
            )
        )
        compared_entrants = {
            name: {"way": _way_of(name), "mask": _mask_of(name), **each.values()} for name, each in found.items()
        }
        return {
            "source": source,
            "rule": RULE,
            "untouched_retained_share": kept[BASELINE],
            "masks": {
                name: {
                    "method": one.method,
                    "counts": one.counts,
                    "neurons": {code: one.mask.count(code) for code in one.mask.languages},
                    **costs[name],
                    "elsewhere": moved.get(name),
                    "retained_share": kept[name],
                    **told.get(f"identified {name}", {"identification": None, "halves_agreement": None}),
                }
                for name, one in masks.items()
            },
            "entrants": compared_entrants,
            "front": front(points(compared_entrants)),
            "left_out": {**lacking, **left_out, **same},
            "untold": judge.untold(mask.languages),
        }

    number = len(methods) * len(options.counts) + 2
    tried = sum(map(len, strengths.values())) + (number - 1) * max(map(len, strengths.values()))
    cells = 2 + len(targets) * (tried + number + len(ways) - 1)
    cells += number * len(texts) * (1 + OTHERS + 2 * options.seeds) + number * len(prompts) + 2 * number
    return Work("Comparison of methods and of ways of switching", described, cells, measure, summary)


def _ways(subject: Subject, names: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """The ways to compare, and those that lack what they need, with the reason."""
    for name in names or ():
        if name not in WAYS:
            raise unknown_label("way of switching", name, WAYS)
    lacking = {}
    for name in names or WAYS:
        if WAYS[name].kind is ResidualMeans and subject.residuals is None:
            lacking[name] = f"there is no {RESIDUALS_NAME}; make it with lape record --residuals."
        if WAYS[name].prepared and subject.statistics is None:
            lacking[name] = f"there is no {STATISTICS_NAME}; make it with lape record."
    if names and lacking:
        raise LapeError(f"{next(iter(lacking))!r} cannot be compared: {next(iter(lacking.values()))}")
    return [name for name in names or WAYS if name not in lacking], lacking


def _material(subject: Subject, way: str) -> ResidualMeans | TokenCounts | None:
    """What a way that switches no neurons switches with."""
    if WAYS[way].kind is ResidualMeans:
        return subject.residuals
    return count_tokens(subject.loaded[1], subject.text(), allow_short=True)


def _entrants(
    subject: Subject,
    masks: Mapping[str, Compared],
    ways: Sequence[str],
    strengths: Mapping[str, Sequence[float]],
    source: str,
) -> dict[str, Entrant]:
    """What takes part: every mask the first way that switches neurons, the given one every such way, and the others."""
    entrants = {}
    of_neurons = [way for way in ways if WAYS[way].neurons]
    for way in ways:
        if not WAYS[way].neurons:
            entrants[way] = _entrant(way, _material(subject, way), source, strengths)
            continue
        for name in masks if way == of_neurons[0] else [GIVEN]:
            mask, prepared = masks[name].mask, WAYS[way].prepared
            if prepared and subject.statistics is not None:
                mask = prepared(mask, subject.statistics, source)
            entrants[f"{name}: {way}"] = _entrant(way, mask, source, strengths)
    return entrants


def _entrant(way: str, what: Any, source: str, strengths: Mapping[str, Sequence[float]]) -> Entrant:
    entry = WAYS[way].entry
    return Entrant(lambda target, strength: entry(what, source, target, strength), strengths[way])


def _mask_of(entrant: str) -> str | None:
    return entrant.rpartition(": ")[0] or None


def _way_of(entrant: str) -> str:
    return entrant.rpartition(": ")[2]


def _costs(
    subject: Subject, masks: Mapping[str, Compared], texts: Mapping[str, Any], seeds: int, cells: Cells
) -> dict[str, dict[str, Any]]:
    """Dominance of every mask, and its own cost over that of as many random neurons."""
    chosen: dict[str, NeuronMask] = {name: one.mask for name, one in masks.items()}
    controls = {name: [f"random {seed} for {name}" for seed in range(seeds)] for name in masks}
    random = {
        control: chosen[name].random_like(None, seed + (name == RANDOM) * seeds)
        for name, some in controls.items()
        for seed, control in enumerate(some)
    }
    found = compare(*subject.loaded, texts, {**chosen, **random}, controls, others=OTHERS, cells=cells)["masks"]
    return {name: {key: found[name][key] for key in ("dominance", "over_control", "langspec")} for name in masks}


def _kept(bench: Bench, masks: Mapping[str, Compared], openings: Openings, cells: Cells) -> dict[str, Any]:
    """The share of outputs that stay in the language of their openings with its neurons off, and untouched."""
    codes = list(openings)
    cases = {(BASELINE, code): baseline_cases(openings, code, (TEST,)) for code in codes}
    cases |= {
        (name, code): off_cases(openings, one.mask, code, (TEST,), f"{name} off")
        for name, one in masks.items()
        for code in codes
    }
    outputs = continue_cases(bench, [case for (case,) in cases.values()], cells)
    shares: dict[str, list[Any]] = {}
    for (name, code), (case,) in cases.items():
        shares.setdefault(name, []).append(retained_share(outputs[case.key], code))
    return {name: mean(found).interval() for name, found in shares.items()}


def _told(subject: Subject, one: Compared) -> dict[str, Any]:
    return {"identification": one.cost, "halves_agreement": halves_agree(subject, one)}


def points(entrants: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Share and cost of each entrant that steers beyond chance: what does nothing is cheap.

    Beyond chance is a share whose interval lies above that of random neurons.

    Args:
        entrants: As evidence keeps them.
    """
    shares = {name: one["average"]["target_share"] for name, one in entrants.items()}
    chance = max((share["high"] for name, share in shares.items() if _mask_of(name) == RANDOM), default=0.0)
    costs = {name: one["average"]["fluency_cost_nats"] for name, one in entrants.items()}
    return {
        name: (share["value"], costs[name]["value"])
        for name, share in shares.items()
        if costs[name] and share["low"] > chance
    }
