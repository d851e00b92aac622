"""The ledger of a run's cells, and files of evidence."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lape.errors import BadFile, CheckpointMismatch, LapeError
from lape.evaluation.kinds.steering.plan import tuned_setting
from lape.evaluation.metrics.cells import Compute, fresh, one_by_one
from lape.evaluation.runs.evidence import environment, read_evidence, text_hash, write_evidence
from lape.evaluation.runs.ledger import Ledger
from lape.recording.blocks import token_blocks
from lape.recording.documents import TextFile


class Counter:
    """Computes and counts how often."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.times = 0

    def __call__(self) -> Any:
        self.times += 1
        return self.value


def cell(ledger: Ledger, key: str, compute: Compute) -> Any:
    """The value of one cell."""
    return ledger.cells(one_by_one({key: compute}))[key]


def evidence(**other: Any) -> dict[str, Any]:
    return {
        "kind": "perplexity",
        "title": "Perplexity",
        "summary": "Dominance 7.",
        "settings": {"seed": 0},
        "environment": {},
        "command": "lape evaluate perplexity",
        "seconds": 12.345,
        "results": {"delta_nats": 1 / 3},
        **other,
    }


def test_a_cell_is_computed_once_and_kept_for_the_next_run(tmp_path: Path) -> None:
    compute = Counter({"delta_nats": 0.1, "tokens": 2048})
    for _ in range(3):
        with Ledger(tmp_path / "deep" / "cells.jsonl", {"seed": 0}) as ledger:
            assert cell(ledger, "off=fr text=de", compute) == {"delta_nats": 0.1, "tokens": 2048}
            assert cell(ledger, "off=fr text=de", compute) == {"delta_nats": 0.1, "tokens": 2048}
            assert "off=fr text=de" in ledger
            assert "off=fr text=es" not in ledger
    assert compute.times == 1


def test_what_was_kept_at_the_start_is_counted(tmp_path: Path) -> None:
    with Ledger(tmp_path / "cells.jsonl", {}) as ledger:
        cell(ledger, "a", Counter(1))
        assert ledger.kept == 0
    with Ledger(tmp_path / "cells.jsonl", {}) as ledger:
        cell(ledger, "b", Counter(2))
        assert ledger.kept == 1


def test_a_value_is_the_same_fresh_and_kept(tmp_path: Path) -> None:
    value = {"pair": (1, 2), "third": 1 / 3, "none": None, "text": "Жила\u2028-была\r\n"}
    same = {"pair": [1, 2], "third": 1 / 3, "none": None, "text": "Жила\u2028-была\r\n"}
    for _ in range(2):
        with Ledger(tmp_path / "cells.jsonl", {}) as ledger:
            assert cell(ledger, "a", lambda: value) == same


def test_a_caller_that_changes_a_value_does_not_change_what_is_kept(tmp_path: Path) -> None:
    with Ledger(tmp_path / "cells.jsonl", {}) as ledger:
        cell(ledger, "a", lambda: {"n": [1]})["n"].append(2)
        assert cell(ledger, "a", Counter(None)) == {"n": [1]}


