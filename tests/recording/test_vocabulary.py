"""Token counts are those of the text, and tokens that are no text are of every language."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from families import DOCUMENT_END, EOS, VOCABULARY, build
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import BadFile, MaskMismatch, NotEnoughText, UnknownLabel
from lape.recording.vocabulary import TokenCounts, count_tokens, record_vocabulary, vocabulary_beside
from lape.storage.files import save_tensors

TEXTS = {"aa": ["abab", "ba"], "bb": ["zzzz" * 4]}


def test_tokens_are_counted(tokenizer: PreTrainedTokenizerFast) -> None:
    a, b, z = (tokenizer.convert_tokens_to_ids(letter) for letter in "abz")
    counts = count_tokens(tokenizer, TEXTS, tokens=8)  # abab <end> ba <end>, as one block
    assert counts.counts["aa"].shape == (VOCABULARY,)
    assert {token: int(n) for token, n in enumerate(counts.counts["aa"]) if n} == {a: 3, b: 3, DOCUMENT_END: 2}
    assert {token: int(n) for token, n in enumerate(counts.counts["bb"]) if n} == {z: 8}
    assert set(counts.outside("aa").logical_not().nonzero()[:, 0].tolist()) == {a, b, DOCUMENT_END, EOS}
    assert set(counts.outside("aa", 4).logical_not().nonzero()[:, 0].tolist()) == {DOCUMENT_END, EOS}
    with pytest.raises(UnknownLabel, match="No language in these token counts 'ab'"):
        counts.outside("ab")


def test_a_short_text_is_refused_or_taken(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(NotEnoughText, match="'aa' has text for 0 tokens in blocks of 512, but 1024 were asked for"):
        count_tokens(tokenizer, TEXTS, tokens=600)
    texts = {"aa": ["a" * 700]}
    assert int(count_tokens(tokenizer, texts, tokens=600, allow_short=True).counts["aa"].sum()) == 512


def test_a_token_is_of_the_language_that_has_it_over_twice_as_often_as_the_others_together() -> None:
    counts = {
        "aa": torch.tensor([60, 21, 20, 0, 9, 1, 9]),  # of 120 tokens
        "bb": torch.tensor([0, 20, 20, 0, 0, 0, 0]),  # of 40: 21/120 against 1/2 and 1/6
        "cc": torch.tensor([0, 0, 1, 6, 0, 0, 0]),
    }
    found = TokenCounts(counts, (6,)).token_languages()
    assert [found.of(token) for token in range(8)] == ["aa", "bb", None, "cc", "aa", None, None, None]


def test_counts_come_back_from_their_file(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    file = tmp_path / TokenCounts.file
    recorded = record_vocabulary(tiny_model, tokenizer, TEXTS, tokens=8, block=4)
    recorded.save(file)
    before = file.read_bytes()
    found = vocabulary_beside(tmp_path)
    assert found is not None
    counted = count_tokens(tokenizer, TEXTS, tokens=8)
    for counts in (recorded, found):
        assert counts.languages == ("aa", "bb")
        assert counts.special == counted.special
        assert all(torch.equal(counts.counts[code], counted.counts[code]) for code in counts.languages)
    found.check(tiny_model)
    assert found.metadata["corpora"]["aa"][0]["tokens"] == 8
    found.save(file)
    assert file.read_bytes() == before
    (tmp_path / "none").mkdir()
    assert vocabulary_beside(tmp_path / "none") is None
    with pytest.raises(MaskMismatch, match=r"of 258 tokens of .* has 100"):
        found.check(build("llama", vocab_size=100))


@pytest.mark.parametrize(
    ("name", "values"),
    [("size", [3]), ("counts.aa", [1]), ("tokens.aa", [9, 4]), ("counts.aa", [0, 1]), ("size", [2**30])],
)
def test_damaged_files_are_refused(name: str, values: list[int], tmp_path: Path) -> None:
    tensors = {"size": [12], "special": [0], "tokens.aa": [4, 9], "counts.aa": [2, 1], name: values}
    save_tensors(
        tmp_path / TokenCounts.file,
        {name: torch.tensor(value, dtype=torch.int32) for name, value in tensors.items()},
        {"kind": "vocabulary", "format": 1, "tokens": {"aa": 3}},
    )
    with pytest.raises(BadFile, match="do not fit each other"):
        TokenCounts.load(tmp_path / TokenCounts.file)
