"""What goes wrong with the Hub, in one sentence each: raised by huggingface_hub itself against the stand-in."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hub_standin import ALWAYS, READ, STRANGER, WRITE, Hub
from huggingface_hub import CommitOperationAdd, HfApi, constants, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

import lape
from lape import HubError
from lape.hub.client import explained, reachable, retried, token_place

REPO = "org/collection"
MASK = "org--tiny/lape/mask.json"
TEXT = b"0123456789" * 10
LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


def info(revision: str | None = None) -> Any:
    return HfApi().model_info(REPO, revision=revision, timeout=0.5)


def tree() -> Any:
    return list(HfApi().list_repo_tree(REPO, recursive=True))


def file(path: str = MASK, **words: Any) -> Path:
    return Path(hf_hub_download(REPO, path, **words))


def snapshot(**words: Any) -> Path:
    return Path(snapshot_download(REPO, **words))


def commit(**words: Any) -> Any:
    files = [CommitOperationAdd("a.txt", b"1")]
    return HfApi().create_commit(REPO, files, commit_message="a change", **words)


def new_repo() -> Any:
    return HfApi().create_repo(REPO, exist_ok=True)


def new_tag() -> Any:
    return HfApi().create_tag(REPO, tag="v1")


WRITES: tuple[Callable[..., Any], ...] = (commit, new_repo, new_tag)


def sentence(ask: Callable[[], object], **about: Any) -> str:
    """What a request fails with: one line, that ends, without a token in it."""
    about = {"writing": ask in WRITES, **about}
    with pytest.raises(HubError) as caught, explained(REPO, "collection", **about):
        ask()
    said = str(caught.value)
    assert said.endswith(".")
    assert "\n" not in said
    assert len(said) < 300
    assert "hf_" not in said.replace("HF_", "")
    return said


# The Hub refuses to show something


@pytest.mark.parametrize("ask", [info, tree, file, snapshot])
@pytest.mark.parametrize("there", [False, True], ids=["missing", "private"])
@pytest.mark.parametrize("token", [None, STRANGER], ids=["nobody", "a stranger"])
def test_a_repo_that_cannot_be_seen_may_be_missing_or_private(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object], there: bool, token: str | None
) -> None:
    if there:
        hub.add(REPO, {MASK: TEXT}, private=True)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    way_out = "the token (HF_TOKEN) may not see it" if token else f"it is private: then {LOG_IN}"
    assert sentence(ask) == f"There is no collection {REPO} on the Hub, or {way_out}. Check the name."


@pytest.mark.parametrize("ask", [file, snapshot])
def test_a_gated_repo_asks_to_accept_its_conditions(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]
) -> None:
    hub.add(REPO, {MASK: TEXT}, gated=True)
    page = f"{REPO} is gated: accept its conditions at {hub.endpoint}/{REPO}, then"
    assert sentence(ask) == f"{page} {LOG_IN}."
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    assert sentence(ask) == f"{page} use the token of that account (now: HF_TOKEN)."
    monkeypatch.setenv("HF_TOKEN", READ)
    with explained(REPO, "collection"):
        ask()


@pytest.mark.parametrize("ask", [info, tree, file, snapshot])
def test_a_token_nobody_knows_is_named_by_its_place(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]
) -> None:
    hub.add(REPO, {MASK: TEXT})
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    assert sentence(ask) == f"The Hub does not accept the token from HF_TOKEN; {LOG_IN} again."
    monkeypatch.delenv("HF_TOKEN")
    Path(constants.HF_TOKEN_PATH).parent.mkdir(parents=True)
    Path(constants.HF_TOKEN_PATH).write_text("hf_unknown")
    assert sentence(ask).startswith("The Hub does not accept the token from the saved login;")


@pytest.mark.parametrize("ask", [info, tree, file, snapshot])
def test_a_token_no_header_can_carry_is_not_shown(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_grün")
    assert sentence(ask) == "The token from HF_TOKEN is not plain letters and digits. Copy it again from the Hub."
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UnicodeEncodeError), explained(REPO, "collection"):
        "ü".encode("ascii")


@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_a_missing_revision_is_named(hub: Hub, revision: str) -> None:
    hub.add(REPO, {MASK: TEXT})
    for ask in (info, lambda revision: snapshot(revision=revision), lambda revision: file(revision=revision)):
        said = sentence(lambda ask=ask: ask(revision), revision=revision)
        assert said == f"{REPO} has no revision '{revision}'; name a branch, tag or commit of it, or leave it out."


def test_a_missing_file_is_named(hub: Hub) -> None:
    hub.add(REPO, {MASK: TEXT})
    other = "org--other/lape/mask.json"
    expected = f"{REPO} holds no {other}; it is not a collection of the expected form."
    assert sentence(lambda: file(other)) == expected
    expected = f"{REPO} holds no {other} at revision main; it is not a collection of the expected form."
    assert sentence(lambda: file(other), revision="main") == expected
    nowhere = sentence(lambda: list(HfApi().list_repo_tree(REPO, "nowhere")))
    assert nowhere.startswith(f"{REPO} holds no the file asked for;")


@pytest.mark.parametrize("name", ["a b/c", "a/b/c", "../x", "a" * 10_000])
def test_a_bad_id_is_refused_before_any_request(hub: Hub, name: str) -> None:
    with pytest.raises(HubError) as caught, explained(name, "model"):
        HfApi().model_info(name)
    assert str(caught.value).endswith(" is not the name of a model on the Hub; write it as owner/name.")
    assert len(str(caught.value)) < 150
    assert hub.requests == []


@pytest.mark.parametrize("status", [400, 404, 418])
def test_any_other_refusal_is_told_with_the_hubs_own_reason(hub: Hub, status: int) -> None:
    hub.fail("/api/", status)
    reason = f"refused collection {REPO} (status {status}): Something went wrong on our side."
    assert sentence(info) == f"The Hub {reason}"


def test_refused_access_asks_for_another_account(hub: Hub) -> None:
    hub.fail("/api/", 403)
    assert sentence(info) == f"The Hub refuses access to {REPO}; {LOG_IN} with an account that may see it."


def test_a_long_reason_is_cut_and_put_on_one_line(hub: Hub) -> None:
    def ask() -> None:
        response = httpx2.Response(418, request=httpx2.Request("GET", hub.endpoint))
        raise HfHubHTTPError("no", response=response, server_message="no\n" * 1000)

    assert sentence(ask).startswith(f"The Hub refused collection {REPO} (status 418): no no no")


# The Hub refuses to write something


@pytest.mark.parametrize("ask", WRITES)
@pytest.mark.parametrize("there", [True, False])
def test_writing_without_a_token_says_that_it_needs_one(hub: Hub, ask: Callable[[], object], there: bool) -> None:
    """And never that there is no such repo, which is what huggingface_hub's own error says."""
    if there:
        hub.add(REPO)
    if there and ask is new_repo:  # huggingface_hub looks whether it exists, and is content
        assert ask()
        return
    assert sentence(ask) == f"Writing to {REPO} needs a token, and there is none: {LOG_IN}."


