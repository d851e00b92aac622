"""What the tab Measure opens with: one sentence, what switching each language off costs, and one language of it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from babel.numbers import format_percent

from lape.demo.checks import checked_name
from lape.demo.languages import name_of
from lape.demo.words import isolated, number, say, tongue
from lape.drawing.bars import bars
from lape.drawing.charts import Measured
from lape.drawing.html import figure, paragraph
from lape.drawing.words import interval, mean
from lape.errors import LapeError

Found = Mapping[str, Mapping[str, Any]]
CODE = "data-code"
# In the browser: a press on a language's bars hands its code on.
PRESS = f"""element.addEventListener("click", (event) => {{
  const code = event.target.closest("[{CODE}]")?.getAttribute("{CODE}");
  if (code) trigger("click", {{ code }});
}});"""
SOURCES = 3  # languages that are steered from and named


def lead(found: Found) -> str:
    """The evidence in one sentence; nothing where neither costs nor steering were measured."""
    said = _cost(found) | _reach(found)
    if not said:
        return ""
    key = "both" if {"own", "share"} <= said.keys() else "cost" if "own" in said else "steer"
    return f'<p class="lead">{escape(say(f"measured.{key}", **said))}</p>'


def measured_languages(found: Found) -> list[str]:
    """Languages of which it was measured what switching them off costs, the dearest to its own text first."""
    off = _off(found)
    return sorted(off, key=lambda code: -_own(off, code).value)


def costs_chart(found: Found) -> list[str]:
    """What each language costs its own text and others, a group of bars each; nothing where it was not measured."""
    off, groups, titles = _off(found), {}, {}
    for code in measured_languages(found):
        own, rest = _own(off, code), [cell["delta_nats"]["value"] for text, cell in off[code].items() if text != code]
        others = Measured(mean(rest)) if rest else None
        groups[code] = {say("measured.own"): own, say("measured.others"): others}
        said = number(others.value, 2) if others else "–"
        titles[code] = say("measured.bar", language=name_of(code), own=number(own.value, 2), others=said)
    if not groups:
        return []
    caption = say("measured.chart")
    drawn = bars(groups, label=" ".join(titles.values()), unit=say("measured.unit"), titles=titles, code=CODE)
    return [figure(drawn, caption)]


def one_language(found: Found, given: Any) -> list[str]:
    """What switching one language off costs the text of each, and how often steering reaches it.

    Args:
        found: Evidence by kind.
        given: The language's code; anything may come.

    Raises:
        LapeError: It was not measured.
    """
    off = _off(found)
    if not off:
        raise LapeError(say("measured.nothing"))
    code = checked_name("language switched off", given, list(off))
    cells = {text: interval(cell["delta_nats"]) for text, cell in off[code].items()}
    ordered = sorted(cells, key=lambda text: (text != code, -cells[text].value))
    titles = {
        text: say("measured.text", language=name_of(text), cost=isolated(cells[text].text(2))) for text in ordered
    }
    caption = say("measured.one", language=name_of(code))
    groups = {text: {name_of(code): cells[text]} for text in ordered}
    drawn = figure(bars(groups, label=" ".join(titles.values()), unit=say("measured.unit"), titles=titles), caption)
    return [drawn, *map(paragraph, _reached(found, code))]


def _off(found: Found) -> Mapping[str, Any]:
    """Language switched off, then language of the text, to its cost; of the mask in use."""
    if "perplexity" not in found:
        return {}
    evidence = found["perplexity"]
    return evidence["results"]["masks"][evidence["settings"]["mask_name"]]["off"]


def _own(off: Mapping[str, Any], code: str) -> Measured:
    return interval(off[code][code]["delta_nats"])


def _cost(found: Found) -> dict[str, str]:
    if "perplexity" not in found:
        return {}
    evidence = found["perplexity"]
    dominance = evidence["results"]["masks"][evidence["settings"]["mask_name"]]["dominance"]
    return {name: number(dominance[f"{name}_nats"]["value"], 1) for name in ("own", "others")}


def _reach(found: Found) -> dict[str, str]:
    if "steering" not in found:
        return {}
    results = found["steering"]["results"]
    sources = list(results["pairs"])
    named = ", ".join(map(name_of, sources)) if len(sources) <= SOURCES else say("said.languages", count=len(sources))
    return {"source": named, "share": _percent(results["averages"]["all"]["conditions"]["steered"])}


def _reached(found: Found, code: str) -> list[str]:
    """A sentence for each language that it was steered to from; of many, the first."""
    pairs = found["steering"]["results"]["pairs"] if "steering" in found else {}
    return [
        say(
            "measured.reached",
            source=name_of(source),
            language=name_of(code),
            share=_percent(row[code]["conditions"]["steered"]),
        )
        for source, row in pairs.items()
        if code in row
    ][:SOURCES]


def _percent(condition: Mapping[str, Any]) -> str:
    return str(format_percent(condition["target_share"]["value"], locale=tongue()))
