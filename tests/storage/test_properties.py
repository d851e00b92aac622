"""What holds for any bytes and any value: a reader gives a value or one sentence, and what is written is read again."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from lape import ActivationStatistics, BadFile, NeuronMask
from lape.storage.files import load_tensors, save_tensors, write_json
from lape.storage.json import DEEPEST, parse_json, read_json
from lape.storage.metadata import KEYS, check_metadata
from lape.storage.schema import TEXT, listing, mapping, misfit, nullable, record

SAME_EACH_TIME = settings(derandomize=True, deadline=None, database=None, max_examples=30)

TEXTS = some.text(some.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = some.recursive(
    SCALARS, lambda inside: some.lists(inside, max_size=4) | some.dictionaries(TEXTS, inside, max_size=4), max_leaves=12
)
LINES = some.text(some.characters(exclude_categories=["C", "Zl", "Zp", "Zs"]), max_size=40)
LABELS = some.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
COUNTS = some.dictionaries(LABELS, some.integers(0, 10**15), max_size=4)
SAID: dict[str, some.SearchStrategy[Any]] = {
    "model": LINES,
    "date": LINES,
    "revision": some.none() | LINES,
    "method": some.none() | LINES,
    "tokens": COUNTS,
    "block": some.integers(0, 10**15),
    "settings": some.dictionaries(
        TEXTS, some.none() | some.booleans() | some.floats(-1e15, 1e15) | LINES | COUNTS, max_size=4
    ),
    "corpora": some.dictionaries(LABELS, VALUES, max_size=3),
    "library": some.dictionaries(TEXTS, LINES, max_size=3),
}
# Bytes that come close to being JSON, or a safetensors file.
NEARLY = some.lists(
    some.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b",", b":", b"1e999", b"NaN", b"-0", b'"a"', b"\\u", b"d8"])
    | some.binary(max_size=3),
    max_size=60,
).map(b"".join)
HEADED = some.builds(lambda size, rest: size.to_bytes(8, "little") + rest, some.integers(0, 200), NEARLY)


def assert_a_sentence(error: BadFile) -> None:
    assert str(error).isprintable()
    assert str(error).endswith(".")
    assert len(str(error)) < 500


@SAME_EACH_TIME
@given(some.binary(max_size=200) | NEARLY)
def test_any_bytes_are_json_or_one_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.json").write_bytes(content)
        try:
            value = read_json(Path(folder) / "x.json")
        except BadFile as error:
            assert_a_sentence(error)
        else:
            assert json.loads(content.decode("utf-8-sig")) == value
            write_json(Path(folder) / "y.json", value)  # whatever was read can be written again
            assert read_json(Path(folder) / "y.json") == value


@SAME_EACH_TIME
@given(VALUES)
def test_any_value_is_read_as_it_was_written(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "x.json", value)
        assert read_json(Path(folder) / "x.json") == value


@SAME_EACH_TIME
@given(
    some.integers(0, 3000), some.sampled_from([("[", "]"), ('{"a":', "}")]), some.sampled_from(["1", '"]"', '"\\"["'])
)
def test_json_of_any_depth_is_read_or_refused(depth: int, brackets: tuple[str, str], inside: str) -> None:
    content = (brackets[0] * depth + inside + brackets[1] * depth).encode()
    if depth > DEEPEST:
        with pytest.raises(ValueError, match=r"^it is nested deeper than 64$"):
            parse_json(content)
    else:
        assert parse_json(content) == json.loads(content)


@SAME_EACH_TIME
@given(some.binary(max_size=200) | NEARLY | HEADED)
def test_any_bytes_are_no_mask_and_no_statistics(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.safetensors"
        file.write_bytes(content)
        for load in (NeuronMask.load, ActivationStatistics.load):
            try:
                load(file)
            except BadFile as error:
                assert_a_sentence(error)
            else:
                raise AssertionError(content)


@SAME_EACH_TIME
@given(VALUES | some.dictionaries(some.sampled_from(sorted(KEYS)) | TEXTS, VALUES))
def test_any_metadata_fits_or_is_one_sentence(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        save_tensors(Path(folder) / "x", {}, {"value": value, "kind": "test"})
        assert load_tensors(Path(folder) / "x", "test")[1]["value"] == value
    if isinstance(value, dict):
        try:
            check_metadata(value, "x")
        except BadFile as error:
            assert_a_sentence(error)


@SAME_EACH_TIME
@given(some.fixed_dictionaries({}, optional=SAID), COUNTS.map(list))
def test_metadata_that_fits_comes_back_with_its_mask(said: dict[str, Any], languages: list[str]) -> None:
    check_metadata(said, "x")
    pairs = torch.tensor([[0, 1], [1, 2]], dtype=torch.int32)
    mask = NeuronMask(dict.fromkeys(languages, pairs), {}, (2, 4), said)
    with tempfile.TemporaryDirectory() as folder:
        mask.save(folder)
        loaded = NeuronMask.load(folder)
    assert loaded == mask
    assert {key: loaded.metadata[key] for key in said} == said


@SAME_EACH_TIME
@given(VALUES)
def test_any_value_has_a_form_or_a_named_misfit(value: Any) -> None:
    for form in (TEXT, nullable(listing(TEXT)), mapping(mapping(TEXT)), record({"a": TEXT}, {"b": listing(TEXT)})):
        said = misfit(value, form)
        assert said is None or (said.isprintable() and len(said) < 400)
