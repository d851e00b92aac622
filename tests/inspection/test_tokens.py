"""Log-probabilities token by token: against known chances, and against single passes of the plain model."""

from __future__ import annotations

import math

import pytest
import torch
from families import DOCUMENT_END, bigram_model, build, random_mask, token_ids
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape import Intervention, LapeError, activation_sites, intervene
from lape.generation.passages import Passage
from lape.inspection.tokens import Choice, token_costs
from lape.models import head

A, B = 10, 11


def test_tokens_of_known_chances(tokenizer: Tokenizer) -> None:
    model = bigram_model({DOCUMENT_END: {A: 0.5, B: 0.5}, A: {A: 0.75, B: 0.25}, B: {A: 0.125, B: 0.875}})
    (found,) = token_costs(model, tokenizer, {"on": Passage([A], [A, B])}, {"on": None}, alternatives=2).values()
    assert [token.own for token in found] == pytest.approx([math.log(0.75), math.log(0.25)], abs=1e-5)
    assert [(token.untouched, token.cost) for token in found] == [(token.own, 0.0) for token in found]
    likely, less = tokenizer.decode([A]), tokenizer.decode([B])
    for token in found:
        assert token.own_choices == token.untouched_choices
        assert [choice.text for choice in token.own_choices] == [likely, less]
        chances = [math.exp(choice.log_probability) for choice in token.own_choices]
        assert chances == pytest.approx([0.75, 0.25], abs=1e-5)
    assert "".join(token.text for token in found) == likely + less


def by_hand(model: PreTrainedModel, passage: Passage, plan: Intervention | None) -> torch.Tensor:
    """Log-probabilities `[scored, vocabulary]` of one row alone, in float64."""
    with intervene(model, plan or [None]), torch.no_grad():
        logits = model(torch.tensor([[*passage.context, *passage.scored]])).logits[0].double()
    return logits.log_softmax(-1)[len(passage.context) - 1 : -1]


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_columns_of_one_batch_are_as_single_passes(
    name: str, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(name)
    monkeypatch.setattr(head, "SLICE_LOGITS", 4 * 258)
    ids = token_ids(2, 12).tolist()
    off = Intervention(random_mask(activation_sites(model).shape), off="aa", on="bb")
    plan = {"on": None, "off": off}
    passages = {"on": Passage(ids[0][:4], ids[0][4:]), "off": Passage(ids[1][:2], ids[1][2:7])}
    found = token_costs(model, tokenizer, passages, plan, alternatives=3)
    assert list(found) == ["on", "off"]
    for column, passage in passages.items():
        own, untouched = by_hand(model, passage, plan[column]), by_hand(model, passage, None)
        for place, (token, target) in enumerate(zip(found[column], passage.scored, strict=True)):
            assert token.own == pytest.approx(float(own[place, target]), abs=1e-4)
            assert token.untouched == pytest.approx(float(untouched[place, target]), abs=1e-4)
            for choices, values in ((token.own_choices, own), (token.untouched_choices, untouched)):
                best = values[place].topk(3)
                expected = [tokenizer.decode([token]) for token in best.indices.tolist()]
                assert [choice.text for choice in choices] == expected
                assert [choice.log_probability for choice in choices] == pytest.approx(best.values.tolist(), abs=1e-4)
    assert max(abs(token.cost) for token in found["off"]) > 0.01
    assert not any(module._forward_hooks for module in model.modules())


def test_a_character_of_several_tokens_stands_where_it_is_whole(
    tiny_model: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    ids = tokenizer("aé그", add_special_tokens=False)["input_ids"]
    (found,) = token_costs(tiny_model, tokenizer, {"": Passage([5], ids)}, {"": None}).values()
    assert [token.text for token in found] == ["a", "", "é", "", "", "그"]
    assert isinstance(found[0].own_choices[0], Choice)
    assert len(found[0].own_choices) == 5


@pytest.mark.parametrize(
    ("passages", "said"),
    [({"off": Passage([3], [4])}, "no plan for off"), ({"on": Passage([3], [])}, "nothing to score")],
)
def test_what_cannot_be_read_is_refused(
    passages: dict[str, Passage], said: str, tiny_model: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    with pytest.raises(LapeError, match=said):
        token_costs(tiny_model, tokenizer, passages, {"on": None})
