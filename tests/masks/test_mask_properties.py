"""Laws of masks, on masks that hypothesis makes up: files, set algebra, counts, flat indices."""

from __future__ import annotations

from collections.abc import Callable
from operator import and_, or_, sub

import pytest
import torch
from drawing import CODES, SHAPE, flats, masks, pairs
from hypothesis import given, settings
from hypothesis import strategies as st

from lape import NeuronMask
from lape.masks.indices import flat_of, pairs_of
from lape.storage.names import MASK_NAME, SUMMARY_NAME

Sets = dict[str, set[int]]


def sets_of(mask: NeuronMask) -> Sets:
    return {code: set(mask.flat(code).tolist()) for code in mask.languages}


def numbers_of(mask: NeuronMask, column: str) -> dict[str, dict[int, float]]:
    """Language code to flat index to the column's number."""
    return {
        code: dict(zip(mask.flat(code).tolist(), values.tolist(), strict=True))
        for code, values in getattr(mask, column).items()
    }


@given(masks())
def test_a_mask_comes_back_from_its_file_and_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, mask: NeuronMask
) -> None:
    folder = tmp_path_factory.mktemp("mask")
    mask.save(folder / "one")
    loaded = NeuronMask.load(folder / "one")
    assert loaded == mask
    assert loaded.languages == mask.languages
    assert numbers_of(loaded, "selection") == numbers_of(mask, "selection")
    loaded.save(folder / "two")
    for name in (MASK_NAME, SUMMARY_NAME):
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()


@given(masks(), masks(), st.sampled_from([or_, and_, sub]))
def test_algebra_is_that_of_sets(one: NeuronMask, other: NeuronMask, choose: Callable) -> None:
    mine, theirs = sets_of(one), sets_of(other)
    combined = choose(one, other)
    assert sets_of(combined) == {code: choose(mine.get(code, set()), theirs.get(code, set())) for code in mine | theirs}
    first, second = numbers_of(one, "means"), numbers_of(other, "means")
    for code, means in numbers_of(combined, "means").items():
        assert means == {index: (second.get(code, {}) | first.get(code, {}))[index] for index in means}
    unknown = {code for sets, means in ((mine, first), (theirs, second)) for code in sets if code not in means}
    assert set(combined.means) == combined.neurons.keys() - unknown
    assert not combined.selection


@settings(max_examples=50)
@given(masks(CODES[:2]), masks(CODES[:2]), masks(CODES[:2]))
def test_laws_of_sets_hold(a: NeuronMask, b: NeuronMask, c: NeuronMask) -> None:
    assert sets_of(a | b) == sets_of(b | a)
    assert sets_of(a & b) == sets_of(b & a)
    assert sets_of((a | b) | c) == sets_of(a | (b | c))
    assert sets_of(a & (b | c)) == sets_of((a & b) | (a & c))
    assert sets_of(a - (b | c)) == sets_of((a - b) & (a - c))
    assert a | a == a & a == a
    assert not any(sets_of(a - a).values())


@given(masks())
def test_counts_agree(mask: NeuronMask) -> None:
    sets = sets_of(mask)
    for code in mask.languages:
        per_layer = mask.per_layer(code)
        assert len(per_layer) == SHAPE[0]
        assert sum(per_layer) == mask.count(code) == len(sets[code])
        assert per_layer == [sum(index // SHAPE[1] == layer for index in sets[code]) for layer in range(SHAPE[0])]
    for (a, b), index in mask.overlap().items():
        either = sets[a] | sets[b]
        assert index == (len(sets[a] & sets[b]) / len(either) if either else None)
    exclusive = sets_of(mask.exclusive())
    for code in mask.languages:
        others = set().union(*(sets[other] for other in sets if other != code))
        assert exclusive[code] == sets[code] - others


@given(masks(), st.data())
def test_only_keeps_everything_of_some_languages(mask: NeuronMask, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(mask.languages), unique=True))
    only = mask.only(chosen)
    assert only.languages == tuple(chosen)
    for column in ("means", "selection"):
        there = numbers_of(mask, column)
        assert numbers_of(only, column) == {code: there[code] for code in chosen if code in there}


@given(flats())
def test_flat_indices_and_pairs_are_the_same_neurons(flat: list[int]) -> None:
    indices = torch.tensor(flat, dtype=torch.long)
    assert flat_of(pairs_of(indices, SHAPE[1]), SHAPE, "'fr'").tolist() == flat
    assert torch.equal(pairs_of(flat_of(pairs(flat), SHAPE, "'fr'"), SHAPE[1]), pairs(flat).int())
    assert NeuronMask({"fr": pairs(flat)}, {}, SHAPE).flat("fr").tolist() == sorted(flat)
