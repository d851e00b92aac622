"""Many visitors at once on a tiny model: what `python -m benchmarks.load` does with the real one, for less time."""

from __future__ import annotations

from typing import Any

import pytest
from serving import served, tiny_loaded

from benchmarks.load import KINDS, visited
from lape.demo.backend import Backend

SECONDS = 12


@pytest.mark.slow
def test_eight_visitors_leave_the_model_as_it_was(tokenizer: Any) -> None:
    backend = Backend(tiny_loaded(tokenizer))
    with served(backend) as (page, url):
        outcome = visited(backend, page, url, clients=8, seconds=SECONDS)
    print(*outcome.lines(), sep="\n")
    assert outcome.errors == []
    assert {kind.__name__ for kind in KINDS} == set(outcome.done)
    assert sum(outcome.done.values()) >= 30
    assert [what for what, true in outcome.checks.items() if not true] == []
    assert max(outcome.waits_seconds) < SECONDS
