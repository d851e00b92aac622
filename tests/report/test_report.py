"""The page and the README tables, from evidence with figures that can be found again by hand."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from evidence_samples import (
    ENVIRONMENT,
    EVERYTHING,
    MASK,
    bench,
    confusion,
    file,
    firing,
    harm,
    layers,
    perplexity,
    relations,
    stability,
    steering,
    tuning,
)
from markdown_it import MarkdownIt

from lape.drawing.axes import curves, nice_ticks, scatter, short, whiskers
from lape.drawing.charts import Measured, heat_map, number
from lape.drawing.html import Table
from lape.drawing.words import percent, related, seconds_text
from lape.errors import BadFile
from lape.evaluation.kinds import KINDS
from lape.evaluation.kinds.bench.section import summary as bench_summary
from lape.masks.bundled import bundled_folder
from lape.models.embedded import EMBEDDED
from lape.report import (
    MARKS,
    evidence_of,
    headlines,
    html_of,
    markdown_of,
    marks_of,
    write_page,
    write_readme,
    write_tables,
)
from lape.sharing.readme import with_part
from lape.storage.files import sha256_of
from lape.storage.names import EVIDENCE_NAME, MASK_NAME

BEGIN, END = MARKS


class Page(HTMLParser):
    """What a page is made of: tags with their attributes, and the tables by caption."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.open: list[str] = []
        self.text = ""
        self._rows: list[list[str]] = []
        self._caption = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        data = data.replace("\u00a0", " ")
        if self.open and self.open[-1] in ("td", "th"):
            self._rows[-1][-1] += data
        elif self.open and self.open[-1] == "caption":
            self._caption += data
        if "style" not in self.open:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def table(caption: str, found: dict[str, Any] | None = None) -> list[list[str]]:
    """The rows of one table of the page; the first is its head."""
    return Page(html_of(found or EVERYTHING)).tables[caption]


def test_the_main_figure_of_each_kind_with_what_to_hold_it_against() -> None:
    # 2 of 8 neurons in the first eighth; 0.5 nats over 0.05 is 10; -20 and -10 points, +1 and +3 in the others.
    rows = dict(zip(KINDS, table("The main figures")[1:], strict=True))
    assert [rows[name] for name in KINDS] == [
        [
            "Neurons in the first and the last eighth of the depth, mean over 1 languages",
            "25 % and 75 %",
            "spread evenly: 12 % and 12 %",
        ],
        [
            "Tokens a language for a mask that agrees with the whole one (Jaccard index 0.8)",
            "2,560 spread over the text (25 % of the recording); 2,048 from its beginning (20 % of the recording)",
            "masks of two halves agree at 0.70",
        ],
        [
            "Lines whose language the neurons that fire tell, mean over 2 languages",
            "90 % [85, 95]; of single tokens 50 %",
            "random neurons (seed 0) 50 %, a guess 50 %",
        ],
        [
            "Cost of switching a language off to its own text, mean, nats per token",
            "0.500 [0.490, 0.510]",
            "the other texts 0.050 [0.049, 0.051], a ratio of 10.0 [9.5, 10.5]; as many random neurons cost the own "
            "text 0.001 [0.001, 0.002]",
        ],
        [
            "Outputs in the target language, from English (en) to 2 others, each with its best setting",
            "92 % [87, 97], at a fluency cost of 1.25 [1.05, 1.45] nats per token",
            "random neurons (seed 0) 5 %, an instruction in English 60 %, an instruction in the language 70 %",
        ],
        [
            "Outputs in the target language, mean over 2 ordered pairs, one setting for all",
            "90 % [85, 95]",
            "random neurons (seed 0) 5 %, an instruction in English 60 %, an instruction in the language 70 %",
        ],
        [
            "Of 3 ways to steer compared, the largest share in the target language",
            "this mask: replace (90 % [85, 95] at 1.50 [1.30, 1.70] nats per token)",
            "without neurons: diffmean (97 % [92, 102] at 1.00 [0.80, 1.20] nats per token)",
        ],
        [
            "Answers that keep to the language, its neurons on and all others off",
            "asked in the language itself 90 % [85, 95]; asked for in English 90 % [85, 95]",
            "asked in the language itself: random neurons (seed 0) 40 % [35, 45], untouched 40 % [35, 45]; asked for "
            "in English: random neurons (seed 0) 40 % [35, 45], untouched 40 % [35, 45]",
        ],
        [
            "Telling the next line of a text from three others: change when its language is off, points",
            "-15.0",
            "in the other languages +2.0; right before 45 %, a guess 25 %",
        ],
        [
            "Right answers lost with the neurons of their relation off, mean over 2 relations",
            "50 % [45, 55]",
            "the other relations 20 % [15, 25]; as many random neurons 10 % [5, 15]",
        ],
    ]


