"""Other methods' neurons and the residual stream in Compare, on a tiny random model with what was recorded of it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import torch
from recordings import histograms_of
from tiny_page import LANGUAGES, SHAPE, tiny_loaded

import lape
from lape import BadFile, LapeError, ResidualIntervention, ResidualMeans
from lape.demo.backend import Backend
from lape.demo.compare.columns import head
from lape.demo.compare.comparison import compare
from lape.demo.compare.controls import menus
from lape.demo.compare.export import about
from lape.demo.compare.links import from_query, to_query
from lape.demo.compare.request import DEFAULTS, NEURONS, CompareRequest, request_for
from lape.demo.compare.variants import variants_of
from lape.demo.loaded import OWN, Loaded, read_mask
from lape.demo.methods import about_method
from lape.demo.words import say, texts, word
from lape.generation.residual import RESIDUAL_METHODS
from lape.identify import METHODS, identify
from lape.storage.names import HISTOGRAMS_NAME, RESIDUALS_NAME, STATISTICS_NAME

MODEL = {"model": ""}  # the tiny one has no name
TOKENS = dict.fromkeys(LANGUAGES, 100)
SHORT = replace(DEFAULTS, prompt="Bonjour", max_new_tokens=4)
BOTH = replace(SHORT, method="margin", switching="recover")
OF_STATISTICS = ["lap", "lave", "probability", "difference", "margin", "alignment"]


@pytest.fixture(scope="module")
def bare(tokenizer: Any) -> Loaded:
    """Made by lape, without anything recorded."""
    loaded = tiny_loaded(tokenizer)
    mask = replace(loaded.known_mask, metadata={**MODEL, "method": "lape"})
    return replace(loaded, mask=mask, statistics=None)


@pytest.fixture(scope="module")
def recorded(bare: Loaded, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The same with its statistics, histograms and residual means in its folder."""
    folder = tmp_path_factory.mktemp("mask")
    bare.known_mask.save(folder)
    statistics = tiny_loaded(tokenizer).statistics
    assert statistics is not None
    replace(statistics, metadata={**MODEL, "tokens": TOKENS}).save(folder / STATISTICS_NAME)
    draw, cells = random.Random(2), SHAPE[0] * SHAPE[1]
    histograms = histograms_of(
        {code: [[draw.randint(0, 9) for _ in range(5)] for _ in range(cells)] for code in LANGUAGES}
    )
    parts = {
        name: {code: values.view(*SHAPE, *values.shape[2:]) for code, values in getattr(histograms, name).items()}
        for name in ("counts", "means", "deviations", "active")
    }
    replace(histograms, low=histograms.low.view(SHAPE), high=histograms.high.view(SHAPE), **parts).save(
        folder / HISTOGRAMS_NAME
    )
    generator, width = torch.Generator().manual_seed(4), bare.model.config.hidden_size
    sums = {code: 100 * torch.randn(SHAPE[0], width, generator=generator).double() for code in LANGUAGES}
    norms = {code: torch.full((SHAPE[0],), 500.0).double() for code in LANGUAGES}
    ResidualMeans(sums, norms, TOKENS, {**MODEL, "tokens": TOKENS}).save(folder / RESIDUALS_NAME)
    return bare.with_mask(*read_mask(folder), place=folder)


def last(loaded: Loaded, request: CompareRequest) -> Any:
    *_, columns = compare(Backend(loaded), request)
    return columns


def test_the_menus_offer_what_was_recorded(recorded: Loaded, bare: Loaded) -> None:
    found = menus(recorded, "margin", "recover")
    assert [name for _, name in found["method"]["choices"]] == [OWN, *OF_STATISTICS, "dln", "percentile"]
    assert found["method"]["choices"][0][0] == say("methods.own_is", name=say("methods.name_lape"))
    # The others need more dimensions, or a covariance.
    assert [name for _, name in found["switching"]["choices"]] == [NEURONS, "diffmean", "recover"]
    assert found["method"]["info"] == about_method("margin")
    assert found["switching"]["info"] == word("compare.about_recover")
    assert all(menu["visible"] for menu in found.values())
    for loaded in (None, bare, replace(bare, mask=None)):
        assert not any(menu["visible"] for menu in menus(loaded, OWN, NEURONS).values())
    made_here = recorded.with_mask(recorded.known_mask, recorded.statistics)  # no folder
    assert made_here.rivals == OF_STATISTICS
    assert made_here.ways == []
    german = replace(bare.known_mask, neurons={"de": torch.tensor([[0, 1]])}, means={})
    more = replace(recorded, mask=recorded.known_mask | german, statistics=None)
    assert more.ways == []  # no means of German


