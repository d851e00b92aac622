"""A mask of 33 languages on the page: menus, colors by family, figures and tables that still can be read."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from many_languages import LANGUAGES, many_loaded

from lape.demo.backend import Backend
from lape.demo.languages import titles
from lape.demo.loaded import Loaded
from lape.demo.neurons.colored import DISTINCT, LINES, PALETTE, color_groups, colored_text
from lape.demo.neurons.figures import activity_figure, layers_figure, overlap_figure
from lape.demo.neurons.look import NAMED, summary
from lape.demo.neurons.tips import Tip
from lape.demo.page import Page, build_page
from lape.inspection.firing import Fired
from lape.inspection.table import Activity, neuron_table
from lape.languages import by_family, families, language

TWELVE = LANGUAGES[:12]


@pytest.fixture(scope="module")
def loaded(tokenizer: Any) -> Loaded:
    return many_loaded(tokenizer)


@pytest.fixture(scope="module")
def page(loaded: Loaded) -> Iterator[Page]:
    built = build_page(Backend(loaded))
    yield built
    built.close(verbose=False)


def component(page: Page, **has: Any) -> Any:
    """The component with these attributes."""
    (found,) = [
        block
        for block in page.blocks.values()
        if all(getattr(block, name, None) == value for name, value in has.items())
    ]
    return found


def fired(*codes: str | None) -> list[Fired]:
    """A piece of a token for each code, whose text says so."""
    return [Fired(f"<{code}>", 1, code, {}, {}) for code in codes]


# Menus


@pytest.mark.parametrize(
    "asked", ["Français", "french", "fr", "中文", "zh", "Čeština", "cs", "ქართული", "ka", "العربية"]
)
def test_a_search_in_a_menu_finds_name_endonym_and_code(asked: str) -> None:
    """Gradio keeps the choices that contain what was typed, in any case."""
    found = {code for title, code in titles(LANGUAGES) if asked.lower() in title.lower()}
    (meant,) = [code for code in LANGUAGES if asked.lower() in (code, *map(str.lower, names(code)))]
    assert meant in found


def names(code: str) -> tuple[str, str]:
    return language(code).name, language(code).endonym


def test_menus_go_by_name(page: Page) -> None:
    shown = [title for title, _ in titles([*LANGUAGES, "legal"])]
    assert shown == sorted(shown, key=str.casefold)
    assert shown[:3] == ["Arabic (العربية) · ar", "Bengali (বাংলা) · bn", "Chinese (中文) · zh"]
    assert "legal" in shown
    assert len(set(shown)) == len(LANGUAGES) + 1
    assert component(page, elem_id="lape-targets").choices == titles(LANGUAGES)


def test_boxes_have_relatives_beside_each_other(page: Page) -> None:
    boxes = component(page, elem_id="lape-live-languages")
    assert [code for _, code in boxes.choices] == by_family(LANGUAGES)
    assert boxes.value == [*LANGUAGES]


# Colors


def test_up_to_twelve_languages_have_a_color_each() -> None:
    groups = color_groups(TWELVE)
    assert [(group.name, group.codes) for group in groups] == [(language(code).name, (code,)) for code in TWELVE]
    assert [group.color for group in groups] == [*PALETTE]
    assert {group.line for group in groups} == {"none"}


def test_more_languages_are_colored_by_family() -> None:
    groups = color_groups(LANGUAGES)
    assert {code for group in groups for code in group.codes} == set(LANGUAGES)
    assert [group.name for group in groups][:7] == [
        *("Dravidian", "Germanic", "Indo-Aryan", "Romance", "Semitic", "Slavic", "Uralic"),
    ]
    assert {group.name: group.codes for group in groups}["Romance"] == ("fr", "it", "pt", "ro", "es")
    alone = groups[7:]
    assert all(group.name == language(group.codes[0]).name and len(group.codes) == 1 for group in alone)
    assert len({(group.color, group.line) for group in groups}) == len(groups) == 18 == DISTINCT * len(LINES)
    assert {group.color for group in groups} == {*PALETTE[:DISTINCT]}


def test_many_labels_of_no_family_have_a_look_too() -> None:
    labels = [f"label{place}" for place in range(100)]
    groups = color_groups(labels)
    assert sorted(group.name for group in groups) == sorted(labels)
    assert {group.color for group in groups} == {*PALETTE[:DISTINCT]}


def told(pieces: Sequence[Fired]) -> list[Tip]:
    return [Tip(f"tip {place}", None) for place in range(len(pieces))]


def test_the_legend_has_the_families_that_occur_and_their_languages() -> None:
    pieces = fired("es", "fr", "fr", "ja", None, "fr", "ru", "ru", "uk")
    shown = colored_text(pieces, told(pieces), LANGUAGES)
    legend = re.findall(r'<li><span style="([^"]+)">([^<]+)</span> ([^<]+)</li>', shown)
    assert [(name, counts) for _, name, counts in legend] == [
        ("Romance", "French 3, Spanish 1"),
        ("Slavic", "Russian 2, Ukrainian 1"),
        ("Japanese", "1"),
    ]
    looks = {name: look for look, name, _ in legend}
    tokens = re.findall(r'<span data-tip="([^"]+)"[^>]* style="([^"]+)">([^<]+)</span>', shown)
    assert [(tip, html.unescape(text)) for tip, _, text in tokens] == [
        (f"tip {place}", piece.text) for place, piece in enumerate(pieces) if piece.language
    ]
    assert [look for _, look, _ in tokens] == [
        looks[{"es": "Romance", "fr": "Romance", "ja": "Japanese", "ru": "Slavic", "uk": "Slavic"}[piece.language]]
        for piece in pieces
        if piece.language
    ]
    assert "&lt;None&gt;" in shown
    assert "<None>" not in shown


def test_labels_and_texts_are_no_markup() -> None:
    attack = '"><img src=x>'
    pieces = [Fired(attack, 1, attack, {}, {}), Fired(attack, 1, None, {}, {})]
    shown = colored_text(pieces, [Tip(attack, attack), Tip("", None)], [attack, *LANGUAGES])
    assert "<img" not in shown
    assert shown.count("&quot;&gt;&lt;img src=x&gt;") == 5  # legend, tip, where it leads, both texts


def test_the_line_names_the_most_frequent_languages_only() -> None:
    assert summary(fired("es", "fr", "fr", None)) == "4 tokens: French 2, Spanish 1, none 1."
    assert summary(fired(None)) == "1 token: none 1."
    exactly = summary(fired(*LANGUAGES[: NAMED + 1]))
    assert exactly.count(" 1") == NAMED + 1
    assert "more" not in exactly
    assert summary(fired(*LANGUAGES, "ar", None)).endswith(f"{len(LANGUAGES) - NAMED} more languages, none 1.")


# Figures and tables


def test_figures_go_by_family_with_room_between(loaded: Loaded) -> None:
    order = by_family(LANGUAGES)
    shown = re.findall(r'<div class="lape-name"( data-begin)?>([^<]+)</div>', layers_figure(loaded.known_mask))
    assert [name for _, name in shown] == [*(language(code).name for code in order), "layer"]
    several = [group for group in families(LANGUAGES).values() if len(group) > 1]
    begin = {language(group[0]).name for group in several} | {"Chinese"}  # the first without relatives
    assert {name for mark, name in shown if mark} == begin
    overlap = overlap_figure(loaded.known_mask)
    assert re.findall(r'<th scope="col"[^>]*>(\w+)</th>', overlap) == order
    assert re.findall(r"<b>(\w+)</b></th>", overlap) == order
    assert overlap.count("<tr data-begin>") == len(begin)
    assert overlap.count("<td") == 1 + len(LANGUAGES) ** 2
    assert "lape-many" in overlap
    assert "lape-many" not in overlap_figure(loaded.known_mask.only(TWELVE))
    one = activity_figure("n", ["fr"], dict.fromkeys(LANGUAGES, Activity(0.5, 0.5)))
    assert re.findall(r'<th scope="row">([^<]+)</th>', one.replace(" ●", "")) == [language(code).name for code in order]


def test_the_table_says_where_a_neuron_is_most_active(page: Page, loaded: Loaded) -> None:
    table = component(page, elem_id="lape-neurons-table").value
    assert table["headers"] == ["language", "layer", "neuron", "entropy", "mean", "most active in"]
    mask = loaded.known_mask
    known = {(row.language, row.layer, row.neuron): row for row in neuron_table(mask, loaded.statistics)}
    code_of = {language(code).name: code for code in LANGUAGES}
    rows = table["data"]
    assert len(rows) == 200
    for name, layer, neuron, _, _, said in rows:
        shares = known[code_of[name], layer, neuron].probabilities
        first = sorted(shares.values(), reverse=True)[:4]
        found = re.findall(r"(\w+) (\d\.\d\d)", said)
        assert [float(share) for _, share in found] == pytest.approx(first, abs=0.006)
        assert [shares[code_of[one]] for one, _ in found] == first
