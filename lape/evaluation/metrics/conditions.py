"""The conditions that outputs are measured under: neurons switched, the untouched model, a plain instruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.errors import unknown_label
from lape.evaluation.metrics.continuations import Case
from lape.evaluation.metrics.openings import half, instructions
from lape.generation.interventions import Intervention
from lape.generation.settings import Mode
from lape.masks.mask import NeuronMask
from lape.recording.statistics import ActivationStatistics

Masks = Mapping[float | None, NeuronMask]  # by top rate; None where that is no setting of the mask
Openings = Mapping[str, Sequence[str]]  # by language
Off = Literal["source", "others"]

BASELINE, STEERED = "baseline", "steered"  # the untouched model; the source off and the target on


@dataclass(frozen=True)
class Setting:
    """How a target is steered to.

    Attributes:
        mode: `replace`, `add` or `scale`.
        strength: Its factor.
        top_rate: Of the mask; None takes the mask as it is.
        off: What goes off: the `source`, or all `others` than the target, so that none near it takes its place.

    Raises:
        UnknownLabel: There is no such way of switching off.
    """

    mode: Mode
    strength: float
    top_rate: float | None = None
    off: Off = "source"

    def __post_init__(self) -> None:
        if self.off not in get_args(Off):
            raise unknown_label("way of switching off", self.off, get_args(Off))

    def __str__(self) -> str:
        named = f"{self.mode} x{self.strength:g}" + (" others-off" if self.off == "others" else "")
        return named if self.top_rate is None else f"{named} top={self.top_rate:g}"

    def intervention(self, masks: Masks, source: str, target: str) -> Intervention:
        """The source, or all others, off, and the target on.

        Raises:
            UnknownLabel: There is no mask of that top rate, or a language is not in it.
            MeansMissing: The mask has no means for the target.
        """
        if self.top_rate not in masks:
            raise unknown_label("mask of top rate", str(self.top_rate), map(str, masks))
        mask = masks[self.top_rate]
        others = [code for code in mask.languages if code != target] if self.off == "others" else []
        off = list(dict.fromkeys([mask.known(source), *others]))
        return Intervention(mask, off=off, on=target, mode=self.mode, strength=self.strength)


def controls(masks: Masks, statistics: ActivationStatistics | None, seeds: Sequence[int]) -> dict[str, Masks]:
    """As many random neurons in the same layers: condition `random<seed>` to masks; none without statistics."""
    return {
        f"random{seed}": {rate: mask.random_like(statistics, seed) for rate, mask in masks.items()}
        for seed in (seeds if statistics is not None else ())
    }


def baseline_cases(openings: Openings, source: str, halves: Sequence[str]) -> list[Case]:
    """The untouched model, one case for each half."""
    return [
        Case(f"{BASELINE} source={source} prompts={name}", prompts, prompts)
        for name, prompts in _halves(openings, source, halves)
    ]


def off_cases(openings: Openings, mask: NeuronMask, source: str, halves: Sequence[str], condition: str) -> list[Case]:
    """The language of the openings off and nothing on, one case for each half."""
    intervention = Intervention(mask, off=source)
    return [
        Case(f"{condition} off={source} prompts={name}", prompts, prompts, intervention)
        for name, prompts in _halves(openings, source, halves)
    ]


def steered_cases(
    openings: Openings,
    masks: Masks,
    source: str,
    target: str,
    setting: Setting,
    halves: Sequence[str],
    condition: str = STEERED,
) -> list[Case]:
    """The source off and the target on, one case for each half."""
    intervention = setting.intervention(masks, source, target)
    return [
        Case(f"{condition} off={source} on={target} {setting} prompts={name}", prompts, prompts, intervention)
        for name, prompts in _halves(openings, source, halves)
    ]


def instruction_cases(
    tokenizer: Tokenizer, openings: Openings, source: str, target: str, halves: Sequence[str]
) -> dict[str, list[Case]]:
    """The plain instructions, in English and in the target language, through the chat template where there is one."""
    found: dict[str, list[Case]] = {}
    for said, instruction in instructions(target).items():
        for name, prompts in _halves(openings, source, halves):
            texts = [f"{instruction}\n\n{prompt}" for prompt in prompts]
            key = f"instruction-{said} source={source} target={target} prompts={name}"
            if tokenizer.chat_template is None:
                case = Case(key, prompts, texts)
            else:  # an answer stands on its own, so it is read on a line of its own
                messages = [[{"role": "user", "content": text}] for text in texts]
                case = Case(key, [f"{prompt}\n" for prompt in prompts], messages)
            found.setdefault(f"instruction-{said}", []).append(case)
    return found


def _halves(openings: Openings, source: str, halves: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    if source not in openings:
        raise unknown_label("language with openings", source, openings)
    return [(name, some) for name in halves if (some := half(openings[source], name))]
