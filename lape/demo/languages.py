"""Languages as the page shows them: in menus, and in which direction they are written."""

from __future__ import annotations

from collections.abc import Iterable

from lape.languages import language


def titles(codes: Iterable[str]) -> list[tuple[str, str]]:
    """Languages as a menu shows them, by name, and their codes; a search in the menu finds name, endonym and code.

    Example:
        >>> titles(["es", "legal", "fr"])
        [('French (Français) · fr', 'fr'), ('legal', 'legal'), ('Spanish (Español) · es', 'es')]
    """
    by_name = sorted(codes, key=lambda code: language(code).name.casefold())
    return [(code if language(code).name == code else f"{language(code).title} · {code}", code) for code in by_name]


def is_rtl(code: object) -> bool:
    """Whether a language is written from right to left; anything may come."""
    return isinstance(code, str) and language(code).rtl
