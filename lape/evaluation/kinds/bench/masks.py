"""The masks that are compared: every method's, with as many neurons as the given mask and by its own cut."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lape.errors import LapeError
from lape.evaluation.metrics.memory import peak_bytes
from lape.evaluation.metrics.stability import halves_agreement, mean_agreement
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import COUNTS
from lape.identify import METHODS, identify, method_settings, reads
from lape.masks.mask import NeuronMask
from lape.recording.statistics import ActivationStatistics

GIVEN, RANDOM = "this mask", "random neurons"
EQUAL, OWN = COUNTS


@dataclass(frozen=True)
class Compared:
    """One of the masks.

    Attributes:
        mask: With the languages that are measured.
        method: That found it.
        counts: `equal`, as many neurons for each language as the given mask has, or all where the method has fewer;
            or `own`, the method's own cut.
        how: What `identify` was told besides; None where the mask was not identified here.
        cost: `seconds` and `peak_bytes` of identification, the latter None where the system does not tell it.
    """

    mask: NeuronMask
    method: str
    counts: str
    how: dict[str, Any] | None = None
    cost: dict[str, Any] | None = None


def methods_of(subject: Subject, names: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """The methods to compare, and those whose recording is not there, with the reason.

    Raises:
        UnknownLabel: There is no method of a name.
        LapeError: The recording of one that was named is not there, or there is none at all.
    """
    lacking = {name: _lacks(name) for name in names or METHODS if not subject.has(name)}
    if lacking and (names or len(lacking) == len(METHODS)):
        raise LapeError(f"{next(iter(lacking))!r} cannot be compared: {next(iter(lacking.values()))}")
    return [name for name in names or METHODS if name not in lacking], lacking


def compared(
    subject: Subject, methods: Sequence[str], counts: Sequence[str]
) -> tuple[dict[str, Compared], dict[str, str]]:
    """Identifies every mask; gives those that differ by name, and those that cannot be had, with the reason.

    Methods that rank neurons alike are taken once at equal counts.
    """
    given = subject.whole_mask
    equal = {code: given.count(code) for code in given.languages}
    its_method, its_settings = str(given.metadata.get("method")), dict(given.metadata.get("settings", {}))
    found = {GIVEN: Compared(subject.mask, its_method, EQUAL)}
    left_out: dict[str, str] = {}
    ranked: dict[Any, str] = {}
    for method in methods:
        recorded = subject.recorded(method)
        for each in counts:
            name = method if each == EQUAL else f"{method}, own count"
            how = dict(its_settings) if method == its_method else {}
            if each == EQUAL:
                kept = method_settings(method, ranked=True)
                how = {
                    **{key: value for key, value in how.items() if key in kept},
                    "per_language": equal,
                    "at_most": True,
                }
            if each == EQUAL and (alike := ranked.setdefault(METHODS[method].rank, method)) != method:
                left_out[name] = f"It ranks neurons as {alike} does."
                continue
            try:
                mask, cost = _identified(recorded, method, given.languages, how)
            except LapeError as error:
                left_out[name] = str(error)
                continue
            mask = mask.only(subject.mask.languages)
            if same := next((other for other, one in found.items() if _same(one.mask, mask)), None):
                left_out[name] = f"It is the same as {same}."
            else:
                found[name] = Compared(mask, method, each, how, cost)
    if subject.statistics is not None:
        found[RANDOM] = Compared(subject.mask.random_like(subject.statistics, 0), "random", EQUAL)
    return found, left_out


def halves_agree(subject: Subject, one: Compared) -> float | None:
    """How well the masks of two halves of the text agree: mean Jaccard index over languages.

    None where the recording kept no counts of parts of the text, or the method reads more than those.
    """
    if one.how is None or subject.groups is None or reads(one.method) is not ActivationStatistics:
        return None
    try:
        found = halves_agreement(subject.groups, languages=subject.whole_mask.languages, method=one.method, **one.how)
    except LapeError:
        return None
    return mean_agreement({code: found[code] for code in subject.mask.languages})


def _same(one: NeuronMask, other: NeuronMask) -> bool:
    """Whether two masks have the same neurons; their means may be of different text."""
    return all(one.flat(code).equal(other.flat(code)) for code in one.languages)


def _identified(recorded: Any, method: str, languages: Sequence[str], how: Any) -> tuple[NeuronMask, dict[str, Any]]:
    """A mask, and what it took to identify it."""
    made: list[NeuronMask] = []
    began = time.perf_counter()
    try:
        peak: int | None = peak_bytes(lambda: made.append(identify(recorded, method, languages, **how)))
    except OSError:  # no Linux, or a process that may not ask
        peak, began = None, time.perf_counter()
        made.append(identify(recorded, method, languages, **how))
    return made[0], {"seconds": time.perf_counter() - began, "peak_bytes": peak}


def _lacks(method: str) -> str:
    return f"there is no {reads(method).file}; make it with {reads(method).command}."
