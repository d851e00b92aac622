"""Relations: what is a right answer, the drop matrix against a plain loop, and the way from questions to evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from families import build, random_mask, zero_inputs_of_down
from samples import mask_of
from test_steering import SHAPE, Counting
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import BadFile, LapeError, generate_rows
from lape.cli import main
from lape.evaluation import known_relations
from lape.evaluation.metrics.openings import HALVES, half
from lape.evaluation.metrics.relations.drops import drop_figures, drop_matrix
from lape.evaluation.metrics.relations.facts import Question, is_right, read_facts, right_answers
from lape.evaluation.runs.evidence import read_evidence
from lape.recording.text_means import TextMeans

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def speaking(tokenizer: PreTrainedTokenizerFast, **settings: Any) -> PreTrainedModel:
    """A tiny random model that writes letters."""
    model = build("llama", tie_word_embeddings=False, **settings)
    letters = torch.tensor(tokenizer(LETTERS)["input_ids"])
    others = torch.ones(len(model.lm_head.weight), dtype=torch.bool).index_fill(0, letters, False)
    model.lm_head.weight[others] = 0.0
    return model


def written(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompt: str) -> str:
    *_, last = generate_rows(model, tokenizer, [prompt], max_new_tokens=6, repetition_penalty=1.0)
    return last.texts[0]


def facts_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, labels: str) -> dict[str, list[Question]]:
    """Ten questions a relation, which the model answers rightly but for the third and the fourth."""
    facts = {}
    for label in labels.split():
        prompts = [f"{label} of {letter} is" for letter in LETTERS[:10]]
        answers = [
            (f"no{number}" if number in (2, 3) else written(model, tokenizer, each))
            for number, each in enumerate(prompts)
        ]
        facts[label] = [Question(prompt, ("nothing", answer)) for prompt, answer in zip(prompts, answers, strict=True)]
    return facts


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (" Rome", True),
        (' "Rome".', True),
        ("\n\nROME, the capital", True),
        (" the *Rome*", True),
        (" Romeo", False),
        (" in Rome", False),
        ("", False),
        (" New York City", True),
        (" New Yorkers", False),
        (" The Hague", True),
        (" Hague", True),
        (" St. Louis", True),
    ],
)
def test_an_answer_is_right_that_begins_with_an_accepted_one(text: str, right: bool) -> None:
    assert is_right(text, ["Rome", "New York", "The Hague", "St."]) == right


def test_our_questions_have_no_subject_twice_and_halves_with_the_same_kinds_of_answers() -> None:
    facts = read_facts()
    assert len(facts) == 12
    for label, questions in facts.items():
        assert len({question.prompt for question in questions}) == len(questions) == 30, label
        finding, held_out = (half(questions, name) for name in HALVES)
        assert len(finding) == len(held_out) == 15
        for question in questions:
            assert all(is_right(f" {answer}.", question.answers) for answer in question.answers)
            assert not any(is_right(question.prompt.rpartition(". ")[2], [answer]) for answer in question.answers)
    continents = [{question.answers for question in half(facts["country-continent"], name)} for name in HALVES]
    assert continents[0] == continents[1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "content as a mapping of 2 to 200"),
        ('{"a": {}, "b": {}}', "a.prompt as one line of text with {} where the subject goes, once"),
        ('{"a": {"prompt": "x {}", "answers": {"s": ["t"]}}, "b": {}}', "a.answers as a mapping of 4 to 1,000"),
        (
            '{"a": {"prompt": "x {}", "answers": {"s": ["the "], "t": ["u"], "v": ["w"], "y": ["z"]}}, "b": {}}',
            "a.answers.s.0 as one line of text with more than an article",
        ),
        ('{"a b": {}, "b": {}}', "each key a label"),
        ("{", "is not JSON"),
    ],
)
def test_questions_of_another_form_are_refused(content: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    file.write_text(content)
    with pytest.raises(BadFile, match=r"'facts.json'") as refused:
        read_facts(str(file))
    assert said in str(refused.value)


def test_the_drop_matrix_is_that_of_a_plain_loop(tokenizer: PreTrainedTokenizerFast) -> None:
    model = speaking(tokenizer)
    facts = facts_of(model, tokenizer, "aa bb cc")
    facts["cc"] = [Question(question.prompt, ("nothing",)) for question in facts["cc"]]
    mask = random_mask(SHAPE)
    mask = mask.chosen({label: torch.arange(mask.count(label)) % 4 == 0 for label in mask.languages})
    assert right_answers(model, tokenizer, facts) == {
        label: [int(label != "cc" and number not in (2, 3)) for number in range(10)] for label in facts
    }
    cells = Counting()
    found = drop_matrix(model, tokenizer, facts, mask, seeds=(3, 4), cells=cells)
    json.dumps(found, allow_nan=False)
    masks = {"own": mask, "random3": mask.random_like(None, 3), "random4": mask.random_like(None, 4)}
    assert cells.computed == [
        "relations untouched",
        *(f"relations {name} off={off}" for name in masks for off in ("aa", "bb")),
    ]
    assert found["asked"] == dict.fromkeys(facts, 10)
    assert found["right"] == {"aa": 8, "bb": 8, "cc": 0}
    assert found["neurons"] == {label: mask.count(label) for label in ("aa", "bb")}
    shares = set()
    for name, each in masks.items():
        for off in ("aa", "bb"):
            switched = speaking(tokenizer)
            zero_inputs_of_down(switched, each, off)
            for label in ("aa", "bb"):
                kept = [question for number, question in enumerate(facts[label]) if number not in (2, 3)]
                lost = sum(written(switched, tokenizer, one.prompt) != one.answers[1] for one in kept)
                assert found["masks"][name]["lost"][off][label]["value"] == lost / 8
                shares.add(lost)
    assert len(shares) > 2  # neither all nor nothing
    with pytest.raises(LapeError, match="answers 4 held-out questions rightly in 1 relations"):
        drop_matrix(model, tokenizer, {label: facts[label] for label in ("aa", "cc")}, mask, seeds=(0,))


def test_figures_by_hand() -> None:
    kept = {"a": [1, 1, 1, 1], "b": [1, 1, 1, 1], "c": [1, 1, 1, 1]}
    found = drop_figures(
        {
            "own": {
                "a": {**kept, "a": [1, 0, 0, 0], "c": [1, 1, 0, 0]},
                "b": {**kept, "b": [0, 0, 0, 0]},
                "c": kept,
            },
            "random0": {off: {**kept, "a": [0, 1, 1, 1]} for off in "abc"},
            "random1": dict.fromkeys("abc", kept),
        }
    )
    own = found["masks"]["own"]
    assert own["lost"]["a"]["a"]["value"] == 0.75
    assert own["lost"]["b"]["b"] == {"value": 1, "low": 1, "high": 1}
    assert {off: each["value"] for off, each in own["elsewhere"].items()} == {"a": 0.25, "b": 0, "c": 0}
    assert own["own"]["value"] == pytest.approx(1.75 / 3)
    assert own["others"]["value"] == pytest.approx(0.25 / 3)
    assert found["masks"]["random0"]["own"]["value"] == pytest.approx(0.25 / 3)
    assert found["random"]["own"]["value"] == pytest.approx(0.25 / 6)
    assert found["random"]["others"]["value"] == pytest.approx((2 * 0.25 / 2) / 3 / 2)
    assert found["over_random"]["value"] == pytest.approx(1.75 / 3 - 0.25 / 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A model with a file of questions, of which it answers two relations and little of a third."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    model = speaking(tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    facts = facts_of(model, tokenizer, "aa bb cc")
    content = {
        label: {
            "prompt": f"{label} of {{}} is",
            "answers": {
                question.prompt.split()[2]: ["nothing"] if label == "cc" and number > 5 else list(question.answers)
                for number, question in enumerate(questions)
            },
        }
        for label, questions in facts.items()
    }
    (folder / "facts.json").write_text(json.dumps(content))
    return folder


def test_from_questions_to_evidence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, given = tmp_path / "out", ["--model", str(folder), "--facts", str(folder / "facts.json")]
    with monkeypatch.context() as patch:
        patch.setattr(known_relations, "record_prompts", None)  # fails when everything is answered
        assert main(["relations", *given, "--out", str(out)]) == 1
    assert [path.name for path in out.iterdir()] == [known_relations.LEDGER_NAME]
    with monkeypatch.context() as patch:
        patch.setattr(known_relations, "right_answers", lambda *_: 1 / 0)  # nothing is asked again
        capsys.readouterr()
        assert main(["relations", *given, "--out", str(out), "--json"]) == 0
    # Of each half one of ten was wrong; of cc's only six were answered.
    assert json.loads(capsys.readouterr().out)["relations"] == {
        "aa": {"asked": 10, "right": 8, "recorded": True},
        "bb": {"asked": 10, "right": 8, "recorded": True},
        "cc": {"asked": 10, "right": 4, "recorded": False},
    }
    assert [path.name for path in out.iterdir()] == ["texts.safetensors"]
    means = TextMeans.load(out / "texts.safetensors")
    assert {label: len(rows) for label, rows in means.means.items()} == {"aa": 4, "bb": 4}
    assert main(["identify", str(out), "--method", "expert", "--top-rate", "0.1"]) == 0
    assert main(["evaluate", "relations", *given, "--mask", str(out), "--seeds", "2"]) == 0
    found = read_evidence(out / "evidence")["relations"]
    assert found["results"]["asked"] == {"aa": 5, "bb": 5}
    assert found["results"]["right"] == {"aa": 4, "bb": 4}
    assert found["results"]["neurons"] == {"aa": 14, "bb": 14}
    assert list(found["results"]["masks"]) == ["own", "random0", "random1"]
    assert found["command"].endswith("--facts facts.json --seeds 2")
    assert main(["report", str(out), "--html", str(tmp_path / "page.html")]) == 0
    assert "Right answers that are lost" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_cannot_be_recorded_or_measured_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--model", str(folder), "--out", str(tmp_path)]
    assert main(["relations", *given]) == 2  # of ours it answers none
    assert "two with 4 right answers in each half; the model has them in none." in capsys.readouterr().err
    (tmp_path / "statistics.safetensors").touch()
    assert main(["relations", *given]) == 2
    assert "a recording of languages: name another folder with --out" in capsys.readouterr().err
    mask_of({"en": [(0, 1)], "fr": [(1, 2)]}, method="lape", settings={}).save(tmp_path)
    assert main(["evaluate", "relations", "--model", "no/model", "--mask", str(tmp_path)]) == 2
    assert "no questions about en, fr; `lape relations` records relations" in capsys.readouterr().err
