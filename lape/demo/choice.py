"""Neurons that a visitor chooses from what was recorded: chosen, written into a link, and read from one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lape.demo.checks import checked_languages, checked_name
from lape.demo.loaded import Loaded
from lape.demo.sliders import SLIDERS, checked_settings
from lape.errors import LapeError
from lape.identify import identify, method_settings

CHOSEN_BY, AMONG, AS_MANY = "chosen_by", "among", "as_many"  # keys of a link; each slider has its own name


def choose(loaded: Loaded, method: str, codes: Any, values: Mapping[str, Any], *, equally: bool) -> Loaded:
    """The same model with neurons that are chosen anew.

    Args:
        loaded: Has what was recorded.
        method: One whose recording is there.
        codes: Of the languages to tell apart; anything may come.
        values: Of the sliders by name; anything may come.
        equally: Whether as many neurons of each language are chosen as the mask has that the visitor began with.

    Raises:
        LapeError: A language was not recorded, or the method does not take a value.
    """
    recorded = loaded.recorded(method)
    among = checked_languages(codes, recorded.languages, least=2)
    settings = checked_settings(method, values)
    if equally:
        first = (loaded.made_from or loaded).known_mask
        settings = {name: value for name, value in settings.items() if name in method_settings(method, ranked=True)}
        settings |= {"per_language": {code: first.count(code) for code in among}, "at_most": True}
    return loaded.with_neurons(identify(recorded, method, among, **settings))


def to_values(loaded: Loaded) -> dict[str, str]:
    """What a link says of neurons that were chosen here from what was recorded; nothing of the mask as it began."""
    if loaded.made_from is None or loaded.mask is None:
        return {}
    metadata = loaded.mask.metadata
    settings = metadata["settings"]
    found = {CHOSEN_BY: metadata["method"], AMONG: ",".join(loaded.mask.languages)}
    found |= {name: f"{settings[name]:.12g}" for name in SLIDERS if name in settings}
    return found | ({AS_MANY: "1"} if "per_language" in settings else {})


def from_values(query: Mapping[str, str], loaded: Loaded) -> Loaded | None:
    """The same model with the neurons of a link; None where that says nothing of them.

    Raises:
        LapeError: One of its values is not what it should be, or was not recorded here.
    """
    if CHOSEN_BY not in query:
        return None
    method = checked_name("method", query[CHOSEN_BY], loaded.methods)
    sliders = {name: _number(query[name]) for name in SLIDERS if name in query}
    values, codes = method_settings(method) | sliders, query.get(AMONG, "").split(",")
    return choose(loaded, method, codes, values, equally=query.get(AS_MANY) == "1")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise LapeError(f"A rate of the link is no number: {text[:20]!r}.") from None
