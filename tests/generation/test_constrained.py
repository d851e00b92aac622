"""A penalty lowers the logits of the tokens that a language does not use, in the rows named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import DOCUMENT_END, EOS, VOCABULARY, build, byte_tokenizer, token_ids
from hooking import hooks
from transformers import PreTrainedModel

from lape import HookNotFired, LapeError, SoftConstraint, UnknownLabel, count_tokens, intervene, side_by_side

IDS = token_ids(3, 6)
COUNTS = count_tokens(byte_tokenizer(), {"aa": ["abcabc"], "bb": ["xyzxyz"]}, tokens=7)


def test_logits_are_lowered_row_by_row(family: str) -> None:
    model = build(family)
    before = model(IDS).logits
    plan = [None, SoftConstraint(COUNTS, on="aa", strength=3.0), SoftConstraint(COUNTS, on="bb", least=1)]
    with intervene(model, plan):
        found = model(IDS).logits
    expected = before.clone()
    for row, (code, nats) in {1: ("aa", 3.0), 2: ("bb", 5.0)}.items():
        for token in range(VOCABULARY):
            if COUNTS.counts[code][token] == 0 and token not in (DOCUMENT_END, EOS):
                expected[row, :, token] -= nats
    assert torch.equal(found, expected)
    assert torch.equal(model(IDS).logits, before)
    assert not hooks(model)


@pytest.mark.parametrize("positions", ["all", "prompt", "generated"])
def test_generation_keeps_to_the_tokens(tiny_model: PreTrainedModel, positions: str) -> None:
    tokenizer = byte_tokenizer()
    entry = SoftConstraint(COUNTS, on="aa", strength=1e4, positions=positions)
    *_, last = side_by_side(
        tiny_model, tokenizer, "hello", {"on": None, "kept": entry}, max_new_tokens=6, repetition_penalty=1.0
    )
    first, rest = last.texts["kept"][:1], last.texts["kept"][1:]
    assert (set(first) <= set("abc")) == (positions != "generated")
    assert (set(rest) <= set("abc")) == (positions != "prompt")
    assert not set(last.texts["on"]) <= set("abc")


def test_a_head_with_more_rows_than_the_tokenizer_has_tokens() -> None:
    model = build("llama", vocab_size=VOCABULARY + 6)
    before = model(IDS).logits
    with intervene(model, SoftConstraint(COUNTS, on="aa")):
        found = model(IDS).logits
    torch.testing.assert_close(found[..., VOCABULARY:], before[..., VOCABULARY:] - 5)


def test_strength_0_is_the_untouched_model_and_a_decoder_alone_is_reported(tiny_model: PreTrainedModel) -> None:
    with intervene(tiny_model, SoftConstraint(COUNTS, on="aa", strength=0.0)):
        assert not hooks(tiny_model)
    with (
        pytest.raises(HookNotFired, match="no logits were made"),
        intervene(tiny_model, SoftConstraint(COUNTS, on="aa")),
    ):
        tiny_model.model(IDS)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"on": "ab"}, UnknownLabel, "No language in these token counts 'ab'"),
        ({"positions": "promt"}, UnknownLabel, "Did you mean 'prompt'"),
        ({"strength": float("inf")}, LapeError, "strength must be a finite number of float32, not inf"),
        ({"least": 0}, LapeError, "least must be at least 1, not 0"),
    ],
)
def test_a_wrong_constraint_is_refused(settings: dict[str, Any], error: type[LapeError], message: str) -> None:
    with pytest.raises(error, match=message):
        SoftConstraint(COUNTS, **{"on": "aa", **settings})
