"""Processes that were started together find each other, and each has its share of the GPUs."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
import torch
from together import forked_together
from torch import distributed

from lape.errors import LapeError
from lape.processes import ALONE, joined, launched, share_of, take_gpus


def test_a_process_alone_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined() as processes:
        assert processes is ALONE
        assert processes.first
        assert processes.summed(torch.ones(1)).tolist() == [1]
        assert processes.gathered({"a": 1}) == [{"a": 1}]
    assert not distributed.is_initialized()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_they_exchange_sums_and_json_beside_a_group_of_a_scripts_own() -> None:
    def work(number: int) -> int:
        distributed.init_process_group("gloo")
        with joined() as processes:
            assert launched() == (processes.rank, processes.number) == (number, 2)
            counts = torch.tensor([2**53 + 1, number])
            assert processes.summed(counts).tolist() == [2**54 + 2, 1]
            assert counts.tolist() == [2**53 + 1, number]
            assert processes.gathered(["é" * number, None]) == [["", None], ["é", None]]
        assert distributed.is_initialized()
        with joined() as processes:
            if number == 1:
                os._exit(3)
            with pytest.raises(LapeError, match="Another of the 2 processes has ended"):
                processes.gathered("who is there?")
        return 0

    assert forked_together(2, work) == [0, 3]


@pytest.mark.parametrize(
    ("gpus", "here", "shares"),
    [
        ("01", 2, ["0", "1"]),
        ("0123", 2, ["01", "23"]),
        ("012", 2, ["0", "12"]),
        ("0", 2, ["0", "0"]),
        ("", 2, ["", ""]),
    ],
)
def test_each_has_its_share_of_the_gpus(
    gpus: str, here: int, shares: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ["".join(share_of(gpus, local, here)) for local in range(here)] == shares


def test_gpus_are_taken_by_local_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c,GPU-d")
    take_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b,GPU-c,GPU-d"
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    take_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-c,GPU-d"
