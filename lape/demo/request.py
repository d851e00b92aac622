"""What a visitor asks for, checked: the page's defaults, limits and examples are here and nowhere else.

Nothing that arrives is trusted: the raw API can send any JSON value in any place.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from lape.errors import LapeError
from lape.generation.interventions import Mode
from lape.languages import language

PROMPT_CHARACTERS = 2000
MOST_TARGETS = 4  # columns of one batch that fit a page
MODES: tuple[str, ...] = get_args(Mode)


@dataclass(frozen=True)
class CompareRequest:
    """One comparison; the defaults are what the page opens with.

    Attributes:
        prompt: Text to continue, or the user's message in a chat.
        source: The prompt's language: its neurons go off.
        targets: The languages to steer to, one column each: its neurons go on.
        strength: Factor of the mode.
        mode: How neurons are switched on: `replace`, `add` or `scale`.
        max_new_tokens: Tokens per column.
        temperature: 0 is greedy.
        top_p: Share of probability to sample from.
        repetition_penalty: 1 is none.
        seed: Of the sampling noise and of the random control.
        show_random: Whether to add the column with as many random neurons as the first steered one changes.
        chat: Whether the prompt goes through the model's chat template.
        show_plain: Whether to add the column that is only asked for the first target, in words.
    """

    prompt: str = "Il était une fois une petite fille qui vivait"
    source: str = "fr"
    targets: tuple[str, ...] = ("es",)
    strength: float = 2.0
    mode: Mode = "replace"
    max_new_tokens: int = 48
    temperature: float = 0.0
    top_p: float = 0.9
    repetition_penalty: float = 1.1
    seed: int = 0
    show_random: bool = False
    chat: bool = False
    show_plain: bool = False


DEFAULTS = CompareRequest()


@dataclass(frozen=True)
class Limit:
    """The range of a number, the step of its slider, and its name for people."""

    label: str
    low: float
    high: float
    step: float
    whole: bool = False


LIMITS = {
    "strength": Limit("Strength", 0, 5, 0.1),
    "max_new_tokens": Limit("New tokens", 1, 256, 1, whole=True),
    "temperature": Limit("Temperature", 0, 2, 0.05),
    "top_p": Limit("Top-p", 0.05, 1, 0.05),
    "repetition_penalty": Limit("Repetition penalty", 1, 2, 0.05),
    "seed": Limit("Seed", 0, 2**32 - 1, 1, whole=True),
}


@dataclass(frozen=True)
class Example:
    """An opening phrase, and what to expect of it.

    Attributes:
        prompt: The phrase.
        source: Its language.
        target: A language to steer it to.
        seen: Languages of the columns *on*, *off* and *steered* with the embedded model, its bundled mask and the
            defaults, which `tests/test_compare.py` looks after; None for another target.
    """

    prompt: str
    source: str
    target: str
    seen: tuple[str, str, str] | None = None

    @property
    def expected(self) -> str:
        """What to expect, as a sentence; empty where nobody has looked."""
        if self.seen is None:
            return ""
        on, off, steered = (language(code).name for code in self.seen)
        return f"What to expect of the embedded model: on goes on in {on}, off in {off}, steered in {steered}."


EXAMPLES = (
    Example(DEFAULTS.prompt, DEFAULTS.source, DEFAULTS.targets[0], ("fr", "en", "es")),
    Example("很久很久以前,在一个小村庄里,有一位老人", "zh", "es", ("zh", "en", "es")),
    Example("Había una vez un viejo pescador que vivía", "es", "fr", ("es", "en", "fr")),
    Example("Es war einmal ein alter König, der in einem Schloss", "de", "fr", ("de", "en", "fr")),
    Example("When I opened the window this morning, I saw", "en", "fr", ("en", "en", "fr")),
    Example("Pada suatu hari, seorang anak kecil pergi ke", "id", "es", ("id", "en", "es")),
    Example("C'era una volta un falegname che abitava", "it", "fr", ("en", "en", "fr")),
    Example("Era uma vez um menino que gostava de", "pt", "fr", ("pt", "en", "fr")),
    Example("Жила-была девочка, которая очень любила", "ru", "es", ("ru", "en", "es")),
    Example("むかしむかし、ある小さな村に", "ja", "es", ("ja", "ja", "es")),
)


def examples_for(languages: Sequence[str]) -> list[Example]:
    """The examples whose languages have neurons; the target is swapped for another where only it has none."""
    found = []
    for example in EXAMPLES:
        if example.source in languages:
            others = [code for code in languages if code != example.source]
            known = example.target in others
            found.append(example if known else replace(example, target=others[0], seen=None))
    return found


def opening(languages: Sequence[str]) -> CompareRequest:
    """What the page opens with when a mask has these languages: the defaults, as far as they are among them."""
    if len(languages) < 2:
        return DEFAULTS
    for example in examples_for(languages):
        return replace(DEFAULTS, prompt=example.prompt, source=example.source, targets=(example.target,))
    return replace(DEFAULTS, prompt="", source=languages[0], targets=(languages[1],))


def checked(languages: Sequence[str], values: Mapping[str, Any], *, chat: bool = False) -> CompareRequest:
    """Builds a request from untrusted values.

    Args:
        languages: Codes that have neurons.
        values: A value of any kind for every field of `CompareRequest`; fields left out take their default.
        chat: Whether the model has a chat template.

    Raises:
        LapeError: A value is not what it should be; one sentence that says what is allowed.
    """
    given = {field.name: values.get(field.name, getattr(DEFAULTS, field.name)) for field in fields(CompareRequest)}
    _check_prompt(given["prompt"])
    source = checked_code("prompt's language", given["source"], languages)
    given["targets"] = _targets(given["targets"], languages)
    if source in given["targets"]:
        raise LapeError(
            f"The prompt's language and the language to steer to are both {language(source).name}; "
            "choose two different ones."
        )
    if given["mode"] not in MODES:  # a list or dict is in no tuple of strings either
        raise LapeError(f"The mode must be {', '.join(MODES[:-1])} or {MODES[-1]}, not {shown_value(given['mode'])}.")
    for name in ("show_random", "show_plain", "chat"):
        if not isinstance(given[name], bool):
            raise LapeError(f"{name} must be true or false, not {shown_value(given[name])}.")
    if given["chat"] and not chat:
        raise LapeError("This model has no chat template; switch chat off.")
    return CompareRequest(**{**given, **{name: checked_number(LIMITS[name], given[name]) for name in LIMITS}})


def _check_prompt(prompt: object) -> None:
    if not checked_text("prompt", prompt, PROMPT_CHARACTERS).strip():
        raise LapeError("The prompt is empty; write the beginning of a text for the model to continue.")


def checked_text(what: str, text: object, most: int) -> str:
    """A text of at most so many characters, which may be empty.

    Raises:
        LapeError: It is not that.
    """
    if not isinstance(text, str):
        raise LapeError(f"The {what} must be text, not {shown_value(text)}.")
    if len(text) > most:
        raise LapeError(f"The {what} has {len(text):,} characters and at most {most:,} are allowed; shorten it.")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise LapeError(f"The {what} holds half a character (a lone surrogate); type it again.")
    return text


def checked_code(what: str, code: object, languages: Sequence[str]) -> str:
    """The code of one of some languages.

    Raises:
        LapeError: It is not that.
    """
    if not isinstance(code, str) or code not in languages:
        raise LapeError(f"The {what} must be one of {', '.join(languages)}, not {shown_value(code)}.")
    return code


def _targets(codes: object, languages: Sequence[str]) -> tuple[str, ...]:
    """One code or several, each once."""
    if not isinstance(codes, list | tuple):
        return (checked_code("language to steer to", codes, languages),)
    if not 1 <= len(codes) <= MOST_TARGETS:
        raise LapeError(f"Choose 1 to {MOST_TARGETS} languages to steer to, not {len(codes):,}.")
    return tuple(dict.fromkeys(checked_code("language to steer to", code, languages) for code in codes))


def checked_number(limit: Limit, value: Any) -> float:
    """A number within its range.

    Raises:
        LapeError: It is no number, or outside.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not limit.low <= value or not value <= limit.high or (limit.whole and value != math.floor(value)):
        kind = "a whole number" if limit.whole else "a number"
        raise LapeError(f"{limit.label} must be {kind} from {limit.low:,} to {limit.high:,}, not {shown_value(value)}.")
    return int(value) if limit.whole else float(value)


def shown_value(value: object) -> str:
    """A value of any kind and size as a short piece of a sentence."""
    return "empty" if value is None else reprlib.repr(value)
