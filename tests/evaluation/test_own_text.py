"""Somebody's own short text: measured like held-out text, watched cell by cell, and stopped within a pass."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import torch
from compiling import WAYS
from families import build
from samples import mask_of
from transformers import PreTrainedModel

from lape import LapeError, NeuronMask
from lape.errors import MeansMissing, NotEnoughText
from lape.evaluation.metrics.cells import one_by_one
from lape.evaluation.metrics.conditions import Setting
from lape.evaluation.metrics.continuations import Decoding, continue_prompts
from lape.evaluation.metrics.dominance import compare
from lape.evaluation.metrics.likelihood import score
from lape.evaluation.runs.own_text import CONTROL, OWN, RANDOM, own_costs, own_steering, short_blocks
from lape.evaluation.runs.watching import watched
from lape.generation.interventions import Intervention
from lape.models.architectures import activation_sites

TEXTS = {"fr": "Il était une fois une petite fille qui vivait. " * 3, "es": "Había una vez un viejo pescador. " * 4}
OPENINGS = ["Il était", "Une fois", "Le vieux", "La petite", "Demain"]
STEER = Setting("replace", 2.0)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    torch.manual_seed(0)
    return build("llama")


@pytest.fixture(scope="module")
def mask() -> NeuronMask:
    cells = torch.randperm(3 * 48, generator=torch.Generator().manual_seed(1))[:60].split(20)
    neurons = {
        code: torch.stack([flat // 48, flat % 48], 1).int()
        for code, flat in zip(("fr", "es", "zh"), cells, strict=True)
    }
    return NeuronMask(neurons | {"de": torch.empty((0, 2), dtype=torch.int32)}, {"es": torch.ones(20)}, (3, 48))


@pytest.fixture
def slowed(model: PreTrainedModel) -> Iterator[None]:
    handle = activation_sites(model).decoder.register_forward_pre_hook(lambda *_: time.sleep(0.05))
    yield
    handle.remove()


def assert_free(model: PreTrainedModel, hooks: int = 0) -> None:
    """Nothing runs, and nothing hooks the model but what was there."""
    assert not [thread for thread in threading.enumerate() if thread.name in ("lape-measure", "lape-generate")]
    decoder = activation_sites(model).decoder
    assert len(decoder._forward_pre_hooks) == hooks
    assert not any(module._forward_hooks for module in decoder.modules())


# Watching.


def test_every_cell_is_seen_with_those_before(model: PreTrainedModel) -> None:
    seen = list(watched(model, lambda cells: cells(one_by_one({name: name.upper for name in "abc"}))))
    assert seen == [{"a": "A"}, {"a": "A", "b": "B"}, {"a": "A", "b": "B", "c": "C"}]
    assert_free(model)


def test_a_long_cell_gives_signs_of_life(model: PreTrainedModel) -> None:
    seen = list(watched(model, lambda cells: cells(one_by_one({"one": lambda: time.sleep(0.3)})), pulse_seconds=0.02))
    assert seen[0] == {}
    assert len(seen) > 3
    assert seen[-1] == {"one": None}


def test_an_error_arrives(model: PreTrainedModel) -> None:
    def measure(cells: Any) -> None:
        cells(one_by_one({"one": lambda: 1}))
        raise LapeError("No more.")

    states = watched(model, measure)
    assert next(states) == {"one": 1}
    with pytest.raises(LapeError, match="No more"):
        next(states)
    assert_free(model)


def test_closing_ends_it_between_cells_too(model: PreTrainedModel) -> None:
    begun = []

    def begin() -> None:
        begun.append(1)
        time.sleep(0.01)

    tasks = one_by_one({str(place): begin for place in range(1000)})
    with closing(watched(model, lambda cells: cells(tasks))) as states:
        next(states)
    assert 1 <= len(begun) < 100
    assert_free(model)


def test_closing_ends_a_compiled_model_too() -> None:
    """Compiled code skips hooks that came after it, so that the measurement would go on to its end."""
    model, ids, passes = build("llama"), torch.full((1, 5), 7), []
    run = WAYS["the model"](model)
    run(ids)
    tasks = one_by_one({"one": lambda: [passes.append(run(ids)) for _ in range(3000)]})
    with closing(watched(model, lambda cells: cells(tasks))) as states:
        next(states)
    assert 1 <= len(passes) < 3000
    torch._dynamo.reset()


# Blocks.


def test_the_shortest_text_gives_several_blocks(tokenizer: Any) -> None:
    blocks = short_blocks(tokenizer, {"fr": "a" * 79, "es": "b" * 200}, tokens=1024)  # a byte is a token, and the end
    assert {len(block) for some in blocks.values() for block in some} == {10}
    assert {code: len(some) for code, some in blocks.items()} == {"fr": 8, "es": 20}
    assert torch.cat(blocks["fr"])[:79].tolist() == tokenizer("a" * 79)["input_ids"]


@pytest.mark.parametrize(("letters", "block", "count"), [(15, 8, 2), (63, 8, 8), (3000, 128, 8), (700, 87, 8)])
def test_blocks_fit_the_text(tokenizer: Any, letters: int, block: int, count: int) -> None:
    (blocks,) = short_blocks(tokenizer, {"fr": "a" * letters}, tokens=1024).values()
    assert (len(blocks), len(blocks[0])) == (count, block)


def test_too_short_a_text_is_refused(tokenizer: Any) -> None:
    with pytest.raises(NotEnoughText, match="The text in French has 15 tokens, but an interval needs 16"):
        short_blocks(tokenizer, {"fr": "a" * 14, "es": "b" * 99}, tokens=1024)


# Costs.


def test_costs_are_those_of_held_out_text(model: PreTrainedModel, tokenizer: Any, mask: NeuronMask) -> None:
    *_, last = own_costs(model, tokenizer, mask, TEXTS)
    chosen = mask.only(list(TEXTS))
    blocks = short_blocks(tokenizer, TEXTS, 1024)
    masks = {OWN: chosen, RANDOM: chosen.random_like(None, 0)}
    assert last.results == {**compare(model, tokenizer, blocks, masks, {OWN: [RANDOM]}), "controls": [RANDOM]}
    assert last.done == last.cells == 2 * (1 + 4)
    before = sum(score(model, tokenizer, blocks["es"]).nll_nats)
    after = sum(score(model, tokenizer, blocks["es"], Intervention(mask, off="fr")).nll_nats)
    cost = last.results["masks"][OWN]["off"]["fr"]["es"]["delta_nats"]
    assert cost["value"] == pytest.approx((after - before) / sum(map(len, blocks["es"])))
    assert cost["low"] < cost["value"] < cost["high"]
    assert json.loads(json.dumps(last.results)) == last.results
    assert_free(model)


def test_costs_grow_cell_by_cell(model: PreTrainedModel, tokenizer: Any, mask: NeuronMask) -> None:
    states = {state.done: state for state in own_costs(model, tokenizer, mask, TEXTS)}
    assert sorted(states) == list(range(1, 11))  # every one of 10 cells was seen
    first, half = states[1].results, states[5].results
    assert list(first["texts"]) == ["fr"]
    assert first["masks"][OWN]["off"] == {"fr": {"fr": None, "es": None}, "es": {"fr": None, "es": None}}
    assert half["masks"][OWN]["off"]["es"]["es"] is None
    assert half["masks"][OWN]["off"]["es"]["fr"] == states[10].results["masks"][OWN]["off"]["es"]["fr"]
    assert "dominance" not in states[9].results["masks"][OWN]
    assert pickle.loads(pickle.dumps(states[9])) == states[9]  # ZeroGPU sends it from another process


def test_one_text_has_no_dominance(model: PreTrainedModel, tokenizer: Any, mask: NeuronMask) -> None:
    *_, last = own_costs(model, tokenizer, mask, {"fr": TEXTS["fr"]})
    assert last.done == last.cells == 3
    assert set(last.results["masks"][OWN]) == {"neurons", "off"}


def test_a_language_without_neurons_costs_nothing(model: PreTrainedModel, tokenizer: Any, mask: NeuronMask) -> None:
    *_, last = own_costs(model, tokenizer, mask, {"fr": TEXTS["fr"], "de": "Es war einmal ein alter König. "})
    assert last.done == last.cells == 2 * (1 + 2)
    assert last.results["masks"][OWN]["off"]["de"]["fr"]["delta_nats"] == {"value": 0, "low": 0, "high": 0}


def test_an_unknown_language_is_refused(model: PreTrainedModel, tokenizer: Any, mask: NeuronMask) -> None:
    with pytest.raises(LapeError, match="xx"):
        next(own_costs(model, tokenizer, mask, {"xx": "text " * 10}))
    assert_free(model)


def test_closing_costs_frees_the_model(model: PreTrainedModel, tokenizer: Any, mask: NeuronMask, slowed: None) -> None:
    with closing(own_costs(model, tokenizer, mask, TEXTS)) as states:
        next(states)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert_free(model, hooks=1)


# Steering.


@pytest.mark.parametrize("count", [1, 2, 5])
def test_outputs_stay_with_their_openings(model: PreTrainedModel, tokenizer: Any, mask: NeuronMask, count: int) -> None:
    openings = OPENINGS[:count]
    control = NeuronMask(mask.neurons, {"es": torch.full((20,), 0.5)}, mask.shape)
    *_, last = own_steering(model, tokenizer, mask, control, openings, "fr", "es", STEER, max_new_tokens=8)
    found = last.results["conditions"]
    assert list(found) == ["baseline", "steered", CONTROL, "instruction-english", "instruction-native"]
    assert last.done == last.cells == 5 * min(count, 2)
    alone = [continue_prompts(model, tokenizer, [text], None, Decoding(max_new_tokens=8))[0] for text in openings]
    assert [output["text"] for output in found["baseline"]["outputs"]] == alone
    steer = Intervention(mask, off="fr", on="es", strength=2.0)
    alone = [continue_prompts(model, tokenizer, [text], steer, Decoding(max_new_tokens=8))[0] for text in openings]
    assert [output["text"] for output in found["steered"]["outputs"]] == alone
    for outcome in found.values():
        assert sum(outcome["kinds"].values()) == count
        assert (outcome["fluency_cost_nats"] is None) == (count == 1)
    assert json.loads(json.dumps(last.results)) == last.results
    assert_free(model)


def test_conditions_come_one_after_another(model: PreTrainedModel, tokenizer: Any, mask: NeuronMask) -> None:
    states = list(own_steering(model, tokenizer, mask, None, OPENINGS[:2], "fr", "es", STEER, max_new_tokens=2))
    seen = list(dict.fromkeys(tuple(state.results["conditions"]) for state in states))
    names = ("baseline", "steered", "instruction-english", "instruction-native")
    assert [names for names in seen if names] == [names[: place + 1] for place in range(4)]
    assert pickle.loads(pickle.dumps(states[-1])) == states[-1]


def test_without_means_nothing_is_steered(model: PreTrainedModel, tokenizer: Any, mask: NeuronMask) -> None:
    with pytest.raises(MeansMissing):
        next(own_steering(model, tokenizer, mask, None, OPENINGS, "es", "fr", STEER))
    assert_free(model)


def test_languages_that_cannot_be_told_apart_are_refused(model: PreTrainedModel, tokenizer: Any) -> None:
    mask = mask_of({"pt": [(0, 1)], "pt-BR": [(0, 2)], "legal": [(0, 3)]}, shape=(3, 48))
    said = r"\(Portuguese: it is not told from pt-BR; Portuguese \(Brazil\): it is not told from pt\)"
    with pytest.raises(LapeError, match=said):
        next(own_steering(model, tokenizer, mask, None, OPENINGS, "pt", "pt-BR", STEER))
    with pytest.raises(LapeError, match=r"\(legal: it is not known\)\. Choose two others"):
        next(own_steering(model, tokenizer, mask, None, OPENINGS, "pt", "legal", STEER))
    assert_free(model)


def test_closing_steering_frees_the_model(
    model: PreTrainedModel, tokenizer: Any, mask: NeuronMask, slowed: None
) -> None:
    with closing(own_steering(model, tokenizer, mask, None, OPENINGS, "fr", "es", STEER, max_new_tokens=200)) as states:
        next(states)  # a sign of life, in the middle of a generation of 10 seconds
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert_free(model, hooks=1)
