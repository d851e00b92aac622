"""Text at hand: its documents, its length in tokens, the block it can be read in, and what a mask then stands on."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
import torch
from families import build
from samples import statistics_of

from lape import BadFile, identify
from lape.evaluation.metrics.reliability import FEW_TOKENS, reliability
from lape.recording.corpora import read_corpora
from lape.recording.groups import BlockGroups
from lape.recording.record import record_groups
from lape.recording.texts import Texts, count_tokens, fitting_block, taken
from lape.storage.text import some_text


@pytest.mark.parametrize(
    "text", ["One.\nTwo.\n\n \nThree.\n", "One.\r\nTwo.\r\n\r\nThree.", "\n\nOne.\nTwo.\n\n\nThree."]
)
def test_a_blank_line_ends_a_document_as_in_a_file(text: str, tmp_path: Any) -> None:
    assert Texts.of(text).documents == ("One.\nTwo.", "Three.")
    (tmp_path / "xx.txt").write_bytes(text.encode())
    (tmp_path / "xx.valid.txt").write_text("Other.")
    assert list(read_corpora(str(tmp_path), ["xx"])["xx"]()) == list(Texts.of(text)())


def test_enough_is_taken_and_no_more() -> None:
    opened = []

    def source() -> Any:
        for document in ("abcd", "efgh", "ijkl"):
            opened.append(document)
            yield document

    assert list(taken(source, 6)) == ["abcd", "ef"]
    assert opened == ["abcd", "efgh"]
    assert list(taken(["ab"], 6)) == ["ab"]
    assert list(taken([], 6)) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"\xff\xfea\0b\0", "is UTF-16 text"),
        ("déjà".encode("latin-1"), r"is not UTF-8 text \(line 1\)"),
        (b"good\n\x80\x04\x95", r"is not UTF-8 text \(line 2\)"),
        (b"PK\x03\x04\0\0", "is not text: it holds bytes of zero"),
        (b"x" * 11, "has 11 characters and at most 10"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(BadFile, match=f"^xx.txt {said}"):
        some_text(data, "xx.txt", 10)


def test_a_byte_order_mark_is_no_text() -> None:
    assert some_text("\ufeffdéjà".encode(), "xx.txt", 10) == "déjà"


def test_tokens_are_counted_in_shortest_blocks(tokenizer: Any) -> None:
    # One token a byte and one at each document's end.
    assert count_tokens(tokenizer, ["x" * 19] * 2, 1000) == 40
    assert count_tokens(tokenizer, ["x" * 20], 1000) == 16
    assert count_tokens(tokenizer, ["x" * 5000], 33) == 40
    assert count_tokens(tokenizer, [], 33) == 0


@pytest.mark.parametrize("tokens", [32, 63, 64, 200, 511, 512, 2047, 2048, 10**6])
def test_four_blocks_fit_and_twice_the_block_would_not(tokens: int) -> None:
    block = fitting_block(tokens)
    assert block * 4 <= tokens
    assert block == 512 or block * 8 > tokens
    assert block & (block - 1) == 0


def test_the_block_fits_the_context() -> None:
    assert fitting_block(10_000, longest=100) == 64
    assert fitting_block(3) == 8


def test_what_a_mask_stands_on(tokenizer: Any) -> None:
    corpora = {"xx": [f"Ceci est le texte {n}. " for n in range(40)], "yy": [f"{n} 这是一些文字" for n in range(60)]}
    given = {"tokens": 512, "block": 16, "groups": 2, "snapshots": (), "progress": False}
    statistics, groups = record_groups(build("llama"), tokenizer, corpora, **given)
    mask = identify(statistics, top_rate=0.2)
    foot = reliability(mask, statistics, groups)
    shares = sorted((statistics.active[code] / 512).flatten().tolist()[at] for code in corpora for at in range(144))
    bar = shares[round(0.95 * len(shares)) - 1]
    assert (foot.tokens, foot.few) == (512, True)
    assert foot.bar == pytest.approx(bar)
    assert foot.standard_error == pytest.approx(sqrt(bar * (1 - bar) / 512))
    halves = [identify(groups.half(which), top_rate=0.2) for which in (0, 1)]
    found = []
    for code in corpora:
        one, other = ({tuple(pair) for pair in half.neurons[code].tolist()} for half in halves)
        found.append(len(one & other) / len(one | other))
    assert foot.agreement == pytest.approx(sum(found) / 2)
    assert 0 < foot.agreement < 1


def test_a_method_that_reads_sums_tells_no_agreement() -> None:
    statistics = statistics_of({"xx": [[9, 1], [0, 5]], "yy": [[1, 9], [5, 0]]}, tokens=FEW_TOKENS)
    counts = {code: torch.stack([active, active]).int() for code, active in statistics.active.items()}
    blocks = dict.fromkeys(counts, 2)
    groups = BlockGroups(counts, {code: torch.zeros(0, 2, 2, 2) for code in counts}, blocks, (), {"block": 8})
    mask = identify(statistics, "probability", top_rate=0.5)
    assert reliability(mask, statistics, groups).agreement == 1
    assert not reliability(mask, statistics, groups).few
    sums = {code: active.double() for code, active in statistics.active.items()}
    positive = type(statistics)(statistics.active, sums, sums, statistics.tokens, statistics.metadata)
    assert reliability(identify(positive, "lave", top_rate=0.5), positive, groups).agreement is None
