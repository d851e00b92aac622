"""What switching a language off costs: can the model still tell the next line of a text from three others?

An item is a line of a held-out document and four candidates: the line that follows it, and three lines of other
documents in the same language. The model is right when the true one has the highest log-probability per UTF-8 byte.
Guessing is right in one of four.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import NotEnoughText
from lape.evaluation.metrics.bootstrap import Figure, draws, mean, ratio
from lape.evaluation.metrics.cells import Cells, fresh, one_by_one
from lape.evaluation.metrics.language import text_width
from lape.evaluation.metrics.likelihood import negative_log_likelihoods
from lape.generation.interventions import Intervention
from lape.generation.passages import Passage
from lape.masks.mask import NeuronMask
from lape.recording.beginnings import beginning_of
from lape.recording.sources import Source, open_source

CONTEXT_COLUMNS, LINE_COLUMNS, NARROWEST = 160, 80, 20
DISTRACTORS, POOL = 3, 12
ROWS = 16  # candidates scored in one pass


@dataclass(frozen=True)
class Item:
    """A question with four answers.

    Attributes:
        context: The end of a line, with its line break.
        candidates: Beginnings of lines; the first is the one that follows.
    """

    context: str
    candidates: tuple[str, ...]


def next_line_items(source: Source, count: int, seed: int, language: str) -> list[Item]:
    """Makes items from a text; the same text and seed give the same ones.

    Lines narrower than 20 columns are passed over; of a longer one the last 160 columns are read and the first 80
    asked for. The three others are those nearest in length of twelve random lines, so that length tells nothing.

    Args:
        source: Documents of several lines.
        count: How many items, at least 1.
        seed: Of the choice.
        language: Whose text it is, for the error.

    Raises:
        NotEnoughText: There are fewer pairs of lines, or not enough other lines.
    """
    documents = [
        [line.strip() for line in document.split("\n") if text_width(line.strip()) >= NARROWEST]
        for document in open_source(source, language)
    ]
    follows = [(place, line) for place, document in enumerate(documents) for line in range(len(document) - 1)]
    lines = [(place, _first(line)) for place, document in enumerate(documents) for line in dict.fromkeys(document)]
    chooser = random.Random(f"{seed} {language}")
    chosen = chooser.sample(follows, count) if len(follows) >= count else []
    items = []
    for place, line in chosen:
        true = _first(documents[place][line + 1])
        others = list(dict.fromkeys(text for other, text in lines if other != place and text != true))
        if len(others) < POOL:
            break
        pool = chooser.sample(others, POOL)
        pool.sort(key=lambda text: abs(_bytes(text) - _bytes(true)))
        items.append(Item(_last(documents[place][line]) + "\n", (true, *pool[:DISTRACTORS])))
    if len(items) < count or not count:
        raise NotEnoughText(
            f"The held-out text of {language!r} has {len(follows)} pairs of lines in {len(documents)} documents; "
            f"{count} items were asked for, and each needs {POOL} lines of other documents. Add text, or ask for fewer."
        )
    return items


def next_line_scores(
    model: PreTrainedModel, tokenizer: Tokenizer, items: Sequence[Item], plan: Intervention | None
) -> list[list[float]]:
    """Log-probability per byte, in nats, of every candidate of every item after its context.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        items: The questions.
        plan: None for the untouched model.
    """
    pairs = [(item.context, text) for item in items for text in item.candidates]
    ids = tokenizer([text for pair in pairs for text in pair], add_special_tokens=False, verbose=False)["input_ids"]
    start = beginning_of(tokenizer)
    rows = [Passage(start + context, text) for context, text in zip(ids[::2], ids[1::2], strict=True)]
    order = sorted(range(len(rows)), key=lambda row: len(rows[row].context) + len(rows[row].scored))  # less padding
    found = [0.0] * len(rows)
    for first in range(0, len(order), ROWS):
        batch = order[first : first + ROWS]
        for row, nats in zip(batch, negative_log_likelihoods(model, [rows[row] for row in batch], plan), strict=True):
            found[row] = -nats / _bytes(pairs[row][1])
    each = 1 + DISTRACTORS
    return [found[first : first + each] for first in range(0, len(found), each)]


def next_line_check(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    items: Mapping[str, Sequence[Item]],
    mask: NeuronMask,
    cells: Cells = fresh,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Accuracy before and after each language of a mask is switched off, in every language.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        items: By language, at least two of each.
        mask: Its languages are those switched off.
        cells: Keeps results; see `lape.evaluation.runs.ledger`.
        seed: Of the resamples.

    Returns:
        items: language of the text -> how many
        guessing: accuracy of a guess
        before: text -> accuracy
        after: language off -> text -> accuracy, and change: after minus before
        elsewhere: language off -> change, the mean over the other texts
        Accuracies and changes are {value, low, high}, the ends of a bootstrap interval over items; a change is
        paired item by item.
    """

    def right(code: str, off: str | None) -> list[int]:
        plan = None if off is None else Intervention(mask, off=off)
        return [int(true > max(others)) for true, *others in next_line_scores(model, tokenizer, items[code], plan)]

    def key(code: str, off: str | None) -> str:
        return f"harm off={off or ''} text={code}"

    asked = [(code, off) for off in (None, *mask.languages) for code in items]
    found = cells(one_by_one({key(*each): partial(right, *each) for each in asked}))
    before = {code: found[key(code, None)] for code in items}
    after = {off: {code: found[key(code, off)] for code in items} for off in mask.languages}
    return next_line_figures(before, after, seed=seed)


def next_line_figures(
    before: Mapping[str, Sequence[int]], after: Mapping[str, Mapping[str, Sequence[int]]], *, seed: int = 0
) -> dict[str, Any]:
    """The figures of `next_line_check` from 1 or 0 for each item, by text, and by language off and text."""
    drawn = {code: draws(len(right), code, seed) for code, right in before.items()}

    def share(of_items: Sequence[int], code: str) -> Figure:
        return ratio(of_items, [1] * len(of_items), drawn[code])

    changes = {
        off: {
            code: share([new - old for new, old in zip(right, before[code], strict=True)], code)
            for code, right in texts.items()
        }
        for off, texts in after.items()
    }
    others = {off: [change for code, change in texts.items() if code != off] for off, texts in changes.items()}
    return {
        "items": {code: len(right) for code, right in before.items()},
        "guessing": 1 / (1 + DISTRACTORS),
        "before": {code: {"accuracy": share(right, code).interval()} for code, right in before.items()},
        "after": {
            off: {
                code: {"accuracy": share(right, code).interval(), "change": changes[off][code].interval()}
                for code, right in texts.items()
            }
            for off, texts in after.items()
        },
        "elsewhere": {off: {"change": mean(changed).interval()} for off, changed in others.items() if changed},
    }


def _first(line: str) -> str:
    """A line's first columns."""
    return _within(line, LINE_COLUMNS)


def _last(line: str) -> str:
    """A line's last columns."""
    return _within(line[::-1], CONTEXT_COLUMNS)[::-1]


def _within(text: str, columns: int) -> str:
    text = text[:columns]  # a character fills one column or two
    while text_width(text) > columns:
        text = text[:-1]
    return text


def _bytes(text: str) -> int:
    return len(text.encode())
