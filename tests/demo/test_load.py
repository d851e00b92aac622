"""Many visitors at once on a tiny model: what `python -m benchmarks.load` does with the real one, for less time."""

from __future__ import annotations

import itertools
import random
import threading
import time
from contextlib import closing
from typing import Any

import pytest
from browsing import serve
from tiny_page import tiny_loaded

from benchmarks.load import KINDS, Outcome, Visitor, visited
from lape.demo.backend import Backend
from lape.models.architectures import activation_sites

SECONDS = 8


@pytest.mark.slow
def test_eight_visitors_leave_the_model_as_it_was(tokenizer: Any) -> None:
    backend = Backend(tiny_loaded(tokenizer))
    with serve(backend) as (page, url):
        outcome = visited(backend, page, url, clients=8, seconds=SECONDS)
    print(*outcome.lines(), sep="\n")
    assert outcome.errors == []
    assert {kind.__name__ for kind in KINDS} == set(outcome.done)
    assert sum(outcome.done.values()) >= 30
    assert [what for what, true in outcome.checks.items() if not true] == []
    assert max(outcome.waits_seconds) < SECONDS


@pytest.mark.slow
def test_who_holds_the_model_finds_no_hook_of_others(tokenizer: Any) -> None:
    """Once, seconds after a long soak, a plan's hooks were seen on the model; but that look did not hold the lock."""
    backend = Backend(tiny_loaded(tokenizer))
    modules = list(backend.ready().model.modules())
    chance, end = random.Random(0), time.monotonic() + SECONDS
    outcome, looks, found = Outcome(), 0, []
    kinds = (Visitor.compares, Visitor.stops, Visitor.leaves, Visitor.generates, Visitor.leaves, Visitor.stops)
    with serve(backend) as (page, url):
        visitors = [Visitor(page, url, outcome, seed) for seed in range(6)]
        threads = [
            threading.Thread(
                target=visitor.acts,
                args=(itertools.cycle([*kinds[place:], *kinds[:place]]), lambda: time.monotonic() > end),
            )
            for place, visitor in enumerate(visitors)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(chance.expovariate(20))
            with backend.lock:
                looks += 1
                found += [type(module).__name__ for module in modules if module._forward_hooks]
                found += [type(module).__name__ for module in modules if module._forward_pre_hooks]
    assert outcome.errors == []
    assert sum(outcome.done.values()) >= 20
    assert looks >= 20
    assert found == []


@pytest.mark.parametrize("event", ["compare", "stream", "measure_texts", "measure_openings", "finding"])
def test_closing_the_page_ends_every_long_run(tokenizer: Any, event: str) -> None:
    backend = Backend(tiny_loaded(tokenizer))
    decoder = activation_sites(backend.ready().model).decoder
    with serve(backend) as (page, url):
        visitor = Visitor(page, url, Outcome(), seed=0)
        values = {
            "compare": visitor.comparison(200),
            "stream": [None, None, *visitor.comparison(200)],
            "measure_texts": [*("fr", "es", "zh", None), *["Il était une fois une petite fille."] * 3, ""],
            "measure_openings": visitor.given("measure_openings"),
            "finding": [None],
        }[event]
        if event == "finding":
            visitor.reads(1000)
        slowed = decoder.register_forward_pre_hook(lambda *_: time.sleep(0.1))
        with closing(visitor.updates(event, values)) as updates:
            next(updates)
            next(updates)
            assert backend.lock.locked()
        assert backend.lock.acquire(timeout=3), "the model is still busy"
        backend.lock.release()
        slowed.remove()
    assert not any(module._forward_hooks for module in activation_sites(backend.ready().model).modules)
