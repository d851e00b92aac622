"""The settings of the methods: what each does and which numbers it takes, for methods, commands and sliders.

A setting of one name means the same in every method that has it; its default is the method's own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from lape.errors import LapeError


@dataclass(frozen=True)
class MethodSetting:
    """One setting.

    Attributes:
        label: Its name for people.
        text: What it does, in one line.
        allowed: What it takes, in words.
        low: The lowest number it takes.
        high: The highest.
        above_low: Whether `low` itself is too low.
        optional: Whether None is taken too.
        whole: Whether it takes whole numbers only.
        slider: The lowest, the highest and the step of a slider, where they are of use; None has no slider.
    """

    label: str
    text: str
    allowed: str
    low: float = 0.0
    high: float = 1.0
    above_low: bool = False
    optional: bool = False
    whole: bool = False
    slider: tuple[float, float, float] | None = None

    def takes(self, value: object) -> bool:
        """Whether it takes a value."""
        if value is None:
            return self.optional
        if not isinstance(value, Real) or isinstance(value, bool):
            return False
        number: Any = value  # of whatever kind: an int too large for a float is compared as it is
        if self.whole and number % 1:
            return False
        return self.low <= number <= self.high and not (self.above_low and number == self.low)


SETTINGS: Mapping[str, MethodSetting] = {
    "top_rate": MethodSetting(
        "Top rate",
        "share of all neurons to keep",
        "a share above 0 and up to 1",
        above_low=True,
        slider=(0.00025, 0.2, 0.00025),
    ),
    "filter_rate": MethodSetting(
        "Filter rate",
        "order statistic of activity that a neuron must exceed in some language",
        "a share from 0 to 1",
        slider=(0.0, 1.0, 0.001),
    ),
    "activation_bar_ratio": MethodSetting(
        "Bar",
        "order statistic of activity that a neuron must exceed in a language to be one of its own",
        "a share from 0 to 1",
        slider=(0.0, 1.0, 0.001),
    ),
    "min_probability": MethodSetting(
        "Least probability",
        "share of a language's tokens at which a neuron must be active",
        "a share from 0 to 1",
        slider=(0.0, 1.0, 0.001),
    ),
    "important_rate": MethodSetting(
        "Important rate",
        "share of each layer's neurons that count as important to a block of text",
        "a share above 0 and up to 1",
        above_low=True,
    ),
    "min_z": MethodSetting(
        "Least z",
        "standard deviations that a neuron must lie above the mean of all",
        "a finite number",
        low=-sys.float_info.max,
        high=sys.float_info.max,
    ),
    "percentile": MethodSetting(
        "Percentile",
        "share of all languages' tokens at which a neuron is less active than it must be",
        "a share from 0 to 1",
    ),
    "bottom_rate": MethodSetting(
        "Bottom rate",
        "share of all neurons to keep from the other end, those that the language leaves silent",
        "a share from 0 to 1",
    ),
    "overlap_rate": MethodSetting(
        "Overlap rate",
        "order statistic of overlap that a neuron's languages must not exceed to be told apart",
        "a share from 0 to 1",
    ),
    "largest_cluster": MethodSetting(
        "Largest cluster",
        "languages that may have a neuron together",
        "a whole number from 1 to 1000",
        low=1,
        high=1000,
        whole=True,
    ),
    "noise": MethodSetting(
        "Noise",
        "how often a neuron may be active on random tokens, in parts of how often it is in the language (any method)",
        "a number of at least 0, or None to leave noise out of account",
        high=sys.float_info.max,
        optional=True,
    ),
    "weight": MethodSetting(
        "Weight",
        "reward for neurons that are often active",
        "a number of at least 0, or None to search for it",
        high=sys.float_info.max,
        optional=True,
    ),
}


def check_settings(**values: object) -> None:
    """Refuses a setting of a value that it does not take.

    Raises:
        LapeError: Names the first of them, and what it takes.

    Example:
        >>> check_settings(top_rate=0)
        Traceback (most recent call last):
        ...
        lape.errors.LapeError: top_rate is a share above 0 and up to 1, not 0.
    """
    for name, value in values.items():
        if not SETTINGS[name].takes(value):
            raise LapeError(f"{name} is {SETTINGS[name].allowed}, not {value}.")
