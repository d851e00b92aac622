"""Time several ways of doing one thing, turn by turn, so that the machine's moods hit all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def median_seconds(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Runs every way once to warm up, then `repeats` times in turn; gives the median seconds of each.

    Every second turn goes backwards, since what ran before a way can slow it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name in list(ways)[:: -1 if repeat % 2 else 1]:
            began = time.perf_counter()
            ways[name]()
            if repeat:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}
