"""The matrix of what switching each language off costs each text, as work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lape.evaluation.kinds.rivals import chosen_rivals
from lape.evaluation.metrics.cells import Cells
from lape.evaluation.metrics.dominance import compare, own_conditions
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options, Work
from lape.storage.names import STATISTICS_NAME


def plan(subject: Subject, options: Options) -> Work:
    """The matrix of costs, with random controls, the other methods at the same counts, and equal counts."""
    texts = subject.blocks(options.tokens, options.block)
    main = str(subject.mask.metadata.get("method", "mask"))
    controls = {f"random {seed}": subject.mask.random_like(None, seed) for seed in range(options.seeds)}
    rivals, left_out = chosen_rivals(subject, main, options.rivals)
    masks = {main: subject.mask, **rivals, **controls}
    cells = len(texts) + sum(
        2 if name in controls else len(texts)
        for name, mask in masks.items()
        for code in own_conditions(name, mask, texts).values()
        if mask.count(code)
    )
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

    def measure(cells: Cells) -> dict[str, Any]:
        model, tokenizer = subject.loaded
        found = compare(model, tokenizer, texts, masks, {main: list(controls)}, seed=options.seed, cells=cells)
        return {**found, "controls": list(controls), "left_out": left_out}

    def summary(results: Mapping[str, Any]) -> str:
        dominance, control = (results["masks"][main][key] for key in ("dominance", "over_control"))
        return (
            f"Switching a language off costs its own text {dominance['own_nats']['value']:.3f} nats per token and "
            f"other texts {dominance['others_nats']['value']:.4f}: a dominance of {dominance['value']:.1f}. As many "
            f"random neurons cost it {control['control_nats']['value']:.4f}: a ratio of {control['value']:.1f}."
        )

    return Work("Perplexity: what switching each language off costs each text", settings, cells, measure, summary)
