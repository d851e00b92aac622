"""Perplexity figures against hand-worked values, and a model in which neurons of three languages were planted."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from families import build, random_mask
from samples import mask_of
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import lape
from lape import Intervention, LapeError, NeuronMask, NotEnoughText, UnknownLabel, activation_sites
from lape.evaluation.metrics.bootstrap import RESAMPLES, draws, mean, ratio
from lape.evaluation.metrics.cells import Task, fresh
from lape.evaluation.metrics.dominance import compare, dominance, over_control
from lape.evaluation.metrics.likelihood import Scores, score
from lape.evaluation.metrics.perplexity import Matrix, matrix, text_blocks
from lape.evaluation.runs.ledger import Ledger

LETTERS = {"aa": "abcd", "bb": "efgh", "cc": "ijkl"}
PLANTED = {code: [(0, 10 * place + index) for index in range(4)] for place, code in enumerate(LETTERS)}

# Bootstrap


def test_equal_blocks_have_an_interval_of_no_width() -> None:
    assert ratio([0.1] * 7, [3] * 7, draws(7, "fr")).interval() == pytest.approx(
        {"value": 0.1 / 3, "low": 0.1 / 3, "high": 0.1 / 3}, rel=1e-15
    )
    figure = ratio([0.1] * 7, [3] * 7, draws(7, "fr"))
    assert figure.resampled.min() == figure.resampled.max() == figure.value


def test_the_interval_of_two_blocks_reaches_from_one_to_the_other() -> None:
    """Of 1,000 resamples a quarter takes the first block twice, a quarter the second."""
    assert ratio([1, 5], [1, 1], draws(2, "fr")).interval() == {"value": 3.0, "low": 1.0, "high": 5.0}
    assert ratio([1, 6], [1, 4], draws(2, "fr")).interval() == {"value": 1.4, "low": 1.0, "high": 1.5}


def test_intervals_are_percentiles_of_ratios_of_sums() -> None:
    above, below, drawn = [3.0, 1.0, 4.0, 1.5], [2, 7, 1, 8], draws(4, "fr")
    ratios = sorted(sum(above[b] for b in rows) / sum(below[b] for b in rows) for rows in drawn.tolist())

    def percentile(share: float) -> float:
        place = share * (len(ratios) - 1)
        lower = ratios[int(place)]
        return lower + (place - int(place)) * (ratios[int(place) + 1] - lower)

    expected = {"value": 9.5 / 18, "low": percentile(0.025), "high": percentile(0.975)}
    assert ratio(above, below, drawn).interval() == pytest.approx(expected, rel=1e-12)
    assert expected["low"] < expected["value"] < expected["high"]


def test_draws_depend_on_the_name_and_the_seed_and_nothing_else() -> None:
    assert draws(5, "fr").shape == (RESAMPLES, 5)
    assert sorted(set(draws(5, "fr").flatten().tolist())) == [0, 1, 2, 3, 4]
    assert torch.equal(draws(5, "fr"), draws(5, "fr"))
    assert not torch.equal(draws(5, "fr"), draws(5, "de"))
    assert not torch.equal(draws(5, "fr"), draws(5, "fr", seed=1))


def test_one_block_has_no_interval() -> None:
    with pytest.raises(LapeError, match="'fr' has 1 block of text, but an interval needs 2"):
        draws(1, "fr")


def test_a_mean_is_taken_resample_by_resample() -> None:
    """Two figures over the same blocks, one the mirror of the other: their mean never moves."""
    drawn = draws(3, "fr")
    both = mean([ratio([1, 2, 6], [1, 1, 1], drawn), ratio([6, 5, 1], [1, 1, 1], drawn)])
    assert both.interval() == pytest.approx({"value": 3.5, "low": 3.5, "high": 3.5})


# Figures of a matrix

EQUAL_BLOCKS = Matrix(
    {"fr": Scores((2.0, 2.0), (4, 4), (2, 2)), "de": Scores((3.0, 3.0), (2, 2), (6, 6))},
    {
        "off=fr": {"fr": Scores((4.0, 4.0), (4, 4), (2, 2)), "de": Scores((3.1, 3.1), (2, 2), (6, 6))},
        "off=de": {"fr": Scores((2.2, 2.2), (4, 4), (2, 2)), "de": Scores((4.0, 4.0), (2, 2), (6, 6))},
    },
)
OWN = {"off=fr": "fr", "off=de": "de"}


def figure(value: float) -> dict[str, Any]:
    return {key: pytest.approx(value) for key in ("value", "low", "high")}


def test_nats_and_bits_by_hand() -> None:
    values = EQUAL_BLOCKS.values()
    assert values["texts"]["fr"] == {
        "blocks": 2,
        "tokens": 8,
        "bytes": 4,
        "log_perplexity_nats": figure(0.5),  # 4 nats over 8 tokens
        "bits_per_byte": figure(1 / math.log(2)),  # 4 nats over 4 bytes
    }
    assert values["conditions"]["off=fr"] == {
        "fr": {
            "delta_nats": figure(0.5),  # 8 - 4 over 8
            "bits_per_byte": figure(2 / math.log(2)),
            "delta_bits_per_byte": figure(1 / math.log(2)),
        },
        "de": {
            "delta_nats": figure(0.05),
            "bits_per_byte": figure(6.2 / 12 / math.log(2)),
            "delta_bits_per_byte": figure(0.2 / 12 / math.log(2)),
        },
    }
    assert list(values["conditions"]) == ["off=fr", "off=de"]


def test_deltas_are_paired_by_block() -> None:
    """Blocks differ widely, but each costs half a nat per token more: the cost is certain, the level is not."""
    before, tokens = (1.0, 9.0, 30.0), (2, 4, 6)
    after = tuple(nats + count / 2 for nats, count in zip(before, tokens, strict=True))
    measured = Matrix(
        {"fr": Scores(before, tokens, tokens)}, {"off=fr": {"fr": Scores(after, tokens, tokens)}}
    ).values()
    assert measured["conditions"]["off=fr"]["fr"]["delta_nats"] == figure(0.5)
    level = measured["texts"]["fr"]["log_perplexity_nats"]
    assert level["high"] - level["low"] > 1


def test_dominance_by_hand() -> None:
    assert dominance(EQUAL_BLOCKS, OWN) == {
        **figure(0.5 / 0.05),  # own 0.5 and 0.5; others 0.2 / 4 and 0.2 / 4
        "own_nats": figure(0.5),
        "others_nats": figure(0.05),
        "floor_nats": 0.005,
        "floored": False,
    }
    crossed = dominance(EQUAL_BLOCKS, {"off=fr": "de", "off=de": "fr"})
    assert crossed["value"] == pytest.approx(0.1)


def with_costs(own: float, others: float) -> Matrix:
    """Two languages of two blocks of one token, with the same costs each."""
    untouched = {code: Scores((1.0, 1.0), (1, 1), (1, 1)) for code in ("fr", "de")}
    costs = {
        f"off={off}": {
            code: Scores((1 + cost, 1 + cost), (1, 1), (1, 1))
            for code in untouched
            for cost in [own if code == off else others]
        }
        for off in untouched
    }
    return Matrix(untouched, costs)


@pytest.mark.parametrize(
    ("others", "value", "floored"),
    [(0.006, 0.03 / 0.006, False), (0.004, 6.0, True), (0.0, 6.0, True), (-1, 6.0, True)],
)
def test_a_small_or_negative_divisor_is_floored_and_said_to_be(others: float, value: float, floored: bool) -> None:
    found = dominance(with_costs(0.03, others), OWN)
    assert (found["value"], found["floored"]) == (pytest.approx(value), floored)
    assert found["others_nats"]["value"] == pytest.approx(others)  # shown as it is


def test_every_resampled_divisor_is_floored_too() -> None:
    """Others cost 0 and 0.02 in their two blocks: a resample may draw 0 twice, which counts as 0.005."""
    before = {code: Scores((1.0, 1.0), (1, 1), (1, 1)) for code in ("fr", "de")}
    own, other = Scores((1.5, 1.5), (1, 1), (1, 1)), Scores((1.0, 1.02), (1, 1), (1, 1))
    costs = {f"off={off}": {code: own if code == off else other for code in before} for off in before}
    found = dominance(Matrix(before, costs), OWN)
    assert (found["value"], found["floored"]) == (pytest.approx(0.5 / 0.01), False)
    assert found["others_nats"]["low"] == pytest.approx(0.0)
    assert found["high"] == pytest.approx(0.5 / 0.005)


def test_over_control_by_hand() -> None:
    """Own cost 1; two random masks whose own costs are 0.02 and 0.06, so 0.04 on average."""
    untouched = {code: Scores((1.0, 1.0), (1, 1), (1, 1)) for code in ("fr", "de")}
    own = {"lape": 1.0, "random0": 0.02, "random1": 0.06}
    conditions = {
        f"{name} off={off}": {code: Scores((1 + cost, 1 + cost), (1, 1), (1, 1)) for code in untouched}
        for name, cost in own.items()
        for off in untouched
    }
    named = {name: {f"{name} off={code}": code for code in untouched} for name in own}
    found = over_control(Matrix(untouched, conditions), named["lape"], {name: named[name] for name in list(own)[1:]})
    assert found == {
        **figure(25.0),
        "own_nats": figure(1.0),
        "control_nats": figure(0.04),
        "control_nats_by_mask": {"random0": pytest.approx(0.02), "random1": pytest.approx(0.06)},
        "floor_nats": 0.005,
        "floored": False,
    }


# Measuring


@pytest.fixture
def planted(tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A model whose first layer has four neurons for each language: active at its letters, and predicting them.

    Nothing else tells languages apart, and attention is off: what follows a letter depends on that letter alone.
    """
    model = build("llama", num_hidden_layers=2, intermediate_size=256, tie_word_embeddings=False)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.mul_(0.05)
    embedding, head = model.model.embed_tokens.weight.mul_(0.2), model.lm_head.weight.mul_(0.1)
    gate, up, down = (getattr(model.model.layers[0].mlp, f"{name}_proj").weight for name in ("gate", "up", "down"))
    embedding[0, :3] = 1  # a document end is of no language
    for place, (code, letters) in enumerate(LETTERS.items()):
        tokens = tokenizer.encode(letters)
        embedding[tokens, place] = 1
        head[tokens, 3 + place] = 1.5
        for _, neuron in PLANTED[code]:
            gate[neuron] = up[neuron] = down[:, neuron] = 0
            gate[neuron, :3] = -1
            gate[neuron, place] = up[neuron, place] = 1
            down[3 + place, neuron] = 0.25
    return model


