"""Languages by code."""

from __future__ import annotations

import re

from lape import Language, language
from lape.languages import LANGUAGES


def test_a_known_code_has_its_names() -> None:
    assert language("fr") == Language("fr", "French", "Français", "Latn", rtl=False)
    assert language("fr").title == "French (Français)"
    assert language("en").title == "English"
    assert language("zh").script == "Hans"


def test_an_unknown_label_stands_for_itself() -> None:
    assert language("legal_2") == Language("legal_2", "legal_2", "legal_2", script="")
    assert language("legal_2").title == "legal_2"


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
