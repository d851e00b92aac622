"""The methods of identification and the ways of switching in menus: by names for people, with a line about each."""

from __future__ import annotations

from collections.abc import Iterable

from lape.demo.loaded import OWN, Loaded
from lape.demo.words import say, word
from lape.identify import METHODS


def named(methods: Iterable[str]) -> list[tuple[str, str]]:
    """Methods as a menu shows them: by names for people."""
    return [(word(f"methods.name_{method}"), method) for method in methods]


def about_method(method: str) -> str:
    """What a method takes for a neuron of a language, in one line."""
    return word(f"methods.about_{method if method in METHODS else OWN}")


def way_name(way: str) -> str:
    """The name for people of what is switched: `neurons`, or a way of moving the residual stream."""
    return word(f"methods.way_{way}")


def own_method(loaded: Loaded | None) -> str:
    """The method of the mask in use; `OWN` where it says none that is known."""
    method = None if loaded is None or loaded.mask is None else loaded.mask.metadata.get("method")
    return method if isinstance(method, str) and method in METHODS else OWN


def own_and_rivals(loaded: Loaded | None) -> list[tuple[str, str]]:
    """The neurons of the mask as it is, and the methods that could choose others, as a menu shows them."""
    own = own_method(loaded)
    first = word("methods.own") if own == OWN else say("methods.own_is", name=say(f"methods.name_{own}"))
    return [(first, OWN), *named(loaded.rivals if loaded is not None else [])]
