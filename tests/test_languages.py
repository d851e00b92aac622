"""Languages by code."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from scripts import strange_letters

from lape import Language, language
from lape.languages import _OTHER_CODES, LANGUAGES, base_language, by_family, families

FAMILIES = {
    "Austroasiatic": "vi",
    "Austronesian": "id ms tl",
    "Baltic": "lt lv",
    "Bantu": "sw",
    "Basque": "eu",
    "Creole": "ht",
    "Dravidian": "ta te",
    "Germanic": "af da de en nl no sv yi",
    "Hellenic": "el",
    "Indo-Aryan": "bn gu hi ur",
    "Iranian": "fa",
    "Japonic": "ja",
    "Kartvelian": "ka",
    "Koreanic": "ko",
    "Kra-Dai": "th",
    "Quechuan": "qu",
    "Romance": "ca es fr gl it pt ro",
    "Semitic": "ar he mt",
    "Sino-Tibetan": "bo zh",
    "Slavic": "bg cs hr pl ru sk sl sr uk",
    "Turkic": "tr",
    "Uralic": "et fi hu",
}


def test_a_known_code_has_its_names() -> None:
    assert language("fr") == Language("fr", "French", "Français", "Latn", rtl=False, family="Romance")
    assert language("fr").title == "French (Français)"
    assert language("en").title == "English"
    assert language("zh").script == "Hans"


def test_an_unknown_label_stands_for_itself() -> None:
    assert language("legal_2") == Language("legal_2", "legal_2", "legal_2", script="")
    assert language("legal_2").title == "legal_2"
    assert language("legal_2").family == ""


@pytest.mark.parametrize(
    ("label", "base", "title", "script", "rtl"),
    [
        ("pt-BR", "pt", "Portuguese (Brazil) · Português", "Latn", False),
        ("pt_pt", "pt", "Portuguese (Portugal) · Português", "Latn", False),
        ("pt-XX", "pt", "Portuguese (XX) · Português", "Latn", False),
        ("es-419", "es", "Spanish (Latin America) · Español", "Latn", False),
        ("en-GB", "en", "English (United Kingdom)", "Latn", False),
        ("zh-Hans", "zh", "Chinese (Simplified) · 中文", "Hans", False),
        ("zho_Hant", "zh", "Chinese (Traditional) · 中文", "Hant", False),
        ("zh-Hant-HK", "zh", "Chinese (Traditional, Hong Kong) · 中文", "Hant", False),
        ("zh-TW", "zh", "Chinese (Taiwan) · 中文", "Hant", False),
        ("cmn_Hans", "zh", "Chinese (Simplified) · 中文", "Hans", False),
        ("sr-Latn", "sr", "Serbian (Latin) · Српски", "Latn", False),
        ("ar-EG", "ar", "Arabic (Egypt) · العربية", "Arab", True),
        ("arb_Arab", "ar", "Arabic (العربية)", "Arab", True),
        ("fa-IR", "fa", "Persian (Iran) · فارسی", "Arab", True),
        ("pes_Arab", "fa", "Persian (فارسی)", "Arab", True),
        ("he_IL", "he", "Hebrew (Israel) · עברית", "Hebr", True),
        ("iw", "he", "Hebrew (עברית)", "Hebr", True),
        ("ur_Latn", "ur", "Urdu (Latin) · اردو", "Latn", False),
        ("eng_Latn", "en", "English", "Latn", False),
        ("swh_Latn", "sw", "Swahili (Kiswahili)", "Latn", False),
        ("npi_Deva", "ne", "npi_Deva", "Deva", False),  # not listed, but identifiers know ne
        ("arz_Arab", "arz", "arz_Arab", "Arab", True),
    ],
)
def test_a_tag_has_the_names_of_its_language(label: str, base: str, title: str, script: str, rtl: bool) -> None:
    assert base_language(label) == base
    known = language(label)
    assert (known.code, known.title, known.script, known.rtl) == (label, title, script, rtl)
    assert known.family == (LANGUAGES[base].family if base in LANGUAGES else "")


@pytest.mark.parametrize("label", ["legal", "fr_wiki", "en_legal", "FR", "pt-BR-x", "pt BR", "français", "de-", "k12"])
def test_what_is_no_tag_stands_for_itself(label: str) -> None:
    assert base_language(label) == label
    assert language(label) == Language(label, label, label, script="")


def test_tags_of_one_language_have_different_titles() -> None:
    tags = ["zh", "zh-Hans", "zh-Hant", "zh-TW", "zh-Hant-TW", "zh-CN", "pt", "pt-BR", "pt-PT", "en", "en-GB", "en-US"]
    assert len({language(tag).title for tag in tags}) == len({language(tag).name for tag in tags}) == len(tags)


def test_other_codes_lead_to_a_language_and_hide_none() -> None:
    assert set(LANGUAGES) <= set(_OTHER_CODES.values())
    assert not set(_OTHER_CODES) & set(_OTHER_CODES.values())
    assert all(re.fullmatch("[a-z]{2}", code) for code in _OTHER_CODES.values())
    assert all(re.fullmatch("[a-z]{2,3}", other) for other in _OTHER_CODES)


def test_what_is_written_from_right_to_left() -> None:
    assert {code for code, known in LANGUAGES.items() if known.rtl} == {"ar", "fa", "he", "ur", "yi"}
    assert not language("legal_2").rtl


def test_every_language_is_listed_once_and_complete() -> None:
    assert len({known.name for known in LANGUAGES.values()}) == len(LANGUAGES) > 50
    assert len({known.endonym for known in LANGUAGES.values()}) == len(LANGUAGES)
    for code, known in LANGUAGES.items():
        assert known.code == code
        assert re.fullmatch("[a-z]{2,3}", code)
        assert re.fullmatch("[A-Z][a-z]{3}", known.script)


def test_the_writing_direction_is_that_of_the_script() -> None:
    assert {known.script for known in LANGUAGES.values() if known.rtl} == {"Arab", "Hebr"}
    assert not {known.script for known in LANGUAGES.values() if not known.rtl} & {"Arab", "Hebr"}


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_language_names_itself_in_its_script(code: str) -> None:
    known = language(code)
    assert strange_letters(known.endonym, known.script) == []


def test_every_language_is_in_its_family() -> None:
    assert {code: known.family for code, known in LANGUAGES.items()} == {
        code: family for family, codes in FAMILIES.items() for code in codes.split()
    }


def test_relatives_stand_together() -> None:
    codes = ["zh", "uk", "legal", "ru", "es", "Romanized", "fr", "de", "ja", "en"]
    found = {
        **{"Germanic": ["en", "de"], "Romance": ["fr", "es"], "Slavic": ["ru", "uk"]},
        **{"Sino-Tibetan": ["zh"], "Japonic": ["ja"], "legal": ["legal"], "Romanized": ["Romanized"]},
    }
    assert families(codes) == families(reversed(codes)) == found
    assert [*families(codes)] == [*found]
    assert by_family(codes) == ["en", "de", "fr", "es", "ru", "uk", "zh", "ja", "legal", "Romanized"]
    assert families([]) == {}


@pytest.mark.parametrize("codes", [LANGUAGES, [*LANGUAGES, "legal", "x"]])
def test_the_order_of_families_loses_no_language(codes: Iterable[str]) -> None:
    assert sorted(by_family(codes)) == sorted(codes)
