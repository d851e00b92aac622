"""What the page shows before any click: a comparison that the page would make just so, and notes that are true."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from families import build

import lape
from lape.demo.backend import Backend
from lape.demo.choice import from_values, to_values
from lape.demo.compare import stored as storing
from lape.demo.compare.comparison import compare
from lape.demo.compare.export import Comparison, about, fingerprint
from lape.demo.compare.freshness import language_offered, outdated
from lape.demo.compare.marked import breaks_at
from lape.demo.compare.request import DEFAULTS, opening, request_for
from lape.demo.compare.stored import FOLDER, FORM, digest, made, stored
from lape.demo.compare.variants import neurons_changed, variants_of
from lape.demo.loaded import Loaded
from lape.errors import LapeError
from lape.identify import identify
from lape.models.embedded import GEMMA, SMOLLM2
from lape.recording.statistics import ActivationStatistics

LANGUAGES = ("de", "es", "fr")
SHORT = replace(DEFAULTS, prompt="Bonjour", max_new_tokens=3)


@pytest.fixture(scope="module")
def loaded(tokenizer: Any) -> Loaded:
    model = build("llama")
    counts = {
        code: torch.randint(0, 200, (3, 48), generator=torch.Generator().manual_seed(n))
        for n, code in enumerate(LANGUAGES)
    }
    sums = {code: count * (1.0 + number) for number, (code, count) in enumerate(counts.items())}
    tokens = dict.fromkeys(LANGUAGES, 200)
    statistics = ActivationStatistics(counts, sums, sums, tokens, {})
    return Loaded(model, tokenizer, identify(statistics, top_rate=0.1), statistics)


# The stored comparison


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma", "embedded"])
def test_the_stored_comparison_is_what_the_page_would_make(name: str, request: pytest.FixtureRequest) -> None:
    """When this fails: `python -m lape.demo.compare.stored` makes them anew."""
    model, tokenizer = request.getfixturevalue(name)
    embedded = GEMMA if name == "gemma" else SMOLLM2
    there = replace(Loaded.load(embedded.model, None, None, FORM), model=model, tokenizer=tokenizer)
    kept = stored(there)
    assert kept is not None, "it is of another mask or of other settings"
    found = json.loads((FOLDER / f"{embedded.model.replace('/', '--')}.json").read_text("utf-8"))
    assert found["environment"]["lape"] == lape.__version__
    assert found["digest"] == digest(found)
    again = made(Backend(there))
    assert again.request == kept.request == opening(there.known_mask.languages)
    assert again.about["mask"] == json.loads(json.dumps(kept.about["mask"]))
    assert {name: column.text for name, column in again.columns.items()} == {
        name: column.text for name, column in kept.columns.items()
    }
    assert [column.language.language for column in kept.columns.values()] == ["fr", "en", "es"] or name == "embedded"


def test_another_mask_other_settings_or_none_have_no_stored_comparison(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "FOLDER", tmp_path)
    storing._read.cache_clear()
    assert stored(None) is stored(loaded) is None
    file = storing.write(made(Backend(loaded)), loaded)
    kept = stored(loaded)
    assert list(kept.columns) == ["on", "off", "steered:es"]
    assert kept.columns == made(Backend(loaded)).columns
    other = identify(loaded.statistics, top_rate=0.2)
    assert stored(replace(loaded, mask=other)) is None
    for key, value in (("strength", 2.0), ("prompt", "Other"), ("unheard_of", 1)):
        found = json.loads(file.read_text("utf-8"))
        found["settings"][key] = value
        file.write_text(json.dumps(found), "utf-8")
        storing._read.cache_clear()
        assert digest(found) != found["digest"]
        assert stored(loaded) is None, key
    storing._read.cache_clear()


# Notes


def test_what_is_on_show_is_outdated_by_a_prompt_a_mask_or_a_setting(loaded: Loaded) -> None:
    run = Comparison(SHORT, {}, {}, about(loaded))
    asked = vars(SHORT) | {"targets": list(SHORT.targets), "strength": 1.25}
    assert outdated(None, {}, loaded) == outdated(run, asked, loaded) == ""
    assert "another prompt" in outdated(run, asked | {"prompt": "Bonjou"}, loaded)
    assert "other settings" in outdated(run, asked | {"targets": ["es", "de"]}, loaded)
    assert "other settings" in outdated(run, asked | {"layers": "0-1"}, loaded)
    other = replace(loaded, mask=identify(loaded.statistics, top_rate=0.2))
    assert "other neurons" in outdated(run, asked, other)
    assert "another prompt" in outdated(run, {"prompt": "<b>"}, None)


@pytest.mark.parametrize(
    ("prompt", "source", "offered"),
    [
        ("Había una vez un viejo pescador que vivía cerca del mar", "fr", "es"),
        ("Había una vez un viejo pescador que vivía cerca del mar", "es", None),
        ("Había", "fr", None),  # too short to say
        ("1234567890 1234567890 1234567890", "fr", None),
        ("Det var en gång en liten flicka som bodde i en liten stuga", "fr", None),  # no neurons for it
        (None, "fr", None),
        ("x" * 100_000, "fr", None),
    ],
)
def test_the_language_of_a_prompt_is_offered_where_it_is_sure(prompt: Any, source: Any, offered: str | None) -> None:
    assert language_offered(prompt, source, ("en", "es", "fr")) == offered


def test_the_line_that_breaks_the_language_is_found() -> None:
    french = "Elle vivait dans un petit village près de la mer.\n"
    english = "She was very happy and loved to play with her friends.\n"
    assert breaks_at(french + "Oui.\n" + english + french, "fr", SHORT) == len(french) + len("Oui.\n")
    assert breaks_at(french * 2, "fr", SHORT) is None


# Parameters


def test_layers_named_neurons_and_a_language_to_keep(loaded: Loaded) -> None:
    def changed(**values: Any) -> dict[str, tuple[int, int]]:
        asked = request_for(loaded, {**vars(SHORT), **values})
        return neurons_changed(variants_of(loaded, asked))

    mask = loaded.known_mask
    by_hand = {code: {tuple(pair) for pair in mask.neurons[code].tolist()} for code in LANGUAGES}
    last = {code: {pair for pair in pairs if pair[0] == 2} for code, pairs in by_hand.items()}
    assert changed()["off"] == (len(by_hand["fr"]), 0)
    assert changed(layers="2")["steered:es"] == (len(last["fr"] - last["es"]), len(last["es"]))
    others = by_hand["es"] | by_hand["de"]
    assert changed(keep="fr")["kept"] == (len(others - by_hand["fr"]), len(by_hand["fr"]))
    assert changed(only="0.3, 2.47,0.3")["off"] == (2, 0)
    assert changed(only="0.3")["steered:es"] == (0, 1)


def test_named_neurons_have_their_means_of_the_target_and_of_others(loaded: Loaded) -> None:
    asked = request_for(loaded, {**vars(SHORT), "only": "1.7", "off_value": "mean"})
    variants = variants_of(loaded, asked)
    steered, off = variants["steered:es"], variants["off"]
    assert steered.mask.means["es"].tolist() == pytest.approx([float(loaded.statistics.mean("es")[1, 7])])
    assert off.mask.other_means["fr"].tolist() == pytest.approx([float(loaded.statistics.mean("de")[1, 7])])
    bare = replace(loaded, statistics=None)
    with pytest.raises(LapeError, match="Without statistics"):
        request_for(bare, {**vars(SHORT), "off_value": "mean"})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"layers": "2-3"}, "from 0 to 2 here"),
        ({"layers": "2-1"}, "written as 5-12 or 7"),
        ({"layers": "x" * 99}, "written as 5-12 or 7"),
        ({"layers": 3}, "one line of text"),
        ({"only": "3.0"}, "go up to 2.47"),
        ({"only": "0.48"}, "no neuron '0.48'"),
        ({"only": "0.e1.3"}, "no neuron"),
        ({"only": "1.1,"}, "no neuron ''"),
        ({"positions": "here"}, "all, prompt, generated"),
        ({"off_value": 0}, "0, mean"),
        ({"keep": "it"}, "de, es, fr"),
        ({"keep": ["fr"]}, "de, es, fr"),
    ],
)
def test_a_bad_parameter_is_one_sentence(loaded: Loaded, values: dict[str, Any], said: str) -> None:
    with pytest.raises(LapeError) as caught:
        request_for(loaded, {**vars(SHORT), **values})
    assert said in str(caught.value)
    assert len(str(caught.value)) < 250


def test_the_column_that_is_kept_is_compared_and_its_texts_are_of_the_neurons_said(loaded: Loaded) -> None:
    asked = request_for(loaded, {**vars(SHORT), "keep": "de", "positions": "generated"})
    *_, columns = compare(Backend(loaded), asked)
    assert list(columns) == ["on", "off", "steered:es", "kept"]
    settings = {"max_new_tokens": 3, "repetition_penalty": asked.repetition_penalty}
    plan = lape.Intervention(
        loaded.known_mask, off=["es", "fr"], on="de", strength=asked.strength, positions="generated"
    )
    *_, alone = lape.generate_rows(loaded.model, loaded.tokenizer, ["Bonjour"], plan, **settings)
    assert columns["kept"].text == alone.texts[0]


# Neurons chosen here, in a link


@pytest.mark.parametrize("equal", [False, True])
def test_a_link_brings_back_the_neurons_that_were_chosen(loaded: Loaded, equal: bool) -> None:
    assert to_values(loaded) == {}
    assert from_values({"lape": "1"}, loaded) is None
    settings: dict[str, Any] = {"top_rate": 0.2, "filter_rate": 0.5, "activation_bar_ratio": 0.5}
    if equal:
        counts = {code: loaded.known_mask.count(code) for code in ("de", "fr")}
        settings = {"per_language": counts, "at_most": True, "filter_rate": 0.5}
    mine = loaded.with_neurons(identify(loaded.statistics, "lape", ["de", "fr"], **settings))
    values = to_values(mine)
    assert all(isinstance(value, str) for value in values.values())
    again = from_values(values, loaded)
    assert again is not None
    assert again.made_from is loaded
    assert fingerprint(again.known_mask) == fingerprint(mine.known_mask) != fingerprint(loaded.known_mask)


@pytest.mark.parametrize(
    "values",
    [
        {"chosen_by": "nothing"},
        {"top_rate": "x"},
        {"top_rate": "7"},
        {"among": "de"},
        {"among": "de,xx"},
        {"among": ""},
    ],
)
def test_a_link_with_bad_rates_is_refused(loaded: Loaded, values: dict[str, str]) -> None:
    with pytest.raises(LapeError):
        from_values({"chosen_by": "lape", "among": "de,fr", **values}, loaded)
