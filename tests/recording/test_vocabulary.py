"""Token counts are those of the text, and tokens that are no text are of every language."""

from __future__ import annotations

import pytest
from families import DOCUMENT_END, EOS, VOCABULARY
from transformers import PreTrainedTokenizerFast

from lape import NotEnoughText, UnknownLabel
from lape.recording.vocabulary import count_tokens

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
