"""The short form of `make attack`."""

from __future__ import annotations

import fuzz
import pytest


@pytest.mark.slow
def test_nothing_falls_in_the_first_calls_of_the_fuzzer() -> None:
    """Every event and every route once and more, over HTTP: no failure, no leak, no traceback in the log."""
    found = fuzz.attack(seed=0, tries=300)
    assert found["faults"] == {}
    assert found["fell"] == 0
    assert sum(found["targets"].values()) < found["tries"] == sum(found["kinds"].values())
