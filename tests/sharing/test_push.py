"""Pushing a mask, with huggingface_hub itself against the stand-in Hub: in process, and through the command line."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_standin import READ, STRANGER, WRITE, Hub
from samples import mask_of, statistics_of

import lape
from lape.cli import main
from lape.masks.collection import list_masks, pull
from lape.recording.residual_means import ResidualMeans
from lape.recording.top_texts import TopTexts
from lape.recording.vocabulary import TokenCounts
from lape.sharing.markdown import HUB
from lape.sharing.parcel import packed
from lape.sharing.push import push
from lape.sharing.readme import MARKS, own_text
from lape.storage.files import load_tensors, save_tensors

BEGIN, END = MARKS

REPO = "org/collection"
PLACE = "org--tiny/lape"
MADE = {"model": "org/tiny", "method": "lape", "settings": {"top_rate": 0.5}, "tokens": {"fr": 10, "es": 10}}
PUSHED = {f"{PLACE}/{name}" for name in ("mask.safetensors", "mask.json", "statistics.safetensors", "layers.svg")}
PUSHED |= {f"{PLACE}/README.md", "README.md"}


@pytest.fixture
def hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The stand-in, with somebody logged in who may write."""
    monkeypatch.setenv("HF_TOKEN", WRITE)
    return hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path / "precomputed" / "org--tiny" / "lape")


def made(folder: Path, statistics: bool = True, **about: Any) -> Path:
    """A folder with a mask and statistics."""
    mask = mask_of({"fr": [(0, 1), (0, 3)], "es": [(1, 0)]}, {"fr": [1.0, 2.0], "es": [3.0]}, **{**MADE, **about})
    mask.save(folder)
    if statistics:
        statistics_of({"fr": [[1] * 4] * 2, "es": [[2] * 4] * 2}).save(folder / "statistics.safetensors")
    return folder


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def card(hub: Hub, path: str = f"{PLACE}/README.md") -> str:
    return hub.repos[REPO].read(path).decode()


def commits(hub: Hub) -> list[str]:
    return [commit.title for commit in hub.repos[REPO].history()]


# What a push does


def test_the_first_push_makes_the_collection_and_one_commit(hub: Hub, folder: Path) -> None:
    (folder / "evidence").mkdir()
    (folder / "evidence" / "steering.json").write_text('{"title": "Steering", "summary": "3 of 4"}')
    (folder / "EVIDENCE.md").write_text("# Evidence\n")
    (folder / "origin.json").write_text("{}")
    before = contents(folder)
    pushed = push(folder, REPO)
    evidence = {f"{PLACE}/{name}" for name in ("evidence/steering.json", "EVIDENCE.md")}
    assert hub.repos[REPO].paths() == {".gitattributes", *PUSHED, *evidence}
    assert commits(hub) == [f"Add {PLACE}", "initial commit"]
    assert set(pushed.changed) == PUSHED | evidence
    assert pushed.commit == hub.repos[REPO].at("main").oid
    assert pushed.url == f"{hub.endpoint}/{REPO}/tree/main/{PLACE}"
    assert (pushed.pull_request, pushed.tag) == (None, None)
    assert not hub.repos[REPO].private
    for name in ("mask.safetensors", "mask.json", "statistics.safetensors"):
        assert hub.repos[REPO].read(f"{PLACE}/{name}") == (folder / name).read_bytes()
    assert contents(folder) == before
    assert "- [`steering.json`](evidence/steering.json) `Steering`: `3 of 4`" in card(hub)
    assert f'from_pretrained("{REPO}", model="org/tiny", method="lape")' in card(hub)
    assert f"[`lape`]({HUB}/{REPO}/tree/main/{PLACE})" in card(hub, "README.md")
    assert hub.repos[REPO].read(f"{PLACE}/layers.svg").startswith(b"<svg")


def test_what_was_pushed_can_be_listed_and_loaded(hub: Hub, folder: Path) -> None:
    commit = push(folder, REPO).commit
    assert [(entry.model, entry.method, entry.counts) for entry in list_masks(REPO)] == [
        ("org/tiny", "lape", {"fr": 2, "es": 1})
    ]
    mask = lape.NeuronMask.from_pretrained(REPO, model="org/tiny")
    assert mask == lape.NeuronMask.load(folder)
    assert mask.metadata["commit"] == commit


