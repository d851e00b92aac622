"""Languages as the page shows them: in menus, and in which direction they are written."""

from __future__ import annotations

from collections.abc import Sequence

from lape.languages import language


def titles(languages: Sequence[str]) -> list[tuple[str, str]]:
    """Languages as a menu shows them, and their codes."""
    return [(language(code).title, code) for code in languages]


def is_rtl(code: object) -> bool:
    """Whether a language is written from right to left; anything may come."""
    return isinstance(code, str) and language(code).rtl
