"""What stands above and below the text of a column, as HTML in which every variable is escaped."""

from __future__ import annotations

from html import escape

from lape.demo.backend import Column
from lape.demo.request import CompareRequest
from lape.evaluation.language import MIN_WIDTH
from lape.interventions import Intervention
from lape.languages import language

TITLES = {"on": "On", "off": "Off", "steered": "Steered", "random": "Random"}
ENDINGS = {"eos": "the model ended it", "stopped": "stopped"}


def head(name: str, variant: Intervention | None, request: CompareRequest) -> str:
    """Title of a column, and how many neurons are changed in it."""
    return (
        f'<div class="lape-head lape-{escape(name)}"><h2>{escape(TITLES[name])}</h2>'
        f"<p>{escape(_changed(name, variant, request))}</p></div>"
    )


def _changed(name: str, variant: Intervention | None, request: CompareRequest) -> str:
    if variant is None:
        return "The untouched model"
    off, on = len(variant.off_neurons), len(variant.on_neurons)
    if name == "random":
        return f"Control: {_count(off, 'random')} off" + (f", {on:,} on" if variant.on else "")
    text = f"{_count(off, language(request.source).name)} off"
    return f"{text}, {on:,} {language(request.target).name} on" if variant.on else text


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
    return f'<div class="lape-badges">{"".join(shown)}<span class="lape-facts">{escape(" · ".join(facts))}</span></div>'


def _language_badge(column: Column, request: CompareRequest) -> str:
    found = column.language
    if found.gibberish:
        return _badge("no language", "warn", "A classifier of all languages finds none in this text")
    if found.language is None:
        return _badge("too short to say", "none", f"The language is told from {MIN_WIDTH} characters on")
    percent = ">99" if found.confidence > 0.995 else f"{found.confidence:.0%}".rstrip("%")
    tone = {request.source: "source", request.target: "target"}.get(found.language, "other")
    return _badge(f"{language(found.language).name} {percent} %", tone, "Language of this text, told by py3langid")


def _badge(text: str, tone: str, title: str) -> str:
    return f'<span class="lape-badge lape-tone-{tone}" title="{escape(title)}">{escape(text)}</span>'


def status(text: str, *, failed: bool = False) -> str:
    """The line under the buttons: what is going on, or what was wrong."""
    if failed:
        return f'<p class="lape-status lape-failed" role="alert">{escape(text)}</p>'
    return f'<p class="lape-status" role="status">{escape(text)}</p>'


def facts(*texts: str) -> str:
    """A row of small facts about the model."""
    return f'<p class="lape-model">{"".join(f"<span>{escape(text)}</span>" for text in texts)}</p>'