def test_the_same_bytes_again_are_no_commit(hub: Hub, folder: Path) -> None:
    first = push(folder, REPO)
    hub.requests.clear()
    again = push(folder, REPO)
    assert again == replace(first, changed=())
    assert not hub.asked("POST .*(commit|preupload)")
    assert len(commits(hub)) == 2


def test_large_files_are_compared_by_their_sha256(hub: Hub, folder: Path) -> None:
    hub.lfs_suffixes = (".safetensors",)
    first = push(folder, REPO)
    assert hub.repos[REPO].at("main").files[f"{PLACE}/mask.safetensors"].lfs
    assert push(folder, REPO) == replace(first, changed=())


def test_one_changed_file_is_one_commit_with_that_file(hub: Hub, folder: Path) -> None:
    push(folder, REPO)
    statistics_of({"fr": [[3] * 4] * 2, "es": [[2] * 4] * 2}).save(folder / "statistics.safetensors")
    pushed = push(folder, REPO, message="Count again")
    assert pushed.changed == (f"{PLACE}/statistics.safetensors",)
    new, old, *_ = hub.repos[REPO].history()
    assert new.title == "Count again"
    assert {path for path in new.files if new.files[path] != old.files.get(path)} == set(pushed.changed)


def test_a_commit_in_between_is_not_overwritten(hub: Hub, folder: Path) -> None:
    push(folder, REPO)
    made(folder, settings={"top_rate": 0.6})
    theirs = {"README.md": b"someone else's", "notes.txt": b"new"}
    hub.before("POST .*/commit/", lambda: hub.repos[REPO].commit(theirs, "theirs"))
    with pytest.raises(lape.HubError, match=r"changed by someone else.*nothing was written.*push again"):
        push(folder, REPO)
    assert commits(hub)[0] == "theirs"
    assert card(hub, "README.md") == "someone else's"
    push(folder, REPO)  # after looking
    assert commits(hub)[:2] == [f"Update {PLACE}", "theirs"]
    assert card(hub, "README.md").endswith(f"{END}\n")
    assert "someone else's\n\n<!--" in card(hub, "README.md")


def test_a_pull_request_changes_nothing_but_is_there(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO, {"README.md": b"# Ours\n"})
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    pushed = push(folder, REPO, create_pr=True)
    assert pushed.pull_request == f"{hub.endpoint}/{REPO}/discussions/1"
    assert hub.repos[REPO].paths() == {".gitattributes", "README.md"}
    assert hub.repos[REPO].paths("refs/pr/1") == {".gitattributes", *PUSHED}
    assert not hub.asked("repos/create")


def test_a_pull_request_to_nowhere_is_refused(hub: Hub, folder: Path) -> None:
    with pytest.raises(lape.HubError, match="There is no collection org/collection on the Hub"):
        push(folder, REPO, create_pr=True)
    assert hub.repos == {}


def test_a_tag_names_the_commit(hub: Hub, folder: Path) -> None:
    pushed = push(folder, REPO, tag="v1.0")
    assert pushed.tag == "v1.0"
    assert hub.repos[REPO].at("v1.0").oid == pushed.commit
    assert push(folder, REPO, tag="v1.0") == replace(pushed, changed=())
    assert push(folder, REPO, tag="v1.1").changed == ()
    assert hub.repos[REPO].at("v1.1").oid == pushed.commit


def test_a_tag_of_another_commit_is_refused_before_the_commit(hub: Hub, folder: Path) -> None:
    first = push(folder, REPO, tag="v1")
    made(folder, settings={"top_rate": 0.6})
    with pytest.raises(lape.HubError, match=f"has the tag v1 already, on commit {first.commit}.*Nothing was written"):
        push(folder, REPO, tag="v1")
    assert len(commits(hub)) == 2


def test_a_tag_that_fails_after_the_commit_says_so_and_can_be_had_later(hub: Hub, folder: Path) -> None:
    hub.fail("POST .*/tag/", status=500)
    with pytest.raises(lape.HubError, match=r"The mask is there, as commit [0-9a-f]{40}, but without the tag v1\."):
        push(folder, REPO, tag="v1")
    pushed = push(folder, REPO, tag="v1")
    assert pushed.changed == ()
    assert hub.repos[REPO].at("v1").oid == pushed.commit


