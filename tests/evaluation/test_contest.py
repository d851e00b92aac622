"""Ways of steering on equal terms: strengths are chosen on one half, and nothing of the other half is read before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from families import random_mask
from hypothesis import given
from hypothesis import strategies as st
from samples import mask_of, statistics_of
from test_steering import OPENINGS, SHAPE, ByFirstLetter, output
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import Intervention, LapeError, NeuronMask
from lape.evaluation.metrics.cells import Task, fresh, under
from lape.evaluation.metrics.contest import Entrant, best, contest, front
from lape.evaluation.metrics.continuations import Bench, Decoding, continue_prompts
from lape.evaluation.metrics.dominance import following
from lape.evaluation.metrics.openings import DEV, TEST, half
from lape.evaluation.metrics.steering import PairOutputs
from lape.evaluation.metrics.ways import WAYS


@pytest.fixture
def bench(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Bench:
    return Bench(tiny_model, tokenizer, ByFirstLetter(), Decoding(max_new_tokens=6))


@pytest.fixture(scope="module")
def mask() -> NeuronMask:
    return random_mask(SHAPE)


def entrants(mask: NeuronMask) -> dict[str, Entrant]:
    def entry(target: str, strength: float) -> Intervention:
        return Intervention(mask, off="aa", on=target, strength=strength)

    return {"neurons": Entrant(entry, (1.0, 9.0)), "off": Entrant(lambda *_: Intervention(mask, off="aa"), (1.0,))}


class Kept:
    """Keeps the keys of cells in the order they are asked for."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, tasks: Sequence[Task]) -> dict[str, Any]:
        self.keys += [key for task in tasks for key in task.keys]
        return fresh(tasks)


def test_every_entrant_is_what_continuing_each_prompt_alone_gives(bench: Bench, mask: NeuronMask) -> None:
    cells = Kept()
    found = contest(bench, entrants(mask), OPENINGS["aa"], "aa", ["bb"], items=2, cells=cells)
    asked = [key for key in cells.keys if not key.startswith("baseline")]
    assert asked == [
        "neurons x1 aa>bb prompts=dev",
        "neurons x9 aa>bb prompts=dev",
        "off x1 aa>bb prompts=dev",
        f"neurons x{found['neurons'].strength:g} aa>bb prompts=test",
        "off x1 aa>bb prompts=test",
    ]
    for name, entrant in entrants(mask).items():
        strength = found[name].strength
        plan = entrant.entry("bb", strength)
        for which, made in ((DEV, found[name].tried[strength]["bb"]), (TEST, found[name].reported["bb"])):
            alone = [
                continue_prompts(bench.model, bench.tokenizer, [prompt], plan, bench.decoding)[0]
                for prompt in half(OPENINGS["aa"], which)[:2]
            ]
            assert [one.text for one in made.outputs] == alone
    values = json.loads(json.dumps(found["neurons"].values()))
    assert values["average"]["target_share"]["value"] == found["neurons"].reported["bb"].share("target").value
    assert [each["strength"] for each in values["tried"]] == [1.0, 9.0]
    assert values["samples"] == {"bb": found["neurons"].reported["bb"].outputs[0].text}


def test_the_best_strength_by_hand() -> None:
    def made(hits: int, cost: float) -> Mapping[str, PairOutputs]:
        outputs = [output("bb" if place < hits else "aa", nats=1 + cost) for place in range(4)]
        return {"bb": PairOutputs("aa", "bb", outputs, [output(nats=1.0)] * 4)}

    assert best({1.0: made(2, 0.1), 2.0: made(3, 5.0)}) == 2.0
    assert best({1.0: made(3, 0.5), 2.0: made(3, 0.25), 3.0: made(3, 0.5)}) == 2.0
    assert best({2.0: made(3, 0.5), 1.0: made(3, 0.5)}) == 1.0


@given(st.dictionaries(st.text(max_size=3), st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=6))
def test_the_front_is_what_nothing_else_beats(points: dict[str, tuple[float, float]]) -> None:
    expected = []
    for name, (share, cost) in points.items():
        beaten = False
        for other_share, other_cost in points.values():
            as_good = other_share >= share and other_cost <= cost
            beaten = beaten or (as_good and (other_share > share or other_cost < cost))
        if not beaten:
            expected.append(name)
    assert front(points) == expected


def test_what_cannot_be_compared_is_refused(bench: Bench, mask: NeuronMask) -> None:
    with pytest.raises(LapeError, match="nothing to compare"):
        contest(bench, entrants(mask), OPENINGS["aa"], "aa", [])
    with pytest.raises(LapeError, match="needs 2 openings in each half"):
        contest(bench, entrants(mask), OPENINGS["aa"][:2], "aa", ["bb"])


def test_cells_under_a_name_are_kept_beside_those_of_another() -> None:
    kept = Kept()
    task = Task(("a", "b"), lambda: {"a": 1, "b": 2})
    assert under("office", kept)([task]) == {"a": 1, "b": 2}
    assert kept.keys == ["office a", "office b"]


def test_texts_beside_the_own_one_go_round() -> None:
    assert following(["de", "en", "fr"], "fr", 1) == ["fr", "de"]
    assert following(["de", "en", "fr"], "en", None) == ["en", "fr", "de"]
    assert following(["de", "en"], "de", 4) == ["de", "en"]


def test_neurons_of_both_languages_move_by_the_difference_of_their_means() -> None:
    mask = mask_of({"aa": [(0, 1)], "bb": [(0, 2), (1, 0)]}, shape=(2, 3))
    statistics = statistics_of({"aa": [[1, 2, 3], [4, 5, 6]], "bb": [[9, 8, 7], [6, 5, 9]]})
    way = WAYS["difference"]
    assert way.prepared is not None
    plan = way.entry(way.prepared(mask, statistics, "aa"), "aa", "bb", 2.0)
    (done,) = [each for each in plan.operations() if len(each.neurons)]
    means = {code: statistics.mean(code).flatten() for code in ("aa", "bb")}
    assert done.name == "add"
    assert done.neurons.tolist() == [1, 2, 3]
    assert torch.allclose(done.values.double(), 2 * (means["bb"] - means["aa"])[[1, 2, 3]])
