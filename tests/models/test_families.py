"""The stored table of families is of the installed transformers, and says what a survey finds."""

from __future__ import annotations

import json

import pytest
import transformers
from families import FAMILIES
from mixtures import MIXTURES
from shrinking import CAUSAL
from survey import tried

from lape.cli import main
from lape.models.families import families


def test_the_table_is_of_the_installed_transformers() -> None:
    version, found = families()
    assert version == transformers.__version__, "make families"
    assert tuple(family.model_type for family in found) == CAUSAL


def test_every_family_has_neurons_or_a_reason() -> None:
    for family in families()[1]:
        assert (family.neurons in ("dense", "routed experts")) != bool(family.why)


def test_families_that_tests_run_on_are_in_it() -> None:
    found = {family.model_type: family for family in families()[1]}
    assert {name: found[name].neurons for name in FAMILIES} == dict.fromkeys(FAMILIES, "dense")
    assert {name: found[name].neurons for name in MIXTURES} == dict.fromkeys(MIXTURES, "routed experts")
    assert {name: found[name].all_layers for name in FAMILIES} == dict.fromkeys(FAMILIES, True)
    assert {"nemotron", "apertus", "gemma4_text", "bamba", "falcon_h1"} <= {
        name for name, family in found.items() if family.neurons == "dense"
    }
    assert found["jamba"].neurons == "routed experts"
    assert not found["jamba"].all_layers


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--families"]) == 0
    shown = capsys.readouterr().out
    version, found = families()
    assert f"of {len(found)} causal families of transformers {version}" in shown
    assert main(["models", "--families", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["model_type"] for row in printed["families"]] == list(CAUSAL)


@pytest.mark.slow
@pytest.mark.parametrize("name", CAUSAL)
def test_a_survey_finds_the_same(name: str) -> None:
    found = tried(name)
    stored = {family.model_type: family for family in families()[1]}[name]
    assert stored.neurons == found.get("neurons")
    assert stored.why == found.get("refused", found.get("untried", ""))