def documents(seed: int) -> dict[str, list[str]]:
    chooser = random.Random(seed)
    return {code: ["".join(chooser.choices(letters, k=40)) for _ in range(30)] for code, letters in LETTERS.items()}


def blocks_of(tokenizer: PreTrainedTokenizerFast, tokens: int = 128, block: int = 16) -> dict[str, list[torch.Tensor]]:
    return text_blocks(tokenizer, documents(1), tokens=tokens, block=block)


def test_a_true_mask_dominates_and_a_tampered_one_fails(
    planted: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    """From recording to the verdict: the neurons are found, and shuffling their languages is found out."""
    statistics = lape.record(planted, tokenizer, documents(0), tokens=512, block=32, progress=False)
    mask = lape.identify(statistics, top_rate=0.03, filter_rate=0.5, activation_bar_ratio=0.5)
    for code, neurons in PLANTED.items():
        assert set(neurons) <= {tuple(pair) for pair in mask.neurons[code].tolist()}
        assert mask.count(code) < 8
    turned = dict(zip(LETTERS, [*list(LETTERS)[1:], "aa"], strict=True))
    masks = {
        "lape": mask,
        "tampered": NeuronMask({code: mask.neurons[turned[code]] for code in turned}, {}, mask.shape),
    }
    random_names = [f"random{seed}" for seed in range(5)]
    masks |= {name: mask.random_like(None, seed) for seed, name in enumerate(random_names)}
    controls = {"lape": random_names, "tampered": random_names}
    found = compare(planted, tokenizer, blocks_of(tokenizer, 512, 32), masks, controls)["masks"]

    assert found["lape"]["dominance"]["value"] >= 5
    assert found["lape"]["over_control"]["value"] >= 10
    assert found["lape"]["dominance"]["own_nats"]["low"] > 2
    assert found["tampered"]["dominance"]["value"] < 5
    assert found["tampered"]["over_control"]["value"] < 10
    assert not found["tampered"]["dominance"]["floored"]  # it costs the others
    assert found["tampered"]["dominance"]["high"] < 0.1
    assert all(found[name]["dominance"]["value"] < 5 for name in random_names)
    hurt = {
        off: max(costs, key=lambda text, costs=costs: costs[text]["delta_nats"]["value"])
        for off, costs in found["tampered"]["off"].items()
    }
    assert hurt == turned


def test_the_matrix_is_what_score_says_cell_by_cell(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    mask, texts = random_mask(activation_sites(tiny_model).shape), blocks_of(tokenizer)
    conditions = {"off=aa": Intervention(mask, off="aa"), "bb on": Intervention(mask, off="cc", on="bb")}
    found = matrix(tiny_model, tokenizer, texts, conditions)
    for text, blocks in texts.items():
        cells = {"baseline": None, **conditions}
        for name, plan in cells.items():
            expected = score(tiny_model, tokenizer, blocks, plan)
            got = found.baseline[text] if name == "baseline" else found.conditions[name][text]
            assert got.nll_nats == pytest.approx(expected.nll_nats, rel=1e-5)
            assert (got.tokens, got.bytes) == (expected.tokens, expected.bytes)
    off = found.conditions["off=aa"]["aa"].nll_nats
    assert off != pytest.approx(found.baseline["aa"].nll_nats, rel=1e-3)


@pytest.mark.parametrize(("batch", "passes"), [(4, 8), (8, 4), (16, 2), (32, 1), (None, 1)])
def test_conditions_share_a_pass_where_they_fit(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, batch: int | None, passes: int
) -> None:
    """One text of 8 blocks, read by the untouched model and under three conditions: 32 rows."""
    mask = random_mask(activation_sites(tiny_model).shape)
    conditions = {f"off={code}": Intervention(mask, off=code) for code in mask.languages}
    rows = []
    hook = tiny_model.model.layers[0].register_forward_pre_hook(lambda _m, inputs: rows.append(len(inputs[0])))
    texts = {"aa": blocks_of(tokenizer)["aa"]}
    with hook:
        found = matrix(tiny_model, tokenizer, texts, conditions, batch=batch)
    assert (len(rows), sum(rows)) == (passes, 32)
    alone = matrix(tiny_model, tokenizer, texts, conditions, batch=1)
    for name in conditions:
        assert found.conditions[name]["aa"].nll_nats == pytest.approx(alone.conditions[name]["aa"].nll_nats, rel=1e-5)


def test_what_changes_nothing_costs_nothing_and_no_pass(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    nobody = mask_of({"aa": []}, shape=activation_sites(tiny_model).shape)
    keys = []

    def cells(tasks: Sequence[Task]) -> dict[str, Any]:
        keys.extend(key for task in tasks for key in task.keys)
        return fresh(tasks)

    conditions = {"again": None, "nobody": Intervention(nobody, off="aa")}
    values = matrix(tiny_model, tokenizer, {"aa": blocks_of(tokenizer)["aa"]}, conditions, cells=cells).values()
    assert keys == ["perplexity baseline text=aa"]
    assert [values["conditions"][name]["aa"]["delta_nats"] for name in conditions] == [figure(0.0)] * 2


def test_a_stopped_run_goes_on_and_ends_the_same(
    planted: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    mask = mask_of(PLANTED, shape=activation_sites(planted).shape)
    masks = {"lape": mask, "random0": mask.random_like(None, 0)}
    given = (planted, tokenizer, blocks_of(tokenizer), masks, {"lape": ["random0"]})
    expected = compare(*given)
    computed = []

    def until(count: int, ledger: Ledger) -> Any:
        def noted(task: Task) -> Any:
            if len(computed) >= count:
                raise KeyboardInterrupt
            computed.extend(task.keys)
            return task.compute()

        return lambda tasks: ledger.cells([Task(task.keys, partial(noted, task)) for task in tasks])

    with Ledger(tmp_path / "cells.jsonl", {}) as ledger, pytest.raises(KeyboardInterrupt):
        compare(*given, cells=until(10, ledger))
    kept, computed = computed, []
    with Ledger(tmp_path / "cells.jsonl", {}) as ledger:
        assert 10 <= ledger.kept == len(kept)
        found = compare(*given, cells=until(99, ledger))
    assert found == expected
    two = {"aa": ("aa", "bb"), "bb": ("bb", "cc"), "cc": ("cc", "aa")}  # that a control is measured on
    assert {off: tuple(costs) for off, costs in found["masks"]["random0"]["off"].items()} == {
        off: tuple(text for text in LETTERS if text in texts) for off, texts in two.items()
    }
    keys = [f"perplexity lape off={off} text={text}" for text in LETTERS for off in LETTERS]
    keys += [f"perplexity random0 off={off} text={text}" for off, texts in two.items() for text in texts]
    assert sorted(kept + computed) == sorted([*keys, *(f"perplexity baseline text={text}" for text in LETTERS)])


def test_results_are_json_with_languages_as_keys(planted: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Languages of the mask without text are left out; texts in other languages count as others."""
    mask = mask_of({"aa": PLANTED["aa"], "bb": PLANTED["bb"], "zz": [(1, 1)]}, shape=activation_sites(planted).shape)
    found = compare(planted, tokenizer, blocks_of(tokenizer), {"lape": mask}, {})
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert list(found["texts"]) == ["aa", "bb", "cc"]
    lape_found = found["masks"]["lape"]
    assert list(lape_found) == ["neurons", "off", "dominance"]  # no controls, no ratio to them
    assert lape_found["neurons"] == {"aa": 4, "bb": 4}
    assert {off: [*costs] for off, costs in lape_found["off"].items()} == {off: [*LETTERS] for off in ("aa", "bb")}
    costs = [lape_found["off"][off][text]["delta_nats"]["value"] for off in ("aa", "bb") for text in LETTERS]
    assert lape_found["dominance"]["own_nats"]["value"] == pytest.approx((costs[0] + costs[4]) / 2)
    assert lape_found["dominance"]["others_nats"]["value"] == pytest.approx(sum(costs[i] for i in (1, 2, 3, 5)) / 4)


def test_text_blocks_are_the_first_of_each_text(tokenizer: PreTrainedTokenizerFast) -> None:
    found = text_blocks(tokenizer, {"aa": ["abc", "de"], "bb": ["x" * 20]}, tokens=5, block=3)
    ids = [*tokenizer.encode("abc"), 0, *tokenizer.encode("de")]
    assert [block.tolist() for block in found["aa"]] == [ids[:3], ids[3:6]]
    assert [len(found[code]) for code in found] == [2, 2]  # 5 tokens, rounded up to whole blocks


def test_too_little_text_and_too_few_blocks_are_refused(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(NotEnoughText, match="'aa' has 3 tokens in blocks of 3, but 9 were asked for"):
        text_blocks(tokenizer, {"aa": ["abcd"]}, tokens=9, block=3)
    for tokens, block in ((8, 8), (0, 8), (8, 0)):
        with pytest.raises(LapeError, match=f"{tokens} tokens in blocks of {block} are fewer than the 2 blocks"):
            text_blocks(tokenizer, documents(0), tokens=tokens, block=block)
    tiny_model.model.register_forward_pre_hook(lambda _m, _i: pytest.fail("the model ran"))
    one = {"aa": blocks_of(tokenizer)["aa"], "bb": blocks_of(tokenizer)["bb"][:1]}
    with pytest.raises(LapeError, match="'bb' has 1 block of text"):
        matrix(tiny_model, tokenizer, one, {})
    with pytest.raises(LapeError, match="'baseline' is the untouched model"):
        matrix(tiny_model, tokenizer, blocks_of(tokenizer), {"baseline": None})


def test_masks_that_cannot_be_compared_are_refused(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    mask, texts = random_mask((3, 48)), blocks_of(tokenizer)
    with pytest.raises(UnknownLabel, match=r"No mask to compare 'random1'\. Did you mean 'random0'"):
        compare(tiny_model, tokenizer, texts, {"lape": mask, "random0": mask}, {"lape": ["random1"]})
    with pytest.raises(UnknownLabel, match="No mask to compare 'lave'"):
        compare(tiny_model, tokenizer, texts, {"lape": mask}, {"lave": []})
    with pytest.raises(LapeError, match="'lape' needs text in one of its languages, and in another one"):
        compare(tiny_model, tokenizer, {"aa": texts["aa"]}, {"lape": mask}, {})
    with pytest.raises(LapeError, match="'lape' needs text in one of its languages, and in another one"):
        compare(tiny_model, tokenizer, {"xx": texts["aa"], "yy": texts["bb"]}, {"lape": mask}, {})
