"""Cells: the values of a measurement, each under a key that names it.

What measures hands over all that can be computed independently at once. So a run can keep each value, go on after a
stop, and divide them among processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

Compute = Callable[[], Any]


@dataclass(frozen=True)
class Task:
    """What is computed at once: a cell, or those of one batch.

    Attributes:
        keys: Name its cells: languages by code, conditions by name, nothing by position.
        compute: Gives the value of each key, what JSON can hold. It must not use cells, whose time would count twice.
    """

    keys: tuple[str, ...]
    compute: Callable[[], Mapping[str, Any]]


Cells = Callable[[Sequence[Task]], dict[str, Any]]  # gives the value of every key


def one_by_one(computes: Mapping[str, Compute]) -> list[Task]:
    """Tasks of a cell each.

    Args:
        computes: Key to what gives its value.
    """
    return [Task((key,), partial(_alone, key, compute)) for key, compute in computes.items()]


def under(name: str, cells: Cells) -> Cells:
    """The same cells, with a name before each key: for a measurement that is made more than once.

    Args:
        name: Such as `office text`.
        cells: That keep the values.
    """

    def renamed(tasks: Sequence[Task]) -> dict[str, Any]:
        found = cells(
            [Task(tuple(f"{name} {key}" for key in task.keys), partial(_named, name, task)) for task in tasks]
        )
        return {key.removeprefix(f"{name} "): value for key, value in found.items()}

    return renamed


def fresh(tasks: Sequence[Task]) -> dict[str, Any]:
    """Computes cells and keeps nothing: the default of functions that take `cells`."""
    return {key: value for task in tasks for key, value in task.compute().items()}


def _named(name: str, task: Task) -> dict[str, Any]:
    return {f"{name} {key}": value for key, value in task.compute().items()}


def _alone(key: str, compute: Compute) -> dict[str, Any]:
    return {key: compute()}
