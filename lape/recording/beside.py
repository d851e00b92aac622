"""The recordings that some methods read, made and kept beside activation statistics."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.recording.backward import record_relevance
from lape.recording.importance import Importance
from lape.recording.recorded import Recorded
from lape.recording.relevance import GradientRelevance, Relevance
from lape.recording.sources import Source
from lape.recording.weighing import record_importance
from lape.storage.placing import WAY_OUT, placed

MOST_TOKENS, LONGEST_BLOCK = 10_000, 128  # per language; of what needs many short texts, and costs more than counting
STEPS = "steps"  # folder of what is made of each language, until all are done


@dataclass(frozen=True)
class Beside:
    """One of them.

    Attributes:
        kind: What comes out.
        record: `(model, tokenizer, corpora, *, tokens, block, allow_short, kept) -> kind`.
        text: What it is, in one line.
    """

    kind: type[Recorded]
    record: Callable[..., Recorded]
    text: str


RECORDINGS: Mapping[str, Beside] = {
    "relevance": Beside(Relevance, record_relevance, "relevance for the model's predictions, by passes back"),
    "gradient": Beside(
        GradientRelevance, partial(record_relevance, kind=GradientRelevance), "the same by plain gradients"
    ),
    "importance": Beside(Importance, record_importance, "ranks by what each neuron adds to its layer's output"),
}


def record_beside(
    folder: Path,
    names: Sequence[str],
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    corpora: Mapping[str, Source],
    *,
    tokens: int,
    block: int,
    allow_short: bool = False,
    way_out: str = WAY_OUT,
) -> list[Path]:
    """Makes some recordings and writes each to its file as soon as it is done.

    What is made of a language is kept in the folder until then, so that after a kill no language is read twice.

    Args:
        folder: Where the statistics are.
        names: Of `RECORDINGS`.
        model: A causal language model.
        tokenizer: Its tokenizer.
        corpora: Language code to documents.
        tokens: Per language; no more than 10,000 are read.
        block: Tokens per block; no more than 128 are taken.
        allow_short: Take a language that has less text than asked.
        way_out: What the user can do when the folder cannot be written.

    Returns:
        The files.

    Raises:
        LapeError: As the recordings do.
    """
    files = []
    for name in names:
        beside = RECORDINGS[name]
        recorded = beside.record(
            model,
            tokenizer,
            corpora,
            tokens=min(tokens, MOST_TOKENS),
            block=min(block, LONGEST_BLOCK),
            allow_short=allow_short,
            kept=folder / STEPS / name,
        )
        with placed(folder, way_out=way_out) as staged:
            recorded.save(staged / beside.kind.file)
        shutil.rmtree(folder / STEPS / name)
        files.append(folder / beside.kind.file)
    if (folder / STEPS).is_dir() and not any((folder / STEPS).iterdir()):
        (folder / STEPS).rmdir()
    return files