def test_every_kind_is_in_the_report_the_tables_and_the_readme() -> None:
    assert set(EVERYTHING) == set(KINDS)
    html, markdown = html_of(EVERYTHING), markdown_of(EVERYTHING)
    for name, kind in KINDS.items():
        assert kind.name == name
        assert f'<section id="{name}"' in html
        assert f"## {kind.heading}\n" in markdown
        assert kind.headline(EVERYTHING[name]).what in headlines(EVERYTHING).markdown()


def test_a_mask_that_needs_all_tokens_says_so() -> None:
    assert KINDS["stability"].headline(stability(None)).figure == "more than the recording has"


def test_what_was_not_measured_says_so_everywhere() -> None:
    found = {"harm": harm()}
    html = html_of(found)
    markdown = markdown_of(found)
    for name, kind in KINDS.items():
        said = name not in ("harm", "relations")  # a mask of languages has no relations
        assert ([kind.heading, f"not measured: {kind.command}", ""] in table("The main figures", found)) == said
        assert (f"Not measured: {kind.command} does that." in html) == said
        assert (f"Not measured: {kind.command} does that." in markdown) == said


def test_each_language_has_its_costs_and_its_control() -> None:
    head, de, fr = table("Each language switched off")
    assert head[:3] == ["switched off", "neurons", "cost to its own text, nats/token"]
    # Random neurons: mean of 0.002 and 0.004, of 0.001 and -0.003, each with its range.
    assert de == [
        "German (de)", "10", "0.600 [0.599, 0.601]", "0.050", "fr 0.050", "0.003 [0.002, 0.004]", "1.00 → 1.25",
    ]  # fmt: skip
    assert fr[5] == "−0.001 [−0.003, 0.001]"


def test_masks_are_listed_with_the_main_one_first_and_random_ones_together() -> None:
    rows = table("The same measurement with other masks (random ones: mean and range over the seeds)")[1:]
    assert [row[0] for row in rows] == ["lape", "lave", "random, 2 seeds"]
    assert rows[0][1:] == ["20", "0.500 [0.490, 0.510]", "0.0500 [0.0490, 0.0510]", "10.0 [9.5, 10.5]"]
    # Means over the seeds with their range: own 0.003 and 0.0005, dominance over the floor of 0.005.
    own = [(0.002 + 0.001) / 2, (0.004 - 0.003) / 2]
    assert rows[2][2] == f"{sum(own) / 2:.3f} [{min(own):.3f}, {max(own):.3f}]".replace("-", "−")
    assert rows[2][4].startswith("0.2 [0.1, 0.3]")


def test_failures_are_said_in_words() -> None:
    html = Page(html_of({"perplexity": perplexity(de=0.002, fr=0.04, others=0.05)})).text
    assert "German (de): its neurons cost its own text no more than random ones" in html
    assert "French (fr): switching it off costs German (de) as much as itself or more." in html
    assert "lap was left out: too few neurons." in html
    weak = Page(html_of({"steering": steering(de=0.2, repeated_4gram_share=0.5)})).text
    assert "Less than half of the outputs reach the target for German (de) (20 %)" in weak
    assert "Over-steered: more than 30 % of the 4-grams are repeated in German (de)." in weak
    assert "An instruction in the language: the target is reached as often as by steering, or more." in weak
    assert "no better than a guess, within the interval, in French (fr)" in Page(html_of({"harm": harm()})).text
    assert "Less than half of the neurons are certain for German (de)" in Page(html_of({"stability": stability()})).text


def test_a_cost_within_the_range_of_random_ones_is_no_cost() -> None:
    # Random neurons cost German 0.002 and 0.004; its own 0.0045 begin at 0.0035. Of French ones, -0.003 and 0.001.
    html = Page(html_of({"perplexity": perplexity(de=0.0045, fr=0.0045, others=0.0)})).text
    assert "German (de): its neurons cost its own text no more than random ones, within the interval." in html
    assert "French (fr): its neurons" not in html


def test_what_works_is_not_called_a_failure() -> None:
    html = Page(html_of({"perplexity": perplexity(), "steering": steering()})).text
    for said in (
        "no more than random",
        "as much as itself",
        "Less than half",
        "Over-steered",
        "as often as by steering",
    ):
        assert said not in html


