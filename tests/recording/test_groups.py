"""Groups of blocks: counted in the same pass, adding up to the statistics, the same after an interruption."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import oracle
import pytest
import torch
from families import FAMILIES, build, layers_of
from killing import forked
from safetensors import safe_open
from test_recorder import BATCH, BLOCK, BLOCKS, CORPORA, SETTINGS, assert_same, cut, record_both
from test_recorder import record_in_another_process as in_another_process
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import lape
from lape import ActivationStatistics, BadFile, CheckpointMismatch, LapeError, MaskMismatch
from lape.identify import identify, methods_reading
from lape.recording import recorder as recording
from lape.recording.groups import BlockGroups, snapshot_blocks
from lape.recording.record import record, record_groups
from lape.storage.files import load_tensors, save_tensors

GROUPS = 4
SNAPSHOTS = (2, 4, 6)  # blocks; the batches of three end after 3, 6 and 8
Both = tuple[ActivationStatistics, BlockGroups]


def record_grouped(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, **changes: Any) -> Both:
    snapshots = [blocks * BLOCK for blocks in SNAPSHOTS]
    given = {"corpora": CORPORA, "groups": GROUPS, "snapshots": snapshots, **SETTINGS, **changes}
    return record_groups(model, tokenizer, **given)


def assert_same_groups(one: BlockGroups, other: BlockGroups) -> None:
    assert (one.blocks, one.snapshots) == (other.blocks, other.snapshots)
    for code in one.languages:
        assert torch.equal(one.active[code], other.active[code])
        assert torch.equal(one.halves[code], other.halves[code])


def counts_of_blocks(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, documents: list[str], blocks: int
) -> list[list[list[int]]]:
    """`[block][layer][neuron]`, from the output of each layer's first matrix, one token at a time."""
    table, outputs = FAMILIES[model.config.model_type], []
    hooks = [
        layer.get_submodule(table.first).register_forward_hook(lambda _m, _i, out: outputs.append(out))
        for layer in layers_of(model)
    ]
    counts = []
    inputs = oracle.blocks(tokenizer, documents, BLOCK)[:blocks]
    for start in range(0, blocks, BATCH):
        outputs.clear()
        rows = inputs[start : start + BATCH]
        model(torch.tensor(rows))
        activations = [table.activation(output).view(len(rows), BLOCK, -1).tolist() for output in outputs]
        for row in range(len(rows)):
            counts.append([[0] * len(layer[row][0]) for layer in activations])
            for at, layer in enumerate(activations):
                for token in layer[row]:
                    for neuron, value in enumerate(token):
                        counts[-1][at][neuron] += value > 0
    for hook in hooks:
        hook.remove()
    return counts


def added(counts: list[list[list[int]]]) -> list[list[int]]:
    """The counts of several blocks together."""
    return [[sum(neuron) for neuron in zip(*layer, strict=True)] for layer in zip(*counts, strict=True)]


