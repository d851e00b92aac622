"""One prompt under an intervention at many strengths: where the language flips, and where the text breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import LapeError
from lape.evaluation.metrics.costs import WrittenTexts, write_and_cost
from lape.evaluation.metrics.language import Identified, text_width
from lape.evaluation.metrics.quality import BROKEN, Quality, judge
from lape.generation.interventions import Entry, Intervention
from lape.generation.prompts import Prompt
from lape.generation.streaming import Finish
from lape.languages import base_language

STRENGTHS = tuple(step / 4 for step in range(17))  # 0, 0.25 ... 4
FACTORS = tuple(1 + step / 2 for step in range(17))  # 1, 1.5 ... 9: what neurons are multiplied by
WINDOW_COLUMNS, STEP_COLUMNS = 60, 20
Identify = Callable[[str], Identified]


@dataclass(frozen=True)
class StrengthStep:
    """What a model writes at one strength.

    Attributes:
        strength: Of the intervention.
        text: What it wrote.
        language: The language of the whole text.
        target_share: Share of the text's windows that are told to be in the target; see `target_share`.
        quality: How good the text is; None when it is too short to say.
        new_tokens: Of the text.
        finished: Why it ended.
    """

    strength: float
    text: str
    language: Identified
    target_share: float | None
    quality: Quality | None
    new_tokens: int
    finished: Finish | None

    @property
    def broken(self) -> bool:
        """Whether nobody would read the text."""
        return self.quality is not None and self.quality.word == BROKEN

    @property
    def cost_nats(self) -> float | None:
        """What the text costs the untouched model, per token."""
        return None if self.quality is None else self.quality.cost_nats

    def values(self) -> dict[str, Any]:
        """As JSON and a row of a table hold it."""
        return {
            "strength": self.strength,
            "text": self.text,
            "language": None if self.language.gibberish else self.language.language,
            "confidence": round(self.language.confidence, 4),
            "target_share": self.target_share,
            "quality": self.quality and self.quality.word,
            "cost_nats": self.cost_nats,
            "new_tokens": self.new_tokens,
            "finished": self.finished,
        }


@dataclass(frozen=True)
class StrengthSweep:
    """What a model writes at rising strengths.

    Attributes:
        target: Language that is switched on.
        steps: By rising strength.
    """

    target: str
    steps: tuple[StrengthStep, ...]

    @property
    def flip(self) -> float | None:
        """The strength at which the language flips to the target; None where it does not.

        That is the first whose text is in the target and not broken, and the next stronger one's is in the target too,
        which a text that is there by chance has not.
        """
        there = [step.language.language == base_language(self.target) and not step.broken for step in self.steps]
        stays = [self._told(step) for step in self.steps[1:]] + [True]
        return next(
            (step.strength for step, now, then in zip(self.steps, there, stays, strict=True) if now and then), None
        )

    @property
    def breaks(self) -> float | None:
        """The strength from which on every text is broken; None where the strongest is not."""
        found = None
        for step in reversed(self.steps):
            if not step.broken:
                break
            found = step.strength
        return found

    def _told(self, step: StrengthStep) -> bool:
        return step.language.language == base_language(self.target)

    def values(self) -> dict[str, Any]:
        """As JSON holds it: `target`, `flip`, `breaks` and `steps`, see `StrengthStep.values`."""
        return {
            "target": self.target,
            "flip": self.flip,
            "breaks": self.breaks,
            "steps": [step.values() for step in self.steps],
        }


def sweep(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    prompt: Prompt,
    intervention: Entry,
    identify: Identify,
    strengths: Sequence[float] | None = None,
    **settings: Any,
) -> StrengthSweep:
    """Generates a prompt under an intervention at many strengths, as rows of one batch.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        prompt: Text to continue, or chat messages.
        intervention: That switches a language on; its own strength does not count.
        identify: Tells the language of a text, such as `LanguageIdentifier(mask.languages).identify`.
        strengths: Rising; None takes those that suit the intervention.
        **settings: Of `side_by_side`.

    Raises:
        LapeError: No language is switched on, there is no strength or they do not rise, or as `side_by_side`.

    Example:
        >>> steer = Intervention(mask, off="fr", on="es")  # doctest: +SKIP
        >>> sweep(model, tokenizer, "Il était une fois", steer, identify).flip  # doctest: +SKIP
        0.75
    """
    rows = at_strengths(intervention, strengths)
    *_, last = write_and_cost(model, tokenizer, prompt, rows, **settings)
    return swept(last, rows, identify)


def at_strengths(intervention: Entry, strengths: Sequence[float] | None = None) -> dict[str, Entry]:
    """An intervention at many strengths, as the variants of one prompt; `f"{strength:g}"` names each.

    Args:
        intervention: That switches a language on.
        strengths: Rising; None takes 0 to 4 by quarters, for the mode `scale` 1 to 9 by halves.

    Raises:
        LapeError: No language is switched on, there is no strength, or they do not rise.
    """
    if intervention.on is None:
        raise LapeError("No language is switched on, so there is no strength to sweep. Say which one to steer to.")
    if strengths is None:
        scales = isinstance(intervention, Intervention) and intervention.mode == "scale"
        strengths = FACTORS if scales else STRENGTHS
    if not strengths or list(strengths) != sorted({*strengths}):
        raise LapeError("The strengths of a sweep are one or more rising numbers.")
    return {f"{strength:g}": replace(intervention, strength=strength) for strength in strengths}


def swept(written: WrittenTexts, rows: Mapping[str, Entry], identify: Identify) -> StrengthSweep:
    """The sweep of what rows of `at_strengths` have written.

    Args:
        written: The last of `write_and_cost`.
        rows: Name to intervention.
        identify: Tells the language of a text.
    """
    target = next(iter(rows.values())).on
    costs = written.costs_nats or {}
    steps = []
    for name, intervention in rows.items():
        text = written.update.texts[name]
        told = identify(text)
        steps.append(
            StrengthStep(
                strength=intervention.strength,
                text=text,
                language=told,
                target_share=target_share(text, str(target), identify),
                quality=judge(text, told, costs.get(name)),
                new_tokens=written.update.new_tokens[name],
                finished=written.update.finished[name],
            )
        )
    return StrengthSweep(str(target), tuple(steps))


def target_share(text: str, target: str, identify: Identify) -> float | None:
    """Share of a text's windows that are told to be in a language; None of a text too short to say.

    A window is 60 columns wide, of which a wide (East Asian) character fills two, and begins 20 after the one before;
    the last ends with the text. One in no language is not in the target.

    Args:
        text: What was written.
        target: Language code.
        identify: Tells the language of a text.
    """
    told = [identify(window) for window in windows(text)]
    if all(found.language is None and not found.gibberish for found in told):
        return None
    return sum(found.language == base_language(target) and not found.gibberish for found in told) / len(told)


def windows(text: str) -> list[str]:
    """Overlapping pieces of a text, as `target_share` reads them; the whole text where it is no wider than one.

    Example:
        >>> [len(window) for window in windows("x" * 90)]
        [60, 60, 60]
    """
    text = " ".join(text.split())
    ends = [0]  # columns up to each character
    for character in text:
        ends.append(ends[-1] + text_width(character))
    last = max(0, ends[-1] - WINDOW_COLUMNS)
    starts = [*range(0, last, STEP_COLUMNS), last]
    return [
        "".join(
            character for character, column in zip(text, ends, strict=False) if start <= column < start + WINDOW_COLUMNS
        )
        for start in starts
    ]
