"""Hooks on the modules of a model: the one way in which all of `lape` puts them on.

A hook is for the module it was put on, and sees every call of it. What torch.compile made would skip hooks that
came later, so while a hook is on, in all of the process, what is compiled runs as it was written: slower, with equal
results. A copy of a hooked module, by `copy.deepcopy` or pickled, is an untouched one from the start.

What torch.jit or torch.export makes of a model is another program, with code of its own, which hooks never see.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from lape.errors import LapeError

Hook = Callable[..., Any]


@contextmanager
def hooked(*, before: Mapping[nn.Module, Hook] = {}, after: Mapping[nn.Module, Hook] = {}) -> Iterator[None]:
    """Hooks modules for as long as the block runs; only these hooks come off.

    Args:
        before: Module to forward pre-hook, called with the module, its arguments and its keyword arguments.
        after: Module to forward hook, called with the module, its arguments and its output.

    Raises:
        LapeError: Inside a function of torch.compile.
    """
    with ExitStack() as stack:
        stack.enter_context(_EAGER)
        for module, hook in before.items():
            stack.callback(module.register_forward_pre_hook(_Uncopied(hook), with_kwargs=True).remove)
        for module, hook in after.items():
            stack.callback(module.register_forward_hook(_Uncopied(hook)).remove)
        yield


class _Uncopied:
    """A hook whose copies do nothing: nobody would take those off."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    def __call__(self, *arguments: Any) -> Any:
        return self._hook(*arguments)

    def __reduce__(self) -> tuple[type[_Uncopied], tuple[Hook]]:
        return _Uncopied, (_nothing,)


def _nothing(*_: Any) -> None:
    """What the hook of a copy does."""


class _Eager:
    """Runs what is compiled as it was written, until the last of the blocks that are open at a time ends.

    torch's stance belongs to the process, and a block of its own puts back what was there before, which is wrong
    where blocks of two threads or generators end in the order they began.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a generator may be collected, and its block end, at any line below
        self._stance = ExitStack()
        self._open = 0

    def __enter__(self) -> None:
        with self._lock:
            first = not self._open
            self._open += 1
            try:
                stance = torch.compiler.set_stance("force_eager")
            except RuntimeError as error:
                self._open -= 1
                raise LapeError(
                    "A function of torch.compile cannot switch or watch neurons; do so around it, and call it inside."
                ) from error
            if first:
                self._stance.enter_context(stance)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._open -= 1
            if not self._open:
                self._stance.close()


_EAGER = _Eager()
