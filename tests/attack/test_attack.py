"""The short form of `make attack`."""

from __future__ import annotations

import fuzz
import pytest
import soak

from benchmarks.load import Run


@pytest.mark.slow
def test_nothing_falls_in_the_first_calls_of_the_fuzzer() -> None:
    """Every event and every route once and more, over HTTP: no failure, no leak, no traceback in the log."""
    found = fuzz.attack(seed=0, tries=300)
    assert found["faults"] == {}
    assert found["fell"] == 0
    assert sum(found["targets"].values()) < found["tries"] == sum(found["kinds"].values())


@pytest.mark.slow
def test_nothing_falls_in_a_short_soak() -> None:
    """Four visitors do all there is at a tiny page; how memory develops is seen after longer."""
    found = soak.attack(minutes=0.25, clients=4, model="tiny")
    assert [fault for fault in found["faults"] if "memory" not in fault] == []
    assert set(found["actions"]) == {kind.__name__ for kind in soak.SOAKING}
    assert len(found["curve"]) > 10
    assert len(found["waits"]) > found["tries"] / 2


def test_a_run_may_wait_as_long_as_those_before_it_take() -> None:
    """Two wait before it, one runs, and it takes its own time to the first update: four times the longest run."""
    inside, outside = (Run("compare", 0.0, ahead=2, wait_seconds=wait, held_seconds=1.0) for wait in (7.9, 8.1))
    assert soak.late([inside, outside], longest_seconds=2.0) == [outside]
