"""What stands above and below the text of a column, as HTML in which every variable is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from lape.demo.compare.chat import instruction
from lape.demo.compare.comparison import Column
from lape.demo.compare.request import CompareRequest
from lape.demo.compare.variants import STEERED
from lape.demo.words import word
from lape.evaluation.metrics.language import MIN_WIDTH
from lape.generation.interventions import Entry, Intervention
from lape.generation.residual import ResidualIntervention
from lape.languages import base_language, language

ENDINGS = {"eos": "the model ended it", "stopped": "stopped"}
BEFORE, AFTER = 40, 60  # characters shown around the first difference


def kind_of(name: str) -> str:
    """What kind of column it is: `on`, `off`, `steered`, `residual`, `plain` or `random`."""
    return "steered" if name.startswith(STEERED) else name


def expected_language(name: str, request: CompareRequest) -> str:
    """The language a column's text should be in."""
    if name.startswith(STEERED):
        return name.removeprefix(STEERED)
    return request.targets[0] if name in ("plain", "residual") else request.source


def head(name: str, variant: Entry | None, request: CompareRequest) -> str:
    """Title of a column, and what is changed in it."""
    kind = kind_of(name)
    title = word(f"compare.column_{kind}")  # gradio translates it where it stands
    if kind == "steered":
        title += f": {escape(language(expected_language(name, request)).name)}"
    elif kind == "residual":
        title += f": {escape(request.switching)}"
    return (
        f'<div class="lape-head lape-{escape(kind)}"><h2>{title}</h2>'
        f"<p>{escape(_changed(name, variant, request))}</p></div>"
    )


def _changed(name: str, variant: Entry | None, request: CompareRequest) -> str:
    if isinstance(variant, ResidualIntervention):
        return f"No neurons changed; the residual stream is moved to {language(variant.on).name}"
    if not isinstance(variant, Intervention):
        return f"No neurons changed; asked: “{instruction(request)}”" if name == "plain" else "The untouched model"
    off, on = len(variant.off_neurons), len(variant.on_neurons)
    if name == "random":
        return f"Control: {_count(off, 'random')} off" + (f", {on:,} on" if variant.on else "")
    text = f"{_count(off, language(request.source).name)} off"
    return f"{text}, {on:,} {language(variant.on).name} on" if variant.on else text


def _count(number: int, kind: str) -> str:
    return f"{number:,} {kind} neuron{'' if number == 1 else 's'}"


def badges(column: Column | None, request: CompareRequest) -> str:
    """Language, speed, repetition and ending of a column; empty before there is any text."""
    if column is None:
        return '<div class="lape-badges"></div>'
    shown = [_language_badge(column, request)]
    if column.repeats:
        shown.append(_badge("repeats itself", "warn", "Much of this text occurred before in it: try less strength"))
    facts = [f"{column.new_tokens} token{'' if column.new_tokens == 1 else 's'}"]
    facts.append(f"{column.tokens_per_second:.1f} tokens/s")
    if column.finished in ENDINGS:
        facts.append(ENDINGS[column.finished])
    shown.append(f'<span class="lape-facts">{escape(" · ".join(facts))}</span>')
    return f'<div class="lape-badges">{"".join(shown)}</div>{_difference(column)}'


def _difference(column: Column) -> str:
    """The first point of difference from the untouched model, with what is around it."""
    if (at := column.differs_at) is None:
        return ""
    before, after = column.text[max(at - BEFORE, 0) : at].lstrip(), column.text[at : at + AFTER].rstrip()
    before = f"…{before}" if at > BEFORE else before
    after = f"{after}…" if len(column.text) > at + AFTER else after or "(it ends here)"
    return (
        '<p class="lape-difference"><span class="lape-facts">Differs from on here:</span> '
        f'<bdi dir="auto">{escape(before)}<mark>{escape(after)}</mark></bdi></p>'
    )


def _language_badge(column: Column, request: CompareRequest) -> str:
    found = column.language
    if found.gibberish:
        return _badge("no language", "warn", "A classifier of all languages finds none in this text")
    if found.language is None:
        return _badge("too short to say", "none", f"The language is told from {MIN_WIDTH} characters on")
    percent = ">99" if found.confidence > 0.995 else f"{found.confidence:.0%}".rstrip("%")
    tone = "source" if found.language == base_language(request.source) else "other"
    tone = "target" if found.language in map(base_language, request.targets) else tone
    return _badge(f"{language(found.language).name} {percent} %", tone, "Language of this text, told by py3langid")


def _badge(text: str, tone: str, title: str) -> str:
    return f'<span class="lape-badge lape-tone-{tone}" title="{escape(title)}">{escape(text)}</span>'


def conversation(messages: Sequence[Mapping[str, str]]) -> str:
    """What was said in a chat, each paragraph in its own direction; it opens at its end."""
    said = [
        f'<p class="lape-said lape-{escape(message["role"])}" dir="auto">{escape(message["content"].strip())}</p>'
        for message in messages
    ]
    if not said:
        said = [f'<p class="lape-facts">{word("compare.empty")}</p>']
    return f'<div class="lape-talk" role="log" aria-label="Conversation" tabindex="0"><div>{"".join(said)}</div></div>'
