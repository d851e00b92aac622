"""Cultures apart from languages, by hand, and labels that are no languages all the way to a matrix."""

from __future__ import annotations

from pathlib import Path

import pytest
from families import build
from samples import mask_of, neurons_of
from transformers import PreTrainedTokenizerFast

import lape
from lape import Intervention, MaskMismatch, NeuronMask, UnknownLabel
from lape.cli import main
from lape.evaluation.metrics.perplexity import matrix, text_blocks
from lape.masks.cultures import compound, generic, pure

CULTURES = mask_of(
    {"ch": [(0, 0), (0, 1), (1, 2), (1, 3)], "fr": [(0, 1), (0, 2), (1, 3)]},
    {"ch": [0.1, 0.2, 0.3, 0.4], "fr": [1.2, 1.3, 1.4]},
)
LANGUAGES = mask_of({"fr": [(0, 2)], "de": [(0, 0)], "en": [(1, 3)]})
SPOKEN = {"ch": ["de", "fr"]}


def test_pure_compound_and_generic_by_hand() -> None:
    alone = pure(CULTURES, LANGUAGES, SPOKEN)
    assert neurons_of(alone) == {"ch": [(0, 1), (1, 2), (1, 3)], "fr": [(0, 1), (1, 3)]}
    assert alone.means["ch"].tolist() == pytest.approx([0.2, 0.3, 0.4])
    both = compound(CULTURES, LANGUAGES, SPOKEN)
    assert neurons_of(both) == {"ch": [(0, 0)], "fr": [(0, 2)]}
    assert both.means["fr"].tolist() == pytest.approx([1.3])
    common = generic(alone)
    assert neurons_of(common) == {"generic": [(0, 1), (1, 3)]}
    assert common.means["generic"].tolist() == pytest.approx([0.7, 0.9])
    with pytest.raises(UnknownLabel, match="'ch'"):
        pure(CULTURES, LANGUAGES)  # a culture that is no language needs to be told which it has
    with pytest.raises(MaskMismatch, match="The mask of cultures is for"):
        pure(CULTURES, mask_of({"fr": []}, shape=(3, 4)), SPOKEN)


def test_the_command_combines_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    CULTURES.save(tmp_path / "c")
    LANGUAGES.save(tmp_path / "l")
    given = ["combine", str(tmp_path / "c"), str(tmp_path / "l")]
    assert main([*given, "--how", "pure", "--spoken", "ch=de,fr", "--out", str(tmp_path / "pure")]) == 0
    assert NeuronMask.load(tmp_path / "pure") == pure(CULTURES, LANGUAGES, SPOKEN)
    assert main([*given, "--how", "union", "--out", str(tmp_path / "union")]) == 0
    assert NeuronMask.load(tmp_path / "union") == CULTURES | LANGUAGES
    assert main([*given, "--how", "union", "--spoken", "ch=de", "--out", str(tmp_path / "union")]) == 2
    assert "--spoken goes with --how pure" in capsys.readouterr().err


def test_labels_that_are_no_languages_go_all_the_way(tokenizer: PreTrainedTokenizerFast) -> None:
    """Recorded, identified, divided and measured as cultures."""
    model = build("llama")
    texts = {"alpine": ["Grüezi, der Berg ruft! " * 8], "Sea_side": ["Moin, die Flut kommt. " * 8]}
    statistics = lape.record(model, tokenizer, texts, tokens=96, block=32, progress=False)
    cultures = lape.identify(statistics, top_rate=0.2)
    assert set(cultures.languages) == set(texts)
    languages = lape.identify(statistics, "difference", top_rate=0.02)
    divided = {
        "culture": cultures,
        "pure": pure(cultures, languages),
        "compound": compound(cultures, languages),
    }
    for code in texts:
        assert divided["pure"].count(code) + divided["compound"].count(code) == cultures.count(code)
    conditions = {
        f"{name} off={code}": Intervention(mask, off=code) for name, mask in divided.items() for code in texts
    }
    blocks = text_blocks(tokenizer, texts, tokens=64, block=32)
    values = matrix(model, tokenizer, blocks, conditions).values()
    assert values["conditions"].keys() == conditions.keys()
    assert all(set(row) == set(texts) for row in values["conditions"].values())