def test_layers_by_hand() -> None:
    rows = table("Neurons of each language, and where they lie")[1:]
    # 8 of 1600 neurons, 2 in the first eighth and 6 in the last; French has none.
    assert rows == [
        ["German (de)", "8", "0.50 %", "25 %", "75 %", "fr 0.50"],
        ["French (fr)", "0", "0.00 %", "", "", "de 0.50"],
        ["spread evenly", "", "", "12 %", "12 %", ""],
    ]
    assert table("Other masks beside this one, means over languages")[1] == ["lave", "0.25", "25 %", "75 %"]


def test_steering_by_hand() -> None:
    rows = table("From English (en)")[1:]
    assert rows[0] == [
        "German (de)", "95 [90, 100]", "3", "3", "0", "0", "4", "1.50", "1.25 [1.05, 1.45]", "5 %", "60 %", "70 %",
    ]  # fmt: skip
    assert rows[-1][:2] == ["mean", "90 [85, 95]"]
    assert [row[0] for row in table("Means over 2 ordered pairs of languages")[1:]] == [
        "steered",
        "random neurons (seed 0)",
        "an instruction in English",
        "an instruction in the language",
        "untouched",
    ]


def test_what_a_second_identifier_tells_stands_beside() -> None:
    head, steered, random, *_ = table("Means over 2 ordered pairs of languages")
    assert head[-2:] == ["target by fasttext, %", "told another language by it, %"]
    assert steered[-2:] == ["87", "6"]
    assert random[-2:] == ["", ""]
    alone = steering()
    del alone["results"]["second_opinion"]
    assert "fasttext" not in html_of({"steering": alone})


def test_what_the_identifier_cannot_tell_is_said() -> None:
    said = (
        "py3langid cannot tell every language, and what needs it is left out (legal: it is not known; "
        "Portuguese (pt-BR): it is not told from pt)."
    )
    assert said in Page(html_of({"steering": steering()})).text
    tuned = tuning()
    assert "cannot tell" not in Page(html_of({"tuning": tuned})).text
    tuned["results"]["untold"] = {"legal": "it is not known"}
    assert "what needs it is left out (legal: it is not known)." in Page(html_of({"tuning": tuned})).text


def test_tuning_lists_the_best_settings_first_and_each_targets_own() -> None:
    rows = table("Share in the target language on the test half")[1:]
    assert [row[:3] for row in rows] == [
        ["German (de)", "replace × 2, top rate 2 %", "92 % [87, 97]"],
        ["French (fr)", "replace × 1.5, top rate 2 %", "92 % [87, 97]"],
        ["mean", "", "92 % [87, 97]"],
    ]
    tried = table("All 2 settings tried, on the dev half, means over targets")[1:]
    assert [row[:2] for row in tried] == [["replace × 2, top rate 2 %", "80 %"], ["replace × 1, top rate 2 %", "30 %"]]


def test_what_is_kept_when_off_by_hand() -> None:
    assert table("Continuations in the language of their openings, its own neurons off and nothing on") == [
        [
            "language",
            "neurons",
            "off: kept, %",
            "random neurons (seed 0): kept, %",
            "untouched: kept, %",
            "off: most common",
        ],
        ["German (de)", "8", "25 [20, 30]", "85 [80, 90]", "90 [85, 95]", "en 15, de 5"],
        ["mean", "", "25 [20, 30]", "85 [80, 90]", "90 [85, 95]", ""],
    ]


def test_stability_and_harm_by_hand() -> None:
    rows = table("Agreement of masks (Jaccard index) by the tokens they are made from")[1:]
    assert rows == [
        ["1,024", "10 %", "0.50", "0.50", "0.30"],
        ["2,048", "20 %", "0.85", "0.85", "0.50"],
        ["10,240", "100 %", "", "", "0.70"],
    ]
    assert table("The same for tokens spread evenly over the text, where its subjects change along it")[1:] == [
        ["1,280", "12 %", "0.75", "0.71", "8"],
        ["2,560", "25 %", "0.82", "0.78", "4"],
    ]
    rows = table("Telling the next line of a text")[1:]
    assert rows == [
        ["German (de)", "60 [59, 61]", "−20 [−22, −18]", "1.0 [−1.0, 3.0]"],
        ["French (fr)", "30 [20, 40]", "−10 [−12, −8]", "3.0 [1.0, 5.0]"],
        ["mean", "45.0", "−15.0", "2.0"],
    ]


