"""What stands above the text of a column, as HTML in which every variable is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from lape.demo.compare.chat import instruction
from lape.demo.compare.comparison import Column
from lape.demo.compare.request import DEFAULTS, CompareRequest
from lape.demo.compare.variants import STEERED
from lape.demo.languages import name_of
from lape.demo.words import say
from lape.evaluation.metrics.language import MIN_WIDTH
from lape.evaluation.metrics.quality import BROKEN, COSTS_NATS, Quality
from lape.generation.interventions import Entry, Intervention
from lape.generation.residual import ResidualIntervention
from lape.languages import base_language


def kind_of(name: str) -> str:
    """What kind of column it is: `on`, `off`, `steered`, `kept`, `residual`, `plain` or `random`."""
    return "steered" if name.startswith(STEERED) else name


def expected_language(name: str, request: CompareRequest) -> str:
    """The language a column's text should be in."""
    if name.startswith(STEERED):
        return name.removeprefix(STEERED)
    if name == "kept" or (name == "plain" and request.keep):
        return request.keep
    return request.targets[0] if name in ("plain", "residual") else request.source


def title_of(name: str, request: CompareRequest) -> str:
    """What a column is called."""
    kind = kind_of(name)
    title = say(f"column.{kind}")
    return f"{title}: {name_of(expected_language(name, request))}" if kind in ("steered", "kept", "residual") else title


def head(name: str, variant: Entry | None, request: CompareRequest) -> str:
    """Title of a column, and what is changed in it."""
    return (
        f'<div class="lape-head lape-{escape(kind_of(name))}"><h2>{escape(title_of(name, request))}</h2>'
        f"<p>{escape(_changed(name, variant, request))}</p></div>"
    )


def _changed(name: str, variant: Entry | None, request: CompareRequest) -> str:
    if isinstance(variant, ResidualIntervention):
        return say("column.stream_moved", way=say(f"methods.way_{variant.method}"))
    if not isinstance(variant, Intervention):
        return say("column.asked", words=instruction(request)) if name == "plain" else say("column.untouched")
    off, on = len(variant.off_neurons), len(variant.on_neurons)
    if name == "random":
        said = [say("column.random_off", count=off), *([say("column.random_on", count=on)] if variant.on else [])]
    elif request.only and name != "kept":
        said = [say("column.named_off", count=off)] if off or not variant.on else []
        said += [say("column.named_on", count=on, language=name_of(variant.on))] if variant.on else []
    else:
        others = name == "kept"
        said = [say("column.off_others" if others else "column.off_of", count=off, language=name_of(request.source))]
        said += [say("column.on_of", count=on, language=name_of(variant.on))] if variant.on else []
    where = [say("column.in_layers", layers=request.layers)] if request.layers else []
    return say("column.and").join([*said, *where])


def badges(column: Column | None, request: CompareRequest = DEFAULTS) -> str:
    """Language, speed, repetition and ending of a column; empty before there is any text."""
    if column is None:
        return '<div class="lape-badges"></div>'
    shown = [_language_badge(column, request)]
    if column.repeats:
        shown.append(_badge(say("quality.repeats"), "warn", say("quality.repeats_title")))
    facts = [say("quality.tokens", count=column.new_tokens)]
    if column.tokens_per_second:  # not of what was made before, maybe elsewhere
        facts.append(say("quality.speed", speed=f"{column.tokens_per_second:.1f}"))
    if column.finished in ("eos", "stopped"):
        facts.append(say(f"quality.{column.finished}"))
    shown.append(f'<span class="lape-facts">{escape(" · ".join(facts))}</span>')
    return f'<div class="lape-badges">{"".join(shown)}</div>'


def told_of(column: Column, request: CompareRequest) -> str:
    """The language of a column's text and how good it is, in a few words."""
    return _told(column, request)[0]


def _language_badge(column: Column, request: CompareRequest) -> str:
    return _badge(*_told(column, request))


def _told(column: Column, request: CompareRequest) -> tuple[str, str, str]:
    """What the badge says, its tone and its title; how sure the language is, only of a text that can be read."""
    found, quality = column.language, column.quality
    broken = quality is not None and quality.word == BROKEN
    if found.language is None and not broken:
        return say("quality.short"), "none", say("quality.from", columns=MIN_WIDTH)
    if found.gibberish or found.language is None:
        return say("quality.no_language"), "warn", quality_reasons(quality)
    name, title = name_of(found.language), say("quality.by")
    if quality is None:
        return name, _tone(found.language, request), title
    word, title = say(f"quality.{quality.word}"), f"{title} {quality_reasons(quality)}"
    if broken:
        return say("quality.nearest", word=word, language=name), "warn", title
    said = say("quality.told", language=name, percent=percent(found.confidence), word=word)
    return said, _tone(found.language, request), title


def quality_reasons(quality: Quality | None) -> str:
    """Why a text is what it is, in sentences; "" of one that was not judged."""
    if quality is None:
        return ""
    given = {
        "no_language": {},
        "repeats": {"percent": f"{quality.repeated_share:.0%}".rstrip("%")},
        "no_words": {"percent": f"{1 - quality.word_share:.0%}".rstrip("%")},
        "costly": {"nats": f"{quality.cost_nats or 0:.1f}", "limit": f"{COSTS_NATS[0]:g}"},
        "fluent": {"nats": f"{quality.cost_nats or 0:.1f}"},
    }
    return " ".join(say(f"quality.because_{reason}", **given[reason]) for reason in quality.reasons or ("fluent",))


def percent(share: float) -> str:
    """A share as a whole number of percent, never 100 of what is not certain.

    Example:
        >>> percent(0.42), percent(0.998)
        ('42', '>99')
    """
    return ">99" if share > 0.995 else f"{share:.0%}".rstrip("%")


def _tone(code: str, request: CompareRequest) -> str:
    if code in map(base_language, request.targets):
        return "target"
    return "source" if code == base_language(request.source) else "other"


def _badge(text: str, tone: str, title: str) -> str:
    return f'<span class="lape-badge lape-tone-{tone}" title="{escape(title)}">{escape(text)}</span>'


def conversation(messages: Sequence[Mapping[str, str]]) -> str:
    """What was said in a chat, each paragraph in its own direction; it opens at its end."""
    said = [
        f'<p class="lape-said lape-{escape(message["role"])}" dir="auto">{escape(message["content"].strip())}</p>'
        for message in messages
    ]
    if not said:
        said = [f'<p class="lape-facts">{escape(say("compare.empty"))}</p>']
    label = escape(say("column.conversation"))
    return f'<div class="lape-talk" role="log" aria-label="{label}" tabindex="0"><div>{"".join(said)}</div></div>'