def test_private_is_private_or_refused(hub: Hub, folder: Path) -> None:
    push(folder, "org/secret", private=True)
    assert hub.repos["org/secret"].private
    push(folder, "org/secret", private=True)
    hub.add(REPO)
    with pytest.raises(lape.HubError, match=r"there already, and public\. Nothing was written"):
        push(folder, REPO, private=True)
    assert hub.repos[REPO].paths() == {".gitattributes"}


def test_a_second_mask_joins_the_first_in_the_collections_card(hub: Hub, folder: Path, tmp_path: Path) -> None:
    push(folder, REPO)
    first = card(hub)
    other = made(tmp_path / "out", model="org/other", statistics=False)
    pushed = push(other, REPO)
    assert f"{PLACE}/README.md" not in pushed.changed
    listing = card(hub, "README.md")
    assert f"[`lape`]({HUB}/{REPO}/tree/main/{PLACE}) | 2 |" in listing
    assert f"[`lape`]({HUB}/{REPO}/tree/main/org--other/lape) | 2 |" in listing
    assert "base_model:\n- org/other\n- org/tiny\n" in listing
    assert card(hub) == first
    assert push(folder, REPO).changed == ()


def test_the_folders_name_is_the_masks_name_below_the_models(hub: Hub, tmp_path: Path) -> None:
    assert push(made(tmp_path / "org--tiny" / "lape-top0.5"), REPO).url.endswith("/org--tiny/lape-top0.5")
    assert packed(made(tmp_path / "elsewhere" / "any thing")).path == PLACE
    assert packed(made(tmp_path / "org--other" / "mine")).path == PLACE


# READMEs


def test_the_owners_text_on_the_hub_stays(hub: Hub, folder: Path) -> None:
    push(folder, REPO)
    listing, mask = card(hub, "README.md"), card(hub)
    edited = {
        "README.md": listing.replace("---\n", "---\nlicense: mit\n", 1).replace(BEGIN, f"# Ours\n\n{BEGIN}").encode(),
        f"{PLACE}/README.md": f"{mask}\nWritten below.\n".replace("tags:\n", "tags:\n- mine\n").encode(),
    }
    hub.repos[REPO].commit(edited, "by hand")
    assert push(folder, REPO).changed == ()
    made(folder, settings={"top_rate": 0.75})
    pushed = push(folder, REPO)
    assert f"{PLACE}/README.md" in pushed.changed
    assert "README.md" not in pushed.changed  # the collection's says nothing of settings
    assert card(hub) == edited[f"{PLACE}/README.md"].decode().replace("`top_rate` 0.5", "`top_rate` 0.75")
    assert own_text(card(hub)).strip() == "Written below."


def test_the_folders_own_readme_is_the_first_text(hub: Hub, folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    push(folder, REPO)
    assert card(hub).startswith("---\nlicense: mit\n")
    assert f"# Mine\n\n{BEGIN}" in card(hub)
    assert (folder / "README.md").read_text() == "---\nlicense: mit\n---\n# Mine\n"
    assert push(folder, REPO).changed == ()


def test_other_text_on_the_hub_wins_and_that_is_said(hub: Hub, folder: Path) -> None:
    (folder / "README.md").write_text("# Mine\n")
    push(folder, REPO)
    (folder / "README.md").write_text("# Mine, changed\n")
    with pytest.warns(lape.LapeWarning, match=f"not that of {PLACE}/README.md on the Hub, which stays"):
        assert push(folder, REPO).changed == ()


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (f"{PLACE}/README.md", b"---\na: [\n---\n", rf"On the Hub, {REPO}/{PLACE}/README.md: .* is not YAML"),
        (f"{PLACE}/README.md", BEGIN.encode(), rf"{PLACE}/README.md: README.md must have <!-- lape:begin -->"),
        (f"{PLACE}/README.md", b"\xff\xfe", "not UTF-8"),
        ("README.md", b"---\nlicense: [1]\n---\n", r"The Hub refuses README.md of org/collection: .*license"),
    ],
)
def test_a_readme_on_the_hub_that_cannot_be_updated_stops_the_push(
    hub: Hub, folder: Path, path: str, text: bytes, expected: str
) -> None:
    hub.add(REPO, {path: text})
    with pytest.raises(lape.LapeError, match=rf"(?s){expected}.*(Nothing was written|Put them back)"):
        push(folder, REPO)
    assert len(commits(hub)) == 2


