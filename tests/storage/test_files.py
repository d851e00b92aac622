"""A reader never sees half a file, and the same content is the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lape import BadFile, LapeError
from lape.storage.files import atomic_write, load_tensors, save_tensors, write_json

TENSORS = {"b": torch.arange(6).view(2, 3).T, "a": torch.ones(2, dtype=torch.float64)}
METADATA = {"kind": "test", "words": ["é", "文"], "number": 1}


def test_whole_replaces_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    for text in ("first", "second"):
        before = target.read_text() if target.exists() else None
        with atomic_write(target) as temporary:
            temporary.write_text(text)
            assert temporary.parent.parent == target.parent
            assert (target.read_text() if target.exists() else None) == before
        assert target.read_text() == text
        assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o644


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    def half() -> None:
        with atomic_write(target) as temporary:
            temporary.write_text("half of the ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_same_content_same_bytes(tmp_path: Path) -> None:
    save_tensors(tmp_path / "one", TENSORS, METADATA)
    save_tensors(tmp_path / "two", dict(reversed(TENSORS.items())), dict(reversed(METADATA.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    tensors, metadata = load_tensors(tmp_path / "one", "test")
    assert metadata == METADATA
    assert tensors.keys() == TENSORS.keys()
    assert all(
        torch.equal(tensors[name], tensor) and tensors[name].dtype == tensor.dtype for name, tensor in TENSORS.items()
    )


def _pickle(path: Path) -> None:
    torch.save(TENSORS, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "There is no file"),
        (lambda path: path.mkdir(), "There is no file"),
        (lambda path: path.write_text("{}"), "damaged"),
        (_pickle, "damaged"),
        (lambda path: save_file(TENSORS | {"b": torch.ones(1)}, path), "not written by lape"),
        (lambda path: save_file({}, path, {"lape": "{"}), "damaged"),
        (lambda path: save_file({}, path, {"lape": "[]"}), "does not hold a test"),
        (lambda path: save_tensors(path, TENSORS, {**METADATA, "kind": "mask"}), "does not hold a test"),
    ],
)
def test_what_lape_did_not_write_is_refused(write: object, message: str, tmp_path: Path) -> None:
    write(tmp_path / "file")
    with pytest.raises(BadFile, match=message):
        load_tensors(tmp_path / "file", "test")


def header(path: Path, content: bytes, size: int | None = None) -> None:
    path.write_bytes((len(content) if size is None else size).to_bytes(8, "little") + content)


@pytest.mark.parametrize(
    ("content", "size", "said"),
    [
        (b'{"__metadata__":{"lape":"' + b" " * 10_000_000 + b'"}}', None, "header has more than 2,000,000 bytes"),
        (b"{}", 2**63, "header has more than 2,000,000 bytes"),
        (b"{" * 100_000, None, "nested deeper than 64"),
        (b'{"__metadata__":' + b"[" * 50_000 + b"]" * 50_000 + b"}", None, "nested deeper than 64"),
        (b'{"__metadata__":{"lape":"{}"},"__metadata__":{"lape":"{}"}}', None, "a key is there twice"),
        (b'{"__metadata__":"x"}', None, "not written by lape"),
        (b"[]", None, "not written by lape"),
        (b"", None, "damaged"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_header_is_bounded_before_it_is_parsed(tmp_path: Path, content: bytes, size: int | None, said: str) -> None:
    header(tmp_path / "file", content, size)
    with pytest.raises(BadFile, match=said):
        load_tensors(tmp_path / "file", "test")


def test_metadata_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(LapeError, match="has more than 1,000,000 bytes"):
        save_tensors(tmp_path / "file", TENSORS, {**METADATA, "words": "é" * 600_000})
    assert not list(tmp_path.iterdir())


def test_json_is_for_reading(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", METADATA)
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert json.loads(text) == METADATA
    assert "文" in text
    assert text.index("kind") < text.index("number") < text.index("words")
    assert text.endswith("}\n")
