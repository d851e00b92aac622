"""A measurement that is watched while it goes on, and that can be stopped at any time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

from transformers import PreTrainedModel

from lape.evaluation.metrics.cells import Cells, Task
from lape.models.architectures import activation_sites
from lape.models.hooks import hooked

PULSE_SECONDS = 0.5  # between two signs of life


class _Stopped(BaseException):
    """Ends a measurement that nobody waits for any more; not an `Exception`, so that nothing takes it for a failure."""


def watched(
    model: PreTrainedModel, measure: Callable[[Cells], object], pulse_seconds: float = PULSE_SECONDS
) -> Generator[dict[str, Any], None, None]:
    """Runs a measurement in a thread and streams its cells, whatever function with `cells` it is.

    Closing the generator ends the measurement within one forward pass of the model: a token of a generation, a batch
    of a perplexity.

    Args:
        model: What the measurement runs; only this may stop it between cells.
        measure: Takes the `cells` to measure with, such as `lambda cells: matrix(..., cells=cells)`.
        pulse_seconds: How often to yield at least, so that whoever watches can stop it.

    Yields:
        The cells so far, key to value: after each new one, and at every pulse.

    Raises:
        LapeError: What `measure` raises, as everything else that it raises.
    """
    arrived: queue.SimpleQueue[tuple[str, Any] | BaseException | None] = queue.SimpleQueue()
    stop = threading.Event()

    def go_on(*_: object) -> None:
        if stop.is_set():
            raise _Stopped

    def cells(tasks: Sequence[Task]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for task in tasks:
            go_on()
            for key, value in task.compute().items():
                arrived.put((key, value))
                found[key] = value
        return found

    def work() -> None:
        try:
            measure(cells)
            arrived.put(None)
        except BaseException as error:
            arrived.put(error)

    thread = threading.Thread(target=work, name="lape-measure", daemon=True)
    kept: dict[str, Any] = {}
    with hooked(before={activation_sites(model).decoder: go_on}):
        thread.start()
        try:
            while True:
                try:
                    item = arrived.get(timeout=pulse_seconds)
                except queue.Empty:
                    yield dict(kept)
                    continue
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                key, value = item
                kept[key] = value
                yield dict(kept)
        finally:
            stop.set()
            thread.join()
