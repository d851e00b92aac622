"""Which language an output is in."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from py3langid.langid import MODEL_FILE
from py3langid.langid import LanguageIdentifier as _Classifier

from lape.errors import unknown_label

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


class LanguageIdentifier:
    """Tells which of a few languages a text is in, with py3langid restricted to them and English.

    Restricting matters: 34 characters of French score .80 among 25 languages and .48 among all, so the
    unrestricted classifier only serves to notice text in no language.

    Args:
        languages: Codes to choose from; labels the classifier does not know are left out.

    Raises:
        UnknownLabel: The classifier knows none of them.

    Example:
        >>> LanguageIdentifier(["fr", "es"]).identify("Il était une fois une petite fille.").language
        'fr'
    """

    def __init__(self, languages: Iterable[str]) -> None:
        self._all = _Classifier.from_model_file(MODEL_FILE, norm_probs=True)
        self._some = _Classifier.from_model_file(MODEL_FILE, norm_probs=True)
        asked = list(languages)
        known = set(self._all.labels) - {NO_LANGUAGE}
        if not known & set(asked):
            raise unknown_label("language to identify among", ", ".join(asked), known)
        self._some.set_languages(sorted((known & set(asked)) | {"en"}))

    def identify(self, text: str) -> Identified:
        """Identifies the language of a text; says nothing about one narrower than 20 columns."""
        text = text.strip()
        if text_width(text) < MIN_WIDTH:
            return Identified(None)
        if not any(map(str.isalpha, text)):
            return Identified(None, gibberish=True)  # nothing to go by: any language would be as likely
        language, confidence = self._some.classify(text)
        gibberish = self._all.classify(text)[0] == NO_LANGUAGE
        return Identified(str(language), float(confidence), gibberish)


def text_width(text: str) -> int:
    """Columns a text fills: two for a wide character, which says about as much as two narrow ones."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
