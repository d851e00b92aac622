"""Telling the language of a line by the neurons that fire: line by line on a tiny model, and figures by hand."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from families import random_mask
from samples import statistics_of
from test_steering import SHAPE, Counting
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape.errors import NotEnoughText
from lape.evaluation.metrics.firing import firing_figures, held_out_lines, told_by_firing
from lape.inspection.activations import activations
from lape.inspection.firing import firing, mask_neurons, usual_shares


def test_lines_are_drawn_from_those_wide_enough() -> None:
    texts = [f"line number {number} of the text\nshort\n\nline number 0 of the text" for number in range(6)]
    found = held_out_lines(texts, 4, 0, "en")
    assert len(set(found)) == 4
    assert set(found) < {f"line number {number} of the text" for number in range(6)}
    assert held_out_lines(lambda: iter(texts), 4, 0, "en") == found
    assert held_out_lines(texts, 4, 1, "en") != found
    with pytest.raises(NotEnoughText, match="'en' has 6 lines of 20 columns or more; 7 were asked for"):
        held_out_lines(texts, 7, 0, "en")


def test_a_line_is_in_the_language_of_highest_level_over_its_tokens(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    mask = random_mask(SHAPE)
    draw = torch.Generator().manual_seed(0)
    counts = {code: torch.randint(0, 50, SHAPE, generator=draw).tolist() for code in mask.languages}
    statistics = statistics_of(counts, 50)
    lines = {code: [f"{code} line {number} — été 한" for number in range(20)] for code in ("aa", "bb")}
    cells = Counting()
    found = told_by_firing(tiny_model, tokenizer, lines, mask, statistics, seeds=(3,), cells=cells)
    json.dumps(found, allow_nan=False)
    assert cells.computed == ["firing text=aa", "firing text=bb"]
    assert found["lines"] == {"aa": 20, "bb": 20}
    assert found["guessing"] == pytest.approx(1 / 3)
    for name, each in (("own", mask), ("random3", mask.random_like(statistics, 3))):
        usual = usual_shares(each, statistics)
        for code, texts in lines.items():
            told, colored = Counter(), Counter()
            for text in texts:
                seen = activations(tiny_model, tokenizer, text, mask_neurons(each))
                levels = {}
                for language in each.languages:
                    columns = torch.isin(seen.neurons, each.flat(language))
                    share = float((seen.values[:, columns] > 0).double().mean())
                    own = usual[language][language]
                    other = sum(usual[language][one] for one in each.languages if one != language) / 2
                    levels[language] = (share - other) / (own - other) if own > other else 0.0
                told[max(levels, key=lambda one: levels[one])] += 1
                for piece in firing(seen, each, statistics):
                    right = "none" if piece.language is None else "right" if piece.language == code else "wrong"
                    colored[right] += piece.tokens
            shown = found["masks"][name]["languages"][code]
            assert shown["told"] == told
            assert shown["accuracy"]["value"] == told[code] / 20
            assert shown["token_shares"] == {
                each: colored[each] / colored.total() for each in ("right", "wrong", "none")
            }


def test_figures_by_hand() -> None:
    told = {
        "fr": {"lines": ["fr", "fr", "it", "fr"], "tokens": {"right": 6, "wrong": 3, "none": 1}},
        "ko": {"lines": ["ko", "ko"], "tokens": {"right": 4}},
    }
    found = firing_figures(told)
    assert found["languages"]["fr"]["accuracy"]["value"] == 0.75
    assert 0 < found["languages"]["fr"]["accuracy"]["low"] < 0.75
    assert found["languages"]["fr"]["told"] == {"fr": 3, "it": 1}
    assert found["languages"]["fr"]["token_shares"] == {"right": 0.6, "wrong": 0.3, "none": 0.1}
    assert found["languages"]["ko"]["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found["languages"]["ko"]["token_shares"] == {"right": 1.0, "wrong": 0.0, "none": 0.0}
    assert found["accuracy"]["value"] == pytest.approx((0.75 + 1) / 2)
