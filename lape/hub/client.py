"""The Hugging Face Hub: whether it answers, and what went wrong with it in one sentence.

What is read and written there is the business of its users (models/loading.py, masks/collection.py, sharing/push.py).
"""

from __future__ import annotations

import errno
import json
import os
import reprlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    DisabledRepoError,
    FileMetadataError,
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
from huggingface_hub.utils import get_session, get_token, parse_ratelimit_headers

from lape.errors import HubError, LapeError

REACH_SECONDS = 3.0
BUSY = (429, 503)
TRIES = 3
LONGEST_WAIT_SECONDS = 30.0
LOGIN = "log in with `hf auth login` or set HF_TOKEN"
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol)
UNREACHED = (OfflineModeIsEnabled, httpx2.RequestError, LocalEntryNotFoundError, CachedRepoTreeNotFoundError)

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
    if any(os.environ.get(name, "").strip() for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")):
        return "HF_TOKEN"
    return "the saved login" if Path(constants.HF_TOKEN_PATH).is_file() else "this machine's login"


def retried(ask: Callable[[], T]) -> T:
    """Calls the Hub, again when it is busy (429 or 503), after the wait it asks for."""
    for attempt in range(1, TRIES + 1):
        try:
            return ask()
        except Exception as error:
            answer = next((cause for cause in _chain(error) if isinstance(cause, HfHubHTTPError)), None)
            if answer is None or attempt == TRIES or answer.response.status_code not in BUSY:
                raise
            if (wait := _asked_wait(answer)) > LONGEST_WAIT_SECONDS:
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
    login: str | None = None,
) -> Iterator[None]:
    """Turns what a request to the Hub raises into one sentence with the way out; other errors pass.

    Args:
        repo: `owner/name` of what is asked for.
        kind: What it is, such as `"model"` or `"collection"`.
        revision: The branch, tag or commit asked for.
        raising: Class of the error.
        writing: Whether something is being written there.
        login: Where the token is from, in words, if not from the usual places.

    Raises:
        LapeError: Of the class `raising`.
    """
    try:
        yield
    except LapeError:
        raise
    except Exception as error:
        sentence = _sentence(error, repo, kind, revision, writing, login or token_place())
        if sentence is None:
            raise
        raise raising(sentence) from error


def _sentence(
    error: BaseException, repo: str, kind: str, revision: str | None, writing: bool, place: str | None
) -> str | None:
    """What happened and the way out; None for an error that is not the Hub's, the network's or the disk's."""
    chain = list(_chain(error))
    # What lies below an error of the connection is of the connection: a firewall's refusal has a number too.
    for cause in takewhile(lambda cause: not isinstance(cause, httpx2.RequestError), chain):
        number = cause.errno if isinstance(cause, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT):
            return (
                f"The disk is full: {kind} {repo} does not fit. Free some space for {constants.HF_HUB_CACHE}, "
                "or name another folder in HF_HOME."
            )
        if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            return f"The cache {constants.HF_HUB_CACHE} cannot be written. Name a folder that can be in HF_HOME."
    for cause in chain:
        if isinstance(cause, HfHubHTTPError):
            return _refused(cause, repo, kind, revision, writing, place)
        if isinstance(cause, HFValidationError | HfUriError):
            return f"{reprlib.repr(repo)} is not the name of a {kind} on the Hub; write it as owner/name."
        if isinstance(cause, LocalTokenNotFoundError):
            return f"{repo} needs a token, and there is none: {LOGIN}."
        if isinstance(cause, UnicodeEncodeError) and not (get_token() or "").isascii():
            return f"The token from {token_place()} is not plain letters and digits. Copy it again from the Hub."
        if isinstance(cause, httpx2.RequestError) and writing and not isinstance(cause, NEVER_SENT):
            return f"The connection broke off; {repo} may have been written or not. Push again: what is there is kept."
        if isinstance(cause, httpx2.RemoteProtocolError | httpx2.ReadError) or "Consistency check" in str(cause):
            return f"The download of {kind} {repo} broke off. Try again; nothing of it was used."
        if isinstance(cause, json.JSONDecodeError | FileMetadataError):
            page = "perhaps a login page of this network"
            return f"What answers at {constants.ENDPOINT} is not the Hub: {page}. Check the network and HF_ENDPOINT."
    if any(isinstance(cause, UNREACHED) for cause in chain):
        return _unreachable(repo, kind, writing)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from or during, outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _unreachable(repo: str, kind: str, writing: bool) -> str:
    if writing and constants.is_offline_mode():
        return f"Offline mode is on (HF_HUB_OFFLINE), so nothing was written to {repo}. Unset it to ask the Hub."
    if writing:
        return (
            f"The Hub at {constants.ENDPOINT} cannot be reached, so nothing was written to {repo}. Check the network."
        )
    if constants.is_offline_mode():
        return f"Offline mode is on (HF_HUB_OFFLINE), and {kind} {repo} is not in the cache. Unset it to ask the Hub."
    return (
        f"The Hub at {constants.ENDPOINT} cannot be reached, and {kind} {repo} is not in the cache. "
        "Check the network, or fetch it once where there is one."
    )


def _refused(
    error: HfHubHTTPError, repo: str, kind: str, revision: str | None, writing: bool, place: str | None
) -> str:
    """A sentence for what the Hub answered."""
    status = error.response.status_code
    if status == 401 and (writing or not isinstance(error, RepositoryNotFoundError)):
        if place is None:
            return f"{'Writing to' if writing else 'Asking for'} {repo} needs a token, and there is none: {LOGIN}."
        return f"The Hub does not accept the token from {place}; {LOGIN} again."
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
    reason = " ".join((error.server_message or "it gave no reason").split())[:200].rstrip(".")
    return f"The Hub refused {kind} {repo} (status {status}): {reason}."


def _file(error: HfHubHTTPError) -> str:
    path = error.response.url.path.partition("/resolve/")[2]
    return path.partition("/")[2] or "the file asked for"


def _asked_wait(error: HfHubHTTPError) -> float:
    """Seconds the Hub asks to wait; 1 when it does not say."""
    headers = error.response.headers
    if (limits := parse_ratelimit_headers(headers)) is not None:
        return float(limits.reset_in_seconds)
    given = headers.get("Retry-After", "")
    return float(given) if given.isdigit() else 1.0
