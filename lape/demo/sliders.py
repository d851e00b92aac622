"""Sliders of the methods' settings: what they show and how their values are checked, in every tab that has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lape.demo.checks import shown_value
from lape.errors import LapeError
from lape.identify import SETTINGS, method_settings

SLIDERS = {name: setting.slider for name, setting in SETTINGS.items() if setting.slider}


def slider(name: str, value: float | None) -> dict[str, Any]:
    """How a slider stands: as `gr.Slider` takes it, with room for a value that lies outside of its usual range.

    Args:
        name: Of the setting.
        value: Of the method; None where it has no such setting, and then nobody sees the slider.
    """
    if value is None:
        return {"visible": False}
    low, high, step = SLIDERS[name]
    return {"minimum": min(low, value), "maximum": max(high, value), "step": step, "value": value, "visible": True}


def checked_settings(method: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The sliders' values, of the settings the method has.

    Args:
        method: A known one.
        values: By name; anything may come.

    Raises:
        LapeError: The method does not take one of them.
    """
    found = {name: values.get(name) for name in SLIDERS if name in method_settings(method)}
    for name, value in found.items():
        if value is None or not SETTINGS[name].takes(value):
            raise LapeError(f"{SETTINGS[name].label} must be {SETTINGS[name].allowed}, not {shown_value(value)}.")
    return found
