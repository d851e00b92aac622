"""Relations between things, as questions that have clear answers, and whether a text answers one.

The questions were written for this project, 30 for each relation in `relations.json`. Those on odd places are for
finding neurons, the others for measuring them (`lape.evaluation.metrics.openings.half`), so that no subject is in both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import BadFile
from lape.evaluation.metrics.continuations import Decoding, continue_prompts
from lape.evaluation.metrics.openings import FEWEST
from lape.generation.interventions import Plan
from lape.storage.json import parse_json, read_json
from lape.storage.schema import Form, is_label, is_text, listing, mapping, misfit, record

OWN_FACTS = "relations.json"
DECODING = Decoding(max_new_tokens=6, repetition_penalty=1.0)  # enough for an answer of a few words
FEWEST_RIGHT = 4  # right answers, in each half, with which a relation can be told from others

Right = list[int]  # 1 for each question that is answered rightly, 0 for the others

_BEFORE = re.compile(r"[\s\"'“‘*_]*(?:(?:the|an?)\s+[\"'“‘*_]*)?")  # quotation marks, emphasis and an article


def _bare(text: str) -> str:
    said = text.casefold()
    return said[_BEFORE.match(said).end() :]  # type: ignore[union-attr]


ANSWER = Form("one line of text with more than an article", lambda value: is_text(value) and bool(_bare(value)))
_FORM = mapping(
    record(
        {
            "prompt": Form(
                "one line of text with {} where the subject goes, once",
                lambda value: is_text(value) and value.count("{}") == 1,
            ),
            "answers": mapping(listing(ANSWER, least=1), least=FEWEST, most=1_000),
        }
    ),
    Form("a label of A-Z, a-z, 0-9, _ and -", is_label),
    least=2,
    most=200,
)


@dataclass(frozen=True)
class Question:
    """A text to go on with, and how it may go on.

    Attributes:
        prompt: The text.
        answers: Any of them is right.
    """

    prompt: str
    answers: tuple[str, ...]


Facts = Mapping[str, Sequence[Question]]  # by relation


def read_facts(path: str | None = None) -> dict[str, tuple[Question, ...]]:
    """The questions of each relation.

    Args:
        path: A JSON file, `{"capital": {"prompt": "The capital of {} is", "answers": {"France": ["Paris"], ...}},
            ...}`; None takes those of the project.

    Raises:
        BadFile: It is missing or has another form; says where.
    """
    if path is None:
        found = parse_json((files(__package__) / OWN_FACTS).read_bytes())
    else:
        found = read_json(path, name=repr(Path(path).name))
    if wrong := misfit(found, _FORM):
        raise BadFile(f"{Path(path or OWN_FACTS).name!r} does not say its {wrong}.")
    return {
        label: tuple(
            Question(relation["prompt"].replace("{}", subject), tuple(answers))
            for subject, answers in relation["answers"].items()
        )
        for label, relation in found.items()
    }


def is_right(text: str, answers: Iterable[str]) -> bool:
    """Whether a text begins with one of the answers, as whole words, in capitals or not, after an article or not.

    Example:
        >>> is_right(' "Rome".', ["Rome"]), is_right(" the yen and", ["yen"]), is_right(" Romeo", ["Rome"])
        (True, True, False)
    """
    said = _bare(text)
    return any(said.startswith(bare) and not said[len(bare) :][:1].isalpha() for bare in map(_bare, answers))


def right_answers(
    model: PreTrainedModel, tokenizer: Tokenizer, facts: Mapping[str, Sequence[Question]], plan: Plan | None = None
) -> dict[str, Right]:
    """Which questions a model answers rightly, by relation, going on greedily for 6 tokens.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        facts: Questions by relation.
        plan: None leaves the model untouched.
    """
    asked = [question for questions in facts.values() for question in questions]
    texts = iter(continue_prompts(model, tokenizer, [question.prompt for question in asked], plan, DECODING))
    return {
        label: [int(is_right(next(texts), question.answers)) for question in questions]
        for label, questions in facts.items()
    }


def only_right(facts: Facts, right: Mapping[str, Sequence[int]]) -> dict[str, tuple[Question, ...]]:
    """The questions that were answered rightly, of the relations of which enough were."""
    found = {
        label: tuple(question for question, one in zip(questions, right[label], strict=True) if one)
        for label, questions in facts.items()
    }
    return {label: questions for label, questions in found.items() if len(questions) >= FEWEST_RIGHT}


def described(facts: Facts) -> dict[str, Any]:
    """Questions as JSON holds them, to tell whether they are the same."""
    return {label: [[each.prompt, *each.answers] for each in questions] for label, questions in facts.items()}
