"""LangSpec-F1: whether switching a language off costs that language much, and the others little; one figure of both.

From the code of CRANE (arXiv 2601.04664). A text's score is the mean likelihood of its tokens, exp(-log-perplexity),
or any other that is better when higher, such as accuracy. With `drop = max(before - after, 0)`, for target t:

    P = drop_t / (drop_t + mean of the other texts' drops)    R = drop_t / before_t    F1 = 2 P R / (P + R)

R rewards destruction, and gains do not count: as many random neurons get much of a method's figure, in the authors' own
results too. So it is given with that of random masks alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lape.errors import LapeError
from lape.evaluation.metrics.bootstrap import Figure, mean
from lape.evaluation.metrics.perplexity import Matrix


def langspec_f1(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor], target: str) -> torch.Tensor:
    """The figure of one target; 0 where it loses nothing.

    Args:
        before: Text to score of the untouched model, at least 0; of any shape.
        after: Text to score with the target's neurons off, of the target and at least one other text.
        target: The language that is switched off.

    Example:
        >>> before = {"en": torch.tensor(0.5), "fr": torch.tensor(0.4)}
        >>> round(float(langspec_f1(before, {"en": torch.tensor(0.25), "fr": torch.tensor(0.4)}, "en")), 3)
        0.667
    """
    drops = {text: (before[text] - score).clamp(min=0) for text, score in after.items()}
    own = drops.pop(target)
    others = torch.stack(list(drops.values())).mean(0)
    tiny = torch.finfo(own.dtype).tiny
    precision, recall = own / (own + others).clamp(min=tiny), own / before[target].clamp(min=tiny)
    return 2 * precision * recall / (precision + recall).clamp(min=tiny)


def langspec(measured: Matrix, own: Mapping[str, str], controls: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """LangSpec-F1 of a mask from its perplexity matrix, and that of random masks of as many neurons.

    Args:
        measured: With the conditions of all of them, each on its own text and at least another.
        own: Condition to the language that it switches off.
        controls: Name of each random mask (`NeuronMask.random_like`) to the same of it.

    Returns:
        As JSON holds it: `f1` and `control_f1` as `{value, low, high}`, means over languages and, of the control, over
        masks; `f1_by_language` of the mask; `control_f1_by_mask`, values alone.

    Raises:
        LapeError: There is no control, or a condition was measured on one text alone.
    """
    if not controls:
        raise LapeError("LangSpec-F1 says nothing without random masks of as many neurons; give at least one.")
    mine = {code: _figure(measured, condition, code) for condition, code in own.items()}
    random = {
        name: mean(_figure(measured, condition, code) for condition, code in conditions.items())
        for name, conditions in controls.items()
    }
    return {
        "f1": mean(mine.values()).interval(),
        "f1_by_language": {code: figure.interval() for code, figure in mine.items()},
        "control_f1": mean(random.values()).interval(),
        "control_f1_by_mask": {name: figure.value for name, figure in random.items()},
    }


def _figure(measured: Matrix, condition: str, target: str) -> Figure:
    texts = measured.conditions[condition]
    if target not in texts or len(texts) < 2:
        raise LapeError(f"{condition!r} must be measured on the text of {target!r} and on another one.")
    before, after = {}, {}
    for text in texts:  # from all blocks first, then from each resample
        nats, cost = measured.log_perplexity(text), measured.delta_nats(condition, text)
        before[text] = (-_both(nats)).exp()
        after[text] = (-_both(nats) - _both(cost)).exp()
    found = langspec_f1(before, after, target)
    return Figure(float(found[0]), found[1:])


def _both(figure: Figure) -> torch.Tensor:
    return torch.cat([torch.tensor([figure.value], dtype=torch.float64), figure.resampled])