@pytest.mark.parametrize("ask", [commit, new_tag])
@pytest.mark.parametrize("token", [READ, STRANGER], ids=["read-only", "a stranger's"])
def test_a_token_that_may_not_write_says_how_else(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object], token: str
) -> None:
    hub.add(REPO)
    monkeypatch.setenv("HF_TOKEN", token)
    may_not = f"The token from HF_TOKEN may not write to {REPO}. Use one with write access, or propose the change"
    assert sentence(ask) == f"{may_not} with --create-pr."
    hub.repos.clear()
    assert sentence(new_repo) == f"{may_not} with --create-pr."


@pytest.mark.parametrize("ask", WRITES)
def test_writing_with_an_unknown_token_blames_the_token(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    assert sentence(ask) == f"The Hub does not accept the token from HF_TOKEN; {LOG_IN} again."


def test_a_conflict_and_a_change_in_between_write_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = hub.add(REPO)
    monkeypatch.setenv("HF_TOKEN", WRITE)
    new_tag()
    assert sentence(new_tag) == f"{REPO} already has what was to be created there; nothing was written."
    head = repo.at("main").oid
    hub.before("/commit/", lambda: repo.commit({"theirs": b""}))
    said = sentence(lambda: commit(parent_commit=head), writing=True)
    assert said.startswith(f"{REPO} was changed by someone else in the meantime, so nothing was written.")
    assert repo.paths() == {".gitattributes", "theirs"}


def test_a_cut_answer_to_a_commit_leaves_open_whether_it_was_made(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = hub.add(REPO)
    monkeypatch.setenv("HF_TOKEN", WRITE)
    hub.cut("/commit/")
    assert sentence(commit).startswith(f"The connection broke off; {REPO} may have been written or not. Push again")
    assert repo.read("a.txt") == b"1"
    hub.stall("/tag/", times=1)

    def slowly() -> None:
        try:
            new_tag()
        finally:
            hub.released.set()

    monkeypatch.setattr("huggingface_hub.hf_api.get_session", lambda: httpx2.Client(timeout=0.3))
    said = sentence(slowly, writing=True)
    assert said.startswith(f"The connection broke off; {REPO} may have been written or not.")


def test_what_was_never_sent_was_not_written(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITE)
    with hub.down():
        for ask in WRITES:
            unreached = f"The Hub at {hub.endpoint} cannot be reached, so nothing was written to {REPO}."
            assert sentence(ask) == f"{unreached} Check the network."
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for ask in WRITES:
        assert sentence(ask).startswith("Offline mode is on (HF_HUB_OFFLINE), so nothing was written")


# The Hub is busy or ill


@pytest.mark.parametrize("ask", [info, tree, file, snapshot])
def test_a_limit_says_how_long_to_wait(hub: Hub, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]) -> None:
    hub.add(REPO, {MASK: TEXT})
    hub.limit(times=ALWAYS, seconds=55)
    limited = "The Hub limits how often it may be asked; try again in 55 s"
    assert sentence(ask) == f"{limited}, or {LOG_IN}."
    monkeypatch.setenv("HF_TOKEN", READ)
    assert sentence(ask) == f"{limited}."


@pytest.mark.parametrize(("headers", "seconds"), [({"Retry_After": "7"}, 7), ({}, 1), ({"Retry_After": "soon"}, 1)])
def test_a_limit_without_the_hubs_own_header(hub: Hub, headers: dict[str, str], seconds: int) -> None:
    hub.fail(status=429, times=ALWAYS, **headers)
    assert f"try again in {seconds} s" in sentence(info)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("ask", [info, tree, file, snapshot, commit])
def test_an_ill_hub_is_said_to_be_ill(hub: Hub, ask: Callable[[], object], status: int) -> None:
    hub.fail(status=status, times=ALWAYS)
    assert sentence(ask) == f"The Hub has a problem of its own (status {status}); try again later."


# Something else answers, or nothing


@pytest.mark.parametrize("ask", [info, tree, snapshot])
def test_a_login_page_is_not_the_hub(hub: Hub, ask: Callable[[], object]) -> None:
    hub.add(REPO, {MASK: TEXT})
    hub.spoil("", lambda _: b"<html>Welcome to our hotel</html>", times=ALWAYS)
    said = f"What answers at {hub.endpoint} is not the Hub: perhaps a login page of this network."
    assert sentence(ask) == f"{said} Check the network and HF_ENDPOINT."


def test_a_login_page_in_the_place_of_a_file_is_not_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub_endpoints.Endpoints.dispatch", lambda _: __import__("hub_endpoints").Answer(b"<html>"))
    assert sentence(file).startswith(f"What answers at {hub.endpoint} is not the Hub")


@pytest.mark.parametrize("ask", [info, tree, file, snapshot])
def test_a_refused_connection_is_out_of_reach(hub: Hub, ask: Callable[[], object]) -> None:
    with hub.down():
        said = sentence(ask)
    assert said.startswith(f"The Hub at {hub.endpoint} cannot be reached, and collection {REPO} is not in the cache.")


def test_a_firewall_is_the_networks_and_not_the_disks(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    assert "cannot be reached" in sentence(info)


def test_a_name_that_does_not_resolve_is_out_of_reach(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "cannot be reached" in sentence(info)


def test_no_answer_in_time_is_out_of_reach(hub: Hub) -> None:
    hub.stall()
    assert "cannot be reached" in sentence(info)


@pytest.mark.parametrize("ask", [info, tree, file, snapshot])
def test_offline_mode_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    said = f"Offline mode is on (HF_HUB_OFFLINE), and collection {REPO} is not in the cache. Unset it to ask the Hub."
    assert sentence(ask) == said
    assert hub.requests == []


def test_what_is_not_cached_is_said_when_only_the_cache_is_asked(hub: Hub) -> None:
    assert "is not in the cache" in sentence(lambda: file(local_files_only=True))
    assert "is not in the cache" in sentence(lambda: snapshot(local_files_only=True))


@pytest.mark.parametrize(
    ("pattern", "ask"), [("GET .*/resolve/", file), ("HEAD", file), ("GET .*/resolve/", snapshot), ("/api/", info)]
)
def test_a_cut_connection_says_that_nothing_was_used(hub: Hub, pattern: str, ask: Callable[[], object]) -> None:
    hub.add(REPO, {MASK: TEXT})
    hub.cut(pattern, times=ALWAYS)
    expected = f"The download of collection {REPO} broke off. Try again; nothing of it was used."
    assert sentence(ask) == expected


def test_a_truncated_file_broke_off(hub: Hub) -> None:
    hub.add(REPO, {MASK: TEXT})
    hub.spoil("/resolve/", lambda body: body[:-1], times=ALWAYS)
    assert sentence(file) == f"The download of collection {REPO} broke off. Try again; nothing of it was used."


# The disk


def failing(number: int) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("ask", [file, snapshot])
def test_a_full_disk_says_what_to_free(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, number: int, ask: Callable[[], object]
) -> None:
    hub.add(REPO, {MASK: TEXT})
    monkeypatch.setattr("huggingface_hub.file_download.http_get", failing(number))
    said = sentence(ask)
    assert said.startswith(f"The disk is full: collection {REPO} does not fit. Free some space for ")
    assert said.endswith(f"{constants.HF_HUB_CACHE}, or name another folder in HF_HOME.")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_cache_that_cannot_be_written_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    hub.add(REPO, {MASK: TEXT})
    monkeypatch.setattr("huggingface_hub.file_download.http_get", failing(number))
    said = f"The cache {constants.HF_HUB_CACHE} cannot be written. Name a folder that can be in HF_HOME."
    assert sentence(file) == sentence(snapshot) == said


def test_a_cache_that_is_a_file_is_named(hub: Hub) -> None:
    hub.add(REPO, {MASK: TEXT})
    Path(constants.HF_HUB_CACHE).parent.mkdir(parents=True)
    Path(constants.HF_HUB_CACHE).write_text("")
    assert sentence(file).startswith(f"The cache {constants.HF_HUB_CACHE} cannot be written.")


# What is not the Hub's passes, and what was explained already stays


def test_other_errors_pass() -> None:
    for error in (KeyError("x"), ValueError("x"), OSError("x"), FileNotFoundError(errno.ENOENT, "no", "x")):
        with pytest.raises(type(error)) as caught, explained(REPO, "collection"):
            raise error
        assert caught.value is error
    with pytest.raises(lape.BadFile, match=r"^as it was$"), explained(REPO, "collection"):
        raise lape.BadFile("as it was")


def test_the_class_of_the_error_is_chosen(hub: Hub) -> None:
    error = lape.ModelUnavailable
    with pytest.raises(error, match=f"There is no model {REPO}"), explained(REPO, "model", raising=error):
        info()


def test_what_wraps_the_hubs_error_is_looked_through(hub: Hub) -> None:
    """transformers makes its own OSError of everything."""

    def ask() -> None:
        try:
            info()
        except Exception as error:
            raise OSError("We couldn't connect") from error

    assert sentence(ask).startswith(f"There is no collection {REPO}")


# Whether the Hub can be reached


def test_a_hub_that_answers_is_reachable(hub: Hub) -> None:
    assert reachable()
    hub.fail(status=503)
    assert reachable()  # it is there, and ill


def test_a_refused_connection_is_known_at_once(hub: Hub) -> None:
    with hub.down():
        began = time.monotonic()
        assert not reachable()
    assert time.monotonic() - began < 2


def test_a_black_hole_costs_three_seconds(hub: Hub) -> None:
    hub.stall()
    began = time.monotonic()
    assert not reachable()
    assert 2.5 < time.monotonic() - began < 4.5
    for thread in [thread for thread in threading.enumerate() if thread.name == "lape-reach"]:
        thread.join(3)
        assert not thread.is_alive()


def test_a_name_that_takes_for_ever_costs_three_seconds(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def slow(*_: Any, **__: Any) -> None:
        ended.wait()
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    assert not reachable()
    assert 2.5 < time.monotonic() - began < 4.5
    ended.set()


def test_offline_mode_asks_nobody(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not reachable()
    assert hub.requests == []


# Asking again


def test_a_busy_hub_is_asked_again_after_the_wait_it_asks_for(hub: Hub) -> None:
    hub.add(REPO)
    hub.limit("/api/", seconds=7)
    hub.fail("/api/", 503, Retry_After="4")
    assert retried(info).id == REPO
    assert hub.naps == [7, 4]


def test_a_hub_that_stays_busy_is_given_up(hub: Hub) -> None:
    hub.limit("/api/", times=ALWAYS, seconds=2)
    with pytest.raises(HfHubHTTPError):
        retried(info)
    assert hub.naps == [2, 2]
    assert len(hub.asked("/api/")) == 3


def test_a_long_wait_is_left_to_the_user(hub: Hub) -> None:
    hub.add(REPO)
    hub.limit("/api/", seconds=31)
    assert "try again in 31 s" in sentence(lambda: retried(info))
    assert hub.naps == []
    hub.limit("/api/", seconds=30)
    assert retried(info)
    assert hub.naps == [30]


def test_what_is_hidden_in_another_error_is_asked_again(hub: Hub) -> None:
    """snapshot_download says "check your connection" when the Hub is busy."""
    hub.add(REPO, {MASK: TEXT})
    hub.fail("/revision/", 503)
    hub.limit("/revision/", seconds=3)
    assert (retried(snapshot) / MASK).read_bytes() == TEXT
    assert hub.naps == [1, 3]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 500])
def test_other_refusals_are_not_asked_again(hub: Hub, status: int) -> None:
    hub.fail("/api/", status, times=ALWAYS)
    with pytest.raises(HfHubHTTPError):
        retried(info)
    assert len(hub.requests) == 1
    assert hub.naps == []


def test_a_connection_that_fails_is_not_asked_again(hub: Hub) -> None:
    with hub.down(), pytest.raises(httpx2.ConnectError):
        retried(info)
    with pytest.raises(LocalEntryNotFoundError):
        retried(lambda: file(local_files_only=True))
    assert hub.naps == []


# Where the token is


def test_the_tokens_place_is_told_and_never_the_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert token_place() is None
    Path(constants.HF_TOKEN_PATH).parent.mkdir(parents=True)
    Path(constants.HF_TOKEN_PATH).write_text(WRITE)
    assert token_place() == "the saved login"
    monkeypatch.setenv("HF_TOKEN", " ")
    assert token_place() == "the saved login"
    monkeypatch.setenv("HF_TOKEN", WRITE)
    assert token_place() == "HF_TOKEN"
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", WRITE)
    assert token_place() == "HF_TOKEN"
