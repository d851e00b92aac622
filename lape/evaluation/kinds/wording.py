"""How conditions and settings are called in text for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lape.drawing.words import interval, named, percent
from lape.evaluation.metrics.conditions import BASELINE, STEERED
from lape.evaluation.metrics.confusion.answers import KEPT

OUTCOMES = ("target", "source", "other", "gibberish", "short")
_CONDITIONS = {
    BASELINE: "untouched",
    KEPT: "its neurons on, all others off",
    "instruction-english": "an instruction in English",
    "instruction-native": "an instruction in the language",
}
_ORDER = (STEERED, KEPT, "off", "random", "instruction", BASELINE)


def setting_text(setting: Mapping[str, Any]) -> str:
    """How it is steered.

    Example:
        >>> setting_text({"mode": "replace", "strength": 2.0, "top_rate": 0.02})
        'replace × 2, top rate 2 %'
    """
    rate = setting.get("top_rate")
    parts = [f"{setting['mode']} × {setting['strength']:g}"]
    parts += [] if rate is None else [f"top rate {100 * rate:g} %"]
    parts += ["all others off"] if setting.get("off") == "others" else []
    return ", ".join(parts)


def condition_text(name: str) -> str:
    """What outputs were made under.

    Example:
        >>> condition_text("random0"), condition_text("steered")
        ('random neurons (seed 0)', 'steered')
    """
    if name.startswith("random"):
        return f"random neurons (seed {name.removeprefix('random')})"
    return _CONDITIONS.get(name, name)


def in_order(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Conditions with the one that matters first and the untouched model last."""

    def place(name: str) -> tuple[int, str]:
        return next((i for i, start in enumerate(_ORDER) if name.startswith(start)), len(_ORDER)), name

    return {name: conditions[name] for name in sorted(conditions, key=place)}


def untold_text(results: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Languages of outputs that the identifier cannot tell, as a sentence; none where it tells all."""
    untold = results.get("untold", {})
    if not untold:
        return []
    listed = "; ".join(f"{named(code)}: {reason}" for code, reason in untold.items())
    return [f"{settings['identifier']} cannot tell every language, and what needs it is left out ({listed})."]


def rivals(conditions: Mapping[str, Any]) -> list[str]:
    """Conditions that steering is compared with, in order."""
    return [name for name in in_order(conditions) if name not in (STEERED, BASELINE)]


def one_line(written: str) -> str:
    """What a model wrote, which may be anything, as text that HTML may hold."""
    return " ".join(written.replace("\0", "\ufffd").split())


def share_text(found: Mapping[str, Any]) -> str:
    """A share in percent with its interval."""
    share = interval(found)
    between = f" [{percent(share.low)[:-2]}, {percent(share.high)[:-2]}]" if share.low is not None else ""
    return percent(share.value) + between


def beside_text(conditions: Mapping[str, Any]) -> str:
    """The share in the target language under each condition that steering is compared with, in words."""
    shares = {name: percent(conditions[name]["target_share"]["value"]) for name in rivals(conditions)}
    return ", ".join(f"{condition_text(name)} {share}" for name, share in shares.items())
