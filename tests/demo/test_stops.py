"""Stop: what runs for a visitor ends at its next step, also what is still to begin."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from lape.demo.stops import Stops


@pytest.fixture
def stops() -> Stops:
    return Stops()


@pytest.fixture
def steps() -> list[Any]:
    """What a run of the stream below has done so far."""
    return []


@pytest.fixture
def stream(stops: Stops, steps: list[Any]) -> Any:
    @stops.end
    def counting(request: Any, upto: int) -> Iterator[dict[str, int]]:
        try:
            for step in range(upto):
                steps.append(step)
                yield {"step": step}
        finally:
            steps.append("closed")

    return lambda visitor, upto: counting(SimpleNamespace(session_hash=visitor), upto)


def test_a_stream_that_nobody_stops_runs_to_its_end(stream: Any, steps: list[Any]) -> None:
    assert list(stream("a", 3)) == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert steps == [0, 1, 2, "closed"]


def test_one_that_is_stopped_ends_at_its_next_update(stops: Stops, stream: Any, steps: list[Any]) -> None:
    updates = stream("a", 5)
    assert next(updates) == {"step": 0}
    stops.press("b")
    assert next(updates) == {"step": 1}  # somebody else has pressed it
    stops.press("a")
    assert list(updates) == []
    assert steps == [0, 1, 2, "closed"]


def test_one_that_is_stopped_before_it_begins_does_nothing(stops: Stops, stream: Any, steps: list[Any]) -> None:
    stops.press("a")
    assert list(stream("a", 3)) == steps == []
    stops.begin("a")
    assert len(list(stream("a", 3))) == 3


def test_one_that_is_closed_closes_what_it_streams(stream: Any, steps: list[Any]) -> None:
    updates = stream("a", 3)
    next(updates)
    updates.close()
    assert steps == [0, "closed"]