def test_answers_in_a_language_by_hand() -> None:
    head, kept, random, untouched = table("Answers in a language, asked for in English: means over 2 languages")
    assert head[-2:] == ["by fasttext: every line in it, %", "by fasttext: no English word, %"]
    # The harmonic mean of .9 and .75 is 1.35 / 1.65; the second identifier tells .9 - .5 / 2.
    assert kept == [
        "its neurons on, all others off", "20", "90 [85, 95]", "75 [74, 76]", "82 [81, 83]", "50 [40, 60]", "25",
        "1.50 [1.30, 1.70]", "65 [60, 70]", "50 [49, 51]",
    ]  # fmt: skip
    assert [row[0] for row in (random, untouched)] == ["random neurons (seed 0)", "untouched"]
    assert untouched[5] == ""
    _, de, ru = table("Answers in each language, asked in the language itself")
    assert de == ["German (de)", "20", "90 [85, 95]", "40 [35, 45]", "40 [35, 45]", "", "", ""]
    assert ru[5:] == ["75 [74, 76]"] * 3
    html = Page(html_of({"confusion": confusion()})).text
    assert "3 prompts of more than 1,000 characters were left out." in html
    assert "The benchmark has no prompts in Czech (cs)." in html
    assert "no more answers pass" not in html
    weak = Page(html_of({"confusion": confusion(0.9, 0.05)})).text
    assert "Asked for in English: with the neurons no more answers pass, within the interval." in weak


def test_lines_told_by_firing_by_hand() -> None:
    head, de, _, mean = table("Lines told by the neurons that fire")
    assert head[-3:] == ["tokens colored as it, %", "tokens as another, %", "tokens as none, %"]
    assert de == ["German (de)", "90 [85, 95]", "fr 2", "50 [45, 55]", "50", "25", "25"]
    assert mean == ["mean", "90 [85, 95]", "", "50 [45, 55]", "50", "25", "25"]
    said = "Random neurons tell as many lines or more in German (de), French (fr)."
    assert said in Page(html_of({"firing": firing(0.5)})).text
    assert said not in Page(html_of({"firing": firing()})).text


def test_a_comparison_by_hand() -> None:
    head, first, second, third = table("Switched on: share in the target language, and what it costs")
    assert head[:3] == ["mask", "way", "neurons a language"]
    assert first == ["no neurons", "diffmean", "", "1.25", "97 % [92, 102]", "1.00 [0.80, 1.20]", "4 %", "0 %", "front"]
    assert second[:6] == ["this mask", "replace", "20", "1.25", "90 % [85, 95]", "1.50 [1.30, 1.70]"]
    assert third[4:] == ["70 % [65, 75]", "1.75 [1.55, 1.95]", "4 %", "0 %", ""]
    head, given, margin = table("Switched off, and found: every mask")
    assert given == [
        "this mask",
        "40",
        "0.50 [0.49, 0.51]",
        *["5.0 [4.5, 5.5]", "20.0 [19.5, 20.5]", "5.0 [4.5, 5.5]"],
        "0.62 / 0.25",
        "10 % [5, 15]",
        "not kept",
        "",
        "",
    ]
    assert margin[-3:] == ["0.75", "0.12 s", "2 MB"]
    page = Page(html_of({"bench": bench()})).text
    why = "there is no relevance.safetensors; make it with lape record --relevance."
    assert table("Left out")[1:] == [["crane", why]]
    assert "<b>kleine</b>" in page  # as text


def test_points_of_a_front_are_named_and_joined_from_left_to_right() -> None:
    points = {"b": (Measured(2.0, 1.5, 2.5), Measured(90.0)), "a": (Measured(0.0), Measured(0.0, 0.0, 10.0))}
    other = {"c": (Measured(1.0), Measured(100.0))}
    drawn = scatter({"ours": points, "theirs": other}, label="l", across="cost", up="share", front=["b", "a"])
    left, top, plot, tall = 52, 52, 560, 320  # 0 to 2.5 across in steps of 0.5, 0 to 100 up
    assert f'points="{left},{top + tall} {left + plot * 0.8:g},{top + tall * 0.1:g}"' in drawn
    assert "b: cost 2.00 [1.50, 2.50]; share 90" in drawn
    named = re.findall(r'<text x="[^"]+" y="[^"]+">([abc])</text>', drawn)
    assert named == ["b", "a"]


