"""A recording of what a model knows: its activations over the questions that it answers rightly, by relation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.evaluation.metrics.cells import one_by_one
from lape.evaluation.metrics.openings import DEV, TEST, half
from lape.evaluation.metrics.relations.facts import (
    DECODING,
    FEWEST_RIGHT,
    Facts,
    Question,
    Right,
    described,
    only_right,
    right_answers,
)
from lape.evaluation.runs.evidence import json_hash
from lape.evaluation.runs.ledger import Ledger
from lape.models.identity import identity
from lape.recording.averaging import record_prompts
from lape.storage.names import STATISTICS_NAME, TEXTS_NAME
from lape.storage.placing import placed, prepare

LEDGER_NAME = "relations.cells.jsonl"  # answers that are known, until the recording is made


@dataclass(frozen=True)
class Known:
    """What a model answered rightly.

    Attributes:
        path: Of the recording.
        asked: Relation to how many questions were asked.
        right: Relation to how many were answered rightly of those for finding, and of those held out.
        recorded: Relations with enough right answers in both halves.
    """

    path: Path
    asked: Mapping[str, int]
    right: Mapping[str, tuple[int, int]]
    recorded: tuple[str, ...]


def check_folder(folder: Path, way_out: str) -> None:
    """Refuses, before a model is loaded, a folder that cannot be written to, or that holds a recording of languages.

    Raises:
        LapeError: Says which, and the way out.
    """
    prepare(folder, way_out)
    if (folder / STATISTICS_NAME).exists():
        raise LapeError(f"{str(folder)!r} holds {STATISTICS_NAME}, a recording of languages: {way_out}.")


def record_known(folder: Path, model: PreTrainedModel, tokenizer: Tokenizer, facts: Facts, *, way_out: str) -> Known:
    """Asks every question and writes `texts.safetensors`: activations over the prompts of those answered rightly.

    Of each relation the half that is for finding is recorded. Answers are kept in the folder as they come, so that
    after a kill none is asked for again.

    Args:
        folder: To write to, see `check_folder`.
        model: A causal language model.
        tokenizer: Its tokenizer.
        facts: Questions by relation.
        way_out: What the user can do when the folder cannot be written.

    Raises:
        CheckpointMismatch: Answers of another model or to other questions are kept there.
        LapeError: Fewer than two relations have 4 right answers in each half.
    """
    settings = {
        "loaded": asdict(identity(model)),
        "facts": json_hash(described(facts)),
        "decoding": asdict(DECODING),
    }
    right: dict[str, Right] = {}
    with Ledger(folder / LEDGER_NAME, settings) as ledger, tqdm(facts.items(), unit="relation") as bar:
        for label, questions in bar:
            bar.set_description(label)
            asking = partial(right_answers, model, tokenizer, {label: questions})
            right |= ledger.cells(one_by_one({label: asking}))[label]
    finding, held_out = (_right_of(facts, right, name) for name in (DEV, TEST))
    recorded = {label: questions for label, questions in finding.items() if label in held_out}
    if len(recorded) < 2:
        raise LapeError(
            f"Telling relations apart needs two with {FEWEST_RIGHT} right answers in each half; the model has them in "
            f"{', '.join(recorded) or 'none'}. Take a larger model, or easier questions with --facts."
        )
    prompts = {label: [question.prompt for question in questions] for label, questions in recorded.items()}
    means = record_prompts(model, tokenizer, prompts, source="questions of relations that are answered rightly")
    with placed(folder, way_out=way_out, without=[LEDGER_NAME]) as staged:
        means.save(staged / TEXTS_NAME)
    return Known(
        folder / TEXTS_NAME,
        {label: len(questions) for label, questions in facts.items()},
        {label: (sum(half(each, DEV)), sum(half(each, TEST))) for label, each in right.items()},
        tuple(recorded),
    )


def _right_of(facts: Facts, right: Mapping[str, Right], name: str) -> dict[str, tuple[Question, ...]]:
    """The questions of a half that were answered rightly, of the relations with enough of them."""
    asked = {label: half(questions, name) for label, questions in facts.items()}
    return only_right(asked, {label: half(each, name) for label, each in right.items()})
