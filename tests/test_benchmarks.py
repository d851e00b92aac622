"""The comparison with other libraries: it takes what is equal, and refuses what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from families import random_mask
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.rivals.checking import Differs, checked, compare_generated, compare_recorded
from benchmarks.rivals.tasks import Reading, Recorded, Steering
from benchmarks.rivals.ways import COUNTS, WAYS
from lape import NeuronMask

TOKENS = 1000


@pytest.fixture
def recorded() -> Recorded:
    active = torch.tensor([[7, 0, 1000], [3, 500, 2]])
    return Recorded(active, active * 2.0, active * 3.0)


def test_ways_that_do_the_same_are_timed(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    reading = Reading.of(tiny_model, tokenizer, block=16, blocks=4, batch=2)
    made = random_mask(reading.shape)
    mask = NeuronMask({"fr": made.neurons["aa"], "es": made.neurons["bb"]}, {"es": made.means["bb"]}, made.shape)
    ready = checked(tiny_model, tokenizer, reading, Steering.of(mask, tokenizer))
    for name in ("lape", "forwards replaced by hand"):
        assert (ready.counts[name], ready.ids[name]) == ("all equal", "all equal")
    assert {count for name, count in ready.recordings if name == "forwards replaced by hand"} == set(COUNTS)
    for name in WAYS:  # where `make bench` has not installed it, a library says what it lacks
        timed = any(name == recording for recording, _ in ready.recordings)
        assert timed != ready.counts[name].startswith("skipped: ModuleNotFoundError: No module named")


def test_a_count_next_to_ours_is_told_and_a_wrong_one_refused(recorded: Recorded) -> None:
    def moved(by: int) -> Recorded:
        return replace(recorded, active=recorded.active + by * torch.tensor([[0, 0, 0], [0, 1, -1]]))

    assert compare_recorded(moved(0), recorded, TOKENS) == "all equal"
    assert compare_recorded(moved(1), recorded, TOKENS) == "2 of 6 differ, by at most 1"
    with pytest.raises(Differs, match="2 of 6 differ, by at most 6 of 1,000 tokens"):
        compare_recorded(moved(6), recorded, TOKENS)
    with pytest.raises(Differs):
        compare_recorded(replace(recorded, active=recorded.active.float()), recorded, TOKENS)


@pytest.mark.parametrize("name", ["sum", "positive_sum"])
def test_a_wrong_sum_is_refused(recorded: Recorded, name: str) -> None:
    wrong = getattr(recorded, name) + 0.001 * torch.eye(2, 3) * recorded.active.max()
    with pytest.raises(Differs, match=f"^{name} "):
        compare_recorded(replace(recorded, **{name: wrong}), recorded, TOKENS)


def test_another_token_is_refused() -> None:
    ours = torch.tensor([[5, 6, 7, 8]])
    assert compare_generated(ours.clone(), ours) == "all equal"
    with pytest.raises(Differs, match="token 2 of 4"):
        compare_generated(torch.tensor([[5, 6, 9, 9]]), ours)
    with pytest.raises(Differs, match="3 token ids, not 4"):
        compare_generated(ours[:, :3], ours)