def test_a_comparison_says_whether_the_first_two_differ_beyond_their_intervals() -> None:
    within, beyond = (
        bench_summary(bench(residual=share, cost=cost)["results"]) for share, cost in ((0.97, 1.25), (1.0, 0.9))
    )
    assert "diffmean (97 % [92, 102] at 1.25 [1.05, 1.45] nats per token)" in within
    assert "this mask: replace (90 % [85, 95] at 1.50 [1.30, 1.70] nats per token)" in within
    assert "share within the intervals of both and cost within the intervals of both" in within
    assert "share within the intervals of both and cost beyond the intervals of both" in beyond
    assert within.endswith("Nothing beats diffmean in share and fluency cost both.")


def test_lost_answers_by_hand() -> None:
    _, capital, color, mean = table("Right answers lost")
    # Of the one other relation the same share is lost that the others lose on average; random ones 5 and 15 %.
    assert capital == ["capital", "8", "10 of 15", "60 [55, 65]", "20 [15, 25]", "color 20 %", "10 [5, 15]"]
    assert color == ["color", "8", "10 of 15", "40 [35, 45]", "20 [15, 25]", "capital 20 %", "10 [5, 15]"]
    assert mean == ["mean", "", "", "50 [45, 55]", "20 [15, 25]", "", "10 [5, 15]"]
    html = Page(html_of({"relations": relations()})).text
    assert "Fewer than 4 answers are right untouched in plural." in html
    assert "o more answers" not in html
    weak = Page(html_of({"relations": relations(0.05)})).text
    assert "The neurons of a relation cost it no more answers than random ones do, within the interval." in weak
    assert "No more answers are lost than with random neurons in color." in weak
    assert "The other relations lose as many answers or more with the neurons of capital, color." in weak


def test_how_it_was_measured_is_there() -> None:
    made = table("Commands and times")
    assert made[1] == ["layers", "lape evaluate layers --mask precomputed/org--tiny/lape", "60 s"]
    assert made[-1] == ["all", "", f"{len(EVERYTHING)} min"]
    assert table("Versions and machine")[1:] == [
        ["all", "lape 0.1.0, Python 3.11.9, torch 2.13.0, transformers 5.23.0", "Linux x86_64, cpu, 2 threads"]
    ]
    hashes = table("Mask and held-out text, by SHA-256")
    assert ["perplexity", "fr: fr.valid.txt", "fr" * 32, "2,048 tokens"] in hashes
    assert hashes[1] == ["all", "mask", "ab" * 32, ""]


def test_different_environments_are_told_apart() -> None:
    found = copy.deepcopy({name: EVERYTHING[name] for name in ("harm", "layers", "stability")})
    found["harm"]["environment"] = {**ENVIRONMENT, "device": "NVIDIA H100"}
    rows = table("Versions and machine", found)[1:]
    assert [row[0] for row in rows] == ["layers, stability", "harm"]
    assert rows[1][2] == "Linux x86_64, NVIDIA H100, 2 threads"


