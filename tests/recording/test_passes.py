"""The loop that recordings beside statistics read text with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from families import byte_tokenizer

from lape.errors import CheckpointMismatch, NotEnoughText
from lape.recording.passes import TextPasses

TEXTS = {"aa": ["one two three four five six"] * 4, "bb": ["six five four three two one"] * 4}


def summed(passes: TextPasses, seen: list[list[int]]) -> dict[str, int]:
    """The sum of each language's ids without the prefix; notes the shapes of the batches."""

    def make(batches: Iterator[torch.Tensor]) -> dict[str, torch.Tensor]:
        total = torch.zeros(1, dtype=torch.long)
        for inputs in batches:
            seen.append(list(inputs.shape))
            total += inputs[:, passes.before :].sum()
        return {"total": total}

    return {code: int(made["total"]) for code, made in passes.by_language("sums", make).items()}


def test_every_block_is_read_after_the_prefix_and_described(tiny_model, tokenizer) -> None:
    passes = TextPasses(tiny_model, tokenizer, TEXTS, tokens=30, block=10, batch=2, progress=False)
    seen: list[list[int]] = []
    assert summed(passes, seen) == summed(passes, [])  # the same text each time
    assert seen == [[2, 10], [1, 10]] * 2
    assert passes.tokens == {"aa": 30, "bb": 30}
    assert {code: found[0]["tokens"] for code, found in passes.metadata["corpora"].items()} == passes.tokens
    assert passes.metadata["block"] == 10
    before = TextPasses(
        tiny_model, byte_tokenizer("<|im_end|> $A"), TEXTS, tokens=30, block=10, batch=3, progress=False
    )
    seen.clear()
    assert summed(before, seen) == summed(passes, [])
    assert seen == [[3, 11]] * 2


def test_a_short_text_is_refused_or_taken_as_it_is(tiny_model, tokenizer) -> None:
    few = {**TEXTS, "bb": ["one two three"]}
    with pytest.raises(NotEnoughText, match="'bb' has text for 10 tokens in blocks of 10, but 30"):
        TextPasses(tiny_model, tokenizer, few, tokens=30, block=10, progress=False)
    passes = TextPasses(tiny_model, tokenizer, few, tokens=30, block=10, progress=False, allow_short=True)
    summed(passes, [])
    assert passes.tokens == {"aa": 30, "bb": 10}


def test_a_language_that_is_done_is_not_read_again(tiny_model, tokenizer, tmp_path: Path) -> None:
    given = {"tokens": 30, "block": 10, "batch": 1, "progress": False, "kept": tmp_path}
    whole = TextPasses(tiny_model, tokenizer, TEXTS, **given)
    expected = summed(whole, [])
    (tmp_path / "sums.bb.safetensors").unlink()  # as if killed in its middle
    again, seen = TextPasses(tiny_model, tokenizer, TEXTS, **given), []
    assert summed(again, seen) == expected
    assert seen == [[1, 10]] * 3
    assert again.metadata == whole.metadata
    with pytest.raises(CheckpointMismatch, match="other settings"):
        summed(TextPasses(tiny_model, tokenizer, TEXTS, **{**given, "settings": {"bins": 3}}), [])
    with pytest.raises(CheckpointMismatch, match="text of 'aa' is not the one"):
        summed(TextPasses(tiny_model, tokenizer, {**TEXTS, "aa": TEXTS["bb"]}, **given), [])
