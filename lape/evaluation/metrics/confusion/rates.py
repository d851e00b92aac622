"""Whether answers keep to the language that was asked for: pass rates of the Language Confusion Benchmark.

Marchisio et al., "Understanding and Mitigating Language Confusion in LLMs", EMNLP 2024. An answer is cut before a
question that the model asks itself ("Q:" at the beginning of a line), ASCII punctuation is removed, and lines of fewer
than five words say nothing. Chinese and Japanese write no blanks, so there 1.6 characters count as a word. A line that
is too short for the identifier says nothing either; one in no language is not in the language.

- line pass rate: of the answers with a line that says something, those whose every line is in the language
- word pass rate, in languages of another script: of these, those without an English dictionary word
- their harmonic mean

What has nothing to count has no rate, where the benchmark's own script says 1.
"""

from __future__ import annotations

import re
import string
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from lape.evaluation.metrics.bootstrap import Figure, draws, mean, ratio
from lape.evaluation.metrics.language import Identifier
from lape.languages import base_language

WORD_LANGUAGES = frozenset({"ar", "hi", "ja", "ko", "ru", "zh"})  # whose script an English word stands out from
UNSPACED = frozenset({"ja", "zh"})
CHARACTERS_PER_WORD = 1.6
FEWEST_WORDS = 5
SHORTEST_ENGLISH = 4  # letters of a word that is not also a name or an abbreviation

_CLEANED = str.maketrans({**dict.fromkeys(string.punctuation, ""), "—": " ", "،": ""})
_LATIN = re.compile("[A-Za-z]+")


@dataclass(frozen=True)
class Verdict:
    """What one answer counts as.

    Attributes:
        in_language: Whether every line is in the language; None where no line says anything.
        english: Whether it holds an English word; None where that is not told, or a line is in another language.
    """

    in_language: bool | None
    english: bool | None = None


def verdict(answer: str, language: str, identifier: Identifier, dictionary: Collection[str] | None = None) -> Verdict:
    """Judges an answer.

    Args:
        answer: What the model wrote.
        language: What it was to be written in.
        identifier: Tells the language of each line.
        dictionary: English words, see `english_words`; None leaves words alone.
    """
    wanted = base_language(language)
    lines = spoken_lines(answer, wanted)
    told = [(line, found) for line in lines if (found := identifier.identify(line)).language is not None]
    if not told:
        return Verdict(None)
    if any(found.gibberish or base_language(str(found.language)) != wanted for _, found in told):
        return Verdict(False)
    if dictionary is None or wanted not in WORD_LANGUAGES:
        return Verdict(True)
    return Verdict(True, any(word in dictionary for line in lines for word in _words(line, wanted)))


def spoken_lines(answer: str, language: str) -> list[str]:
    """The lines of an answer that are long enough to say something, without their punctuation."""
    text = answer.split("\nQ:")[0].strip().translate(_CLEANED)
    return [line for line in text.split("\n") if _word_count(line, language) >= FEWEST_WORDS]


def english_words(lines: Iterable[str]) -> frozenset[str]:
    """The words of a dictionary that count: in small letters, of four and more."""
    words = (line.strip() for line in lines)
    return frozenset(word for word in words if word.islower() and len(word) >= SHORTEST_ENGLISH)


@dataclass(frozen=True)
class Rates:
    """Pass rates of some answers; None where there was nothing to count.

    Attributes:
        line: Line pass rate.
        word: Word pass rate.
        judged: Answers with a line that says something.
    """

    line: Figure | None
    word: Figure | None
    judged: int

    @property
    def both(self) -> Figure | None:
        """Their harmonic mean."""
        if self.line is None or self.word is None:
            return None
        return Figure(
            float(_harmonic(torch.tensor(self.line.value), torch.tensor(self.word.value))),
            _harmonic(self.line.resampled, self.word.resampled),
        )

    def values(self) -> dict[str, Any]:
        """Every rate, as JSON holds it."""
        named = {"line": self.line, "word": self.word, "line_and_word": self.both}
        rates = {f"{name}_pass_rate": figure and figure.interval() for name, figure in named.items()}
        return {"judged": self.judged, **rates}


def pass_rates(verdicts: Mapping[str, Sequence[Verdict]], name: str) -> Rates:
    """The rates of one language: means over the sources of its prompts, each counting the same.

    Args:
        verdicts: Source to those of its answers, at least two.
        name: Of the language and task. The resamples of figures of one name are paired, so that conditions compare.
    """
    lines, words, judged = [], [], 0
    for source, some in verdicts.items():
        drawn = draws(len(some), f"{name} {source}")
        lines.append(_rate([one.in_language for one in some], drawn))
        words.append(_rate([None if one.english is None else not one.english for one in some], drawn))
        judged += sum(one.in_language is not None for one in some)
    return Rates(_mean(lines), _mean(words), judged)


def mean_rates(rates: Iterable[Rates]) -> Rates:
    """Means over languages, each counting the same; of each rate over those that have one."""
    listed = list(rates)
    lines, words = [one.line for one in listed], [one.word for one in listed]
    return Rates(_mean(lines), _mean(words), sum(one.judged for one in listed))


def _rate(passed: Sequence[bool | None], drawn: torch.Tensor) -> Figure | None:
    """Share of those that count, which are not None."""
    counted = [float(one is not None) for one in passed]
    if not any(counted):
        return None
    found = ratio([float(bool(one)) for one in passed], counted, drawn)
    return Figure(found.value, torch.nan_to_num(found.resampled, nan=found.value))  # a resample that counts none


def _mean(figures: Sequence[Figure | None]) -> Figure | None:
    some = [figure for figure in figures if figure is not None]
    return mean(some) if some else None


def _harmonic(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    both = one + other
    return torch.where(both > 0, 2 * one * other / both.clamp(min=torch.finfo(both.dtype).tiny), 0.0)


def _word_count(line: str, language: str) -> float:
    words = line.split()
    return sum(map(len, words)) / CHARACTERS_PER_WORD if language in UNSPACED else len(words)


def _words(line: str, language: str) -> list[str]:
    return _LATIN.findall(line) if language in UNSPACED else line.split()
