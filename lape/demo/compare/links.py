"""A comparison as the query of a link, and back; what comes back is checked like everything that arrives."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from lape.demo.choice import to_values
from lape.demo.compare.export import fingerprint
from lape.demo.compare.request import FIELDS, LIMITS, CompareRequest, request_for
from lape.demo.loaded import Loaded
from lape.demo.words import say
from lape.errors import LapeError

VERSION = "1"
LONGEST = 8000  # characters of a link that servers and chats let pass
MASK_DIGITS = 12  # of the mask's fingerprint
FLAGS = ("show_random", "show_plain", "chat")


def to_query(request: CompareRequest, loaded: Loaded) -> str:
    """The query of a link that opens this comparison, from its question mark on.

    Raises:
        LapeError: It would be too long for a link.
    """
    values: dict[str, Any] = {"lape": VERSION, **vars(request), "targets": ",".join(request.targets)}
    values = {name: value for name, value in values.items() if value != "" or name == "prompt"}
    values |= {name: int(values[name]) for name in FLAGS}
    values |= {name: f"{values[name]:.12g}" for name in LIMITS}
    values |= to_values(loaded)
    values |= {"model": loaded.public_name, "mask": fingerprint(loaded.known_mask)[:MASK_DIGITS]}
    query = f"?{urlencode(values)}"
    if len(query) > LONGEST:
        raise LapeError(say("sharing.too_long", count=len(query), most=LONGEST))
    return query


def is_link(query: Mapping[str, str]) -> bool:
    """Whether a query is that of a link, of whatever version, and not just a plain address."""
    return "lape" in query


def from_query(query: Mapping[str, str], loaded: Loaded) -> tuple[CompareRequest, str]:
    """The comparison of a link, and a sentence about it.

    Raises:
        LapeError: The link is of another version, or one of its values is not what it should be.
    """
    if query.get("lape") != VERSION:
        version = reprlib.repr(query.get("lape"))
        raise LapeError(say("sharing.other_version", version=version, opened=VERSION))
    given: dict[str, Any] = {name: query[name] for name in FIELDS if name in query}
    given |= {name: given[name].split(",") for name in ("targets",) if name in given}
    given |= {name: _number(given[name]) for name in LIMITS if name in given}
    given |= {name: {"0": False, "1": True}.get(given[name], given[name]) for name in FLAGS if name in given}
    try:
        request = request_for(loaded, given)
    except LapeError as error:
        raise LapeError(f"{say('sharing.not_opened')} {error}") from error
    return request, f"{say('sharing.opened')} {_other(query, loaded)}"


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _other(query: Mapping[str, str], loaded: Loaded) -> str:
    """Whether its texts are to be expected here."""
    made_with = query.get("model", loaded.public_name)
    if made_with != loaded.public_name:
        return say("sharing.other_model", model=reprlib.repr(made_with))
    mask = fingerprint(loaded.known_mask)[:MASK_DIGITS]
    if query.get("mask", mask) != mask:
        return say("sharing.other_mask")
    return say("sharing.press")
