"""Whether a language is kept when its own neurons are off: counted by hand on a tiny model."""

from __future__ import annotations

import json

import pytest
from families import random_mask
from test_steering import OPENINGS, SHAPE, ByFirstLetter, Counting
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import Intervention, NeuronMask
from lape.evaluation.metrics.continuations import Bench, Decoding, continue_prompts
from lape.evaluation.metrics.language_retention import language_retention
from lape.evaluation.metrics.openings import half


@pytest.fixture
def bench(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Bench:
    return Bench(tiny_model, tokenizer, ByFirstLetter(), Decoding(max_new_tokens=6, rows=8))


@pytest.fixture(scope="module")
def mask() -> NeuronMask:
    return random_mask(SHAPE)


def test_shares_are_those_of_texts_made_one_by_one(bench: Bench, mask: NeuronMask) -> None:
    found = language_retention(bench, mask, OPENINGS, seeds=(3,))
    json.dumps(found, allow_nan=False)
    assert list(found["languages"]) == ["aa", "bb"]  # cc has neurons and no openings
    random = mask.random_like(None, 3)
    for code in ("aa", "bb"):
        entry = found["languages"][code]
        assert entry["neurons"] == mask.count(code)
        plans = {"baseline": None, "off": Intervention(mask, off=code), "random3": Intervention(random, off=code)}
        assert entry["conditions"].keys() == plans.keys()
        for name, plan in plans.items():
            prompts = [*half(OPENINGS[code], "dev"), *half(OPENINGS[code], "test")]
            texts = [
                text
                for prompt in prompts
                for text in continue_prompts(bench.model, bench.tokenizer, [prompt], plan, bench.decoding)
            ]
            told = [ByFirstLetter().identify(text) for text in texts]
            shown = entry["conditions"][name]
            assert shown["retained_share"]["value"] == sum(one.language == code for one in told) / len(told)
            assert shown["gibberish_share"] == sum(one.gibberish for one in told) / len(told)
            assert sum(shown["languages"].values()) == len(told)
            assert shown["languages"].get("none", 0) == sum(one.language is None for one in told)
            assert shown["sample"] == texts[len(texts) // 2]
    for name, average in found["averages"].items():
        shares = [found["languages"][code]["conditions"][name]["retained_share"]["value"] for code in ("aa", "bb")]
        assert average["retained_share"]["value"] == pytest.approx(sum(shares) / 2)


def test_one_half_alone_and_cells_by_name(bench: Bench, mask: NeuronMask) -> None:
    cells = Counting()
    language_retention(bench, mask, {"aa": OPENINGS["aa"]}, seeds=(), halves=("dev",), cells=cells)
    assert cells.computed == ["baseline source=aa prompts=dev", "off off=aa prompts=dev"]


def test_every_seed_is_a_control_of_its_own(bench: Bench, mask: NeuronMask) -> None:
    cells = Counting()
    openings = {"aa": OPENINGS["aa"]}
    found = language_retention(bench, mask, openings, seeds=(3, 5), halves=("dev",), cells=cells)
    assert list(found["averages"]) == ["baseline", "off", "random3", "random5"]
    assert [key.split(" ")[0] for key in cells.computed] == ["baseline", "off", "random3", "random5"]
    alone = language_retention(bench, mask, openings, seeds=(5,), halves=("dev",))
    assert found["languages"]["aa"]["conditions"]["random5"] == alone["languages"]["aa"]["conditions"]["random5"]
    samples = {found["languages"]["aa"]["conditions"][f"random{seed}"]["sample"] for seed in (3, 5)}
    assert len(samples) == 2  # or the seeds would not be told apart
