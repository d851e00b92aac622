"""How well answers keep to the language that was asked for, as tables and words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lape.drawing.charts import number
from lape.drawing.html import Table, details, notices, paragraph
from lape.drawing.words import in_percent, interval, named
from lape.evaluation.kinds.kind import Evidence, Headline
from lape.evaluation.kinds.wording import condition_text, in_order, one_line, share_text, untold_text
from lape.evaluation.metrics.conditions import BASELINE
from lape.evaluation.metrics.confusion.answers import KEPT
from lape.evaluation.metrics.confusion.prompts import LONGEST_PROMPT
from lape.evaluation.metrics.repetition import LOOP_SHARE

ASKED = {"monolingual": "asked in the language itself", "crosslingual": "asked for in English"}
RATES = {"line": "every line in it, %", "word": "no English word, %", "line_and_word": "harmonic mean, %"}


def section(evidence: Evidence) -> list[str]:
    """The section of the page."""
    settings, tasks = evidence["settings"], evidence["results"]["tasks"]
    shown = [
        paragraph(
            "Prompts of the Language Confusion Benchmark (Marchisio et al., 2024), asked in a language or asking in "
            f"English for an answer in it, up to {settings['items']} of each of its files, answered greedily by "
            f"{settings['decoding']['max_new_tokens']} tokens: by the untouched model, with the neurons of the "
            f"language on ({settings['mode']} × {settings['strength']:g}) and those of all others off, and with as "
            "many random neurons switched alike. An answer passes if each of its lines of five words or more is in "
            f"the language, as {settings['identifier']} tells it; in other scripts than English's, of these one passes "
            "again that holds no English word. Read it beside repetition and the fluency cost: a word said again and "
            "again is in a language too."
        )
    ]
    for task in tasks:
        shown += [averages(evidence, task).html(), languages(evidence, task).html()]
    shown += notices([*failures(evidence), *untold_text(evidence["results"], settings)])
    samples = [_samples(task, found).html() for task, found in tasks.items()]
    return [*shown, details("One answer in each language, chosen by its place", samples)]


def tables(evidence: Evidence) -> list[Table]:
    """The tables for `EVIDENCE.md`."""
    return [show(evidence, task) for task in evidence["results"]["tasks"] for show in (averages, languages)]


def averages(evidence: Evidence, task: str) -> Table:
    """Means over languages, a row for each condition; and what a second identifier tells, where one was asked."""
    found, second = evidence["results"]["tasks"][task], evidence["results"].get("second_opinion")
    head = ["condition", "answers judged", *RATES.values(), "change of the first, points"]
    head += ["4-grams repeated, %", "fluency cost, nats/token"]
    rows = []
    for name, each in in_order(found["averages"]).items():
        rows.append(
            [
                condition_text(name),
                str(each["judged"]),
                *(_percent(each[f"{rate}_pass_rate"]) for rate in RATES),
                "" if name == BASELINE else _percent(each["line_pass_change"]),
                number(100 * each["repeated_4gram_share"], 0),
                interval(each["fluency_cost_nats"]).text(2) if each["fluency_cost_nats"] else "",
            ]
        )
        if second:
            told = second["tasks"][task][name]
            rows[-1] += [_percent(told[f"{rate}_pass_rate"]) for rate in ("line", "word")]
    if second:
        head += [f"by {second['identifier']}: {RATES[rate]}" for rate in ("line", "word")]
    caption = f"Answers in a language, {ASKED[task]}: means over {len(found['languages'])} languages"
    return Table(caption, head, rows, strong=frozenset({0}))


def languages(evidence: Evidence, task: str) -> Table:
    """A row for each language: the pass rates under every condition."""
    found = evidence["results"]["tasks"][task]["languages"]
    names = list(in_order(next(iter(found.values()))["conditions"]))
    rows = [
        [
            named(code),
            str(each["prompts"]),
            *(_percent(each["conditions"][name]["line_pass_rate"]) for name in names),
            *(_percent(each["conditions"][name]["word_pass_rate"]) for name in names),
        ]
        for code, each in found.items()
    ]
    head = ["language", "prompts", *(f"{RATES[rate]}: {condition_text(n)}" for rate in ("line", "word") for n in names)]
    return Table(f"Answers in each language, {ASKED[task]}", head, rows)


def failures(evidence: Evidence) -> list[str]:
    """What does not work, and what was left out, in words."""
    results = evidence["results"]
    said = []
    for task, found in results["tasks"].items():
        kept = found["averages"][KEPT]
        change = kept["line_pass_change"]
        if change and change["low"] <= 0:
            said.append(f"{begun(task)}: with the neurons no more answers pass, within the interval.")
        if kept["repeated_4gram_share"] > LOOP_SHARE:
            said.append(f"{begun(task)}: more than {100 * LOOP_SHARE:.0f} % of the 4-grams are repeated.")
    if results["too_long"]:
        said.append(f"{results['too_long']} prompts of more than {LONGEST_PROMPT:,} characters were left out.")
    if not results["with_dictionary"]:
        said.append("The folder had no dictionary, so English words were not looked for.")
    if results["without_prompts"]:
        said.append(f"The benchmark has no prompts in {', '.join(map(named, results['without_prompts']))}.")
    return said


def headline(evidence: Evidence) -> Headline:
    """The line pass rate with the neurons that keep a language, beside the untouched model's and random neurons'."""
    tasks = {task: found["averages"] for task, found in evidence["results"]["tasks"].items()}
    names = [name for name in in_order(next(iter(tasks.values()))) if name != KEPT]
    said = [
        f"{ASKED[task]}: {', '.join(f'{condition_text(name)} {passed(found, name)}' for name in names)}"
        for task, found in tasks.items()
    ]
    return Headline(
        "Answers that keep to the language, its neurons on and all others off",
        "; ".join(f"{ASKED[task]} {passed(found, KEPT)}" for task, found in tasks.items()),
        "; ".join(said),
    )


def begun(task: str) -> str:
    """How it is asked, at the beginning of a sentence."""
    return f"{ASKED[task][0].upper()}{ASKED[task][1:]}"


def passed(average: Mapping[str, Any], condition: str) -> str:
    """A line pass rate in words."""
    rate = average[condition]["line_pass_rate"]
    return share_text(rate) if rate else "none that can be told"


def _percent(found: Mapping[str, Any] | None) -> str:
    return in_percent(found).text(0) if found else ""


def _samples(task: str, found: Mapping[str, Any]) -> Table:
    rows = [
        [named(code), *(one_line(each["conditions"][name]["sample"]) for name in (KEPT, BASELINE))]
        for code, each in found["languages"].items()
    ]
    head = ["language", *map(condition_text, (KEPT, BASELINE))]
    return Table(f"The answer to the middle prompt of each language, {ASKED[task]}", head, rows, words=3)
