"""Languages by code."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import pytest

from lape import Language, language
from lape.languages import LANGUAGES, by_family, families

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
IN_UNICODE = {  # how Unicode begins the names of a script's letters
    "Arab": "ARABIC",
    "Beng": "BENGALI",
    "Cyrl": "CYRILLIC",
    "Deva": "DEVANAGARI",
    "Geor": "GEORGIAN",
    "Grek": "GREEK",
    "Gujr": "GUJARATI",
    "Hans": "CJK UNIFIED",
    "Hebr": "HEBREW",
    "Jpan": "CJK UNIFIED",
    "Kore": "HANGUL",
    "Latn": "LATIN",
    "Taml": "TAMIL",
    "Telu": "TELUGU",
    "Thai": "THAI",
    "Tibt": "TIBETAN",
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
    letters = [unicodedata.name(letter) for letter in known.endonym if letter.isalpha()]
    assert letters
    assert [name for name in letters if not name.startswith(IN_UNICODE[known.script])] == []


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
