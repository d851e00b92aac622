"""Agreement of masks from halves of a text, recording until they agree, and the bootstrap, worked out by hand."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from families import build
from lape_oracle import oracle
from samples import METADATA, mask_of, neurons_of
from transformers import PreTrainedTokenizerFast

import lape
from lape import ActivationStatistics, LapeError, MaskMismatch, NeuronMask, UnknownLabel, identify
from lape.cli import main
from lape.evaluation.metrics.cells import Task
from lape.evaluation.metrics.stability import (
    UntilStable,
    agreement,
    halves_agreement,
    mean_agreement,
    selection,
    selection_summary,
    stability,
)
from lape.evaluation.runs.ledger import Ledger
from lape.recording.groups import BlockGroups
from lape.recording.record import record_groups

BLOCK = 10
Blocks = Sequence[Sequence[Sequence[int]]]  # [block][layer][neuron] -> tokens of the block at which it is active


def add(blocks: Blocks, shape: tuple[int, int]) -> list[list[int]]:
    layers, neurons = shape
    return [[sum(block[layer][neuron] for block in blocks) for neuron in range(neurons)] for layer in range(layers)]


def groups_of(by_language: dict[str, Blocks], groups: int, snapshots: tuple[int, ...] = ()) -> BlockGroups:
    """Groups of blocks with these counts, from their definition."""
    first = next(iter(by_language.values()))[0]
    shape = len(first), len(first[0])
    active, halves = {}, {}
    for code, blocks in by_language.items():
        passed = [end for end in snapshots if end <= len(blocks)]
        active[code] = torch.tensor([add(blocks[start::groups], shape) for start in range(groups)]).int()
        kept = [[add(blocks[which:end:2], shape) for which in (0, 1)] for end in passed]
        halves[code] = torch.tensor(kept, dtype=torch.int32).view(len(passed), 2, *shape)
    counted = {code: len(blocks) for code, blocks in by_language.items()}
    return BlockGroups(active, halves, counted, snapshots, {**METADATA, "block": BLOCK})


def random_blocks(number: int, shape: tuple[int, int], seed: int) -> Blocks:
    """Counts of neurons that are each about as active in every block of a language as chance lets them."""
    dice = random.Random(seed)
    often = [[dice.choice((0.05, 0.3, 0.5, 0.9)) for _ in range(shape[1])] for _ in range(shape[0])]
    return [[[sum(dice.random() < p for _ in range(BLOCK)) for p in layer] for layer in often] for _ in range(number)]


def sets_jaccard(mine: list, theirs: list) -> float | None:
    either = set(mine) | set(theirs)
    return len(set(mine) & set(theirs)) / len(either) if either else None


# With `lap` and a bar of 0.5 a neuron belongs to a language when it is active at over half of its tokens. Of `aa`,
# the even blocks give neurons 0 and 1, the odd ones 0 and 2, all of them 0 alone. Of `bb`, the first two blocks give
# neuron 3, the last two neuron 0, and all of them none.
BY_HAND = {
    "aa": [[[9, 9, 0, 0]], [[9, 0, 9, 0]], [[9, 9, 0, 0]], [[9, 0, 9, 0]]],
    "bb": [[[0, 0, 0, 9]], [[0, 0, 0, 9]], [[9, 0, 0, 0]], [[9, 0, 0, 0]]],
}
LAP = {"method": "lap", "min_probability": 0.5}


def test_by_hand() -> None:
    found = stability(groups_of(BY_HAND, 2, (2,)), **LAP)
    assert found == {
        "method": "lap",
        "settings": {"min_probability": 0.5},
        "full_tokens": {"aa": 40, "bb": 40},
        "points": [
            {
                "tokens": 20,
                "half_tokens": 10,
                "halves": {"aa": 1 / 3, "bb": 1.0},
                "halves_mean": 2 / 3,
                "to_full": {"aa": 1.0, "bb": 0.0},
                "to_full_mean": 0.5,
            },
            {
                "tokens": 40,
                "half_tokens": 20,
                "halves": {"aa": 1 / 3, "bb": None},  # no neurons in either half
                "halves_mean": 1 / 3,
                "to_full": None,
                "to_full_mean": None,
            },
        ],
        "enough": {"jaccard": 0.8, "tokens": None, "share": None},
        # Every second block: of `aa` {0, 1} and {0, 2} against {0}; of `bb` nothing against nothing.
        "spread": [
            {
                "tokens": 20,
                "share": 0.5,
                "parts": 2,
                "to_full": {"aa": 0.5, "bb": None},
                "to_full_mean": 0.5,
                "to_full_mean_lowest": 0.5,
            }
        ],
        "spread_enough": {"jaccard": 0.8, "tokens": None, "share": None},
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_enough_is_where_it_stays_enough() -> None:
    # Neuron 0 always; neuron 1 at 8, 24, 24, 24 of the first 20, 40, 60, 80 tokens: above half at 40 only.
    blocks = [[[10, active]] for active in (0, 8, 8, 8, 0, 0, 0, 0)]
    found = stability(groups_of({"aa": blocks, "bb": blocks}, 2, (2, 4, 6)), **LAP)
    assert [point["to_full_mean"] for point in found["points"]] == [1.0, 0.5, 1.0, None]
    assert found["enough"] == {"jaccard": 0.8, "tokens": 60, "share": 0.75}


def test_parts_spread_over_the_text_by_hand() -> None:
    # Neuron 0 always; neuron 1 at 8 of 10 tokens of blocks 0 and 3 of four: above half in each of these two alone.
    blocks = [[[10, 8 if number in (0, 3) else 0]] for number in range(4)]
    found = stability(groups_of({"aa": blocks, "bb": blocks}, 4), **LAP)
    assert [part["share"] for part in found["spread"]] == [0.25, 0.5]
    quarter, half = found["spread"]
    assert (quarter["tokens"], quarter["parts"]) == (10, 4)
    assert quarter["to_full"] == {"aa": 0.75, "bb": 0.75}  # 0.5, 1, 1, 0.5
    assert (quarter["to_full_mean"], quarter["to_full_mean_lowest"]) == (0.75, 0.5)
    assert (half["to_full_mean"], half["to_full_mean_lowest"]) == (1.0, 1.0)  # blocks 0, 2 and 1, 3: 8 of 20
    assert found["spread_enough"] == {"jaccard": 0.8, "tokens": 20, "share": 0.5}


def test_too_few_blocks_are_not_spread() -> None:
    found = stability(groups_of({**BY_HAND, "cc": BY_HAND["aa"][:3]}, 4, (2,)), **LAP)
    assert found["spread"] == []
    assert found["spread_enough"]["share"] is None
    chosen = stability(groups_of({**BY_HAND, "cc": BY_HAND["aa"][:3]}, 4), languages=["aa", "bb"], **LAP)
    assert [part["parts"] for part in chosen["spread"]] == [4, 2]


def test_a_short_language_stays_whole() -> None:
    groups = groups_of({"aa": BY_HAND["aa"], "bb": BY_HAND["bb"][:2]}, 2, (2,))
    first, last = stability(groups, **LAP)["points"]
    assert first["to_full"] == {"aa": 1.0, "bb": 1.0}
    assert last["halves"] == {"aa": 1 / 3, "bb": 1.0}
    assert [first["tokens"], last["tokens"]] == [20, 40]


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_oracle(seed: int) -> None:
    shape, settings = (2, 12), {"top_rate": 0.4, "filter_rate": 0.5, "activation_bar_ratio": 0.6}
    lengths = {"aa": 12, "bb": 12, "cc": 9}
    texts = {code: random_blocks(number, shape, 3 * seed + at) for at, (code, number) in enumerate(lengths.items())}

    def select(pick: Callable[[Blocks], Blocks]) -> dict[str, list]:
        picked = {code: pick(blocks) for code, blocks in texts.items()}
        active = {code: add(blocks, shape) for code, blocks in picked.items()}
        return oracle(active, {code: BLOCK * len(blocks) for code, blocks in picked.items()}, **settings)

    found = stability(groups_of(texts, 4, (2, 6, 10)), **settings)
    full = select(lambda blocks: blocks)
    for point, end in zip(found["points"], (2, 6, 10, 12), strict=True):
        even, odd = select(lambda blocks, end=end: blocks[0:end:2]), select(lambda blocks, end=end: blocks[1:end:2])
        assert point["halves"] == {code: sets_jaccard(even[code], odd[code]) for code in texts}
        known = [value for value in point["halves"].values() if value is not None]
        assert point["halves_mean"] == pytest.approx(sum(known) / len(known))
        if end < 12:
            part = select(lambda blocks, end=end: blocks[:end])
            assert point["to_full"] == {code: sets_jaccard(part[code], full[code]) for code in texts}
    for point, parts in zip(found["spread"], (4, 2), strict=True):
        masks = [select(lambda blocks, start=start: blocks[start::parts]) for start in range(parts)]  # noqa: B023
        for code, share in point["to_full"].items():
            each = [sets_jaccard(mask[code], full[code]) for mask in masks]
            known = [value for value in each if value is not None]
            assert share == (pytest.approx(sum(known) / len(known)) if known else None)


def test_languages_can_be_chosen() -> None:
    groups = groups_of({**BY_HAND, "cc": BY_HAND["aa"]}, 2, (2,))
    found = stability(groups, languages=["cc", "bb"], **LAP)
    assert found["full_tokens"].keys() == found["points"][0]["halves"].keys() == {"bb", "cc"}


@pytest.mark.parametrize(
    ("method", "error", "message"),
    [
        ({"method": "lave"}, LapeError, "reads sums of activations"),
        ({"method": "lapp"}, UnknownLabel, "No identification method 'lapp'"),
        ({"top_rat": 0.1}, UnknownLabel, "No setting of 'lape' 'top_rat'"),
        ({"languages": ["aa", "zz"]}, LapeError, "'zz'"),
    ],
)
def test_what_cannot_be_told_is_refused(method: dict[str, Any], error: type[LapeError], message: str) -> None:
    with pytest.raises(error, match=message):
        stability(groups_of(BY_HAND, 2, (2,)), **method)


def test_goes_on_cell_by_cell(tmp_path: Path) -> None:
    groups, keys = groups_of(BY_HAND, 2, (2,)), []

    def noted(tasks: Sequence[Task]) -> dict[str, Any]:
        keys.extend(key for task in tasks for key in task.keys)
        return ledger.cells(tasks)

    with Ledger(tmp_path / "cells.jsonl", {}) as ledger:
        first = stability(groups, cells=noted, **LAP)
    assert keys == [f"stability method=lap {part}" for part in ("tokens=20", "tokens=all", "spread")]
    with Ledger(tmp_path / "cells.jsonl", {}) as ledger:
        assert ledger.kept == 3
        assert stability(groups, cells=noted, **LAP) == first == stability(groups, **LAP)


def test_agreement_says_nothing_of_two_empty_sets() -> None:
    one = mask_of({"aa": [(0, 1), (1, 2)], "bb": [], "cc": [], "dd": [(0, 0)]})
    other = mask_of({"aa": [(1, 2), (1, 3)], "bb": [], "cc": [(0, 0)]})
    assert agreement(one, other, ["aa", "bb", "cc"]) == {"aa": 1 / 3, "bb": None, "cc": 0.0}
    assert mean_agreement({"aa": 1 / 3, "bb": None, "cc": 0.0}) == pytest.approx(1 / 6)
    assert mean_agreement({"bb": None}) is None


# Recording until stable


def test_until_stable_by_hand() -> None:
    groups = groups_of(BY_HAND, 2, (2,))
    lenient, strict = UntilStable(0.6, LAP), UntilStable(0.7, LAP)
    assert (lenient(groups, 2), lenient.ended) == (True, 2)
    assert (strict(groups, 2), strict.ended) == (False, None)
    assert strict.reached == {2: pytest.approx(2 / 3)}
    silent = groups_of({code: [[[0, 1]]] * 4 for code in ("aa", "bb")}, 2, (2,))
    assert not UntilStable(0.1, LAP)(silent, 2)  # no neuron at all is no agreement


@pytest.mark.parametrize("asked", [0, -0.5, 1.01, float("nan")])
def test_a_share_out_of_range_is_refused(asked: float) -> None:
    with pytest.raises(LapeError, match="above 0 and up to 1"):
        UntilStable(asked)


TEXTS = {
    "fr": [f"Il était une fois, en {number}, une petite fille qui vivait au village." for number in range(120)],
    "ru": [f"Жила-была в {number} году девочка в деревне." for number in range(120)],
}


def test_a_recording_ends_at_the_first_snapshot_that_is_stable(tokenizer: PreTrainedTokenizerFast) -> None:
    model, method = build("llama"), {"top_rate": 0.2, "filter_rate": 0.5, "activation_bar_ratio": 0.5}
    settings = {"tokens": 2048, "block": 16, "snapshots": [64, 128, 256, 512, 1024], "progress": False}
    _, groups = record_groups(model, tokenizer, TEXTS, **settings)
    means = {blocks: mean_agreement(halves_agreement(groups, blocks, **method)) for blocks in groups.snapshots}
    asked = sorted(means.values())[3]  # the second best of the five
    expected = next(blocks for blocks, mean in means.items() if mean >= asked)
    assert 4 < expected < 128

    until = UntilStable(asked, method)
    statistics, stopped = record_groups(model, tokenizer, TEXTS, until=until, **settings)
    assert until.ended == expected
    assert until.reached == {blocks: mean for blocks, mean in means.items() if blocks <= expected}
    assert statistics.tokens == stopped.tokens == dict.fromkeys(TEXTS, expected * 16)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for code, documents in TEXTS.items():
        (folder / f"{code}.train.txt").write_text("\n\n".join(documents), encoding="utf-8")
    return folder


def record_words(folder: Path, corpus: Path, out: Path, *more: str) -> list[str]:
    places = ["--model", str(folder), "--device", "cpu", "--corpus", str(corpus), "--out", str(out)]
    return ["record", *places, "--tokens", "3001", "--block", "20", *more]


def test_record_until_stable_says_what_it_saved(
    corpus: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(record_words(tiny_folder, corpus, tmp_path, "--until-stable", "0.000001")) == 0
    out = capsys.readouterr().out
    assert f"Wrote {tmp_path / 'statistics.safetensors'}: " in out
    groups = BlockGroups.load(tmp_path / "groups.safetensors")
    groups.check(ActivationStatistics.load(tmp_path / "statistics.safetensors"))
    assert groups.count == 16
    tokens = groups.tokens["fr"]
    ended = next(blocks for blocks in groups.snapshots if mean_agreement(halves_agreement(groups, blocks)))
    assert (tokens, groups.tokens["ru"]) == (ended * 20, ended * 20)  # the batches of two end with the halves
    reached = mean_agreement(halves_agreement(groups, ended))
    assert f"The halves of the first {tokens:,} tokens a language agree at {reached:.3f} (1e-06 asked)" in out
    assert f"stopped after {tokens:,} of 3,020, {2 * (3020 - tokens):,} tokens saved." in out
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_record_until_stable_says_that_it_was_not(
    corpus: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UntilStable, "ended", None)
    assert main(record_words(tiny_folder, corpus, tmp_path, "--until-stable", "1", "--groups", "4", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    groups = BlockGroups.load(tmp_path / "groups.safetensors")
    assert groups.count == 4
    reached = mean_agreement(halves_agreement(groups))
    assert found["stability"] == {"asked": 1.0, "reached": reached, "tokens": 3020, "saved_tokens": 0}
    assert found["groups"] == str(tmp_path / "groups.safetensors")


def test_groups_of_an_older_recording_do_not_stay(corpus: Path, tiny_folder: Path, tmp_path: Path) -> None:
    assert main(record_words(tiny_folder, corpus, tmp_path, "--groups", "2")) == 0
    assert (tmp_path / "groups.safetensors").exists()
    assert main(record_words(tiny_folder, corpus, tmp_path)) == 0
    assert not (tmp_path / "groups.safetensors").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--until-stable", "2"], "a Jaccard index above 0 and up to 1, not 2.0"),
        (["--until-stable", "0.9", "--languages", "fr"], "need two languages or more; there is 1"),
        (["--groups", "3"], "even number from 2 on, not 3"),
        (["--groups", "0"], "even number from 2 on, not 0"),
    ],
)
def test_record_refuses(
    more: list[str],
    message: str,
    corpus: Path,
    tiny_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(record_words(tiny_folder, corpus, tmp_path, *more)) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# Bootstrap


def test_selection_by_hand() -> None:
    # Two groups: neuron 0 is active at 9 and 9 of 10 tokens, neuron 1 at 9 and 2, neuron 2 at 2 and 2. Of the four
    # equally likely samples (first twice, one of each in two orders, second twice) three give neuron 1 over half.
    blocks = [[[9, 9, 2]], [[9, 2, 2]]]
    groups = groups_of({"aa": blocks, "bb": [[[0, 0, 0]]] * 2}, 2)
    mask = identify(groups.total(), "lap", min_probability=0.5)
    assert neurons_of(mask) == {"aa": [(0, 0), (0, 1)], "bb": []}
    found = selection(groups, mask, resamples=4000)
    assert found["aa"].dtype == torch.float32
    assert found["aa"][0] == 1
    assert found["aa"][1] == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 4000) ** 0.5)
    assert found["bb"].tolist() == []


@pytest.mark.parametrize("seed", range(3))
def test_selection_nears_the_exact_probabilities(seed: int) -> None:
    shape, settings = (2, 8), {"top_rate": 0.4, "filter_rate": 0.5, "activation_bar_ratio": 0.6}
    texts = {
        code: random_blocks(3 if code == "bb" else 2, shape, 50 + 2 * seed + (code == "bb")) for code in ("aa", "bb")
    }
    groups = groups_of(texts, 2)
    mask = identify(groups.total(), **settings)
    times = {(code, neuron): 0 for code in texts for neuron in neurons_of(mask)[code]}
    samples = list(itertools.product(itertools.product((0, 1), repeat=2), repeat=2))
    for drawn in samples:
        picked = {
            code: [block for group in of_code for block in texts[code][group::2]]
            for code, of_code in zip(texts, drawn, strict=True)
        }
        active = {code: add(blocks, shape) for code, blocks in picked.items()}
        selected = oracle(active, {code: BLOCK * len(blocks) for code, blocks in picked.items()}, **settings)
        for code, neuron in times:
            times[code, neuron] += neuron in selected[code]
    found = selection(groups, mask, resamples=1000, seed=seed)
    estimates = {
        (code, neuron): float(value)
        for code in texts
        for neuron, value in zip(neurons_of(mask)[code], found[code], strict=True)
    }
    assert estimates == {key: pytest.approx(count / len(samples), abs=0.065) for key, count in times.items()}
    assert len(set(times.values())) > 1


def test_selection_depends_on_the_seed_alone() -> None:
    texts = {code: random_blocks(8, (2, 12), seed) for seed, code in enumerate(("aa", "bb", "cc"))}
    groups, settings = groups_of(texts, 4), {"top_rate": 0.4, "filter_rate": 0.5, "activation_bar_ratio": 0.6}
    mask = identify(groups.total(), **settings)
    turned = identify(groups.total(), languages=["cc", "bb", "aa"], **settings)
    first = selection(groups, mask, resamples=30)
    for again in (selection(groups, mask, resamples=30), selection(groups, turned, resamples=30)):
        assert all(torch.equal(first[code], again[code]) for code in texts)
    other = selection(groups, mask, resamples=30, seed=1)
    assert any(not torch.equal(first[code], other[code]) for code in texts)


def test_selection_of_an_equal_count_mask() -> None:
    texts = {code: random_blocks(8, (2, 12), seed) for seed, code in enumerate(("aa", "bb"))}
    groups = groups_of(texts, 4)
    mask = identify(groups.total(), "difference", per_language=3)
    assert [len(values) for values in selection(groups, mask, resamples=5).values()] == [3, 3]


def test_selection_refuses_what_it_cannot_answer() -> None:
    groups = groups_of(BY_HAND, 2)
    mask = identify(groups.total(), "lap", min_probability=0.5)
    with pytest.raises(LapeError, match="1 resample or more, not 0"):
        selection(groups, mask, resamples=0)
    fewer = NeuronMask({**mask.neurons, "aa": mask.neurons["aa"][:0]}, {}, mask.shape, mask.metadata)
    unlike = {
        "other neurons": fewer,
        "another language": identify(groups_of({**BY_HAND, "cc": BY_HAND["aa"]}, 2).total(), "lap"),
        "another shape": mask_of({"aa": [(0, 0)], "bb": []}, shape=(2, 4), method="lap"),
    }
    for other in unlike.values():
        with pytest.raises(MaskMismatch, match="do not give this mask"):
            selection(groups, other)
    with pytest.raises(UnknownLabel, match="method 'random'"):
        selection(groups, mask.random_like(None, 0))
    wide = groups_of(BY_HAND, 6)
    with pytest.raises(LapeError, match="over 6 groups needs as many blocks of text, but 'aa' has 4"):
        selection(wide, identify(wide.total(), "lap", min_probability=0.5))


def test_summary_by_hand() -> None:
    found = selection_summary({"aa": torch.tensor([1.0, 0.9, 0.2, 0.5]), "bb": torch.tensor([])})
    assert found == {
        "aa": {"neurons": 4, "mean": pytest.approx(0.65), "median": 0.5, "certain": 0.5},
        "bb": {"neurons": 0, "mean": None, "median": None, "certain": None},
    }
    assert lape.evaluation.metrics.stability.OFTEN == 0.9
