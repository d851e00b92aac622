"""Errors a user can act on. Each says what was wrong, what is allowed, and the way out."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable


class LapeError(Exception):
    """Base of every error `lape` raises on purpose; its text is meant for the user."""


class UnsupportedArchitecture(LapeError):
    """The model has no per-layer activation module that can be hooked."""


class HookNotFired(LapeError):
    """The decoder ran but the activation of an edited layer did not pass through its hook."""


class MaskMismatch(LapeError):
    """A mask or statistics file belongs to a model of another shape."""


class MeansMissing(LapeError):
    """Switching a language needs mean activations, or their deviations, that the mask does not carry."""


class UnknownLabel(LapeError):
    """A language, method, setting or preset of that name does not exist."""


class NotEnoughText(LapeError):
    """A corpus holds fewer tokens than were asked for."""


class CheckpointMismatch(LapeError):
    """A checkpoint was written with other settings or from another text."""


class BadFile(LapeError):
    """A file is missing, damaged, or not what it should be."""


class ModelUnavailable(LapeError):
    """A model cannot be found, fetched or loaded here."""


class HubError(LapeError):
    """The Hugging Face Hub refused, or could not be reached."""


class LapeWarning(UserWarning):
    """Something the user should know that does not stop the work."""


def leave_out(what: str, reason: str, left_out: list[str] | None) -> None:
    """Keeps why something is left out, or warns of it where nobody keeps it.

    Args:
        what: That is left out, such as "One mask".
        reason: A sentence.
        left_out: Gets it; None warns.
    """
    if left_out is None:
        warnings.warn(f"{what} is left out. {reason}", LapeWarning, stacklevel=4)
    else:
        left_out.append(reason)


def unknown_label(what: str, name: str, allowed: Iterable[str]) -> UnknownLabel:
    """Builds the error for a name that is not in a list, with the nearest ones first.

    Args:
        what: What kind of thing was named, such as "language".
        name: The name that was given.
        allowed: The names that exist.

    Example:
        >>> str(unknown_label("language", "frr", ["fr", "de"]))
        "No language 'frr'. Did you mean 'fr'? There are: de, fr."
    """
    names = sorted(map(str, allowed))
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    listed = f" There are: {', '.join(names)}." if names else " There are none."
    return UnknownLabel(f"No {what} {name!r}.{hint}{listed}")
