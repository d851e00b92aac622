"""What a visitor asks the Find neurons tab for, checked; and the counting itself, which uses the model."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.demo.checks import Limit, checked_number, shown_value
from lape.demo.languages import names_listed
from lape.demo.sliders import checked_settings
from lape.demo.space import on_zero_gpu
from lape.demo.words import say
from lape.errors import LapeError, NotEnoughText, unknown_label
from lape.identify import methods_reading
from lape.models.inputs import check_characters, context_length
from lape.recording.beginnings import prefix_of
from lape.recording.corpora import read_corpora
from lape.recording.progress import Progress
from lape.recording.recorder import Recording
from lape.recording.sources import Source
from lape.recording.statistics import ActivationStatistics
from lape.recording.texts import Texts, count_tokens, fitting_block
from lape.storage.names import LABEL

MOST_LANGUAGES = 12
LEAST_TOKENS = 32  # of a language: four of the shortest blocks
WIKIPEDIA = "hf:wikimedia/wikipedia:20231101.{language}"
OWN, DATASET = "own", "dataset"
SHOW_SECONDS = 0.5
PASS_TOKENS = {"cpu": 1024}  # of one forward pass
PASS_TOKENS_ON_GPU = 4096


@dataclass(frozen=True)
class Allowance:
    """What one run may use.

    Attributes:
        tokens: Per language.
        characters: Of text, of all languages together.
        seconds: Of counting; None is as long as it takes.
    """

    tokens: int
    characters: int
    seconds: float | None


def allowance(shared: bool) -> Allowance:
    """What a run may use here: less on a page that others reach, least where a GPU is lent for a minute."""
    if on_zero_gpu():
        return Allowance(20_000, 500_000, 45)
    if shared:
        return Allowance(5_000, 300_000, 120)
    return Allowance(100_000, 5_000_000, None)


@dataclass(frozen=True)
class FindRequest:
    """One run.

    Attributes:
        sources: Language label to its text.
        tokens: Per language, at most.
        method: Of identification.
        settings: Of the method, those the page has.
    """

    sources: Mapping[str, Source]
    tokens: int
    method: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Counted:
    """What has been counted at a moment.

    Attributes:
        language: The one that is being read.
        tokens: Language to tokens counted.
        of_tokens: Language to tokens to count.
        block: Tokens per block.
        seconds: Since the counting began.
        late: Whether it ended for want of time.
        state: All counts so far.
    """

    language: str
    tokens: Mapping[str, int]
    of_tokens: Mapping[str, int]
    block: int
    seconds: float
    late: bool
    state: Progress

    @property
    def total_tokens(self) -> int:
        """Of all languages."""
        return sum(self.tokens.values())

    @property
    def total_of_tokens(self) -> int:
        """To count, of all languages."""
        return sum(self.of_tokens.values())

    @property
    def tokens_per_second(self) -> float:
        """Their rate since the beginning."""
        return self.total_tokens / max(self.seconds, 1e-6)

    @property
    def seconds_left(self) -> float | None:
        """An estimate at that rate; None before there is one."""
        left = self.total_of_tokens - self.total_tokens
        return left / self.tokens_per_second if self.total_tokens else None


def checked_find(
    kind: Any,
    labels: Sequence[Any],
    texts: Sequence[Any],
    dataset: Any,
    languages: Any,
    tokens: Any,
    method: Any,
    rates: Mapping[str, Any],
    *,
    shared: bool,
) -> FindRequest:
    """Builds a request from untrusted values.

    Args:
        kind: `own` for the texts of the page, `dataset`.
        labels: Of the rows of texts.
        texts: Of the rows; a row without text does not count.
        dataset: `hf:ID[:config]`; on one's own machine also a folder.
        languages: Labels to take from the dataset.
        tokens: Per language.
        method: Of identification.
        rates: Settings by name; those the method does not have do not count.
        shared: Whether others reach the page.

    Raises:
        LapeError: A value is not what it should be; one sentence that says what is allowed.
    """
    allowed = allowance(shared)
    if kind not in (OWN, DATASET) or not isinstance(kind, str):
        raise LapeError(f"The texts are from {OWN!r} or {DATASET!r}, not {shown_value(kind)}.")
    offered = methods_reading(ActivationStatistics)
    if not isinstance(method, str) or method not in offered:
        raise unknown_label("identification method", shown_value(method).strip("'"), offered)
    count = int(checked_number(Limit("Tokens per language", LEAST_TOKENS, allowed.tokens, 1, whole=True), tokens))
    settings = checked_settings(method, rates)
    sources = _own(labels, texts, allowed.characters) if kind == OWN else _dataset(dataset, languages, shared)
    if not 2 <= len(sources) <= MOST_LANGUAGES:
        raise LapeError(say("finding.languages", most=MOST_LANGUAGES, count=len(sources)))
    return FindRequest(sources, count, method, settings)


def _own(labels: Sequence[Any], texts: Sequence[Any], characters: int) -> dict[str, Source]:
    found: dict[str, Source] = {}
    left = characters
    for row, (label, text) in enumerate(zip(labels, texts, strict=True), start=1):
        if text is not None and not isinstance(text, str):
            raise LapeError(f"The text of row {row} must be text, not {shown_value(text)}.")
        if not text or not text.strip():
            continue
        code = checked_label(label, row)
        if code in found:
            raise LapeError(say("finding.twice", label=repr(code)))
        left -= len(text)
        if left < 0:
            raise LapeError(say("finding.too_long", most=characters))
        check_characters(text, f"text of row {row}")
        found[code] = Texts.of(text)
    return found


def _dataset(dataset: Any, languages: Any, shared: bool) -> dict[str, Source]:
    if shared:
        dataset = WIKIPEDIA
    if not isinstance(dataset, str) or not dataset.strip() or len(dataset) > 300 or not dataset.strip().isprintable():
        raise LapeError(say("finding.name_dataset", example=WIKIPEDIA))
    if not isinstance(languages, list) or len(languages) > MOST_LANGUAGES:
        raise LapeError(say("finding.choose_languages", most=MOST_LANGUAGES))
    chosen = [checked_label(label) for label in languages]
    return read_corpora(dataset.strip(), list(dict.fromkeys(chosen)))


def checked_label(label: Any, row: int | None = None) -> str:
    """A language's label as it is, without spaces around it.

    Args:
        label: Anything.
        row: Of the texts that it stands in; None where it is one of the dataset's.

    Raises:
        LapeError: It cannot be one.
    """
    if not isinstance(label, str) or not LABEL.fullmatch(label.strip()):
        where = "label_of_dataset" if row is None else "label_of_row"
        raise LapeError(say(f"finding.{where}", row=row, value=shown_value(label)))
    return label.strip()


def counting(
    model: PreTrainedModel, tokenizer: Tokenizer, texts: Mapping[str, Texts], tokens: int, seconds: float | None
) -> Generator[Counted, None, None]:
    """The work: counts activations of every language in turn, in blocks that suit the shortest text.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        texts: Language label to documents.
        tokens: Per language, at most.
        seconds: How long it may take; None is as long as it takes.

    Yields:
        What has been counted, twice a second at most, and the end always.

    Raises:
        NotEnoughText: A language has hardly any.
    """
    found = {code: count_tokens(tokenizer, source, tokens, code) for code, source in texts.items()}
    if short := [code for code, there in found.items() if there < LEAST_TOKENS]:
        raise NotEnoughText(say("finding.too_little", languages=names_listed(short), least=LEAST_TOKENS))
    context = context_length(model)
    longest = tokens if context is None else context - len(prefix_of(tokenizer))
    block = fitting_block(min(found.values()), longest)
    batch = max(PASS_TOKENS.get(model.device.type, PASS_TOKENS_ON_GPU) // block, 1)
    of_tokens = {code: there // block * block for code, there in found.items()}
    given: dict[str, Any] = {"in_turn": True, "groups": 2, "snapshots": (), "allow_short": True}
    recording = Recording(model, tokenizer, texts, tokens=max(of_tokens.values()), block=block, batch=batch, **given)
    began, sent = time.monotonic(), float("-inf")
    for step in recording:
        now = time.monotonic()
        late = seconds is not None and now - began > seconds and step.total_tokens > 0
        if late or now - sent >= SHOW_SECONDS or step.total_tokens == sum(of_tokens.values()):
            state = recording.state
            done = {code: state.tallies[code].blocks * block if code in state.tallies else 0 for code in texts}
            yield Counted(step.language, done, of_tokens, block, now - began, late, state)
            sent = now
        if late:
            return
