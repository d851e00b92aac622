"""The text of a column, with what matters in it marked: where it leaves the untouched model's, where it breaks."""

from __future__ import annotations

from html import escape

from lape.demo.compare.columns import expected_language, title_of
from lape.demo.compare.comparison import Column, identify
from lape.demo.compare.request import CompareRequest
from lape.demo.words import say
from lape.evaluation.metrics.language import MIN_WIDTH, text_width
from lape.languages import base_language, language

LONGEST_MARK = 24  # characters of a word; scripts without spaces have few
WATCHED = ("on", "kept", "plain")  # columns whose answer is to be in the language that is kept


def text_box(name: str, column: Column, request: CompareRequest) -> str:
    """The text of a column as HTML.

    Args:
        name: Of the column.
        column: What it shows.
        request: What was asked.
    """
    if not (text := column.text.lstrip()):
        return empty_box(waiting=True) if column.finished is None else _box(say("column.nothing"))
    written = column.language.language or expected_language(name, request)
    skipped = len(column.text) - len(text)
    marks = {}
    if column.differs_at is not None:
        marks[max(column.differs_at - skipped, 0)] = ("lape-differs", say("column.differs_here"))
    if request.keep and name in WATCHED and (broken := breaks_at(text, request.keep, request)) is not None:
        marks[broken] = ("lape-breaks", say("column.breaks_here"))
    direction = "rtl" if language(written).rtl else "ltr"
    return (
        f'<div class="lape-text" dir="{direction}" lang="{escape(base_language(written))}" role="region" tabindex="0" '
        f'aria-label="{escape(title_of(name, request))}">{_marked(text, marks)}</div>'
    )


def empty_box(*, waiting: bool = False) -> str:
    """What stands in a column that has no text; whether one is on its way."""
    return _box("…" if waiting else say("compare.empty"))


def _box(said: str) -> str:
    return f'<div class="lape-text lape-empty" tabindex="0">{escape(said)}</div>'


def breaks_at(text: str, wanted: str, request: CompareRequest) -> int | None:
    """Where the first line begins that is in another language than wanted; None where there is none.

    Lines that are too short to say are passed over.
    """
    among = tuple(dict.fromkeys((wanted, request.source, *request.targets)))
    begin = 0
    for line in text.splitlines(keepends=True):
        if text_width(line.strip()) >= MIN_WIDTH:
            told = identify(among, line).language
            if told is not None and told != base_language(wanted):
                return begin
        begin += len(line)
    return None


def _marked(text: str, marks: dict[int, tuple[str, str]]) -> str:
    """The text, a word marked at some of its characters."""
    parts, done = [], 0
    for at, (kind, title) in sorted(marks.items()):
        end = word_end(text, at)
        word = text[at:end] or say("column.ends")
        parts += [escape(text[done:at]), f'<mark class="{kind}" title="{escape(title)}">{escape(word)}</mark>']
        done = end
    return "".join([*parts, escape(text[done:])])


def word_end(text: str, at: int) -> int:
    """Where the word at a character ends.

    Example:
        >>> word_end("dans une maison", 5)
        8
    """
    begun = at
    while begun < len(text) and text[begun].isspace():
        begun += 1
    words = text[begun : begun + LONGEST_MARK].split(maxsplit=1)
    return begun + len(words[0]) if words else begun
