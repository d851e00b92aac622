"""Whose tokens the pass of a vLLM worker has: a continuous batch is one flat list of tokens of many requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any


@dataclass(frozen=True)
class ServedRequest:
    """A request as its client sent it.

    Attributes:
        extra: `extra_args` of its sampling parameters.
        prompt_tokens: Of its prompt.
    """

    extra: Mapping[str, Any]
    prompt_tokens: int


class RunningBatch:
    """The requests of a worker, and the rows of the pass under way that belong to each.

    Args:
        runner: The worker's model runner, of either of vLLM's two kinds.
    """

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._requests: dict[str, ServedRequest] = {}
        self._scheduled: Mapping[str, int] = {}
        self._order: list[str] = []

    def rows(self) -> list[tuple[ServedRequest, slice]]:
        """The requests of this pass, each with its rows; none in a pass that vLLM makes for itself."""
        if not self._scheduled:
            return []
        found, start = [], 0
        for name in self._runner.input_batch.req_ids if hasattr(self._runner, "input_batch") else self._order:
            stop = start + self._scheduled[name]
            if name in self._requests:  # others came before they were followed
                found.append((self._requests[name], slice(start, stop)))
            start = stop
        return found

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follows what the runner is given to do, for as long as the block runs."""
        wrapped: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {"execute_model": self._executing}
        if hasattr(self._runner, "prepare_inputs"):  # Model Runner V2, which keeps its batch to itself
            wrapped["prepare_inputs"] = self._preparing
        for name, wrapper in wrapped.items():
            setattr(self._runner, name, wrapper(getattr(self._runner, name)))
        try:
            yield
        finally:
            for name in wrapped:
                delattr(self._runner, name)

    def _executing(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(execute)
        def executing(scheduled: Any, *args: Any, dummy_run: bool = False, **kwargs: Any) -> Any:
            if dummy_run:
                return execute(scheduled, *args, dummy_run=True, **kwargs)
            for name in scheduled.finished_req_ids:
                self._requests.pop(name, None)
            for new in scheduled.scheduled_new_reqs:
                extra = getattr(new.sampling_params, "extra_args", None) or {}
                self._requests[new.req_id] = ServedRequest(extra, len(new.prompt_token_ids or ()))
            self._scheduled = scheduled.num_scheduled_tokens
            try:
                return execute(scheduled, *args, **kwargs)
            finally:
                self._scheduled = {}

        return executing

    def _preparing(self, prepare: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(prepare)
        def preparing(*args: Any, **kwargs: Any) -> Any:
            batch = prepare(*args, **kwargs)
            self._order = list(batch.req_ids)
            return batch

        return preparing
