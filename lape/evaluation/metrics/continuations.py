"""Continue openings under many conditions in large batches, and measure every continuation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.evaluation.metrics.cells import Cells, Task, fresh
from lape.evaluation.metrics.language import Identifier
from lape.evaluation.metrics.likelihood import negative_log_likelihoods
from lape.evaluation.metrics.repetition import compression_ratio, repeated_ngrams
from lape.generation.generate import generate_rows
from lape.generation.interventions import Entry, Plan
from lape.generation.passages import Passage
from lape.generation.prompts import Prompt, prompt_ids
from lape.generation.settings import REPETITION_PENALTY
from lape.languages import base_language
from lape.models.architectures import input_device

ROWS_CPU, ROWS_GPU = 80, 512

Kind = Literal["target", "source", "other", "gibberish", "short"]


@dataclass(frozen=True)
class Decoding:
    """How continuations are made: greedily.

    Attributes:
        max_new_tokens: Tokens per continuation.
        repetition_penalty: 1 is none.
        rows: Continuations in one batch; None takes what suits the device. On a CPU 80 take 0.6 times as long per row
            as 20, and more gain little.
    """

    max_new_tokens: int = 32
    repetition_penalty: float = REPETITION_PENALTY
    rows: int | None = None

    def __post_init__(self) -> None:
        if self.rows is not None and self.rows < 1:
            raise LapeError(f"rows must be at least 1, not {self.rows}.")

    def rows_on(self, model: PreTrainedModel) -> int:
        """Continuations in one batch on the device that a model is on."""
        return self.rows or (ROWS_CPU if input_device(model).type == "cpu" else ROWS_GPU)


@dataclass(frozen=True)
class Bench:
    """What every measurement of continuations needs."""

    model: PreTrainedModel
    tokenizer: Tokenizer
    identifier: Identifier
    decoding: Decoding = Decoding()


@dataclass(frozen=True)
class Case:
    """Openings of one language to continue under one condition: one cell.

    Attributes:
        key: Names the cell.
        openings: What the continuations are read after when their perplexity is measured.
        prompts: What the model is given, one for each opening; usually the opening.
        intervention: None leaves the model untouched.
    """

    key: str
    openings: Sequence[str]
    prompts: Sequence[Prompt]
    intervention: Entry | None = None


@dataclass(frozen=True)
class Output:
    """One continuation.

    Attributes:
        text: What the model wrote.
        language: Its base language, or None when it is too short to say.
        gibberish: Whether it is in no language.
        repeated_4gram_share: Share of its 4-grams of tokens that occurred before in it.
        compression_ratio: See `lape.evaluation.metrics.repetition`.
        nll_nats: Negative log-likelihood of the text after its opening, under the untouched model, over all tokens.
        tokens: Tokens of the text, as it is read after its opening.
        bytes: Of the text, in UTF-8.
    """

    text: str
    language: str | None
    gibberish: bool
    repeated_4gram_share: float
    compression_ratio: float
    nll_nats: float
    tokens: int
    bytes: int

    def kind(self, source: str, target: str) -> Kind:
        """What the text counts as. What is in no language is gibberish, whichever language it is nearest to.

        Varieties of one language are not told apart: a text in `pt` is in the target `pt-BR`.
        """
        if self.gibberish:
            return "gibberish"
        if self.language is None:
            return "short"
        told = base_language(self.language)
        return "target" if told == base_language(target) else "source" if told == base_language(source) else "other"


def continue_prompts(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    plan: Plan | None = None,
    decoding: Decoding = Decoding(),
) -> list[str]:
    """Continues prompts greedily, in batches of `decoding.rows_on(model)`.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompts: Texts, or chat messages.
        plan: One intervention for all prompts, or one (or None) per prompt; None leaves all untouched.
        decoding: How.
    """
    texts: list[str] = []
    rows = decoding.rows_on(model)
    for start in range(0, len(prompts), rows):
        chosen = slice(start, start + rows)
        edits = plan if plan is None or isinstance(plan, Entry) else plan[chosen]
        *_, last = generate_rows(
            model,
            tokenizer,
            prompts[chosen],
            edits,
            max_new_tokens=decoding.max_new_tokens,
            repetition_penalty=decoding.repetition_penalty,
        )
        texts += [last.texts[row] for row in range(len(prompts[chosen]))]
    return texts


def continue_cases(bench: Bench, cases: Sequence[Case], cells: Cells = fresh) -> dict[str, list[Output]]:
    """Continues and measures cases, several in one batch, each row under its own intervention.

    Cases that follow each other share batches, whichever of them are kept already, so that a run that was stopped
    gives what it would have given; put those with the same openings side by side.

    Args:
        bench: The model and how to measure.
        cases: With different keys.
        cells: Keeps the outputs of each case under its key.

    Returns:
        Key of each case to its outputs, in the order of its openings.
    """
    batches = _batches(cases, bench.decoding.rows_on(bench.model))
    found = cells([Task(tuple(case.key for case in batch), partial(_measure, bench, batch)) for batch in batches])
    return {case.key: [Output(**row) for row in found[case.key]] for case in cases}


def continuation(tokenizer: Tokenizer, opening: str, text: str) -> Passage:
    """A text after an opening, as tokens: those that the two together have beyond those of the opening alone.

    A token across the border counts to the text. Where nothing comes before the text's first token, as when a
    tokenizer without BOS makes one token of the whole opening and more, that token is read and not scored.
    """
    alone, both = (prompt_ids(tokenizer, part) for part in (opening, opening + text))
    same = next((place for place, (a, b) in enumerate(zip(alone, both, strict=False)) if a != b), len(alone))
    same = max(1, min(same, len(both)))
    return Passage(both[:same], both[same:])


def _batches(cases: Sequence[Case], rows: int) -> Iterator[list[Case]]:
    """Cases together, at most so many rows, but at least one case."""
    batch: list[Case] = []
    for case in cases:
        if batch and sum(len(other.prompts) for other in (*batch, case)) > rows:
            yield batch
            batch = []
        batch.append(case)
    if batch:
        yield batch


def _measure(bench: Bench, cases: Sequence[Case]) -> Mapping[str, list[dict[str, Any]]]:
    prompts = [prompt for case in cases for prompt in case.prompts]
    openings = [opening for case in cases for opening in case.openings]
    plan = [case.intervention for case in cases for _ in case.prompts]
    texts = continue_prompts(bench.model, bench.tokenizer, prompts, plan, bench.decoding)
    passages = [continuation(bench.tokenizer, *pair) for pair in zip(openings, texts, strict=True)]
    written = [passage for passage in passages if passage.scored]
    sums = iter(negative_log_likelihoods(bench.model, written) if written else ())
    outputs = iter(
        [
            _output(bench.identifier, text, passage.scored, next(sums) if passage.scored else 0.0)
            for text, passage in zip(texts, passages, strict=True)
        ]
    )
    return {case.key: [asdict(next(outputs)) for _ in case.prompts] for case in cases}


def _output(identifier: Identifier, text: str, ids: Sequence[int], nats: float) -> Output:
    found = identifier.identify(text)
    return Output(
        text=text,
        language=found.language,
        gibberish=found.gibberish,
        repeated_4gram_share=repeated_ngrams(ids),
        compression_ratio=compression_ratio(text),
        nll_nats=nats,
        tokens=len(ids),
        bytes=len(text.encode()),
    )