@pytest.mark.parametrize("name", ["llama", "opt"])
def test_groups_and_halves_equal_the_oracle(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    model = build(name)
    statistics, groups = record_grouped(model, tokenizer)
    assert_same(statistics, record_both(model, tokenizer))
    assert groups.snapshots == SNAPSHOTS
    assert groups.tokens == dict(statistics.tokens)
    groups.check(statistics)
    for code, documents in CORPORA.items():
        blocks = counts_of_blocks(model, tokenizer, documents, BLOCKS)
        assert added(blocks) == statistics.active[code].tolist() == groups.total().active[code].tolist()
        for number in range(GROUPS):
            assert groups.active[code][number].tolist() == added([blocks[number], blocks[number + 4]])
        for end in (*SNAPSHOTS, BLOCKS):
            assert groups.half(0, end).active[code].tolist() == added(blocks[0:end:2])
            assert groups.half(1, end).active[code].tolist() == added(blocks[1:end:2])
            assert groups.first(end).active[code].tolist() == added(blocks[:end])
            assert groups.half(0, end).tokens[code] == groups.half(1, end).tokens[code] == end * BLOCK // 2
        drawn = torch.tensor([1, 3, 1, 1])
        sample = groups.resample({code: drawn})
        assert sample.active[code].tolist() == added([blocks[at] for at in (1, 5, 3, 7, 1, 5, 1, 5)])
        assert sample.tokens == {code: 8 * BLOCK}


def test_groups_of_unlike_size(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    short = ["x" * (5 * BLOCK)]  # with its end 5 blocks, and a token that is dropped
    _, groups = record_grouped(tiny_model, tokenizer, corpora={**CORPORA, "zz": short}, allow_short=True)
    blocks = counts_of_blocks(tiny_model, tokenizer, short, 5)
    assert groups.blocks == {"xx": 8, "yy": 8, "zz": 5}
    assert groups.active["zz"][0].tolist() == added([blocks[0], blocks[4]])
    assert groups.active["zz"][3].tolist() == blocks[3]
    assert len(groups.halves["zz"]) == 2  # it has not passed the snapshot at 6
    for end in (6, None):
        assert groups.half(0, end).active["zz"].tolist() == added(blocks[0::2])
        assert [groups.half(which, end).tokens["zz"] for which in (0, 1)] == [3 * BLOCK, 2 * BLOCK]
    assert groups.first(6).tokens == {"xx": 6 * BLOCK, "yy": 6 * BLOCK, "zz": 5 * BLOCK}
    assert groups.resample({"zz": torch.tensor([0, 0, 3])}).tokens == {"zz": 5 * BLOCK}
    assert groups.half(1, 2).tokens["zz"] == BLOCK


def test_a_single_block_has_no_halves(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    corpora = {**CORPORA, "zz": ["x" * BLOCK]}
    _, groups = record_grouped(tiny_model, tokenizer, corpora=corpora, allow_short=True)
    with pytest.raises(LapeError, match="need two blocks of 16 tokens; zz has one"):
        groups.half(0)


@pytest.mark.parametrize(
    ("tokens", "block", "blocks", "expected"),
    [
        (None, 512, 40, (2, 4, 6, 10, 14, 20, 30)),  # 1,024 (for 1,000), 2,048 (1,500, 2,000), 3,072, 5,120, ...
        (None, 1000, 21, (2, 4, 6, 8, 10, 16, 20)),  # 15,000 tokens are 15 blocks, 16 are even
        (None, 500, 4, (2,)),  # the end, 2,000 tokens, needs none
        (None, 16, 8, ()),
        ([1, 40, 33, 96], 16, 6, (2, 4)),
    ],
)
def test_where_the_halves_are_kept(
    tokens: list[int] | None, block: int, blocks: int, expected: tuple[int, ...]
) -> None:
    assert snapshot_blocks(tokens, block, blocks) == expected


# Until


class Stop:
    """Stops at a number of blocks, and notes what it was shown."""

    def __init__(self, at: int) -> None:
        self.at, self.seen = at, []

    def __call__(self, groups: BlockGroups, blocks: int) -> bool:
        self.seen.append((blocks, dict(groups.blocks)))
        assert all(groups.first(blocks).tokens[code] == blocks * BLOCK for code in groups.languages)
        return blocks >= self.at


def test_languages_are_recorded_in_step(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    never = Stop(99)
    statistics, groups = record_grouped(tiny_model, tokenizer, until=never)
    assert never.seen == [(2, {"xx": 3, "yy": 3}), (4, {"xx": 6, "yy": 6}), (6, {"xx": 6, "yy": 6})]
    alone, groups_alone = record_grouped(tiny_model, tokenizer)
    assert_same(statistics, alone)
    assert_same_groups(groups, groups_alone)


@pytest.mark.parametrize(("at", "blocks"), [(2, 3), (4, 6), (6, 6)])
def test_a_stopped_recording_is_one_of_fewer_tokens(
    at: int, blocks: int, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    statistics, groups = record_grouped(tiny_model, tokenizer, until=Stop(at))
    assert_same(statistics, record_both(tiny_model, tokenizer, tokens=blocks * BLOCK))
    groups.check(statistics)
    assert groups.half(0, at).tokens == dict.fromkeys(CORPORA, at * BLOCK // 2)


def test_a_short_language_does_not_hold_up_the_others(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    corpora, seen = {**CORPORA, "zz": ["x" * (3 * BLOCK)]}, []

    def stop(groups: BlockGroups, blocks: int) -> bool:
        seen.append(dict(groups.first(blocks).tokens))
        return blocks == 4

    statistics, _ = record_grouped(tiny_model, tokenizer, corpora=corpora, allow_short=True, until=stop)
    assert seen[-1] == {"xx": 4 * BLOCK, "yy": 4 * BLOCK, "zz": 3 * BLOCK}
    assert statistics.tokens == {"xx": 6 * BLOCK, "yy": 6 * BLOCK, "zz": 3 * BLOCK}


# Interruptions


@pytest.mark.parametrize(
    ("until", "before_pass"), [*((None, number) for number in range(1, 7)), *((4, number) for number in range(1, 5))]
)
def test_resumes_exactly(
    until: int | None,
    before_pass: int,
    tiny_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    changes = {"until": until and Stop(until)}
    undisturbed, groups = record_grouped(tiny_model, tokenizer, **changes)
    passes, checkpoint = 4 if until else 6, tmp_path / "checkpoint"
    with cut(tiny_model, before_pass, KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        record_grouped(tiny_model, tokenizer, checkpoint=checkpoint, **changes)
    with cut(tiny_model, passes + 2 - before_pass, ZeroDivisionError):  # only the passes that are left
        resumed, resumed_groups = record_grouped(tiny_model, tokenizer, checkpoint=checkpoint, **changes)
    assert_same(resumed, undisturbed)
    assert_same_groups(resumed_groups, groups)
    assert not checkpoint.exists()


def test_resumes_when_it_broke_while_it_was_asked(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    def broken(_groups: BlockGroups, blocks: int) -> bool:
        if blocks == 4:
            raise KeyboardInterrupt
        return False

    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        record_grouped(tiny_model, tokenizer, checkpoint=checkpoint, until=broken)
    with cut(tiny_model, 1, ZeroDivisionError):  # nothing is left to count
        resumed, groups = record_grouped(tiny_model, tokenizer, checkpoint=checkpoint, until=Stop(4))
    undisturbed, groups_undisturbed = record_grouped(tiny_model, tokenizer, until=Stop(4))
    assert_same(resumed, undisturbed)
    assert_same_groups(groups, groups_undisturbed)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, None, "with groups {'groups': 4, .*}, not None"),
        (None, {}, "with groups None, not {'groups': 4, "),
        ({}, {"groups": 2}, "{'groups': 4, .*, not {'groups': 2, "),
        ({}, {"snapshots": [BLOCK]}, r"'snapshots': \[2, 4, 6\].*, not .*'snapshots': \[2\]"),
        ({}, {"until": Stop(4)}, "'in_step': False, .*, not .*'in_step': True"),
    ],
)
def test_a_checkpoint_with_other_groups_is_refused(
    first: dict[str, Any] | None,
    second: dict[str, Any] | None,
    message: str,
    tiny_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    checkpoint = tmp_path / "checkpoint"

    def run(changes: dict[str, Any] | None) -> None:
        if changes is None:
            record_both(tiny_model, tokenizer, checkpoint=checkpoint)
        else:
            record_grouped(tiny_model, tokenizer, checkpoint=checkpoint, **changes)

    with cut(tiny_model, 3, ZeroDivisionError), pytest.raises(ZeroDivisionError):
        run(first)
    before = checkpoint.read_bytes()
    with pytest.raises(CheckpointMismatch, match=message):
        run(second)
    assert checkpoint.read_bytes() == before


def record_to(model_folder: str, out: str, kill: str = "") -> int:
    """Records a model from disk in step, in groups, up to 6 blocks; `kill` ends the own process before pass 4.

    Gives an exit code.
    """
    model, tokenizer = lape.load_model(model_folder, device="cpu")
    lape.activation_sites(model)
    recording.CHECKPOINT_EVERY_TOKENS = BLOCK * BATCH
    with cut(model, 4 if kill else sys.maxsize, lambda: os.kill(os.getpid(), signal.SIGKILL)):
        found = record_grouped(model, tokenizer, until=Stop(6), checkpoint=Path(out) / "checkpoint")
    for value, name in zip(found, ("statistics", "groups"), strict=True):
        replace(value, metadata={**value.metadata, "date": ""}).save(Path(out) / f"{name}.safetensors")
    return 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_kill_minus_nine(tiny_folder: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert in_another_process(tiny_folder, whole, module="test_groups") == 0
    killed.mkdir()
    assert forked(lambda: record_to(str(tiny_folder), str(killed), "kill"), killed).killed
    assert [path.name for path in killed.iterdir()] == ["checkpoint"]
    assert forked(lambda: record_to(str(tiny_folder), str(killed)), killed).code == 0
    names = {"statistics.safetensors", "groups.safetensors"}
    assert {path.name for path in killed.iterdir()} == names
    for name in names:
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


# Settings, files


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 3}, "even number from 2 on, not 3"),
        ({"groups": 0}, "even number from 2 on, not 0"),
        ({"groups": -2}, "even number from 2 on, not -2"),
        ({"groups": 1026}, r"At most 1,024 groups can be kept, not 1026\."),
        ({"groups": 10**9}, r"At most 1,024 groups can be kept, not 1000000000\."),
        ({"groups": 10**4000}, r"At most 1,024 groups can be kept, not 10+\.\.\.0+\."),
        ({"snapshots": [32, 0]}, "after 1 token or more, not 0"),
        ({"tokens": 2**30 + 1}, "At most 1,073,741,824 tokens"),
    ],
)
def test_wrong_settings_are_refused(
    changes: dict[str, Any], message: str, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    lape.activation_sites(tiny_model)
    with cut(tiny_model, 1, ZeroDivisionError), pytest.raises(LapeError, match=message):
        record_grouped(tiny_model, tokenizer, **changes)


@pytest.fixture(scope="module")
def recorded(tokenizer: PreTrainedTokenizerFast) -> Both:
    return record_grouped(build("llama"), tokenizer)


@pytest.fixture
def groups(recorded: Both) -> BlockGroups:
    return recorded[1]


def test_save_and_load(groups: BlockGroups, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    groups.save(first)
    loaded = BlockGroups.load(first)
    loaded.save(second)
    assert first.read_bytes() == second.read_bytes()
    assert_same_groups(loaded, groups)
    assert loaded.metadata.items() >= groups.metadata.items()
    with safe_open(first, framework="pt") as file:
        assert file.get_tensor("groups.xx").dtype == file.get_tensor("halves.xx").dtype == torch.int16


def test_counts_beyond_16_bits_survive(groups: BlockGroups, tmp_path: Path) -> None:
    many = replace(
        groups,
        active={code: counts * 10_000 for code, counts in groups.active.items()},
        halves={code: counts * 10_000 for code, counts in groups.halves.items()},
        metadata={**groups.metadata, "block": BLOCK * 10_000},
    )
    many.save(tmp_path / "many")
    assert_same_groups(BlockGroups.load(tmp_path / "many"), many)


def test_no_snapshots_is_a_file_too(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    _, without = record_grouped(tiny_model, tokenizer, snapshots=None)
    without.save(tmp_path / "groups")
    loaded = BlockGroups.load(tmp_path / "groups")
    assert loaded.snapshots == ()
    assert_same_groups(loaded, without)


def test_groups_of_another_recording_are_refused(recorded: Both) -> None:
    statistics, groups = recorded
    other = {**statistics.active, "yy": statistics.active["yy"].roll(1)}
    with pytest.raises(MaskMismatch, match="do not add up"):
        groups.check(replace(statistics, active=other))
    with pytest.raises(MaskMismatch, match="do not add up"):
        groups.check(replace(statistics, tokens={"xx": 8 * BLOCK}))


def _with_metadata(**changes: Any) -> Callable[[Path], None]:
    def tamper(path: Path) -> None:
        tensors, metadata = load_tensors(path, "groups")
        save_tensors(path, tensors, {**metadata, **changes})

    return tamper


def _with_tensor(name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> Callable[[Path], None]:
    def tamper(path: Path) -> None:
        tensors, metadata = load_tensors(path, "groups")
        changed = change(tensors.pop(name))
        save_tensors(path, tensors if changed is None else {**tensors, name: changed}, metadata)

    return tamper


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (lambda path: path.unlink(), "There is no file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "damaged"),
        (_with_metadata(kind="mask"), "does not hold a groups"),
        (_with_metadata(blocks=None), "do not fit"),
        (_with_metadata(blocks={}), "do not fit"),
        (_with_metadata(blocks={"xx": 8, "yy": "8"}), "do not fit"),
        (_with_metadata(blocks={"xx": 8, "yy": 5}), "do not fit"),
        (_with_metadata(blocks={"xx": 8, "yy": 8, "zz": 8}), "do not fit"),
        (_with_metadata(block=0), "do not fit"),
        (_with_metadata(block=1), "do not fit"),
        (_with_metadata(snapshots=[2, 4]), "do not fit"),
        (_with_metadata(snapshots=[2, 6, 4]), "do not fit"),
        (_with_metadata(snapshots=[2, 3, 6]), "do not fit"),
        (_with_tensor("groups.xx", lambda counts: None), "do not fit"),
        (_with_tensor("groups.xx", lambda counts: counts[:3]), "do not fit"),
        (_with_tensor("groups.xx", lambda counts: counts[:, 1:]), "do not fit"),
        (_with_tensor("groups.xx", lambda counts: counts.flatten()), "do not fit"),
        (_with_tensor("groups.xx", lambda counts: counts.float()), "do not fit"),
        (_with_tensor("groups.xx", lambda counts: -counts), "do not fit"),
        (_with_tensor("groups.xx", lambda counts: counts + BLOCK * 2), "do not fit"),
        (_with_tensor("groups.xx", lambda counts: counts // 2), "do not fit"),
        (_with_tensor("halves.xx", lambda counts: None), "do not fit"),
        (_with_tensor("halves.xx", lambda counts: counts[:2]), "do not fit"),
        (_with_tensor("halves.xx", lambda counts: counts.flip(0)), "do not fit"),
        (_with_tensor("halves.xx", lambda counts: counts - 1), "do not fit"),
        (_with_tensor("halves.xx", lambda counts: counts.double()), "do not fit"),
    ],
)
def test_a_bad_file_is_refused(
    tamper: Callable[[Path], None], message: str, groups: BlockGroups, tmp_path: Path
) -> None:
    path = tmp_path / "groups.safetensors"
    groups.save(path)
    tamper(path)
    with pytest.raises(BadFile, match=message):
        BlockGroups.load(path)


@pytest.mark.parametrize("method", methods_reading())
def test_every_method_reads_counts_alone_or_says_that_it_reads_sums(method: str, recorded: Both) -> None:
    statistics, groups = recorded
    settings = {"min_probability": 0.5} if method == "lap" else {"top_rate": 0.1}
    expected = identify(statistics, method, **settings)
    assert math.prod(expected.count(code) for code in expected.languages) > 0
    if method == "lave":
        with pytest.raises(LapeError, match="reads sums of activations"):
            identify(groups.total(), method, **settings)
    else:
        found = identify(groups.total(), method, **settings)
        assert all(torch.equal(found.neurons[code], expected.neurons[code]) for code in expected.languages)


def test_record_has_the_settings_of_record_groups() -> None:
    from inspect import signature

    ours, theirs = signature(record).parameters, signature(record_groups).parameters
    assert all(theirs[name].default == ours[name].default for name in ours)
    assert set(theirs) - set(ours) == {"groups", "snapshots", "until"}


def test_a_recording_without_groups_says_how_to_keep_them(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    recording = lape.Recording(tiny_model, tokenizer, CORPORA, tokens=BLOCK, block=BLOCK, allow_short=True)
    for _ in recording:
        pass
    with pytest.raises(LapeError, match=r"keeps no groups of blocks: begin it with groups=16, or --groups 16"):
        recording.groups()
