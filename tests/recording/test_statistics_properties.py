"""Laws of statistics, on statistics that hypothesis makes up, and every damage to a byte of a file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from drawing import CODES, SHAPE, statistics
from hypothesis import given, settings
from samples import METADATA, mask_of, statistics_of

from lape import ActivationStatistics, BadFile, LapeWarning, NeuronMask
from lape.recording.groups import BlockGroups
from lape.storage.names import MASK_NAME

PARTS = ("active", "sum", "positive_sum")


def parts_of(found: ActivationStatistics) -> dict[str, Any]:
    """Everything that is counted, as lists."""
    tensors = {name: {code: getattr(found, name)[code].tolist() for code in found.languages} for name in PARTS}
    return {"tokens": dict(found.tokens), **tensors}


def added(*several: ActivationStatistics) -> dict[str, Any]:
    """The sums of everything, in plain loops."""
    total: dict[str, Any] = {"tokens": {}, **{name: {} for name in PARTS}}
    for one in several:
        for code in one.languages:
            total["tokens"][code] = total["tokens"].get(code, 0) + one.tokens[code]
            for name in PARTS:
                mine = getattr(one, name)[code].tolist()
                before = total[name].get(code, [[0] * SHAPE[1]] * SHAPE[0])
                total[name][code] = [
                    [a + b for a, b in zip(*rows, strict=True)] for rows in zip(before, mine, strict=True)
                ]
    return total


@settings(max_examples=50)
@given(statistics(), statistics(), statistics())
def test_merging_adds_in_any_order(a: ActivationStatistics, b: ActivationStatistics, c: ActivationStatistics) -> None:
    expected = added(a, b, c)
    for merged in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)):
        assert parts_of(merged) == expected
        assert all(merged.active[code].dtype == torch.int64 for code in merged.languages)
        assert merged.metadata["tokens"] == expected["tokens"]
    sources = a.merge(b).metadata["corpora"]
    assert {code: len(listed) for code, listed in sources.items()} == {
        code: (code in a.tokens) + (code in b.tokens) for code in CODES if code in {**a.tokens, **b.tokens}
    }


@given(statistics())
def test_statistics_come_back_from_their_file(
    tmp_path_factory: pytest.TempPathFactory, given_: ActivationStatistics
) -> None:
    folder = tmp_path_factory.mktemp("statistics")
    given_.save(folder / "one")
    loaded = ActivationStatistics.load(folder / "one")
    assert parts_of(replace(loaded, positive_sum=given_.positive_sum)) == parts_of(given_)
    for code, sums in given_.positive_sum.items():
        near = sums * (given_.active[code] > 0)
        assert ((loaded.positive_sum[code] - near).abs() <= near * 2**-11 + given_.active[code] * 2**-25).all()
    assert all(loaded.active[code].dtype == torch.int64 for code in loaded.languages)
    loaded.save(folder / "two")
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()


def _groups() -> BlockGroups:
    counts = torch.arange(4 * 6, dtype=torch.int32).view(4, 2, 3) % 5
    halves = torch.stack([counts[::2], counts[1::2]])[:, :1].transpose(0, 1).contiguous()
    return BlockGroups({"fr": counts}, {"fr": halves}, {"fr": 4}, (2,), {**METADATA})


def _save_mask(folder: Path) -> Path:
    mask_of({"fr": [(0, 1), (1, 3)], "zh": []}, {"fr": [0.5, -2.0]}, model="org/tiny", settings={"a": 0.5}).save(folder)
    return folder / MASK_NAME


def _save_statistics(folder: Path) -> Path:
    statistics_of({"fr": [[1, 2], [3, 4]], "zh": [[0, 9], [10, 5]]}).save(folder / "statistics")
    return folder / "statistics"


def _save_groups(folder: Path) -> Path:
    _groups().save(folder / "groups")
    return folder / "groups"


KINDS: Mapping[str, tuple[Callable[[Path], Path], Callable[[Path], Any]]] = {
    "mask": (_save_mask, NeuronMask.load),
    "statistics": (_save_statistics, ActivationStatistics.load),
    "groups": (_save_groups, BlockGroups.load),
}


def _damages(whole: bytes) -> Iterator[bytes]:
    """The file cut off at every length, and with every byte changed: one bit, its letter's case, all bits."""
    for at, byte in enumerate(whole):
        yield whole[:at]
        for flip in (0x01, 0x10, 0x20, 0x80, 0xFF):
            yield whole[:at] + bytes([byte ^ flip]) + whole[at + 1 :]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused_or_holds_something_whole(tmp_path: Path, kind: str) -> None:
    """A changed digit may be another number; nothing else than `BadFile` is ever raised."""
    save, load = KINDS[kind]
    file, damaged = save(tmp_path), tmp_path / "damaged"
    assert "fr" in load(file).languages
    whole, refused = file.read_bytes(), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LapeWarning)  # a newer format
        for content in _damages(whole):
            damaged.unlink(missing_ok=True)  # what was loaded may be mapped from it
            damaged.write_bytes(content)
            try:
                found = load(damaged)
            except BadFile:
                refused += 1
                continue
            assert len(content) == len(whole)
            assert found.languages
            assert found.shape
    assert refused > 2 * len(whole)  # every cut, and most changes
