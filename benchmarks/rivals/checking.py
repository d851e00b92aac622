"""Whether a way gives what lape gives, which comes before its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch

from benchmarks.rivals.tasks import Reading, Recorded, Steering
from benchmarks.rivals.ways import COUNTS, FLOORS, OURS, RIVALS, WAYS, make

NOISE_TOKENS = 0.005  # of the tokens: how far a neuron's count may lie from ours, where its activation is next to 0
NOISE_SUMS = 1e-4  # of the largest sum
REASON_CHARACTERS = 160


class Differs(Exception):
    """A way's result is not ours, so its time says nothing."""


@dataclass(frozen=True)
class Ready:
    """What may be timed.

    Attributes:
        recordings: By way and by how it counts.
        generations: By way.
        counts: By way, how its counts compare with ours, or why it is skipped; empty for a floor.
        ids: The same of the token ids.
    """

    recordings: dict[tuple[str, str], Callable[[], object]] = field(default_factory=dict)
    generations: dict[str, Callable[[], object]] = field(default_factory=dict)
    counts: dict[str, str] = field(default_factory=lambda: dict.fromkeys(WAYS, ""))
    ids: dict[str, str] = field(default_factory=lambda: dict.fromkeys(WAYS, ""))


def checked(model, tokenizer, reading: Reading, steering: Steering) -> Ready:
    """Does both tasks once in every way, and keeps those whose results are ours."""
    ready = Ready()
    (name,) = OURS
    ours = make(name, model, tokenizer)
    recorded, generated = ours.record(reading), ours.generate(steering)
    for name in WAYS:
        for count, function in COUNTS.items() if name in RIVALS else [*COUNTS.items()][:1]:
            with _reason(ready.counts, name):
                way = make(name, model, tokenizer, function)
                found = way.record(reading)
                if name not in FLOORS:
                    ready.counts[name] = compare_recorded(found, recorded, reading.tokens)
                ready.recordings[name, count] = partial(way.record, reading)
        with _reason(ready.ids, name):
            way = make(name, model, tokenizer)
            if not hasattr(way, "generate"):
                continue
            found = way.generate(steering)
            if name not in FLOORS:
                ready.ids[name] = compare_generated(found, generated)
            ready.generations[name] = partial(way.generate, steering)
    return ready


def compare_recorded(found: Recorded, ours: Recorded, tokens: int) -> str:
    """How a recording compares with ours, in words.

    Rounding takes an activation that is next to 0 to its other side, so that counts may differ by a few tokens.

    Raises:
        Differs: By more than rounding explains.
    """
    apart = (found.active - ours.active).abs()
    told = f"{int((apart > 0).sum()):,} of {apart.numel():,} differ, by at most {int(apart.max()):,}"
    if found.active.dtype != torch.long or apart.max() > NOISE_TOKENS * tokens:
        raise Differs(f"{told} of {tokens:,} tokens")
    for name in ("sum", "positive_sum"):
        wanted = getattr(ours, name)
        if (error := (getattr(found, name) - wanted).abs().max() / wanted.abs().max()) > NOISE_SUMS:
            raise Differs(f"{name} lies {error:.1e} of the largest off")
    return told if apart.any() else "all equal"


def compare_generated(found: torch.Tensor, ours: torch.Tensor) -> str:
    """How token ids `[1, positions]` compare with ours, in words.

    Raises:
        Differs: One is another; says which is the first.
    """
    if found.shape != ours.shape:
        raise Differs(f"{found.shape[-1]} token ids, not {ours.shape[-1]}")
    if len(where := (found != ours)[0].nonzero()):
        raise Differs(f"token {int(where[0])} of {ours.shape[-1]} is another")
    return "all equal"


@contextmanager
def _reason(told: dict[str, str], name: str) -> Iterator[None]:
    """Says why a way is skipped, whatever its library raises."""
    try:
        yield
    except Exception as error:
        told[name] = f"skipped: {type(error).__name__}: {' '.join(str(error).split())[:REASON_CHARACTERS]}"
