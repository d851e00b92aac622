"""The stand-in Hub, asked by huggingface_hub itself: it answers as the Hub does, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import huggingface_hub
import pytest
from hub_standin import ALWAYS, READ, STRANGER, WRITE, Hub, standing_in
from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelCard,
    constants,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

REPO = "org/collection"
MASK = "Qwen--Qwen3-0.6B/lape/mask.json"
BACK_OFF = [1, 2, 4, 8, 8]  # seconds that huggingface_hub waits between its six tries


@pytest.fixture
def api(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """Logged in with a token that may write, to a Hub with one repository that holds one file more than the Hub's."""
    hub.add(REPO, {MASK: b"{}"})
    monkeypatch.setenv("HF_TOKEN", WRITE)
    return HfApi()


def commit(api: HfApi, files: dict[str, bytes], **settings: Any) -> CommitInfo:
    operations = [CommitOperationAdd(path, data) for path, data in files.items()]
    return api.create_commit(REPO, operations, commit_message="a change", **settings)


def status_of(call: Callable[[], object], error: type[HfHubHTTPError] = HfHubHTTPError) -> int:
    """The status behind what a call raises, which must be of this very class."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    return caught.value.response.status_code


# -- writing


def test_a_repository_is_made_with_one_commit_and_made_once(api: HfApi, hub: Hub) -> None:
    url = api.create_repo("org/new", private=True)
    assert (url.repo_id, url.endpoint) == ("org/new", hub.endpoint)
    info = api.model_info("org/new")
    assert info.private is True
    assert [file.rfilename for file in info.siblings or []] == [".gitattributes"]
    assert api.create_repo("org/new", exist_ok=True) == url
    assert status_of(lambda: api.create_repo("org/new")) == 409
    assert [one.title for one in api.list_repo_commits("org/new")] == ["initial commit"]


def test_a_commit_changes_only_what_it_names_and_is_history(api: HfApi, hub: Hub) -> None:
    first = api.model_info(REPO).sha
    made = commit(api, {"a.txt": b"one", "b/c.txt": b"two"})
    assert made.commit_url == f"{hub.endpoint}/{REPO}/commit/{made.oid}"
    assert api.model_info(REPO).sha == made.oid != first
    assert hub.repos[REPO].paths() == {".gitattributes", MASK, "a.txt", "b/c.txt"}
    api.create_commit(REPO, [CommitOperationDelete("b/"), CommitOperationDelete("a.txt")], commit_message="out")
    assert hub.repos[REPO].paths() == {".gitattributes", MASK}
    assert [one.title for one in api.list_repo_commits(REPO)] == ["out", "a change", "files", "initial commit"]
    assert hub.repos[REPO].read("b/c.txt", made.oid) == b"two"
    with pytest.raises(RemoteEntryNotFoundError, match="file with this name doesn't exist"):
        api.create_commit(REPO, [CommitOperationDelete("a.txt")], commit_message="out again")


@pytest.mark.parametrize("suffixes", [(), (".json",)], ids=["regular", "lfs"])
def test_the_same_bytes_again_are_no_commit(api: HfApi, hub: Hub, suffixes: tuple[str, ...]) -> None:
    hub.lfs_suffixes = suffixes
    files = {"x.json": b"[1]", "y.txt": b"y"}
    made = commit(api, files)
    asked = len(hub.asked("/commit/"))
    assert commit(api, files).oid == made.oid
    assert len(hub.asked("/commit/")) == asked
    assert len(hub.repos[REPO].history()) == 3
    commit(api, {**files, "y.txt": b"z"})
    assert len(hub.repos[REPO].history()) == 4


def test_a_parent_that_is_not_the_head_is_a_conflict(api: HfApi, hub: Hub) -> None:
    repo = hub.repos[REPO]
    head = repo.at("main").oid
    assert commit(api, {"a": b"1"}, parent_commit=head).oid == repo.at("main").oid
    hub.before("POST .*/commit/", lambda: repo.commit({"b": b"by someone else"}))
    assert status_of(lambda: commit(api, {"a": b"2"}, parent_commit=repo.at("main").oid)) == 412
    assert (repo.read("a"), repo.read("b")) == (b"1", b"by someone else")


def test_a_pull_request_leaves_main_alone(api: HfApi, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    head = hub.repos[REPO].at("main").oid
    for number in (1, 2):
        made = commit(api, {"a": b"%d" % number}, create_pr=True, parent_commit=head)
        assert made.pr_url == f"{hub.endpoint}/{REPO}/discussions/{number}"
        assert (made.pr_num, made.pr_revision) == (number, f"refs/pr/{number}")
        assert Path(hf_hub_download(REPO, "a", revision=made.pr_revision)).read_bytes() == b"%d" % number
    assert hub.repos[REPO].at("main").oid == head
    hub.repos[REPO].commit({"b": b"later"})
    made = commit(api, {"a": b"3"}, create_pr=True, parent_commit=head)
    assert hub.repos[REPO].paths(made.oid) == {".gitattributes", MASK, "a"}  # begun where it was asked to
    refs = api.list_repo_refs(REPO, include_pull_requests=True)
    assert [one.ref for one in refs.pull_requests or []] == ["refs/pr/1", "refs/pr/2", "refs/pr/3"]


def test_tags_and_branches_name_commits(api: HfApi, hub: Hub) -> None:
    first = hub.repos[REPO].at("main").oid
    api.create_tag(REPO, tag="v1")
    api.create_branch(REPO, branch="draft/one")
    draft = commit(api, {MASK: b"[]"}, revision="draft/one").oid
    assert status_of(lambda: api.create_tag(REPO, tag="v1")) == 409
    refs = api.list_repo_refs(REPO)
    assert {one.name: one.target_commit for one in refs.branches + refs.tags} == {
        "main": first,
        "draft/one": draft,
        "v1": first,
    }
    for revision, expected in {"v1": b"{}", "draft/one": b"[]", draft: b"[]", "main": b"{}"}.items():
        assert Path(hf_hub_download(REPO, MASK, revision=revision)).read_bytes() == expected
    api.delete_tag(REPO, tag="v1")
    assert status_of(lambda: api.model_info(REPO, revision="v1"), RevisionNotFoundError) == 404


def test_lfs_files_are_uploaded_apart_and_come_from_elsewhere(api: HfApi, hub: Hub, tmp_path: Path) -> None:
    hub.lfs_suffixes = (".safetensors",)
    data = bytes(range(256)) * 40
    (tmp_path / "m.safetensors").write_bytes(data)
    api.upload_file(path_or_fileobj=tmp_path / "m.safetensors", path_in_repo="m.safetensors", repo_id=REPO)
    (entry,) = [one for one in api.list_repo_tree(REPO) if one.path == "m.safetensors"]
    assert isinstance(entry, huggingface_hub.hf_api.RepoFile)
    assert entry.lfs is not None
    assert (entry.size, entry.lfs.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert Path(hf_hub_download(REPO, "m.safetensors")).read_bytes() == data
    assert hub.asked("/_cdn/") == [("GET", f"/_cdn/{entry.lfs.sha256}", False)]  # the token stays with the Hub
    assert [one.authorised for one in hub.asked("/resolve/main/m.safetensors")] == [True]


def test_a_card_is_checked_before_anything_is_sent(api: HfApi, hub: Hub) -> None:
    bad = b"---\nlanguage: [fr, french]\nbase_model: not a model\n---\n"
    with pytest.raises(ValueError, match='"french" is not valid') as caught:
        commit(api, {"README.md": bad})
    assert isinstance(caught.value.__cause__, BadRequestError)
    assert "base_model" in str(caught.value)
    assert not hub.asked("preupload|commit")
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        commit(api, {"README.md": b"no metadata"})
    commit(api, {"README.md": b"---\nlanguage: [fr]\nbase_model: Qwen/Qwen3-0.6B\nlibrary_name: lape\n---\ntext\n"})
    card = ModelCard.load(REPO)
    assert (card.data.language, card.data.base_model, card.text) == (["fr"], "Qwen/Qwen3-0.6B", "text\n")
    card.validate()
    assert api.model_info(REPO).library_name == "lape"
    with pytest.raises(ValueError, match="language"):
        ModelCard("---\nlanguage: 1\n---\n").validate()


# -- reading


def test_a_listing_is_flat_or_recursive(api: HfApi) -> None:
    commit(api, {"b/c.txt": b"two"})
    folder = "Qwen--Qwen3-0.6B"
    assert {one.path for one in api.list_repo_tree(REPO)} == {".gitattributes", folder, "b"}
    assert {one.path for one in api.list_repo_tree(REPO, folder, recursive=True)} == {f"{folder}/lape", MASK}
    files = {one.path: one for one in api.list_repo_tree(REPO, recursive=True)}
    assert set(files) == {".gitattributes", folder, f"{folder}/lape", MASK, "b", "b/c.txt"}
    assert files["b/c.txt"].blob_id == hashlib.sha1(b"blob 3\0two").hexdigest()
    (info,) = api.get_paths_info(REPO, ["b/c.txt", "not there"])
    assert (info.path, info.size) == ("b/c.txt", 3)


def test_what_is_in_the_cache_by_commit_is_not_asked_for(hub: Hub) -> None:
    head = hub.add(REPO, {MASK: b"{}"}).at("main").oid
    by_branch = hf_hub_download(REPO, MASK)
    assert by_branch == str(Path(constants.HF_HUB_CACHE) / f"models--org--collection/snapshots/{head}/{MASK}")
    assert [one.method for one in hub.requests] == ["HEAD", "GET"]
    hub.requests.clear()
    assert hf_hub_download(REPO, MASK, revision=head) == by_branch
    assert hub.requests == []
    assert hf_hub_download(REPO, MASK) == by_branch
    assert [one.method for one in hub.requests] == ["HEAD"]
    hub.repos[REPO].commit({MASK: b"[]"})
    assert Path(hf_hub_download(REPO, MASK)).read_bytes() == b"[]"
    assert Path(by_branch).read_bytes() == b"{}"


def test_a_snapshot_holds_every_file(hub: Hub) -> None:
    hub.add(REPO, {MASK: b"{}", "b/c.txt": b"two"})
    folder = Path(snapshot_download(REPO))
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {".gitattributes", MASK, "b/c.txt"}


def test_missing_things_are_told_apart(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, {MASK: b"{}"})
    hub.add("org/secret", {MASK: b"{}"}, private=True)
    api = HfApi()
    for token, status in ((None, 401), (STRANGER, 404)):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        for repo in ("org/none", "org/secret"):
            calls = (api.model_info, api.list_repo_commits, snapshot_download, lambda name: hf_hub_download(name, MASK))
            for call in calls:
                assert status_of(lambda call=call, repo=repo: call(repo), RepositoryNotFoundError) == status
    calls = [
        lambda: api.model_info(REPO, revision="v9"),
        lambda: list(api.list_repo_tree(REPO, revision="v9")),
        lambda: hf_hub_download(REPO, MASK, revision="0" * 40),
    ]
    assert [status_of(call, RevisionNotFoundError) for call in calls] == [404] * 3
    assert status_of(lambda: hf_hub_download(REPO, "no.json"), RemoteEntryNotFoundError) == 404
    assert status_of(lambda: list(api.list_repo_tree(REPO, "nowhere")), RemoteEntryNotFoundError) == 404
    monkeypatch.setenv("HF_TOKEN", READ)
    assert api.model_info("org/secret").private is True


def test_a_gate_lets_in_whom_it_knows(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = hub.add(REPO, {MASK: b"{}"}, gated=True)
    assert HfApi().model_info(REPO).gated == "manual"  # all may know of it
    assert status_of(lambda: hf_hub_download(REPO, MASK), GatedRepoError) == 401
    assert status_of(lambda: snapshot_download(REPO), GatedRepoError) == 401
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    assert status_of(lambda: hf_hub_download(REPO, MASK), GatedRepoError) == 403
    assert status_of(lambda: HfApi().auth_check(REPO), GatedRepoError) == 403
    repo.allowed.add("eve")
    assert Path(hf_hub_download(REPO, MASK)).read_bytes() == b"{}"


# -- who may


def test_the_account_is_that_of_the_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LocalTokenNotFoundError):
        huggingface_hub.whoami()
    assert hub.requests == []
    monkeypatch.setenv("HF_TOKEN", READ)
    found = huggingface_hub.whoami()
    assert (found["name"], found["orgs"][0]["name"], found["auth"]["accessToken"]["role"]) == ("ada", "org", "read")
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    hub.add(REPO, {MASK: b"{}"})
    for call in (huggingface_hub.whoami, lambda: hf_hub_download(REPO, MASK), lambda: HfApi().model_info(REPO)):
        assert status_of(call) == 401
    assert [one.authorised for one in hub.requests] == [True] * 4


@pytest.mark.parametrize(
    ("token", "status", "error"),
    [(None, 401, RepositoryNotFoundError), (READ, 403, HfHubHTTPError), (STRANGER, 403, HfHubHTTPError)],
    ids=["nobody", "read-only", "no member"],
)
def test_only_a_member_with_a_token_for_it_writes(
    api: HfApi, hub: Hub, monkeypatch: pytest.MonkeyPatch, token: str | None, status: int, error: type[HfHubHTTPError]
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    else:
        monkeypatch.delenv("HF_TOKEN")
    assert status_of(lambda: commit(api, {"a": b"1"}), error) == status
    assert status_of(lambda: api.create_tag(REPO, tag="v1"), error) == status
    assert status_of(lambda: api.create_repo("org/new")) == status
    api.create_repo(REPO, exist_ok=True)  # says nothing, for it can be read
    if token != STRANGER:
        assert status_of(lambda: commit(api, {"a": b"1"}, create_pr=True), error) == status
    assert list(hub.repos) == [REPO]
    assert set(hub.repos[REPO].refs) == {"refs/heads/main"}
    assert len(hub.repos[REPO].history()) == 2


# -- when it goes wrong


def test_a_limit_is_waited_for_where_the_client_waits(api: HfApi, hub: Hub) -> None:
    hub.limit("/resolve/|/tree/", times=3, seconds=7)
    assert Path(hf_hub_download(REPO, MASK)).read_bytes() == b"{}"
    assert hub.naps == [8, 8]  # the first HEAD is not tried again, it would use the cache
    hub.naps.clear()
    hub.fail("/tree/", 429, Retry_After="2")
    assert list(api.list_repo_tree(REPO))
    assert hub.naps == [3]
    hub.limit("GET /api/models/org/collection$", seconds=55)
    with pytest.raises(HfHubHTTPError, match=r"Retry after 55 seconds \(0/1000 requests remaining"):
        api.model_info(REPO)
    hub.limit("/commit/", seconds=5)
    assert status_of(lambda: commit(api, {"a": b"1"})) == 429
    assert hub.naps == [3]
    assert hub.repos[REPO].paths() == {".gitattributes", MASK}


def test_a_hub_in_trouble_is_asked_seven_times_for_a_file(hub: Hub) -> None:
    hub.add(REPO, {MASK: b"{}"})
    hub.fail("/resolve/", 503, times=ALWAYS)
    with pytest.raises(LocalEntryNotFoundError) as caught:
        hf_hub_download(REPO, MASK)
    assert isinstance(caught.value.__cause__, HfHubHTTPError)
    assert (len(hub.requests), hub.naps) == (7, BACK_OFF)


def test_a_file_that_breaks_off_is_fetched_again_and_never_half(hub: Hub) -> None:
    hub.add(REPO, {MASK: b"0123456789"})
    hub.cut("GET .*/resolve/")
    assert Path(hf_hub_download(REPO, MASK)).read_bytes() == b"0123456789"
    assert hub.naps == [1]
    hub.repos[REPO].commit({MASK: b"abcdefghij"})
    hub.cut("GET .*/resolve/", times=ALWAYS)
    with pytest.raises(httpx2.RemoteProtocolError, match=r"received 5 bytes, expected 10"):
        hf_hub_download(REPO, MASK)
    assert hub.naps == [1] * 6
    kept = [path.read_bytes() for path in Path(constants.HF_HUB_CACHE).rglob("blobs/*")]
    assert kept == [b"0123456789"]


def test_a_long_download_goes_on_where_it_broke_off(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4)
    hub.add(REPO, {MASK: b"0123456789"})
    answers: list[bytes] = []
    hub.cut("GET .*/resolve/")
    hub.spoil("GET .*/resolve/", lambda body: answers.append(body) or body)
    assert Path(hf_hub_download(REPO, MASK)).read_bytes() == b"0123456789"
    assert answers == [b"456789"]  # a chunk of 4 had come


def test_a_cut_answer_to_a_commit_hides_that_it_was_made(api: HfApi, hub: Hub) -> None:
    hub.cut("/commit/")
    with pytest.raises(httpx2.RemoteProtocolError):
        commit(api, {"a": b"1"})
    assert hub.repos[REPO].read("a") == b"1"
    assert (len(hub.asked("/commit/")), hub.naps) == (1, [])
    hub.cut("HEAD ")
    with pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"):
        hf_hub_download(REPO, MASK)


def test_other_bytes_pass_unless_their_number_differs(hub: Hub) -> None:
    hub.add(REPO, {MASK: b"0123456789"})
    hub.spoil("/resolve/", lambda body: body[:-1], times=2)  # HEAD, which stays true, and GET
    with pytest.raises(OSError, match="should be of size 10 but has size 9"):
        hf_hub_download(REPO, MASK)
    hub.spoil("GET .*/resolve/", lambda body: body[::-1])
    assert Path(hf_hub_download(REPO, MASK)).read_bytes() == b"9876543210"
    hub.spoil("/api/", lambda body: b"<html>Please log in to the hotel's network")
    with pytest.raises(json.JSONDecodeError):
        HfApi().model_info(REPO)


def test_a_hub_that_is_down_refuses_connections_and_comes_back(api: HfApi, hub: Hub) -> None:
    known = hf_hub_download(REPO, MASK)
    with hub.down():
        with pytest.raises(httpx2.ConnectError):
            api.model_info(REPO)
        assert hub.naps == []
        with pytest.raises(httpx2.ConnectError):
            list(api.list_repo_tree(REPO))
        assert hub.naps == BACK_OFF
        assert hf_hub_download(REPO, MASK) == known
        assert hub.naps == BACK_OFF
        with pytest.raises(LocalEntryNotFoundError) as caught:
            hf_hub_download(REPO, "other.json")
        assert isinstance(caught.value.__cause__, httpx2.ConnectError)
        assert hub.naps == BACK_OFF * 2
    asked = len(hub.requests)
    assert api.model_info(REPO).id == REPO
    assert len(hub.requests) == asked + 1


def test_a_black_hole_takes_requests_and_never_answers(api: HfApi, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    known = hf_hub_download(REPO, MASK)
    hub.stall()
    for _ in range(2):
        with pytest.raises(httpx2.ReadTimeout):
            api.model_info(REPO, timeout=0.1)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
    assert hf_hub_download(REPO, MASK) == known
    assert [one.method for one in hub.requests[-2:]] == ["GET", "HEAD"]


def test_offline_mode_asks_nothing(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, {MASK: b"{}"})
    known = hf_hub_download(REPO, MASK)
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hf_hub_download(REPO, MASK) == known
    with pytest.raises(OfflineModeIsEnabled):
        HfApi().model_info(REPO)
    assert hub.requests == []


# -- where it stands in


HF_COMMAND = {"CHECK_FOR_UPDATE_DONE_PATH", "CHECK_FOR_SKILL_UPDATE_DONE_PATH"}  # only the `hf` command looks at these


def state() -> dict[str, Any]:
    """The environment and every constant of huggingface_hub; pytest's own variable changes by itself."""
    found: dict[str, Any] = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    for module in [module for name, module in sys.modules.items() if name.startswith("huggingface_hub")]:
        for name, value in vars(module).items():
            if name == "time" or (name.isupper() and isinstance(value, str | bool | frozenset)):
                found[f"{module.__name__}.{name}"] = value
    return found | {"endpoint": huggingface_hub.hf_api.api.endpoint}


