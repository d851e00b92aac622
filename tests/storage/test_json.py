"""JSON of anybody: a pipe, a flood or a trap is one sentence, before anything is parsed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lape import BadFile, LapeError
from lape.storage.files import write_json
from lape.storage.json import DEEPEST, LARGEST_BYTES, json_text, parse_json, read_json


def nested(depth: int, opened: str = "[", closed: str = "]", inside: str = "") -> bytes:
    return (opened * depth + inside + closed * depth).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (nested(DEEPEST + 1), "nested deeper than 64"),
        (nested(5_000), "nested deeper than 64"),
        (nested(100_000), "nested deeper than 64"),  # the parser's own stack ended, and the process with it
        (nested(100_000, '{"a":', "}", "1"), "nested deeper than 64"),
        (b"[" * 100_000, "nested deeper than 64"),
        (b'"\\"' + b"[" * 100_000, "Unterminated string"),
        (b"[NaN]", "not finite"),
        (b"[-Infinity]", "not finite"),
        (b"[1e999]", "not finite"),
        (b"9" * 5_000, "more than 4,300 digits"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "a key is there twice"),
        (b'["\\ud800"]', "surrogates not allowed"),
        (b'{"\\udc00": 1}', "surrogates not allowed"),
        (b"\xff", "codec can't decode"),
        ("[1]".encode("utf-16"), "codec can't decode"),
        (b"", "Expecting value"),
        (b"]", "Expecting value"),
        (b"[1] [2]", "Extra data"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json(content)
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(BadFile, match=rf"x\.json' is not JSON \(.*{said}.*\)\.$") as refused:
        read_json(tmp_path / "x.json")
    assert len(str(refused.value)) < 400
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "value",
    [
        json.loads(nested(DEEPEST)),
        json.loads(nested(DEEPEST, '{"a":', "}", "1")),
        [[]] * 1000,  # many, but not deep
        '[{"' * 100,  # brackets in text are text
        ["\\", '\\"[', "[" * 100, '"' + "{" * 100],
        {"é": "文 \U0001f600", "a": [None, True, -0.5, 10**20]},
        0,
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_json_can_hold_is_read_as_it_was_written(tmp_path: Path, value: Any) -> None:
    for escaped in (True, False):
        assert parse_json(json.dumps(value, ensure_ascii=escaped).encode()) == value
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    assert parse_json(b"\xef\xbb\xbf" + json_text(value, "x").encode()) == value


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.json")
    with pytest.raises(BadFile, match=r"x\.json' is no regular file\.$"):
        read_json(tmp_path / "x.json")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(BadFile, match="no regular file"):
        read_json(tmp_path / "folder.json")
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    for name in ("nothing.json", "loop.json", "x" * 5000, "a\0b"):
        with pytest.raises(BadFile, match="is missing or cannot be read"):
            read_json(tmp_path / name)


def test_size_is_looked_at_before_the_content(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)
    with pytest.raises(BadFile, match="summary has more than 10,000,000 bytes, which no file of its kind has"):
        read_json(tmp_path / "x.json", name="summary")
    with pytest.raises(BadFile, match="has more than 5 bytes"):
        read_json(tmp_path / "x.json", largest=5)


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    for number in (float("nan"), float("inf")):
        with pytest.raises(LapeError, match=r"x\.json' holds a number that is not finite, so it cannot be kept\.$"):
            write_json(tmp_path / "x.json", {"a": [number]})
    assert not list(tmp_path.iterdir())
