"""What each layer would say: against a plain loop over layers and positions, and of which language and script it is."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from families import VOCABULARY, build, random_mask, token_ids
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape import Intervention, LapeError, activation_sites, intervene
from lape.generation.passages import Passage
from lape.inspection.layers import LayerTokens, layer_tokens, leading, script_of, spread
from lape.models import head
from lape.recording.vocabulary import TokenCounts

TOP = 4


def by_hand(model: PreTrainedModel, passage: Passage, plan: Intervention | None, places: list[int]) -> torch.Tensor:
    """The likeliest tokens `[layer, place, 4]`, of one row alone: its hidden states, the last of which are normed."""
    with intervene(model, plan or [None]), torch.no_grad():
        states = model(torch.tensor([passage.read]), output_hidden_states=True).hidden_states
        base = getattr(model, "model", None) or model.transformer
        norm = base.norm if hasattr(base, "norm") else base.ln_f
        inner = [norm(each[0]) for each in states[1:-1]] + [states[-1][0]]
        rows = [len(passage.context) - 1 + place for place in places]
        return torch.stack([model.lm_head(each[rows]).topk(TOP).indices for each in inner])


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_every_layer_is_read_as_by_hand(name: str, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(name)
    monkeypatch.setattr(head, "SLICE_LOGITS", 4 * VOCABULARY)
    ids = token_ids(2, 12).tolist()
    plan = {"on": None, "off": Intervention(random_mask(activation_sites(model).shape), off="aa", on="bb")}
    passages = {"on": Passage(ids[0][:4], ids[0][4:]), "off": Passage(ids[1][:2], ids[1][2:7])}
    letters = [token for token in range(2, VOCABULARY) if tokenizer.decode([token]).isalpha()]
    counts = {code: torch.zeros(VOCABULARY, dtype=torch.long) for code in ("aa", "bb")}
    counts["aa"][letters[::2]] = 5
    counts["bb"][letters[1::2]] = 5
    found = list(
        layer_tokens(
            model, tokenizer, passages, plan, TokenCounts(counts, (0, 1)).token_languages(), top=TOP, positions=5
        )
    )
    assert len(found) == 3
    assert not any(module._forward_hooks for module in model.modules())
    for column, passage in passages.items():
        places = [0, 1, 3, 4, 6] if column == "on" else [0, 1, 2, 3, 4]
        for layer, likeliest in enumerate(by_hand(model, passage, plan[column], places)):
            said = found[layer][column]
            assert said.likeliest == tuple(tokenizer.decode([token]) for token in likeliest[:, 0].tolist())
            tokens = likeliest.flatten().tolist()
            own = Counter("ab"[letters.index(token) % 2] * 2 for token in tokens if token in letters)
            assert said.languages == {code: count / len(tokens) for code, count in own.most_common()}
            assert said.letters == sum(own.values()) / len(tokens)
            assert said.scripts == ({"Latin": said.letters} if own else {})


def test_without_counts_scripts_are_told(tiny_model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    passages = dict.fromkeys("ab", Passage([3], [4, 5]))  # the second has no token that the first has not
    *_, last = layer_tokens(tiny_model, tokenizer, passages, dict.fromkeys("ab"), positions=None)
    assert last["a"] == last["b"]
    assert last["a"].languages == {}
    assert len(last["a"].likeliest) == 2


def test_the_leading_language_and_since_when() -> None:
    def layers(*shares: dict[str, float]) -> list[LayerTokens]:
        return [LayerTokens(each, {}, 1.0, ()) for each in shares]

    assert leading(layers({"en": 0.3}, {"es": 0.2, "en": 0.2}, {"es": 0.1})) == ("es", 2)
    assert leading(layers({"es": 0.3}, {"es": 0.2, "en": 0.1})) == ("es", 0)
    assert leading(layers({"es": 0.3}, {"es": 0.2, "en": 0.2})) is None
    assert leading(layers({"es": 0.3}, {})) is None
    assert leading(layers({"es": 0.09}, {"es": 0.12})) == ("es", 1)
    assert leading([]) is None


def test_scripts_are_those_of_most_letters() -> None:
    told = [
        script_of(text) for text in (" été", "Жизнь", "言葉", "ひら", "カタ", "한글", "ا", "१2", "12.", "Ａ", "ab그")
    ]
    assert told == [
        "Latin",
        "Cyrillic",
        "Han",
        "Hiragana",
        "Katakana",
        "Hangul",
        "Arabic",
        None,
        None,
        "Latin",
        "Latin",
    ]


def test_places_are_spread_evenly() -> None:
    assert spread(10, 4) == [0, 2, 5, 7]
    assert spread(3, 4) == spread(3, None) == [0, 1, 2]


@pytest.mark.parametrize(
    ("values", "said"), [({"top": 0}, "at least 1"), ({"positions": 0}, "at least 1"), ({"plan": {}}, "no plan for on")]
)
def test_what_cannot_be_read_is_refused(
    values: dict, said: str, tiny_model: PreTrainedModel, tokenizer: Tokenizer
) -> None:
    values = {"plan": {"on": None}, **values}
    with pytest.raises(LapeError, match=said):
        next(layer_tokens(tiny_model, tokenizer, {"on": Passage([3], [4])}, **values))