@pytest.mark.parametrize(
    "summary",
    [b"{", b"[]", b'{"model": "org/bad"}', b'{"model": "org/x", "counts": {"fr": 1}}', b'{"model": 1, "counts": {}}',
     b'{"model": "org/bad", "counts": {"fr": "<b>"}}', b'{"model": "org/bad", "counts": 3}', b"[" * 100_000],
)  # fmt: skip
def test_a_damaged_neighbour_is_left_out_of_the_card(hub: Hub, folder: Path, summary: bytes) -> None:
    hub.add(REPO, {"org--bad/lape/mask.json": summary})
    with pytest.warns(lape.LapeWarning, match="leaves a mask out. org--bad/lape/mask.json is damaged"):
        push(folder, REPO)
    assert "bad" not in card(hub, "README.md")


def test_a_file_that_arrives_changed_is_not_used(hub: Hub, folder: Path) -> None:
    hub.add(REPO, {"README.md": b"# The text of the owner\n"})
    hub.spoil("GET .*/README.md", lambda data: data.swapcase())
    with pytest.raises(lape.HubError, match=r"README.md of org/collection did not arrive whole\. Nothing was written"):
        push(folder, REPO)
    assert card(hub, "README.md") == "# The text of the owner\n"


def test_files_beside_the_mask_on_the_hub_alone_stay_and_are_named(hub: Hub, folder: Path) -> None:
    push(folder, REPO)
    hub.repos[REPO].commit({f"{PLACE}/evidence/by-others.json": b"{}"}, "theirs")
    assert push(folder, REPO).changed == ()
    (folder / "statistics.safetensors").unlink()
    named = rf"they stay .*: {PLACE}/evidence/by-others.json, {PLACE}/statistics.safetensors\."
    with pytest.warns(lape.LapeWarning, match=named):
        push(folder, REPO)
    assert hub.repos[REPO].paths() == {".gitattributes", *PUSHED, f"{PLACE}/evidence/by-others.json"}
    assert "## Statistics" not in card(hub)


# The Hub refuses