def test_the_page_needs_nothing_else() -> None:
    html = html_of(EVERYTHING)
    page = Page(html)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "use"}
    assert not re.search(r"url\(|@import|https?:|src=|srcset|javascript:|\son\w+=", html)
    policy = [meta["content"] for meta in page.named("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert all(str(link["href"]).startswith("#") for link in page.named("a"))


def test_the_page_can_be_read_without_seeing_it() -> None:
    page = Page(html_of(EVERYTHING))
    assert page.named("html")[0]["lang"] == "en"
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.named("svg"))
    assert len(page.named("svg")) >= 6
    assert len(page.tables) == len(page.named("table"))  # every caption is there, and no two are the same
    assert "" not in page.tables
    wide = [attributes for attributes in page.named("div") if attributes.get("class") == "wide"]
    assert all(each["tabindex"] == "0" and each["role"] == "region" and each["aria-label"] for each in wide)
    anchors = {str(link["href"])[1:] for link in page.named("a")}
    assert anchors == {section["id"] for section in page.named("section")}
    identifiers = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for rows in page.tables.values():
        assert {len(row) for row in rows} == {len(rows[0])}


ATTACKS = ('"><script>alert(1)</script>', "' onmouseover='x", "a|b\n<!-- lape:evidence:end -->\n# c", "$title ${body}")


def struck(value: Any, attack: str) -> Any:
    """The same with an attack in every text and in every key that names something."""
    if isinstance(value, str):
        return value + attack
    if isinstance(value, dict):
        return {key: struck(item, attack) for key, item in value.items()}
    return [struck(item, attack) for item in value] if isinstance(value, list) else value


def hostile(attack: str) -> dict[str, Any]:
    """Every text of the evidence is hostile, and so are the names of masks, packages and languages."""
    found = {}
    for kind, content in EVERYTHING.items():
        text = json.dumps(content)
        for name in ('"random 0"', '"lave"', '"fr"', '"torch"', '"random0"', '"lap"'):
            text = text.replace(name, json.dumps(json.loads(name) + attack))
        loaded = json.loads(text)
        for key in ("title", "summary", "command", "environment"):
            loaded[key] = struck(loaded[key], attack)
        loaded["settings"]["mask"] = struck(loaded["settings"]["mask"], attack)
        found[kind] = loaded
    sample = found["steering"]["results"]["pairs"]["en"]["de"]["conditions"]["steered"]
    sample["sample"] = attack
    return found


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_of_a_file_is_text_on_the_page(attack: str) -> None:
    tame = [tag for tag, _ in Page(html_of(hostile("tame"))).tags]
    page = Page(html_of(hostile(attack)))
    assert [tag for tag, _ in page.tags] == tame
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert " ".join(attack.split()) in " ".join(page.text.split())


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_of_a_file_is_text_in_the_readme(attack: str) -> None:
    def shape(markdown: str) -> list[str]:
        return [token.type for token in MarkdownIt("commonmark").enable("table").parse(markdown)]

    def inside(markdown: str) -> set[str]:
        tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
        return {child.type for token in tokens for child in token.children or ()}

    markdown = markdown_of(hostile(attack))
    assert shape(markdown) == shape(markdown_of(hostile("tame")))
    assert inside(markdown) <= {"text", "text_special", "softbreak", "strong_open", "strong_close"}
    assert END not in markdown


def test_tables_of_the_readme_are_tables_of_the_page() -> None:
    rendered = MarkdownIt("commonmark").enable("table").render(markdown_of(EVERYTHING))
    cells = [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", rendered)]
    for caption in ("Each language switched off", "From English (en)", "Telling the next line of a text"):
        for row in table(caption):
            place = cells.index(row[0]) if row[0] in cells else -1
            assert place >= 0
            assert all(cell in cells for cell in row if cell)


def test_the_part_between_the_marks_is_renewed_and_the_rest_stays(tmp_path: Path) -> None:
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    for kind, content in EVERYTHING.items():
        (evidence / f"{kind}.json").write_text(json.dumps(content), encoding="utf-8")
    readme = tmp_path / "README.md"
    readme.write_bytes(f"# Mine\r\n{BEGIN}\r\nold\r\n{END}\r\nafter  \r\n".encode())
    write_readme(evidence, readme)
    text = readme.read_bytes().decode()
    assert text.startswith(f"# Mine\r\n{BEGIN}\r\n| what | figure | to hold it against |")
    assert text.endswith(f"|\r\n{END}\r\nafter  \r\n")
    assert "\nold" not in text
    assert "\n" not in text.replace("\r\n", "")
    write_readme(evidence, readme)
    assert readme.read_bytes().decode() == text
    tables = write_tables(evidence, tmp_path / EVIDENCE_NAME)
    assert tables.read_text(encoding="utf-8") == markdown_of(EVERYTHING) + "\n"
    page = write_page(evidence, tmp_path / "deep" / "report.html")
    assert page.read_text(encoding="utf-8") == html_of(EVERYTHING)


def test_a_readme_has_a_part_for_each_mask_that_its_marks_name(tmp_path: Path) -> None:
    (tmp_path / "layers.json").write_text(json.dumps(EVERYTHING["layers"]), encoding="utf-8")
    mask = EVERYTHING["layers"]["settings"]["mask"]
    begin, end = (
        f"<!-- lape:evidence:begin {mask['model']} {mask['method']} -->",
        END.replace(" -->", f" {mask['model']} {mask['method']} -->"),
    )
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\nof another\n{END}\n{begin}\nstale\n{end}\n", encoding="utf-8")
    write_readme(tmp_path, readme)
    text = readme.read_text(encoding="utf-8")
    assert text.startswith(f"{BEGIN}\nof another\n{END}\n{begin}\n| what | figure |")
    assert "stale" not in text


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{END}\n{BEGIN}\n{END}", f"a {BEGIN}\n{END}"])
def test_a_readme_without_the_marks_says_how_to_add_them(text: str) -> None:
    with pytest.raises(
        BadFile, match=r"lape:evidence:begin --> and (the lines |then )?<!-- lape:evidence:end -->, once each"
    ):
        with_part(text, "part", MARKS)


def test_a_readme_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "harm.json").write_text(json.dumps(harm()), encoding="utf-8")
    with pytest.raises(BadFile, match="There is no file"):
        write_readme(tmp_path, tmp_path / "README.md")


def test_a_folder_without_evidence_says_how_to_make_it(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(BadFile, match=r"no evidence in .*lape evaluate"):
        write_page(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_evidence_of_two_masks_is_refused(tmp_path: Path) -> None:
    other = harm()
    other["settings"] = {**other["settings"], "mask": {**MASK, "sha256": "00"}}
    for kind, content in (("harm", other), ("layers", layers())):
        (tmp_path / f"{kind}.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BadFile, match="of 2 different masks"):
        write_page(tmp_path, tmp_path / "report.html")


@pytest.mark.parametrize("kind", KINDS)
def test_results_of_another_version_are_refused_by_name(kind: str) -> None:
    for results in ({}, {"texts": 1}, dict.fromkeys(EVERYTHING[kind]["results"])):
        with pytest.raises(BadFile, match=f"evidence of {kind} cannot be read .*Measure it again"):
            html_of({kind: {**EVERYTHING[kind], "results": results}})


def test_the_same_evidence_gives_the_same_page() -> None:
    again = json.loads(json.dumps(EVERYTHING, sort_keys=True))
    order = dict(reversed(again.items()))
    assert html_of(order) == html_of(again)
    assert markdown_of(order) == markdown_of(again)


def test_a_heat_map_shades_by_the_square_root_and_colours_harm() -> None:
    matrix = {"de": {"de": Measured(4.0), "fr": Measured(-1.0)}, "fr": {"de": None, "fr": Measured(0.0)}}
    drawn = heat_map(matrix, label="a & b", rows="off", columns="text", digits=1, harm=1)
    assert 'aria-label="a &amp; b"' in drawn
    cells = re.findall(r'class="(more|less)" .*?fill-opacity="([^"]*)"', drawn)
    assert cells == [("less", "0.6"), ("more", "0.3"), ("more", "0")]  # 0.6 sqrt(1), 0.6 sqrt(1/4)
    assert re.findall(r"<title>(.*?)</title>", drawn) == ["de, de: 4.00", "de, fr: −1.00", "fr, fr: 0.00"]
    assert drawn.count(" own") == 2
    assert drawn.count('class="none"') == 1
    other = heat_map(matrix, label="", rows="", columns="", digits=1, harm=-1)
    assert re.findall(r'class="(more|less)"', other) == ["more", "less", "more"]


@pytest.mark.parametrize(("count", "side"), [(2, 40), (24, 40), (26, 38), (33, 30), (60, 30)])
def test_many_cells_are_smaller(count: int, side: int) -> None:
    names = [f"l{place}" for place in range(count)]
    row = dict.fromkeys(names, Measured(0.12))
    for matrix in (dict.fromkeys(names, row), {"l0": row}, {name: {"l0": Measured(0.12)} for name in names}):
        drawn = heat_map(matrix, label="", rows="off", columns="text", digits=2)
        assert set(re.findall(r'class="back[^>]*width="([\d.]+)" height="([\d.]+)"', drawn)) == {(f"{side - 2}",) * 2}
        across, down = (float(size) for size in re.findall(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)"', drawn)[0])
        assert across >= side * len(next(iter(matrix.values()))) + 41
        assert down == 44 + side * len(matrix) + 2


def test_charts_have_relatives_beside_each_other() -> None:
    codes = ("es", "en", "ja", "fr", "de")
    measured = {one: {other: Measured(1.0 if one == other else 0.1) for other in codes} for one in codes}
    found = related(measured)
    assert [*found] == [*found["en"]] == ["en", "de", "fr", "es", "ja"]
    assert all(found[one][other] is measured[one][other] for one in codes for other in codes)


def test_evidence_of_one_mask_by_kind(tmp_path: Path) -> None:
    masks = {"one": {}, "two": {"mask": {"sha256": "b"}}, "three": {}, "four": {"mask": "a"}, "five": ["a"]}
    for name, settings in masks.items():
        content = steering() if name == "one" else {**file("perplexity", {}), "settings": settings}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert evidence_of(tmp_path, MASK["sha256"]) == {"steering": steering()}
    assert evidence_of(tmp_path / "nothing", MASK["sha256"]) == {}


def test_a_heat_map_has_room_for_what_its_columns_are() -> None:
    drawn = heat_map({"de": {"de": Measured(1.0)}}, label="", rows="off", columns="language of the text", digits=1)
    (width,) = re.findall(r'<svg viewBox="0 0 ([\d.]+)', drawn)
    (middle,) = re.findall(r'x="([\d.]+)" y="14">language of the text<', drawn)
    assert float(width) - float(middle) > 7 * len("language of the text") / 2  # a letter is 7 pixels wide


def test_whiskers_end_where_the_interval_ends() -> None:
    rows = {"de": {"own": Measured(0.5, 0.25, 0.75), "random": None}, "fr": {"own": Measured(-0.5), "random": None}}
    drawn = whiskers(rows, label="", unit="nats")
    # Ticks run from -0.5 to 1 (zero inside), 460 pixels wide; the first starts at 20 + 2 x 7.
    scale = 460 / 1.5
    (ends,) = re.findall(r'<g class="series0"><title>de, own.*?</title>\n<line x1="([\d.]+)" x2="([\d.]+)"', drawn)
    assert [float(end) for end in ends] == pytest.approx([34 + 0.75 * scale, 34 + 1.25 * scale], abs=0.01)
    assert "random:" not in drawn.replace("random</text>", "")


def test_curves_are_logarithmic_and_the_last_is_thick() -> None:
    drawn = curves({"de": [(100, 0.0), (1000, 0.5), (10000, 1.0)], "mean": [(100, 1.0)]}, label="", across="", up="")
    assert 'class="curve" points="52,260 287,145 522,30"' in drawn
    assert drawn.index('class="curve main"') > drawn.index('class="curve"')


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.003, 0.76, [-0.2, 0, 0.2, 0.4, 0.6, 0.8]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-7, 0, [-8, -6, -4, -2, 0]),
        (0, 0.00012, [0, 0.00002, 0.00004, 0.00006, 0.00008, 0.0001, 0.00012]),
    ],
)
def test_ticks_are_round_and_enclose_the_range(low: float, high: float, ticks: list[float]) -> None:
    found = nice_ticks(low, high)
    assert found == pytest.approx(ticks)
    assert found[0] <= low
    assert found[-1] >= high


def test_figures_as_text() -> None:
    assert [number(value, 1) for value in (0.04, -0.04, -0.05001, 1234.5, 0)] == [
        "0.0",
        "0.0",
        "−0.1",
        "1,234.5",
        "0.0",
    ]
    assert Measured(0.5).text(1) == "0.5"
    assert [short(count) for count in (512, 1024, 100_352, 2_000_000)] == ["512", "1.02k", "100k", "2M"]
    assert [percent(share) for share in (0.005, 0.995, 1.0, None)] == ["0 %", "100 %", "100 %", ""]
    assert [seconds_text(value) for value in (0, 89.4, 90, 3599, 7260)] == [
        "0 s",
        "89 s",
        "2 min",
        "1 h 0 min",
        "2 h 1 min",
    ]


def test_a_table_marks_its_figures_and_strong_rows() -> None:
    found = Table("c", ["name", "words", "n"], [["a", "b", "1"], ["mean", "", "2"]], words=2, strong=frozenset({1}))
    assert found.markdown().split("\n") == [
        "| name | words | n |",
        "|---|---|---:|",
        "| a | b | 1 |",
        "| **mean** | | **2** |",
    ]
    assert '<td class="figure">1</td>' in found.html()
    assert '<tr class="strong"><th scope=row>mean</th>' in found.html()


# The project's own


@pytest.mark.parametrize("model", [each.model for each in EMBEDDED])
def test_the_projects_tables_are_those_of_the_bundled_evidence(model: str) -> None:
    folder = bundled_folder(model)
    evidence = evidence_of(folder / "evidence", sha256_of(folder / MASK_NAME))
    assert set(evidence) <= set(KINDS)
    page = Path(__file__).parents[2] / ("README.md" if model == EMBEDDED[0].model else "docs/measuring.md")
    text = page.read_text(encoding="utf-8")
    assert with_part(text, headlines(evidence).markdown(), marks_of(evidence)) == text
    assert (folder / EVIDENCE_NAME).read_text(encoding="utf-8") == markdown_of(evidence) + "\n"
