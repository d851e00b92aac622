"""The methods of identification in menus: by the names that the command line has, with a line about each."""

from __future__ import annotations

from lape.demo.loaded import OWN, Loaded
from lape.demo.words import word
from lape.identify import METHODS


def about_method(method: str) -> str:
    """What a method takes for a neuron of a language, in one line."""
    return word(f"methods.about_{method if method in METHODS else OWN}")


def own_method(loaded: Loaded | None) -> str:
    """The method of the mask in use; `OWN` where it says none that is known."""
    method = None if loaded is None or loaded.mask is None else loaded.mask.metadata.get("method")
    return method if isinstance(method, str) and method in METHODS else OWN


def own_and_rivals(loaded: Loaded | None) -> list[tuple[str, str]]:
    """The neurons of the mask as it is, and the methods that could choose others, as a menu shows them."""
    own = own_method(loaded)
    first = word("methods.own") if own == OWN else f"{own} ({word('methods.own')})"
    return [(first, OWN), *((name, name) for name in (loaded.rivals if loaded is not None else []))]