@pytest.mark.parametrize("method", ["margin", "dln"])
def test_a_method_finds_as_many_neurons_as_the_mask_has(method: str, recorded: Loaded) -> None:
    mask = recorded.known_mask
    counts = {code: mask.count(code) for code in mask.languages}
    assert set(counts.values()) == {20}
    found = recorded.by_method(method)
    expected = identify(recorded.recorded(method), method, mask.languages, per_language=counts, at_most=True)
    assert found.known_mask == expected
    assert found is recorded.by_method(method)
    assert recorded.by_method(OWN) is recorded


@pytest.mark.parametrize("request_", [BOTH, replace(BOTH, method="dln", switching="diffmean", show_random=True)])
def test_a_link_opens_the_same_method_and_way(recorded: Loaded, request_: CompareRequest) -> None:
    query = dict(parse_qsl(to_query(request_, recorded)[1:]))
    assert from_query(query, recorded) == (request_, "Opened from a link. Press Generate.")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"method": "dln"},
            "The method must be one of own, lap, lave, probability, difference, margin, alignment, not 'dln'",
        ),
        ({"method": None}, "The method must be one of own"),
        ({"method": ["margin"]}, "The method must be one of own"),
        ({"switching": "recover"}, "The way of switching must be one of neurons, not 'recover'"),
        ({"switching": {}}, "The way of switching must be one of neurons"),
    ],
)
def test_what_was_not_recorded_is_refused(recorded: Loaded, changed: dict[str, Any], said: str) -> None:
    made_here = recorded.with_mask(recorded.known_mask, recorded.statistics)
    with pytest.raises(LapeError, match=said):
        request_for(made_here, {**vars(SHORT), **changed})


def test_a_damaged_recording_is_refused(recorded: Loaded, bare: Loaded, tmp_path: Path) -> None:
    bare.known_mask.save(tmp_path)
    (tmp_path / HISTOGRAMS_NAME).write_bytes(b"no tensors")
    loaded = bare.with_mask(bare.known_mask, place=tmp_path)
    assert loaded.rivals == ["dln", "percentile"]
    with pytest.raises(BadFile, match=HISTOGRAMS_NAME):
        request_for(loaded, {**vars(SHORT), "method": "dln"})
    (tmp_path / RESIDUALS_NAME).write_bytes(b"no tensors")
    with pytest.raises(BadFile, match=RESIDUALS_NAME):
        bare.with_mask(bare.known_mask, place=tmp_path)


def test_the_residual_stream_has_a_column_of_its_own(recorded: Loaded) -> None:
    columns = last(recorded, BOTH)
    assert list(columns) == ["on", "off", "steered:es", "residual"]
    neurons = last(recorded, replace(BOTH, switching=NEURONS))
    assert list(neurons) == ["on", "off", "steered:es"]
    assert [columns[name].text for name in neurons] == [column.text for column in neurons.values()]
    moved = ResidualIntervention(recorded.residuals, off="fr", on="es", method="recover", strength=1.25)
    settings = {"max_new_tokens": 4, "repetition_penalty": BOTH.repetition_penalty}
    *_, alone = lape.generate_rows(recorded.model, recorded.tokenizer, ["Bonjour"], moved, **settings)
    assert columns["residual"].text == alone.texts[0] != columns["on"].text
    assert (columns["residual"].off, columns["residual"].on) == (0, 0)
    shown = head("residual", variants_of(recorded, BOTH)["residual"], BOTH)
    assert "Residual: Spanish</h2>" in shown
    assert f"No neurons changed. {say('methods.way_recover')}" in shown
    used = about(recorded.by_method(BOTH.method))["mask"]
    assert (used["method"], used["settings"]["per_language"]["es"]) == ("margin", used["neurons"]["es"])
    assert columns["steered:es"].on == used["neurons"]["es"]


def test_every_method_and_way_has_a_line() -> None:
    known = texts()["en"]
    assert {f"methods.about_{name}" for name in (OWN, *METHODS)} <= set(known)
    assert {f"compare.about_{name}" for name in (NEURONS, *RESIDUAL_METHODS)} <= set(known)