@pytest.mark.parametrize("torn", range(1, 9))
def test_a_torn_last_line_is_dropped_and_computed_again(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "cells.jsonl"
    with Ledger(path, {"seed": 0}) as ledger:
        cell(ledger, "a", Counter(1))
        cell(ledger, "b", Counter(2))
    whole = path.read_bytes()
    path.write_bytes(whole[:-torn])
    again, kept = Counter(2), Counter(None)
    with Ledger(path, {"seed": 0}) as ledger:
        assert (cell(ledger, "a", kept), cell(ledger, "b", again)) == (1, 2)
    assert (again.times, kept.times) == (1, 0)
    assert [json.loads(line).get("key") for line in path.read_text().splitlines()] == [None, "a", "b"]


def test_nothing_is_left_of_a_long_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    with Ledger(path, {}) as ledger:
        cell(ledger, "a", Counter(1))
    path.write_bytes(path.read_bytes() + b'{"key": "b", "value": "' + b"x" * 1000)
    for _ in range(2):
        with Ledger(path, {}) as ledger:
            assert cell(ledger, "b", Counter(2)) == 2
    assert b"x" not in path.read_bytes()


def test_a_value_is_on_the_disk_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    path = tmp_path / "cells.jsonl"
    with Ledger(path, {}) as ledger:
        monkeypatch.setattr("lape.evaluation.runs.evidence.os.fsync", lambda _: synced.append(path.read_bytes()))
        cell(ledger, "a", Counter(1))
        assert json.loads(synced[-1].splitlines()[-1])["key"] == "a"


def test_a_file_that_ends_in_its_first_line_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    path.write_bytes(b'{"settings": {"see')
    with Ledger(path, {"seed": 0}) as ledger:
        assert cell(ledger, "a", Counter(1)) == 1
    assert json.loads(path.read_text().splitlines()[0]) == {"settings": {"seed": 0}}


@pytest.mark.parametrize(
    "damage",
    [
        *(b"not JSON\n", b'{"key": "b"}\n', b"[1]\n", b"\xff\n", b"\n"),
        b"[" * 100_000 + b"\n",  # ended the process
        b'{"key": "b", "value": 1, "seconds": 1' + b"0" * 400 + b"}\n",  # no float holds it
        b'{"key": "b", "value": NaN, "seconds": 1}\n',
        b'{"key": "b", "value": 1, "seconds": "1"}\n',
        b'{"key": ["b"], "value": 1, "seconds": 1}\n',
    ],
    ids=lambda value: repr(value)[:40],
)
def test_damage_before_the_end_is_refused_and_left_alone(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "cells.jsonl"
    with Ledger(path, {}) as ledger:
        cell(ledger, "a", Counter(1))
    path.write_bytes(path.read_bytes() + damage)
    before = path.read_bytes()
    with pytest.raises(BadFile, match=r"cells\.jsonl' is damaged"):
        Ledger(path, {})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("kept", "given", "named"),
    [
        ({"seed": 0, "tokens": 2048}, {"seed": 0, "tokens": 4096}, "tokens 2048, not 4096"),
        ({"seed": 0}, {"seed": 0, "mask": "ab"}, 'mask null, not "ab"'),
        ({"seed": 0}, {"seed": 0, "mask": None}, "mask null, not null"),
        ({"a": {"b": 1, "c": 2}, "d": 1}, {"a": {"b": 1, "c": 3}, "d": 2}, "a c 2, not 3"),
        ({"languages": ["fr"]}, {"languages": ["fr", "de"]}, r'languages \["fr"\], not \["fr", "de"\]'),
        ({"text": {"fr": "0" * 200}}, {"text": {"fr": "1"}}, f'text fr "{"0" * 78}…, not "1"'),
    ],
)
def test_other_settings_are_refused_by_name(
    tmp_path: Path, kept: dict[str, Any], given: dict[str, Any], named: str
) -> None:
    path = tmp_path / "cells.jsonl"
    with Ledger(path, kept) as ledger:
        cell(ledger, "a", Counter(1))
    before = path.read_bytes()
    with pytest.raises(CheckpointMismatch, match=named):
        Ledger(path, given)
    assert path.read_bytes() == before


def test_a_figure_that_is_not_finite_is_refused_and_not_kept(tmp_path: Path) -> None:
    with Ledger(tmp_path / "cells.jsonl", {}) as ledger:
        with pytest.raises(LapeError, match=r"'off=fr' is not a finite number.*float32"):
            cell(ledger, "off=fr", lambda: {"delta_nats": float("nan")})
        assert cell(ledger, "off=fr", Counter(1)) == 1


def test_an_error_keeps_the_cells_before_it(tmp_path: Path) -> None:
    def stopped() -> Any:
        raise KeyboardInterrupt

    def run(second: Callable[[], Any]) -> None:
        with Ledger(tmp_path / "cells.jsonl", {}) as ledger:
            cell(ledger, "a", first)
            cell(ledger, "b", second)

    first = Counter(1)
    with pytest.raises(KeyboardInterrupt):
        run(stopped)
    run(Counter(2))
    assert first.times == 1


def test_a_killed_process_keeps_its_cells(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    code = (
        "import os, signal, sys; from lape.evaluation.metrics.cells import one_by_one\n"
        "from lape.evaluation.runs.ledger import Ledger\n"
        "ledger = Ledger(sys.argv[1], {})\n"
        "ledger.cells(one_by_one({'a': lambda: 1}))\n"
        "ledger.cells(one_by_one({'b': lambda: os.kill(os.getpid(), signal.SIGKILL)}))\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
    with Ledger(path, {}) as ledger:
        assert ("a" in ledger, "b" in ledger) == (True, False)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_ledger_that_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    make(tmp_path / "cells.jsonl")
    with pytest.raises(BadFile, match=r"cells\.jsonl' is no regular file\."):
        Ledger(tmp_path / "cells.jsonl", {})


def test_tuning_of_another_form_is_named_before_work_starts() -> None:
    common = {"mode": "replace", "strength": 2.0, "top_rate": None, "off": "source"}
    for wrong, said in (
        ({"settings": {}, "results": []}, "does not say its results as a mapping"),
        (
            {"settings": {}, "results": {"common": {**common, "strength": "2"}}},
            "its results.common.strength as a number",
        ),
    ):
        with pytest.raises(BadFile, match=f"evidence of tuning .*{said}.*lape tune"):
            tuned_setting(wrong, None)  # type: ignore[arg-type]


def test_seconds_add_up_over_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.5, 10.0, 12.25])
    monkeypatch.setattr("lape.evaluation.runs.ledger.time.perf_counter", lambda: next(clock))
    with Ledger(tmp_path / "cells.jsonl", {}) as ledger:
        cell(ledger, "a", Counter(1))
        assert ledger.seconds == 1.5
    with Ledger(tmp_path / "cells.jsonl", {}) as ledger:
        cell(ledger, "a", Counter(1))  # kept: takes no time
        cell(ledger, "b", Counter(2))
        assert ledger.seconds == 3.75


def test_fresh_computes_every_time() -> None:
    compute = Counter(1)
    tasks = one_by_one({"a": compute})
    assert (fresh(tasks), fresh(tasks), compute.times) == ({"a": 1}, {"a": 1}, 2)


def test_evidence_is_written_rounded_and_read_back(tmp_path: Path) -> None:
    path = write_evidence(tmp_path / "evidence", "perplexity", **evidence())
    assert path == tmp_path / "evidence" / "perplexity.json"
    expected = evidence(seconds=12.3, results={"delta_nats": 0.3333333})
    assert json.loads(path.read_text()) == expected
    (tmp_path / "evidence" / "mine.json").write_text('{"title": "something else"}')
    (tmp_path / "evidence" / "list.json").write_text("[]")
    assert read_evidence(tmp_path / "evidence") == {"perplexity": expected}


def test_seven_digits_are_kept_of_numbers_of_every_size(tmp_path: Path) -> None:
    given = {"a": 123456789.125, "b": [1.23456789e-9, -0.1 - 0.2], "c": 7, "d": True, "e": None, "f": "1.23456789"}
    path = write_evidence(tmp_path, "x", **evidence(results=given))
    expected = {"a": 123456800.0, "b": [1.234568e-9, -0.3], "c": 7, "d": True, "e": None, "f": "1.23456789"}
    assert json.loads(path.read_text())["results"] == expected


def test_settings_are_kept_to_the_last_digit(tmp_path: Path) -> None:
    path = write_evidence(tmp_path, "x", **evidence(settings={"top_rate": 1 / 3}))
    assert json.loads(path.read_text())["settings"] == {"top_rate": 1 / 3}


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    one = write_evidence(tmp_path, "one", **evidence(results={"b": 1, "a": 2})).read_bytes()
    assert write_evidence(tmp_path, "two", **evidence(results={"a": 2, "b": 1})).read_bytes() == one


def test_evidence_with_a_figure_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(LapeError, match="'x' is not a finite number"):
        write_evidence(tmp_path, "x", **evidence(results={"delta_nats": float("inf")}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"kind": "perplexity"}', "lacks title, summary, .*lape evaluate"),
        ("{", "is not JSON"),
        ("\xff", "is not JSON"),
        ('{"kind": "perplexity", "results": {"a": NaN}}', "is not JSON"),
        ('{"kind": "perplexity", "results": {"a": -1e999}}', "is not JSON"),
        (" " * 10_000_001, "has more than 10,000,000 bytes"),
    ],
)
def test_a_damaged_file_of_evidence_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "perplexity.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadFile, match=f"perplexity.json' {said}"):
        read_evidence(tmp_path)


def test_a_missing_folder_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"There is no folder .*lape evaluate"):
        read_evidence(tmp_path / "evidence")


def test_the_environment_names_versions_and_nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "my-laptop")
    found = environment("cpu")
    assert found["packages"]["torch"] == torch.__version__
    assert found["device"] == "cpu"
    assert found["threads"] == torch.get_num_threads()
    text = json.dumps(found)
    assert "my-laptop" not in text
    assert str(Path.home()) not in text
    assert "/" not in text


def test_the_hash_of_a_text_is_that_of_its_token_ids(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "fr.valid.txt").write_text("abcdefg\n")
    source = TextFile(tmp_path / "fr.valid.txt")
    ids = [tokenizer.get_vocab()[letter] for letter in "abcdefg"] + [0]  # the document end is token 0
    by_hand = hashlib.sha256(struct.pack("<8i", *ids)).hexdigest()
    assert text_hash(source, token_blocks(tokenizer, source, 4)) == {
        "source": "fr.valid.txt",
        "sha256": by_hand,
        "tokens": 8,
    }
