"""Several processes that share a piece of work: as threads of this one, or forked, talking by gloo."""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from lape.errors import LapeError
from lape.processes import Processes

PATIENCE_SECONDS = 120  # with a forked process; what then still runs hangs

Result = TypeVar("Result")


@dataclass(frozen=True)
class Threads(Processes):
    """Threads in the place of processes."""

    slots: list[Any] = field(default_factory=list)
    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))

    def summed(self, tensor: torch.Tensor) -> torch.Tensor:
        return torch.stack(self.gathered(tensor)).sum(0)

    def gathered(self, value: Any) -> list[Any]:
        self.slots[self.rank] = value
        try:
            self.barrier.wait()
        except threading.BrokenBarrierError as error:
            raise LapeError("Another process has ended.") from error
        values = list(self.slots)
        with suppress(threading.BrokenBarrierError):  # which the next exchange finds too
            self.barrier.wait()
        return values


def in_threads(number: int, work: Callable[[Processes], Result]) -> list[Result | BaseException]:
    """What each of several "processes" returns or raises, by rank."""
    barrier, slots = threading.Barrier(number), [None] * number

    def one(rank: int) -> Result | BaseException:
        try:
            return work(Threads(rank, number, slots=slots, barrier=barrier))
        except BaseException as error:
            barrier.abort()
            return error

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(one, range(number)))


def forked_together(number: int, work: Callable[[int], int]) -> list[int]:
    """Exit codes of forked processes that find each other as those of torchrun do; negative for a signal.

    Args:
        number: Of processes.
        work: Given its rank, does what a process does; returns its exit code.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    children = []
    for rank in range(number):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # threads of other tests stay behind, which is what is wanted
            child = os.fork()
        if not child:
            code = 70
            try:
                faulthandler.dump_traceback_later(PATIENCE_SECONDS, exit=True, file=sys.__stderr__)
                tqdm.set_lock(threading.RLock())  # its own is shared with forks, and a killed one never gives it back
                torch.set_num_threads(1)  # the threads of the parent's OpenMP are not there in a fork
                os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(number), "MASTER_ADDR": "localhost"}
                os.environ["MASTER_PORT"] = port
                code = work(rank)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