def test_nothing_of_it_is_left_after_a_test(tmp_path: Path) -> None:
    before = state()
    endpoint, home = constants.ENDPOINT, constants.HF_HOME
    assert constants.HF_HUB_OFFLINE is True
    with pytest.MonkeyPatch.context() as patch, standing_in(tmp_path / "hf", patch) as hub:
        real = {name.rpartition(".")[2] for name, value in state().items() if str(value).startswith((endpoint, home))}
        assert real <= {"_HF_DEFAULT_ENDPOINT", "HUGGINGFACE_CO_URL_HOME", *HF_COMMAND}
        hub.add(REPO, {MASK: b"{}"})
        hf_hub_download(REPO, MASK)
    assert state() == before
    with pytest.raises(OfflineModeIsEnabled):
        HfApi().model_info(REPO)


def test_a_test_starts_with_nobody_logged_in_and_nothing_cached(hub: Hub) -> None:
    assert huggingface_hub.get_token() is None
    assert not Path(constants.HF_HUB_CACHE).exists()
    assert os.path.expanduser("~/.cache/huggingface/hub") != constants.HF_HUB_CACHE
    assert hub.requests == hub.naps == []


def test_child_processes_meet_the_same_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, {MASK: b"{}"}, private=True)
    monkeypatch.setenv("HF_TOKEN", WRITE)
    code = f"import huggingface_hub as h; print(h.hf_hub_download({REPO!r}, {MASK!r}), h.whoami()['name'])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [hf_hub_download(REPO, MASK), "ada"]
    assert [one.method for one in hub.asked("/resolve/")] == ["HEAD", "GET", "HEAD"]
    assert [one for one in hub.requests if not one.authorised] == []
    assert not hub.asked("telemetry|agent-harnesses")
