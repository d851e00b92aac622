"""Which language an output is in.

Identifiers choose among a few languages: 34 characters of French score .80 among 25 languages and .48 among all. What
is too short to say, and what is in no language, they all tell alike, so that those shares mean the same whichever
identifier is used.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from py3langid.langid import MODEL_FILE
from py3langid.langid import LanguageIdentifier as _Classifier

from lape.errors import LapeError, unknown_label

MIN_WIDTH = 20  # columns of text below which nothing is said; a wide (East Asian) character fills two
NO_LANGUAGE = "zxx"


@dataclass(frozen=True)
class Identified:
    """The language of a text.

    Attributes:
        language: Its code, or None when the text is too short to say or has no letters.
        confidence: Probability among the languages asked about, from 0 to 1.
        gibberish: Whether a classifier of all languages finds no language in it.
    """

    language: str | None
    confidence: float = 0.0
    gibberish: bool = False


class Identifier(Protocol):
    """Anything that tells the language of a text; give your own where an identifier is asked for."""

    def identify(self, text: str) -> Identified:
        """Identifies the language of a text."""


class _Chooser:
    """What the identifiers here share; each says in `_choose` which of its languages a text is in."""

    def __init__(self) -> None:
        self._all = _all_languages()

    def identify(self, text: str) -> Identified:
        """Identifies the language of a text; says nothing about one narrower than 20 columns."""
        text = text.strip()
        if text_width(text) < MIN_WIDTH:
            return Identified(None)
        if not any(map(str.isalpha, text)):
            return Identified(None, gibberish=True)  # nothing to go by: any language would be as likely
        language, confidence = self._choose(text)
        return Identified(language, confidence, gibberish=self._all.classify(text)[0] == NO_LANGUAGE)

    def _choose(self, text: str) -> tuple[str | None, float]:
        raise NotImplementedError


class LanguageIdentifier(_Chooser):
    """Tells which of a few languages a text is in, with py3langid restricted to them and English.

    Args:
        languages: Codes to choose from; labels the classifier does not know are left out.

    Raises:
        UnknownLabel: The classifier knows none of them.

    Example:
        >>> LanguageIdentifier(["fr", "es"]).identify("Il était une fois une petite fille.").language
        'fr'
    """

    def __init__(self, languages: Iterable[str]) -> None:
        super().__init__()
        self._some = copy(self._all)  # which `set_languages` leaves whole: it puts other tables in place
        self._some.set_languages(_known(languages, set(self._all.labels) - {NO_LANGUAGE}))

    def _choose(self, text: str) -> tuple[str, float]:
        language, confidence = self._some.classify(text)
        return str(language), float(confidence)


class LinguaIdentifier(_Chooser):
    """The same with lingua, a second opinion; needs `pip install 'lape[lingua]'` (96 MB).

    Args:
        languages: Codes to choose from; labels the classifier does not know are left out.

    Raises:
        LapeError: lingua is not installed, or English is the only language.
        UnknownLabel: The classifier knows none of them.
    """

    def __init__(self, languages: Iterable[str]) -> None:
        super().__init__()
        try:
            import lingua
        except ImportError as error:
            raise LapeError("The lingua identifier is not installed: pip install 'lape[lingua]'.") from error
        codes = {language.iso_code_639_1.name.lower(): language for language in lingua.Language.all()}
        some = [codes[code] for code in _known(languages, codes)]
        if len(some) < 2:
            raise LapeError("lingua needs another language beside English to choose from.")
        self._some = lingua.LanguageDetectorBuilder.from_languages(*some).build()

    def _choose(self, text: str) -> tuple[str | None, float]:
        best = self._some.compute_language_confidence_values(text)[0]
        # Text in a script that none of the languages is written in scores 0 for all.
        return (best.language.iso_code_639_1.name.lower(), best.value) if best.value > 0 else (None, 0.0)


IDENTIFIERS: dict[str, Callable[[Iterable[str]], Identifier]] = {
    "py3langid": LanguageIdentifier,
    "lingua": LinguaIdentifier,
}


def identifier(name: str, languages: Iterable[str]) -> Identifier:
    """The identifier of a name, for some languages.

    Args:
        name: `py3langid`, which is always there, or `lingua`.
        languages: Codes to choose from, with English.

    Raises:
        UnknownLabel: There is no such identifier, or it knows none of the languages.
        LapeError: It is not installed.
    """
    if name not in IDENTIFIERS:
        raise unknown_label("language identifier", name, IDENTIFIERS)
    return IDENTIFIERS[name](languages)


@cache
def _all_languages() -> _Classifier:
    """py3langid as it comes. Read once, which takes long: its file is compressed."""
    return _Classifier.from_model_file(MODEL_FILE, norm_probs=True)


def text_width(text: str) -> int:
    """Columns a text fills: two for a wide character, which says about as much as two narrow ones."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _known(languages: Iterable[str], known: Iterable[str]) -> list[str]:
    """Those that a classifier knows, and English, sorted."""
    asked, known = list(languages), set(known)
    if not known & set(asked):
        raise unknown_label("language to identify among", ", ".join(asked), known)
    return sorted((known & set(asked)) | {"en"})
