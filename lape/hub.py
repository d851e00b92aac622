"""The Hugging Face Hub: whether it answers, and what went wrong with it in one sentence.

Read and written elsewhere, by models.py, collection.py and publish.py; nothing here knows what is on it.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HfUriError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session, get_token

from lape.errors import HubError, LapeError

REACH_SECONDS = 3.0
BUSY = (429, 503)
TRIES = 3
LONGEST_WAIT_SECONDS = 30.0
LOGIN = "log in with `hf auth login` or set HF_TOKEN"

T = TypeVar("T")


def reachable() -> bool:
    """Whether the Hub can be asked now: offline mode is off, and it answers within 3 seconds.

    Asked before a download: huggingface_hub itself tries an unreachable Hub for about half a minute.
    """
    answered = threading.Event()

    def ask() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=REACH_SECONDS)
        except (httpx2.HTTPError, OSError):
            return
        answered.set()

    if constants.is_offline_mode():
        return False
    # In a thread, because looking up a name has no time limit of its own.
    asking = threading.Thread(target=ask, name="lape-reach", daemon=True)
    asking.start()
    asking.join(REACH_SECONDS)
    return answered.is_set()


def token_place() -> str | None:
    """Where the token that huggingface_hub would use comes from, in words; None when there is none."""
    if get_token() is None:
        return None
    if os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN"):
        return "HF_TOKEN"
    return "the saved login" if Path(constants.HF_TOKEN_PATH).is_file() else "this machine's login"


def retried(ask: Callable[[], T]) -> T:
    """Calls the Hub, again when it is busy (429 or 503), after the wait it asks for."""
    for attempt in range(1, TRIES + 1):
        try:
            return ask()
        except HfHubHTTPError as error:
            wait = _asked_wait(error)
            if attempt == TRIES or error.response.status_code not in BUSY or wait > LONGEST_WAIT_SECONDS:
                raise
            time.sleep(wait)
    raise AssertionError("unreachable")


@contextmanager
def explained(
    repo: str,
    kind: str,
    *,
    revision: str | None = None,
    raising: type[LapeError] = HubError,
    writing: bool = False,
) -> Iterator[None]:
    """Turns what a request to the Hub raises into one sentence with the way out; other errors pass.

    Args:
        repo: `owner/name` of what is asked for.
        kind: What it is, such as `"model"` or `"collection"`.
        revision: The branch, tag or commit asked for.
        raising: Class of the error.
        writing: Whether something is being written there.

    Raises:
        LapeError: Of the class `raising`.
    """
    try:
        yield
    except LapeError:
        raise
    except Exception as error:
        sentence = _sentence(error, repo, kind, revision, writing)
        if sentence is None:
            raise
        raise raising(sentence) from error


def _sentence(error: BaseException, repo: str, kind: str, revision: str | None, writing: bool) -> str | None:
    """What happened and the way out; None for an error that is not the Hub's, the network's or the disk's."""
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"The disk is full: {kind} {repo} does not fit. Free some space for {constants.HF_HUB_CACHE}, "
                "or name another folder in HF_HOME."
            )
        if isinstance(cause, PermissionError) and cause.filename:
            return f"{cause.filename} may not be written. Change its rights, or name another folder in HF_HOME."
    for cause in chain:
        if isinstance(cause, HfHubHTTPError):
            return _refused(cause, repo, kind, revision, writing)
        if isinstance(cause, HFValidationError | HfUriError):
            return f"{repo!r} is not the name of a {kind} on the Hub; write it as owner/name."
        if isinstance(cause, LocalTokenNotFoundError):
            return f"{repo} needs a token, and there is none: {LOGIN}."
        if "Consistency check failed" in str(cause) or "IncompleteRead" in type(cause).__name__:
            return f"The download of {kind} {repo} broke off. Try again; nothing of it was used."
    for cause in chain:
        if isinstance(cause, OfflineModeIsEnabled):
            return (
                f"Offline mode is on (HF_HUB_OFFLINE), and {kind} {repo} is not in the cache. Unset it to ask the Hub."
            )
        if isinstance(cause, httpx2.RequestError):
            return _unreachable(repo, kind)
    if any(isinstance(cause, LocalEntryNotFoundError) for cause in chain):
        return _unreachable(repo, kind)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from or during, outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _unreachable(repo: str, kind: str) -> str:
    offline = "offline mode is on (HF_HUB_OFFLINE)" if constants.is_offline_mode() else "no answer"
    return (
        f"The Hub at {constants.ENDPOINT} cannot be reached ({offline}), and {kind} {repo} is not in the cache. "
        "Check the network, or fetch it once where there is one."
    )


def _refused(error: HfHubHTTPError, repo: str, kind: str, revision: str | None, writing: bool) -> str:
    """A sentence for what the Hub answered."""
    place = token_place()
    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        return f"{repo} is gated: accept its conditions at {constants.ENDPOINT}/{repo}, then " + (
            f"use the token of that account (now: {place})." if place else f"{LOGIN}."
        )
    if isinstance(error, DisabledRepoError):
        return f"The Hub has disabled {repo}; choose another {kind}."
    if isinstance(error, RevisionNotFoundError):
        return f"{repo} has no revision {revision!r}; name a branch, tag or commit of it, or leave it out."
    if isinstance(error, RemoteEntryNotFoundError):
        at = f" at revision {revision}" if revision else ""
        return f"{repo} holds no {_file(error)}{at}; it is not a {kind} of the expected form."
    if isinstance(error, RepositoryNotFoundError):
        private = f"the token ({place}) may not see it" if place else f"it is private: then {LOGIN}"
        return f"There is no {kind} {repo} on the Hub, or {private}. Check the name."
    if status == 401:
        return f"The Hub does not accept the token from {place or 'this machine'}; {LOGIN} again."
    if status == 403 and writing:
        return (
            f"The token from {place or 'this login'} may not write to {repo}. Use one with write access, "
            "or propose the change with --create-pr."
        )
    if status == 403:
        return f"The Hub refuses access to {repo}; {LOGIN} with an account that may see it."
    if status == 412:
        return (
            f"{repo} was changed by someone else in the meantime, so nothing was written. Look at it, then push again."
        )
    if status == 409 and writing:
        return f"{repo} already has what was to be created there; nothing was written."
    if status == 429:
        login = "" if place else f", or {LOGIN}"
        return f"The Hub limits how often it may be asked; try again in {_asked_wait(error):.0f} s{login}."
    if status >= 500:
        return f"The Hub has a problem of its own (status {status}); try again later."
    return f"The Hub refused {kind} {repo} (status {status}): {error.server_message or 'it gave no reason'}"


def _file(error: HfHubHTTPError) -> str:
    path = error.response.url.path
    return path.split("/resolve/", 1)[-1].partition("/")[2] or "the file asked for"


def _asked_wait(error: HfHubHTTPError) -> float:
    """Seconds the Hub asks to wait; 1 when it does not say."""
    given = error.response.headers.get("Retry-After", "")
    return float(given) if given.isdigit() else 1.0
