"""What lies inside of the columns on show: the language by layer and the tokens one by one, without a browser."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from families import VOCABULARY
from tiny_page import tiny_loaded

from lape.demo.backend import Backend
from lape.demo.compare import inside, layers, tokens
from lape.demo.compare.chat import prompts_of
from lape.demo.compare.comparison import compare
from lape.demo.compare.export import Comparison, about
from lape.demo.compare.request import DEFAULTS
from lape.demo.compare.variants import variants_of
from lape.demo.words import speaking
from lape.errors import LapeError
from lape.generation.prompts import encode
from lape.inspection.layers import LayerTokens
from lape.inspection.tokens import Choice, TokenCost
from lape.recording.vocabulary import TokenLanguages

ASKED = replace(DEFAULTS, prompt="Bonjour", source="fr", targets=("es", "zh"), max_new_tokens=6)
HTML = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def backend(tokenizer: Any) -> Backend:
    return Backend(tiny_loaded(copy.deepcopy(tokenizer)))


@pytest.fixture(scope="module")
def run(backend: Backend) -> Comparison:
    *_, columns = compare(backend, ASKED)
    return Comparison(ASKED, columns, {}, about(backend.ready()))


def read(backend: Backend, run: Comparison, work: Any, *more: Any) -> Any:
    texts = {name: (tuple(column.token_ids), column.text) for name, column in run.columns.items()}
    prompts = prompts_of(run.request, list(run.columns), run.talks)
    *steps, last = backend.run(work, prompts, texts, variants_of(backend.ready(), run.request), *more)
    assert all(found is None for _, _, found in steps)
    assert last[0] == last[1]
    return last[2]


def test_the_columns_are_read_by_the_tokens_that_were_generated(backend: Backend, run: Comparison) -> None:
    loaded = backend.ready()
    texts = {name: (tuple(column.token_ids), column.text) for name, column in run.columns.items()}
    prompts = prompts_of(ASKED, list(run.columns), {})
    found = inside.passages_of(loaded.model, loaded.tokenizer, prompts, texts)
    (context,) = encode(loaded.model, loaded.tokenizer, ["Bonjour"])["input_ids"].tolist()
    for name, column in run.columns.items():
        assert len(column.token_ids) == column.new_tokens
        assert (found[name].context, found[name].scored) == (context, tuple(column.token_ids))
    stored = inside.passages_of(loaded.model, loaded.tokenizer, prompts, {"on": ((), "ab"), "off": ((), "")})
    assert list(stored) == ["on"]
    assert list(stored["on"].scored) == loaded.tokenizer("ab", add_special_tokens=False)["input_ids"]
    with pytest.raises(LapeError, match="no text to look into yet"):
        inside.passages_of(loaded.model, loaded.tokenizer, prompts, {"on": ((), "")})


def test_layers_are_drawn_for_every_column(backend: Backend, run: Comparison) -> None:
    known = TokenLanguages(("en", "es", "fr"), torch.arange(VOCABULARY) % 3)
    found = read(backend, run, layers.reading, known)
    assert {name: len(said) for name, said in found.items()} == dict.fromkeys(run.columns, 3)
    shown = layers.drawn(run, found)
    assert shown.count("<figure>") == 2 * len(run.columns)  # by language and by script
    assert "Steered: Spanish" in shown
    assert "other languages" in shown
    assert layers.drawn(run, read(backend, run, layers.reading, None)).count("<figure>") == len(run.columns)


def test_the_picture_says_where_the_language_is_decided(run: Comparison) -> None:
    shares = ({"ru": 0.1}, {"en": 0.4, "fr": 0.1}, {"en": 0.2, "es": 0.1}, {"es": 0.6, "fr": 0.1})
    said = [LayerTokens(each, {"Latin": 0.9}, 0.9, (HTML,)) for each in shares]
    shown = layers.drawn(run, {"steered:es": said})
    assert "Spanish leads from layer 3 on; before, from layer 1, English does." in shown
    assert "layer 1: French 10\u00a0%, English 40\u00a0%" in shown
    assert '<path class="mark" d="M287.5 20v124"/>' in shown  # before the last of four layers
    assert "70 %" in shown  # the top of the axis
    row = "<th scope=row>3</th><td>10\u00a0%</td><td>60\u00a0%</td><td>0\u00a0%</td><td>0\u00a0%</td><td>0\u00a0%</td>"
    assert f"{row}<td>20\u00a0%</td><td>10\u00a0%</td>" in shown
    assert HTML not in shown
    with speaking("ja"):
        assert "第3層からスペイン語が優勢" in layers.drawn(run, {"steered:es": said})


def test_tokens_are_drawn_with_their_costs(backend: Backend, run: Comparison) -> None:
    found = read(backend, run, tokens.reading)
    assert {name: len(each) for name, each in found.items()} == {
        name: column.new_tokens for name, column in run.columns.items()
    }
    shown = tokens.drawn(run, found)
    assert shown.count("<h3") == len(run.columns)
    choices = (Choice(HTML, -0.25),)
    costs = [TokenCost(HTML, -0.5, -4.0, choices, choices), TokenCost("", -1.0, -0.5, choices, choices)]
    shown = tokens.drawn(run, {"off": costs})
    assert "2 tokens. Mean log-probability −0.75 in its column, −2.25 untouched" in shown
    assert "difference +1.50 a token, +3.00 in all (nats)" in shown
    assert "−0.50 in its column, −4.00 untouched: +3.50 nats" in shown
    assert "--cost:var(--lape-target);--share:42%" in shown
    assert "<td>−1.00</td><td>−0.50</td><td>−0.50</td>" in shown
    assert HTML not in shown
    with speaking("fr"):
        assert "Log-probabilité moyenne −0.75 dans sa colonne" in tokens.drawn(run, {"off": costs})


def test_what_another_mask_made_is_not_read(backend: Backend, run: Comparison) -> None:
    loaded = backend.ready()
    assert list(inside.variants_on_show(run, loaded)) == list(run.columns)
    other = replace(run, about=run.about | {"mask": run.about["mask"] | {"sha256": "0"}})
    with pytest.raises(LapeError, match="made with another model or other neurons"):
        inside.variants_on_show(other, loaded)
    with pytest.raises(LapeError, match="no text to look into yet"):
        inside.variants_on_show(None, loaded)
