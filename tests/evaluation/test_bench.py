"""Methods and ways of switching compared: which take part, which are left out and why, what is measured of each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from families import build
from test_kinds import TEXTS, Counted, TellsAll
from transformers import PreTrainedTokenizerFast

from lape import LapeError, UnknownLabel, identify
from lape.evaluation.kinds import KINDS
from lape.evaluation.kinds.bench.masks import GIVEN, RANDOM, compared
from lape.evaluation.metrics.dominance import compare
from lape.evaluation.metrics.stability import halves_agreement, mean_agreement
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options
from lape.recording.record import record_groups
from lape.recording.residual import record_residuals
from lape.storage.names import GROUPS_NAME, RESIDUALS_NAME, STATISTICS_NAME

FEW: dict[str, Any] = {"max_new_tokens": 2, "items": 2, "tokens": 64, "block": 32, "seeds": 1}
STRENGTHS = {"replace": (1.0, 2.0), "add": (1.0,), "difference": (1.0,), "diffmean": (1.0,), "constraint": (5.0,)}


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Subject:
    torch.manual_seed(0)
    model, folder = build("llama"), tmp_path_factory.mktemp("mask")
    statistics, groups = record_groups(model, tokenizer, TEXTS, tokens=640, block=32, groups=4, progress=False)
    statistics.save(folder / STATISTICS_NAME)
    groups.save(folder / GROUPS_NAME)
    read = {"tokens": 64, "block": 32, "progress": False}
    record_residuals(model, tokenizer, TEXTS, **read).save(folder / RESIDUALS_NAME)
    identify(statistics, top_rate=0.1, filter_rate=0.5, activation_bar_ratio=0.5).save(folder)
    return Subject(folder, lambda: (model, tokenizer), TEXTS, elsewhere=TEXTS)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("prompts") / "openings.json"
    openings = {"en": ["The cat", "A dog", "My house", "The moon"], "fr": ["Le chat", "Un chien", "Ma main", "La lune"]}
    file.write_text(json.dumps(openings), encoding="utf-8")
    return str(file)


@pytest.fixture(autouse=True)
def quick_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lape.evaluation.kinds.steered.identifier", lambda *_: TellsAll())


def test_masks_have_as_many_neurons_as_the_given_one_or_their_own_count(subject: Subject) -> None:
    found, left_out = compared(subject, ["lape", "difference", "lap", "probability"], ["equal", "own"])
    counts = {code: subject.mask.count(code) for code in ("en", "fr")}
    assert list(found) == [GIVEN, "difference", "difference, own count", "lap", RANDOM]
    for name in ("difference", "lap", RANDOM):
        assert {code: found[name].mask.count(code) for code in counts} == counts
    assert found["difference, own count"].mask == identify(subject.recorded("difference"), "difference")
    assert left_out == {
        "lape": f"It is the same as {GIVEN}.",
        "lape, own count": f"It is the same as {GIVEN}.",
        "lap, own count": "It is the same as difference, own count.",
        "probability": "It ranks neurons as lap does.",
        "probability, own count": "It is the same as difference, own count.",
    }
    cost = found["difference"].cost
    assert cost is not None
    assert cost["seconds"] > 0


def test_every_mask_takes_the_first_way_and_the_given_one_all(subject: Subject, prompts: str) -> None:
    ways = ["replace", "add", "difference", "diffmean", "constraint"]
    asked = Options(**FEW, prompts=prompts, methods=["difference"], counts=["equal"], ways=ways, strengths=STRENGTHS)
    cells = Counted()
    work = KINDS["bench"].plan(subject, asked)
    results = work.measure(cells)
    assert list(results["entrants"]) == [
        *(f"{name}: replace" for name in (GIVEN, "difference", RANDOM)),
        f"{GIVEN}: add",
        f"{GIVEN}: difference",
        "diffmean",
        "constraint",
    ]
    assert results["entrants"][f"{GIVEN}: replace"]["mask"] == GIVEN
    assert results["entrants"]["diffmean"]["mask"] is None
    masks = {GIVEN: subject.mask, "random 0 for this mask": subject.mask.random_like(None, 0)}
    texts = subject.blocks(64, 32)
    alone = compare(*subject.loaded, texts, masks, {GIVEN: ["random 0 for this mask"]}, others=4)["masks"][GIVEN]
    for key in ("dominance", "over_control", "langspec"):
        assert results["masks"][GIVEN][key] == results["masks"][GIVEN]["elsewhere"][key] == alone[key]  # of one text
    parts = halves_agreement(subject.groups, method="difference", per_language=results["masks"][GIVEN]["neurons"])
    assert results["masks"]["difference"]["halves_agreement"] == mean_agreement(parts)
    assert work.summary(results).startswith("From English (en) to 1 targets the largest share")
    again = work.measure(cells)
    timed = [each["masks"]["difference"].pop("identification") for each in (results, again)]
    assert timed[0] == timed[1]  # of the run that identified it first
    assert again == results


def test_what_is_not_there_is_left_out_or_refused_by_name(subject: Subject, tmp_path: Path, prompts: str) -> None:
    def plan(one: Subject = subject, **asked: Any) -> Any:
        return KINDS["bench"].plan(one, Options(**FEW, prompts=prompts, **asked))

    with pytest.raises(LapeError, match="'dln' cannot be compared: there is no histograms"):
        plan(methods=["dln"])
    with pytest.raises(UnknownLabel, match="identification method"):
        plan(methods=["lapee"])
    with pytest.raises(UnknownLabel, match="number of neurons"):
        plan(counts=["half"])
    with pytest.raises(UnknownLabel, match="way of switching"):
        plan(ways=["diffmeans"])
    bare = replace(subject, recording=tmp_path)
    with pytest.raises(LapeError, match="'lape' cannot be compared: there is no statistics"):
        plan(bare)
    (tmp_path / STATISTICS_NAME).symlink_to(subject.folder / STATISTICS_NAME)
    with pytest.raises(LapeError, match="'recover' cannot be compared: there is no residuals"):
        plan(bare, ways=["recover"])
    assert "diffmean" not in plan(bare).settings["strengths"]
