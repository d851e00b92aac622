"""Masks that a mask is compared with: the other methods at the same counts, equal counts, exclusive neurons."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from lape.errors import LapeError, unknown_label
from lape.evaluation.runs.subject import Subject
from lape.identify import METHODS, equal_count, identify
from lape.masks.mask import NeuronMask
from lape.storage.names import STATISTICS_NAME

EQUAL, EXCLUSIVE = "equal count", "exclusive"
NONE = "none"  # as the only name of a choice


def rival_masks(subject: Subject, main: str) -> tuple[dict[str, NeuronMask], dict[str, str]]:
    """Masks to compare with, and those that cannot be had, with the reason.

    The other methods, of those whose recording is there, get as many neurons for each language as the mask has. The
    mask's own method is also measured with the same number for every language, and the mask itself without the neurons
    that several languages share.
    """
    masks: dict[str, NeuronMask] = {}  # every method tells the same languages apart, whichever are measured
    left_out: dict[str, str] = {}
    statistics, mask = subject.statistics, subject.whole_mask
    counts = {code: mask.count(code) for code in mask.languages}
    exclusive = mask.exclusive()
    if any(exclusive.count(code) < counts[code] for code in counts):
        masks[EXCLUSIVE] = exclusive.only(subject.mask.languages)
    if statistics is None:
        return masks, dict.fromkeys((EQUAL, "other methods"), f"There is no {STATISTICS_NAME} beside the mask.")
    makers: dict[str, Callable[[], NeuronMask]] = {EQUAL: lambda: equal_count(mask, subject.recorded(main))}
    ranked = {METHODS[main].rank} if main in METHODS else set()
    for name, method in METHODS.items():
        if method.rank not in ranked and subject.has(name):  # at equal counts, methods of one ranking give one mask
            ranked.add(method.rank)
            makers[name] = partial(_identified, subject, name, counts)
    for name, make in makers.items():
        try:
            masks[name] = make().only(subject.mask.languages)
        except LapeError as error:
            left_out[name] = str(error)
    return masks, left_out


def _identified(subject: Subject, method: str, counts: Mapping[str, int]) -> NeuronMask:
    return identify(subject.recorded(method), method, subject.whole_mask.languages, per_language=counts)


def chosen_rivals(
    subject: Subject, main: str, names: Sequence[str] | None
) -> tuple[dict[str, NeuronMask], dict[str, str]]:
    """The same, of them those with these names; None takes all, and `none` alone takes none.

    Raises:
        UnknownLabel: There is no such mask.
    """
    masks, left_out = rival_masks(subject, main)
    if names is None:
        return masks, left_out
    wanted = [] if list(names) == [NONE] else names
    for name in wanted:
        if name not in masks and name not in left_out:
            raise unknown_label("mask to compare with", name, [NONE, *masks, *left_out])
    return (
        {name: mask for name, mask in masks.items() if name in wanted},
        {name: reason for name, reason in left_out.items() if name in wanted},
    )