def test_no_token_is_said_before_any_request(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(lape.HubError, match=r"set HF_TOKEN, or log in with `hf auth login`"):
        push(folder, REPO)
    assert hub.requests == []
    assert push(folder, REPO, token=WRITE).changed


@pytest.mark.parametrize("token", ["hf_two\nlines", "hf_ümlaut", "hf two"])
def test_a_token_that_no_header_can_carry_is_not_shown(hub: Hub, folder: Path, token: str) -> None:
    with pytest.raises(lape.HubError, match="not one line of plain letters") as refused:
        push(folder, REPO, token=token)
    assert token not in str(refused.value)
    assert hub.requests == []


@pytest.mark.parametrize("token", [READ, STRANGER, "hf_unknown"])
def test_a_token_that_may_not_write_is_refused(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(lape.HubError, match="token from HF_TOKEN"):
        push(folder, REPO)
    hub.add(REPO)
    with pytest.raises(lape.HubError, match="token from HF_TOKEN"):
        push(folder, REPO)
    assert hub.repos[REPO].paths() == {".gitattributes"}


def test_a_busy_hub_is_asked_again(hub: Hub, folder: Path) -> None:
    for pattern in ("repos/create", "GET .*/api/models/org/collection", "/tree/", "/preupload/", "POST .*/commit/"):
        hub.limit(pattern, seconds=2)
    push(folder, REPO)
    assert commits(hub) == [f"Add {PLACE}", "initial commit"]
    assert 10 <= sum(hub.naps) <= 15


def test_a_hub_that_stays_busy_is_left_alone(hub: Hub, folder: Path) -> None:
    hub.limit("repos/create", times=9, seconds=7)
    with pytest.raises(lape.HubError, match=r"try again in 7 s"):
        push(folder, REPO)
    assert len(hub.asked("repos/create")) == 3


def test_a_connection_cut_at_the_commit_is_told_and_mended_by_a_push(hub: Hub, folder: Path) -> None:
    hub.cut("POST .*/commit/")
    with pytest.raises(lape.HubError, match=r"may have been written or not\. Push again"):
        push(folder, REPO)
    assert push(folder, REPO).changed == ()
    assert commits(hub) == [f"Add {PLACE}", "initial commit"]


def test_a_connection_cut_before_the_commit_writes_nothing(hub: Hub, folder: Path) -> None:
    hub.cut("GET .*/api/models/org/collection$")
    with pytest.raises(lape.HubError, match="broke off"):
        push(folder, REPO)
    assert commits(hub) == ["initial commit"]


def test_a_hub_out_of_reach_is_said_at_once(hub: Hub, folder: Path) -> None:
    with hub.down(), pytest.raises(lape.HubError, match=r"cannot be reached\. Nothing was written"):
        push(folder, REPO)
    assert sum(hub.naps) == 0


# Nothing is asked for a folder that is wrong


def edit(name: str, **values: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        summary = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(summary | values))

    return change


def write(name: str, content: bytes | str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def remake(**about: Any) -> Callable[[Path], None]:
    return lambda folder: made(folder, **about) and None


def relabel(folder: Path) -> None:
    mask_of({"fr": [], "<b>": []}, **MADE).save(folder)


def other_shape(folder: Path) -> None:
    statistics_of({"fr": [[1] * 5] * 2}).save(folder / "statistics.safetensors")


def other_model(folder: Path) -> None:
    statistics_of({"fr": [[1] * 4] * 2}, model="org/else").save(folder / "statistics.safetensors")


def residuals(folder: Path, model: str) -> None:
    tokens, sums = {"fr": 3}, {"fr": torch.ones(2, 5, dtype=torch.float64)}
    norms = {"fr": torch.ones(2, dtype=torch.float64)}
    ResidualMeans(sums, norms, tokens, {"tokens": tokens, "model": model}).save(folder / "residuals.safetensors")


def vocabulary(folder: Path, model: str) -> None:
    metadata = {"tokens": {"fr": 3}, "model": model}
    TokenCounts({"fr": torch.tensor([0, 3])}, (), metadata).save(folder / "vocabulary.safetensors")


def top_texts(folder: Path, **about: Any) -> None:
    nowhere = torch.full((1, 2, 5), -1)
    metadata = {"tokens": {"fr": 4}, "model": "org/tiny", **about}
    found = TopTexts({"fr": torch.ones(1, 4).long()}, nowhere, torch.zeros(1, 2, 5), metadata)
    found.save(folder / "top_texts.safetensors")


def other_mask(folder: Path) -> None:
    """The same metadata, but one neuron is another."""
    summary = (folder / "mask.json").read_bytes()
    tensors, metadata = load_tensors(folder / "mask.safetensors", "mask")
    tensors["neurons.es"][0, 1] = 2
    save_tensors(folder / "mask.safetensors", tensors, metadata)
    assert (folder / "mask.json").read_bytes() == summary


def link(name: str, target: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(folder.parent / target)

    return change


def huge(name: str, size: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        with (folder / name).open("wb") as file:
            file.truncate(size)  # a hole: no space is taken

    return change


WRONG: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: (folder / "mask.safetensors").unlink(), "has no mask.safetensors. `lape identify` writes it"),
    (lambda folder: (folder / "mask.json").unlink(), "has no mask.json"),
    (write("mask.safetensors", b"no"), "damaged or was not written by lape"),
    (write("mask.json", "{"), "mask.json is not JSON"),
    (write("mask.json", "[]"), "mask.json does not belong to mask.safetensors"),
    (edit("mask.json", sha256="0"), "mask.json does not belong to mask.safetensors: sha256 differ"),
    (edit("mask.json", counts={"fr": 3, "es": 1}), "mask.safetensors: counts differ"),
    (edit("mask.json", counts_per_layer={}), "counts_per_layer differ"),
    (edit("mask.json", model="org/else", date="x"), "mask.safetensors: date, model differ"),
    (other_mask, "counts_per_layer, sha256 differ|mask.safetensors: sha256 differ"),
    (write("statistics.safetensors", b"no"), "damaged or was not written by lape"),
    (other_shape, r"2 layers x 4 neurons, statistics.safetensors of 2 layers x 5 neurons"),
    (other_model, "The mask is of org/tiny, statistics.safetensors of org/else"),
    (partial(residuals, model="org/else"), "The mask is of org/tiny, residuals.safetensors of org/else"),
    (partial(vocabulary, model="org/else"), "The mask is of org/tiny, vocabulary.safetensors of org/else"),
    (top_texts, "top_texts.safetensors holds the text it was made from and names no licence of it"),
    (partial(top_texts, model="org/else"), "The mask is of org/tiny, top_texts.safetensors of org/else"),
    (relabel, r"does not say its languages as a list of different labels, each 1 to 32 of A-Z"),
    (remake(model="tiny"), "'tiny', which is not a model on the Hub but on this machine. Publish the model"),
    (remake(model="./out/tiny"), "is not a model on the Hub but on this machine"),
    (remake(model=""), "an unnamed model"),
    (write("checkpoint.safetensors", b""), "checkpoint.safetensors in .* cannot be pushed. Move them away"),
    (write("notes.txt", b""), "notes.txt in .* cannot be pushed"),
    (write(".env", b"HF_TOKEN=x"), ".env in .* cannot be pushed"),
    (write("evidence/run.py", b""), "evidence/run.py in .* cannot be pushed"),
    (write("evidence/page.html", b""), "evidence/page.html in .* cannot be pushed"),
    (lambda folder: (folder / "evidence" / "deep").mkdir(parents=True), "evidence/deep in .* cannot be pushed"),
    (lambda folder: (folder / "evidence").write_bytes(b""), "evidence in .* cannot be pushed"),
    (lambda folder: os.mkfifo(folder / "mask.pipe"), "mask.pipe in .* cannot be pushed"),
    (link("README.md", "outside.md"), "README.md in .* only link to files"),
    (link("mask.json", "mask.json"), "mask.json in .* only link to files"),
    (link("evidence", ""), "evidence in .* only link to files"),
    (write("README.md", b"\xff"), "README.md is not UTF-8"),
    (write("README.md", "---\na: [\n---\n"), "is not YAML"),
    (write("README.md", END), "once each"),
    (huge("README.md", 10_000_001), r"README.md has 10 MB; more than 10 MB are not pushed"),
    (huge("statistics.safetensors", 2_000_000_001), "statistics.safetensors has 2,000 MB"),
    (huge("evidence/a.json", 10_000_001), "evidence/a.json has 10 MB"),
    (write("evidence/a.json", "{'a'}"), "evidence/a.json is not JSON"),
    (write("evidence/a.json", b"\xff"), "evidence/a.json is not JSON"),
    (write("evidence/a.png", "png"), r"evidence/a.png in .* cannot be pushed"),
    (write("evidence/a.svg", "<svg/>"), r"evidence/a.svg in .* cannot be pushed"),
]


@pytest.mark.parametrize(("change", "expected"), WRONG, ids=[expected for _, expected in WRONG])
def test_a_wrong_folder_is_refused_before_any_request(
    hub: Hub, folder: Path, change: Callable[[Path], object], expected: str
) -> None:
    change(folder)
    with pytest.raises(lape.LapeError, match=expected):
        push(folder, REPO)
    assert hub.requests == []


def test_a_model_that_is_a_folder_here_is_not_one_on_the_hub(
    hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "tiny").mkdir(parents=True)
    with pytest.raises(lape.LapeError, match="not a model on the Hub but on this machine"):
        push(folder, REPO)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("repo", "options", "expected"),
    [
        ("collection", {}, "not the name of a collection on the Hub; write it as owner/name"),
        ("org/a/b", {}, "write it as owner/name"),
        ("org/a b", {}, "write it as owner/name"),
        ("../org", {}, "write it as owner/name"),
        ("", {}, "write it as owner/name"),
        (REPO, {"tag": ""}, "is not a tag's name"),
        (REPO, {"tag": "v 1"}, "is not a tag's name"),
        (REPO, {"tag": "v1..2"}, "is not a tag's name"),
        (REPO, {"tag": "v1.lock"}, "is not a tag's name"),
        (REPO, {"tag": "v1."}, "is not a tag's name"),
        (REPO, {"tag": "refs/tags/v1"}, "is not a tag's name"),
        (REPO, {"tag": "v" * 101}, "is not a tag's name"),
        (REPO, {"message": " \n"}, "message is empty"),
        (REPO, {"create_pr": True, "tag": "v1"}, "cannot be tagged"),
        (REPO, {"create_pr": True, "private": True}, "makes no repo that could be private"),
    ],
)
def test_wrong_names_are_refused_before_any_request(
    hub: Hub, folder: Path, repo: str, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(lape.LapeError, match=expected):
        push(folder, repo, **options)
    assert hub.requests == []


@pytest.mark.parametrize("method", ["../up", "", "a b", None])
def test_a_method_that_cannot_name_a_folder_is_refused(hub: Hub, tmp_path: Path, method: str | None) -> None:
    with pytest.raises(lape.BadFile, match="cannot name the mask's folder on the Hub"):
        push(made(tmp_path / "out", method=method), REPO)
    assert hub.requests == []


def test_no_folder_is_refused(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(lape.BadFile, match="There is no folder"):
        push(tmp_path / "nowhere", REPO)
    assert hub.requests == []


# The token


@pytest.mark.parametrize("token", [WRITE, READ, "hf_unknown"])
def test_the_token_is_never_shown(
    hub: Hub,
    folder: Path,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    caplog.set_level(logging.DEBUG)
    for words in ([], ["--tag", "v1"], ["--create-pr"], ["--json"]):
        main(["-v", "push", str(folder), "--repo", REPO, *words])
    printed = capsys.readouterr()
    assert caplog.records
    assert hub.asked("POST .*/create")[0].authorised
    for text in (caplog.text, printed.out, printed.err, card(hub) if token == WRITE else ""):
        assert token not in text


# The command line


def test_the_command_pushes_and_says_what(hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["push", str(folder), "--repo", REPO]
    assert main([*words, "--tag", "v1", "--message", "First", "--private"]) == 0
    commit = hub.repos[REPO].at("main").oid
    url = f"{hub.endpoint}/{REPO}/tree/main/{PLACE}"
    assert capsys.readouterr().out == f"Pushed 6 files to {REPO}, commit {commit}, tag v1: {url}\n"
    assert commits(hub)[0] == "First"
    assert hub.repos[REPO].private
    assert main(words) == 0
    assert capsys.readouterr().out == f"Nothing to push: {REPO} has all of it, commit {commit}: {url}\n"
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "repo": REPO,
        "url": url,
        "commit": commit,
        "changed": [],
        "pull_request": None,
        "tag": None,
    }
    made(folder, settings={"top_rate": 0.75})
    assert main([*words, "--create-pr"]) == 0
    # mask.safetensors, mask.json, README.md of the mask
    assert capsys.readouterr().out == f"Proposed 3 files to {REPO}: {hub.endpoint}/{REPO}/discussions/1\n"


def test_a_dry_run_asks_nothing_and_needs_no_token(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(folder), "--repo", REPO, "--dry-run"]) == 0
    size = (folder / "mask.json").stat().st_size
    assert f"Would push to {REPO}/{PLACE}: mask.json ({size:,} bytes), " in capsys.readouterr().out
    assert main(["push", str(folder), "--repo", REPO, "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["repo"], found["path"]) == (REPO, PLACE)
    assert found["files"]["mask.json"] == size
    assert main(["push", str(folder), "--repo", "nowhere", "--dry-run"]) == 2
    assert hub.requests == []


def test_an_error_is_one_line_and_exit_code_2(hub: Hub, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "stray").touch()
    assert main(["push", str(folder), "--repo", REPO]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "stray in" in printed.err


def test_a_large_upload_is_announced(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    push(folder, "org/small")
    assert "Uploading" not in capsys.readouterr().err
    monkeypatch.setattr("lape.sharing.push.LONG_UPLOAD_BYTES", 100)
    push(folder, REPO)
    assert f"Uploading 6 files, 0 MB, to {REPO} ..." in capsys.readouterr().err


def test_the_command_works_in_a_process_of_its_own(hub: Hub, folder: Path) -> None:
    command = [sys.executable, "-m", "lape", "push", str(folder), "--repo", REPO, "--json"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr.count("Traceback")) == (0, 0)
    assert json.loads(run.stdout)["commit"] == hub.repos[REPO].at("main").oid


def test_what_was_recorded_beside_a_mask_goes_with_it(hub: Hub, folder: Path, tmp_path: Path) -> None:
    residuals(folder, "org/tiny")
    vocabulary(folder, "org/tiny")
    top_texts(folder, licence="CC0-1.0")
    names = "residuals.safetensors", "vocabulary.safetensors", "top_texts.safetensors"
    assert {f"{PLACE}/{name}" for name in names} <= {*push(folder, REPO).changed}
    pulled = pull(REPO, model="org/tiny", into=tmp_path / "pulled")
    assert all((pulled / name).read_bytes() == (folder / name).read_bytes() for name in names)
