"""Languages as the page shows them: by the names that the visitor's language has for them, and in their direction."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from babel import Locale
from babel.lists import format_list

from lape.demo.words import tongue
from lape.languages import base_language, language


def name_of(code: str) -> str:
    """The name of a language in the language of who asks; a label that is no language stands for itself.

    Example:
        >>> name_of("pt-BR"), name_of("legal")
        ('Portuguese (Brazil)', 'legal')
    """
    return language(code).name if tongue() == "en" else _name(code, tongue())


@cache
def _name(code: str, asked_in: str) -> str:
    """By CLDR, where that has it; with what sets a tag apart from its language."""
    known = language(code)
    locale = Locale.parse(asked_in)
    name = locale.languages.get(base_language(code))
    if name is None or known.name == code:
        return known.name
    usual = language(base_language(code)).script
    parts = [part for part in re.split("[-_]", code)[1:] if part.title() != usual]
    apart = [locale.scripts.get(part.title()) or locale.territories.get(part.upper()) or part for part in parts]
    return f"{name} ({', '.join(apart)})" if apart else str(name)


def names_listed(codes: Iterable[str]) -> str:
    """Names of languages in one line, as the language of who asks lists them.

    Example:
        >>> names_listed(["fr", "es", "legal"])
        'French, Spanish, and legal'
    """
    return format_list([name_of(code) for code in codes], locale=tongue())


def titles(codes: Iterable[str]) -> list[tuple[str, str]]:
    """Languages as a menu shows them, by name, and their codes; a search in the menu finds name, endonym and code.

    Example:
        >>> titles(["es", "legal", "fr"])
        [('French (Français) · fr', 'fr'), ('legal', 'legal'), ('Spanish (Español) · es', 'es')]
    """
    return [(_title(code), code) for code in sorted(codes, key=lambda code: name_of(code).casefold())]


def _title(code: str) -> str:
    known = language(code)
    if known.name == code:
        return code
    if tongue() == "en":
        return f"{known.title} · {code}"
    name = name_of(code)
    return f"{name} · {code}" if name.casefold() == known.endonym.casefold() else f"{name} · {known.endonym} · {code}"


def is_rtl(code: object) -> bool:
    """Whether a language is written from right to left; anything may come."""
    return isinstance(code, str) and language(code).rtl
