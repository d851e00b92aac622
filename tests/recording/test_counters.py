"""A batch that does not fit into memory is read in halves, and what was counted stays the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from families import build, byte_tokenizer, layers_of
from mixtures import build_mixture
from transformers import PreTrainedModel

from lape import LapeError, activation_sites
from lape.errors import LapeWarning
from lape.recording.counters import ModelCounter, blocks_that_fit, bytes_of_token
from lape.recording.record import record_groups

BLOCK = 8
CORPORA = {"xx": ["Ceci est un texte. " * 9], "yy": ["一些文字" * 20]}
SETTINGS = {"tokens": 11 * BLOCK, "block": BLOCK, "groups": 2, "progress": False}
ON_A_CPU = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"


def cuda_error() -> RuntimeError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")


@contextmanager
def room_for(
    blocks: int, model: PreTrainedModel, error: Callable[[], RuntimeError] = cuda_error
) -> Iterator[list[int]]:
    """Fails in the last layer of a pass of more blocks, when the others have been counted; gives the passes' blocks."""
    activation_sites(model)  # proved in a pass of its own
    passes: list[int] = []

    def run_out(_layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        passes.append(len(inputs[0]))
        if len(inputs[0]) > blocks:
            raise error()

    hook = layers_of(model)[-1].register_forward_pre_hook(run_out)
    try:
        yield passes
    finally:
        hook.remove()


@pytest.mark.parametrize("build_one", [lambda: build("llama"), lambda: build_mixture("mixtral")])
def test_a_batch_that_does_not_fit_is_halved_and_counted_whole(build_one: Callable[[], PreTrainedModel]) -> None:
    model, tokenizer = build_one(), byte_tokenizer()
    whole, whole_groups = record_groups(model, tokenizer, CORPORA, batch=2, **SETTINGS)
    with room_for(2, model) as passes, pytest.warns(LapeWarning) as warned:
        halved, halved_groups = record_groups(model, tokenizer, CORPORA, batch=5, **SETTINGS)
    assert passes == [5, 3, 2, 1, 2, *[2, 2, 1], 1, *[2, 2, 1], *[2, 2, 1], 1]
    assert [str(warning.message) for warning in warned] == [
        "Out of memory with 5 blocks at once; going on with 3.",
        "Out of memory with 3 blocks at once; going on with 2.",
    ]
    for code in CORPORA:
        assert halved.active[code].equal(whole.active[code])
        assert halved_groups.active[code].equal(whole_groups.active[code])
        torch.testing.assert_close(halved.sum[code], whole.sum[code], rtol=1e-5, atol=1e-5)
        if whole.routed:
            assert halved.routed[code].equal(whole.routed[code])


@pytest.mark.parametrize("error", [cuda_error, lambda: RuntimeError(ON_A_CPU)])
def test_a_block_that_does_not_fit_alone_is_refused(error: Callable[[], RuntimeError]) -> None:
    model = build("llama")
    with room_for(0, model, error), pytest.warns(LapeWarning), pytest.raises(LapeError, match="one block of 8 tokens"):
        record_groups(model, byte_tokenizer(), CORPORA, batch=2, **SETTINGS)


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    model = build("llama")
    with room_for(1, model, lambda: RuntimeError("shapes")), pytest.raises(RuntimeError, match="shapes"):
        record_groups(model, byte_tokenizer(), CORPORA, batch=2, **SETTINGS)


def test_the_batch_is_what_fits_into_half_of_the_free_memory() -> None:
    model = build("llama").bfloat16()
    sites, config = activation_sites(model), model.config
    token = bytes_of_token(model, sites, block=512)
    vectors = 8 * config.hidden_size + 3 * sites.neurons + 512 * config.num_attention_heads
    assert token == 2 * vectors + 8 * sites.neurons
    assert [blocks_that_fit(free, 1000) for free in (0, 999, 1999, 2000, 7999, 8000, 10**9)] == [1, 1, 1, 2, 4, 8, 64]
    assert ModelCounter.of(model).batch(512) == 2  # on a CPU
