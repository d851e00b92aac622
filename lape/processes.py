"""Several processes that share one piece of work, as `torchrun` and `accelerate launch` start them.

They know each other from the environment that these set, and exchange what is small: counts at the end, JSON. It lies
on the CPU, so they talk by gloo, whatever they compute with. Without that environment a process is alone: nothing is
waited for, and torch is not imported.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lape.errors import LapeError

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup

ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
MEETING = datetime.timedelta(minutes=30)  # until all have started
# One process may have far more work than another. One that dies is noticed at once, by its closed connections.
PATIENCE = datetime.timedelta(days=7)


@dataclass(frozen=True)
class Processes:
    """The processes that share a piece of work, as one of them sees them. Each must ask the same, in the same order.

    Attributes:
        rank: Of this one, from 0.
        number: Of all.
        group: What they talk by; None when alone.
    """

    rank: int = 0
    number: int = 1
    group: ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks for all."""
        return self.rank == 0

    def summed(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of the tensors of all processes, the same in each.

        Args:
            tensor: On the CPU; of one shape and type in all of them.

        Raises:
            LapeError: Another process has ended.
        """
        if self.group is None:
            return tensor
        from torch import distributed

        total = tensor.clone()
        with self._together():
            distributed.all_reduce(total, group=self.group)
        return total

    def gathered(self, value: Any) -> list[Any]:
        """The values of all processes, by rank.

        Args:
            value: What JSON can hold.

        Raises:
            LapeError: Another process has ended.
        """
        if self.group is None:
            return [value]
        import torch
        from torch import distributed

        said = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.long) for _ in range(self.number)]
        with self._together():
            distributed.all_gather(lengths, torch.tensor([len(said)]), group=self.group)
            longest = int(max(lengths))
            texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.number)]
            distributed.all_gather(texts, torch.nn.functional.pad(said, (0, longest - len(said))), group=self.group)
        return [
            json.loads(text[:length].numpy().tobytes()) for text, length in zip(texts, map(int, lengths), strict=True)
        ]

    @contextmanager
    def _together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise LapeError(
                f"Another of the {self.number} processes has ended, so this one ends too. What each has done is kept: "
                "start them again, as many as you like, to go on."
            ) from error


ALONE = Processes()


def launched() -> tuple[int, int]:
    """The rank of this process, and the number of those that were started together."""
    if not all(os.environ.get(name) for name in ENVIRONMENT):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


@contextmanager
def joined() -> Iterator[Processes]:
    """Joins the processes that were started together with this one, for as long as the block runs.

    Where a script has set up `torch.distributed` already, that is left as it is, and another group is made beside.

    Yields:
        All of them; `ALONE` where there are no others.

    Raises:
        LapeError: The others do not come.

    Example:
        >>> with joined() as processes:  # doctest: +SKIP
        ...     statistics = lape.record(model, tokenizer, corpora, processes=processes)
        ...     if processes.first:
        ...         statistics.save("out/statistics.safetensors")
    """
    _, number = launched()
    if number == 1:
        yield ALONE
        return
    from torch import distributed

    ours = not distributed.is_initialized()
    try:
        if ours:
            distributed.init_process_group("gloo", timeout=MEETING)
        group = distributed.new_group(backend="gloo", timeout=PATIENCE)
    except RuntimeError as error:
        raise LapeError(
            f"The {number} processes that WORLD_SIZE tells of have not met. Start them together, as torchrun does; "
            "without that variable this one works alone."
        ) from error
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size(), group)
    finally:
        distributed.destroy_process_group(None if ours else group)


def take_gpus() -> None:
    """Leaves this process its share of the GPUs of its machine; to be called before CUDA is used.

    As many processes as GPUs have one each. With more GPUs, each process has several, which a device map divides its
    model among; with fewer, several processes share one.
    """
    local, here = (int(os.environ.get(name, default)) for name, default in (("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1)))
    if here == 1:
        return
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = list(map(str, range(torch.cuda.device_count()))) if named is None else named.split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(share_of(visible, local, here))


def share_of(gpus: Sequence[str], local: int, here: int) -> Sequence[str]:
    """Which GPUs of a machine a process has.

    Args:
        gpus: All that it may use.
        local: Rank of the process on its machine.
        here: Processes there.

    Example:
        >>> [share_of("0123", process, 2) for process in range(2)]
        ['01', '23']
    """
    start = local * len(gpus) // here
    return gpus[start : max(start + 1, (local + 1) * len(gpus) // here)]
