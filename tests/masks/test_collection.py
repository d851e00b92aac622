"""Collections on the Hub: list them, find a mask, pull a copy; with huggingface_hub itself against the stand-in."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_standin import ALWAYS, READ, STRANGER, WRITE, Hub
from huggingface_hub import constants, hf_hub_download
from safetensors.torch import save_file
from samples import mask_of, statistics_of

from lape import BadFile, HubError, LapeError, LapeWarning, NeuronMask
from lape.cli import main
from lape.masks.collection import bundled_entries, find_mask, list_masks, pull
from lape.models.embedded import GEMMA, SMOLLM2, default_model
from lape.storage.files import sha256_of

REPO = "org/collection"
MODEL = "org/tiny"
PLACE = "org--tiny/lape"
FILES = {"mask.safetensors", "mask.json", "statistics.safetensors", "README.md"}
MASK_GET = r"GET .*/resolve/.*mask\.safetensors"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without masks, whose `precomputed/` is found; none of the project's own settings."""
    for name in ("LAPE_MASKS_REPO", "LAPE_PRECOMPUTED"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def made(folder: Path, statistics: bool = True, first: int = 1, **about: Any) -> dict[str, bytes]:
    """The files of a mask with a card, by their paths in a collection."""
    about = {"model": MODEL, "method": "lape", **about}
    mask_of({"fr": [(0, first), (0, 3)], "es": [(1, 0)]}, {"fr": [1.0, 2.0], "es": [3.0]}, **about).save(folder)
    (folder / "README.md").write_text(f"# Mask {first}\n")
    if statistics:
        statistics_of({"fr": [[1] * 4] * 2, "es": [[2] * 4] * 2}).save(folder / "statistics.safetensors")
    place = f"{about['model'].replace('/', '--')}/{about['method']}"
    return {f"{place}/{path.name}": path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    return made(tmp_path / "made")


@pytest.fixture
def newer(tmp_path: Path) -> dict[str, bytes]:
    """Another mask for the same place."""
    return made(tmp_path / "newer", first=2)


def summary(files: Mapping[str, bytes], **changed: Any) -> bytes:
    """The mask's summary, with something else in it."""
    return json.dumps({**json.loads(files[f"{PLACE}/mask.json"]), **changed}).encode()


def get(**about: Any) -> NeuronMask:
    return NeuronMask.from_pretrained(REPO, **{"model": MODEL, **about})


def first_of(mask: NeuronMask) -> int:
    """Which of the masks made above this is."""
    return int(mask.neurons["fr"][0, 1])


def head(hub: Hub, repo: str = REPO) -> str:
    return hub.repos[repo].at("main").oid


# Listing


def test_a_collection_is_listed_with_its_commit(hub: Hub, files: dict[str, bytes], tmp_path: Path) -> None:
    other = made(tmp_path / "other", model="org/other", method="lape-top0.01")
    hub.add(REPO, {**files, **other, "README.md": b"# All", "notes/mask.json": b"no", "a/b/c/mask.json": b"no"})
    entries = list_masks(REPO)
    assert [(entry.model, entry.method) for entry in entries] == [("org/other", "lape-top0.01"), (MODEL, "lape")]
    assert {entry.commit for entry in entries} == {head(hub)}
    assert {entry.collection for entry in entries} == {REPO}
    assert entries[0].counts == {"fr": 2, "es": 1}
    assert not hub.asked(r"/resolve/.*\.safetensors")


def test_a_revision_is_listed_as_it_was(hub: Hub, files: dict[str, bytes]) -> None:
    repo = hub.add(REPO, files)
    repo.refs["refs/tags/v1"] = old = head(hub)
    repo.commit(dict.fromkeys(files))
    assert list_masks(REPO) == []
    assert [entry.commit for entry in list_masks(REPO, "v1")] == [old]
    assert [entry.commit for entry in list_masks(REPO, old)] == [old]


def test_an_empty_collection_has_no_masks(hub: Hub) -> None:
    hub.add(REPO)
    assert list_masks(REPO) == []


def test_the_masks_of_this_machine_are_listed(files: dict[str, bytes], here: Path, tmp_path: Path) -> None:
    ours = [GEMMA.model, SMOLLM2.model]
    assert [(entry.model, entry.method) for entry in bundled_entries()] == [(model, "lape") for model in ours]
    made(here / "precomputed" / PLACE)
    listed = [(model, None) for model in (MODEL, *ours)]
    assert [(entry.model, entry.collection) for entry in bundled_entries()] == listed


HOSTILE: list[bytes] = [
    b"",
    b"{",
    b"\xff\xfe",
    b"<html>Please log in</html>",
    b"null",
    b"[]",
    b'"text"',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 5000,
    b'{"counts": {"fr": ' + b"9" * 5000 + b"}}",
    b"{}",
    *(
        json.dumps({"model": MODEL, "sha256": "0" * 64, "counts": {"fr": 1}} | changed).encode()
        for changed in (
            {"model": None},
            {"model": ["org/tiny"]},
            {"model": 10**30},
            {"model": "org/other"},
            {"model": "org/tiny\x1b[2J"},
            {"model": "org/tiny\nlape"},
            {"model": "<script>alert(1)</script>"},
            {"sha256": None},
            {"sha256": 5},
            {"counts": None},
            {"counts": []},
            {"counts": "fr"},
            {"counts": [["fr", 1]]},
            {"counts": {"fr": "<b>1</b>"}},
            {"counts": {"fr": 1.5}},
            {"counts": {"fr": True}},
            {"counts": {"fr": -1}},
            {"counts": {"fr": 10**400}},
            {"counts": {"fr": None}},
            {"counts": {"fr": {"fr": 1}}},
            {"counts": {"\x1b]0;title\x07": 1}},
        )
    ),
]


@pytest.mark.parametrize("content", HOSTILE, ids=map(str, range(len(HOSTILE))))
def test_a_hostile_summary_hides_only_its_own_mask(
    hub: Hub, files: dict[str, bytes], content: bytes, tmp_path: Path
) -> None:
    other = made(tmp_path / "other", model="org/other")
    hub.add(REPO, {**files, **other, f"{PLACE}/mask.json": content})
    with pytest.warns(LapeWarning, match=rf"^One mask is left out\. {PLACE}/mask\.json is .*\.$") as caught:
        assert [entry.model for entry in list_masks(REPO)] == ["org/other"]
    assert len(caught) == 1
    said = str(caught[0].message)
    assert len(said) < 200
    with pytest.raises(BadFile) as refused:
        get()
    for text in (said, str(refused.value)):
        assert text.isprintable()
    left_out: list[str] = []
    assert [entry.model for entry in list_masks(REPO, left_out=left_out)] == ["org/other"]
    assert left_out == [said.removeprefix("One mask is left out. ")]
    assert get(model="org/other").count("fr") == 2


def test_a_huge_summary_is_not_read(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, {**files, f"{PLACE}/mask.json": b" " * 10_000_001})
    with pytest.warns(LapeWarning, match="left out.*it has more than 10,000,000 bytes"):
        assert list_masks(REPO) == []


def test_a_damaged_mask_of_this_machine_hides_only_itself(here: Path) -> None:
    made(here / "precomputed" / PLACE)
    (here / "precomputed" / PLACE / "mask.json").write_text("{")
    with pytest.warns(LapeWarning, match=rf"left out\. {PLACE}/mask.json is missing, damaged"):
        assert [entry.model for entry in bundled_entries()] == [GEMMA.model, SMOLLM2.model]


# Finding: where from


def test_a_bundled_mask_comes_first_and_has_no_origin(
    hub: Hub, newer: dict[str, bytes], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, newer)
    monkeypatch.setenv("LAPE_MASKS_REPO", REPO)
    made(here / "precomputed" / PLACE)
    mask = NeuronMask.from_pretrained(model=MODEL)
    assert first_of(mask) == 1
    assert not {"collection", "commit"} & mask.metadata.keys()
    assert hub.requests == []
    assert first_of(get()) == 2  # named, it is the collection's


def test_the_mask_knows_its_collection_and_commit(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    mask = get()
    assert (mask.metadata["collection"], mask.metadata["commit"]) == (REPO, head(hub))
    assert mask.count("fr") == 2
    assert not hub.asked("statistics")
    assert (find_mask(MODEL, collection=REPO, statistics=True).folder / "statistics.safetensors").is_file()


def test_a_branch_is_its_newest_commit_and_a_tag_stays(
    hub: Hub, files: dict[str, bytes], newer: dict[str, bytes]
) -> None:
    repo = hub.add(REPO, files)
    repo.refs["refs/tags/v1"] = old = head(hub)
    repo.refs["refs/heads/side"] = old
    assert first_of(get()) == 1
    repo.commit(newer)
    assert (first_of(get()), get().metadata["commit"]) == (2, head(hub))
    assert (first_of(get(revision="main")), first_of(get(revision="side"))) == (2, 1)
    assert (first_of(get(revision="v1")), get(revision="v1").metadata["commit"]) == (1, old)


def test_a_branch_that_moves_meanwhile_gives_one_commit(
    hub: Hub, files: dict[str, bytes], newer: dict[str, bytes]
) -> None:
    repo = hub.add(REPO, files)
    old = head(hub)
    hub.before("/tree/", lambda: repo.commit(newer))
    mask = get()
    assert (first_of(mask), mask.metadata["commit"]) == (1, old)


def test_a_cached_commit_asks_nothing(hub: Hub, files: dict[str, bytes], newer: dict[str, bytes]) -> None:
    repo = hub.add(REPO, files)
    commit = head(hub)
    get(revision=commit)
    repo.commit(newer)
    hub.requests.clear()
    assert first_of(get(revision=commit)) == 1
    assert hub.requests == []


def test_a_commit_of_which_a_part_is_cached_is_completed(hub: Hub, files: dict[str, bytes]) -> None:
    """Such as by a push, which reads the card of the head."""
    hub.add(REPO, files)
    commit = head(hub)
    hf_hub_download(REPO, f"{PLACE}/README.md", revision=commit)
    assert [entry.model for entry in list_masks(REPO, commit)] == [MODEL]
    assert first_of(get(revision=commit)) == 1
    assert (find_mask(MODEL, collection=REPO, revision=commit, statistics=True).folder / "README.md").is_file()


def test_the_masks_repo_variable_names_several_places(
    hub: Hub, files: dict[str, bytes], newer: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = made(tmp_path / "other", model="org/other")
    hub.add("org/one", files)
    hub.add("org/two", {**newer, **other})
    monkeypatch.setenv("LAPE_MASKS_REPO", " org/gone, org/one ,, org/two,")
    assert NeuronMask.from_pretrained(model=MODEL).metadata["collection"] == "org/one"
    assert NeuronMask.from_pretrained(model="org/other").metadata["collection"] == "org/two"
    with pytest.raises(BadFile) as caught:
        NeuronMask.from_pretrained(model="org/none")
    said = str(caught.value)
    assert said.startswith("No 'lape' mask for org/none is here. There is no collection org/gone on the Hub")
    assert "org/one has no 'lape' mask for org/none. It has: org/tiny lape." in said
    assert "org/two has no 'lape' mask for org/none. It has: org/other lape; org/tiny lape." in said


def test_without_a_collection_only_this_machine_is_looked_at(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    with pytest.raises(
        BadFile, match=rf"No 'lape' mask for {MODEL} is bundled\. There are: {SMOLLM2.model} lape; {GEMMA.model} lape\."
    ):
        NeuronMask.from_pretrained(model=MODEL)
    assert hub.requests == []
    assert NeuronMask.from_pretrained().metadata["model"] == default_model()[0].model


def test_a_missing_mask_names_what_there_is(hub: Hub, files: dict[str, bytes], tmp_path: Path) -> None:
    hub.add(REPO, {**files, **made(tmp_path / "other", method="lape-top0.01"), "org--bad/lape/mask.json": b"no"})
    expected = f"{REPO} has no 'lape' mask for org/other. It has: {MODEL} lape; {MODEL} lape-top0.01."
    for _ in range(2):
        with pytest.raises(BadFile) as caught:
            get(model="org/other")
        assert str(caught.value) == expected
    get()
    with hub.down(), pytest.raises(BadFile) as caught:  # known from the cache
        get(model="org/other")
    assert str(caught.value) == expected
    with pytest.raises(BadFile, match=r"has no 'other' mask"):
        get(method="other")
    hub.add("org/empty")
    with pytest.raises(BadFile, match=r"It has: none\.$"):
        NeuronMask.from_pretrained("org/empty", model=MODEL)


@pytest.mark.parametrize(
    "revision", ["", " ", "a b", "..", "../..", "a/../../b", "/etc", "-x", ".", "a\0", "a\nb", "\ud800", "x" * 10**6]
)
def test_what_is_no_revision_is_refused_before_any_request(hub: Hub, files: dict[str, bytes], revision: str) -> None:
    hub.add(REPO, files)
    for ask in (lambda: list_masks(REPO, revision), lambda: get(revision=revision)):
        with pytest.raises(HubError, match=r"is not the name of a branch, tag or commit\.$") as caught:
            ask()
        assert len(str(caught.value)) < 150
    assert hub.requests == []


def test_a_missing_revision_is_named(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    for revision in ("v9", "refs/pr/1", "0" * 40):
        with pytest.raises(HubError, match=f"{REPO} has no revision '{revision}'; name a branch"):
            get(revision=revision)


# Finding without the Hub


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_offline_and_cached_is_found_without_a_request(
    hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = hub.add(REPO, files)
    repo.refs["refs/tags/v1"] = head(hub)
    for revision in (None, "v1", "main", head(hub)):
        get(revision=revision)
        list_masks(REPO, revision)
    hub.requests.clear()
    offline(monkeypatch)
    for revision in (None, "v1", "main", head(hub)):
        mask = get(revision=revision)
        assert (mask.metadata["collection"], mask.metadata["commit"]) == (REPO, head(hub))
        assert [entry.commit for entry in list_masks(REPO, revision)] == [head(hub)]
    assert hub.requests == []


def test_offline_and_not_cached_is_one_sentence(
    hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, files)
    offline(monkeypatch)
    expected = f"Offline mode is on (HF_HUB_OFFLINE), and collection {REPO} is not in the cache."
    for revision in (None, "v1", "refs", "0" * 40):
        for ask in (lambda: list_masks(REPO, revision), lambda: get(revision=revision)):  # noqa: B023
            with pytest.raises(HubError) as caught:
                ask()
            assert str(caught.value) == f"{expected} Unset it to ask the Hub."


def test_a_part_of_a_mask_in_the_cache_is_not_a_mask(
    hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, files)
    list_masks(REPO)  # its summary, not the mask
    hf_hub_download(REPO, f"{PLACE}/README.md")
    offline(monkeypatch)
    with pytest.raises(HubError, match="is not in the cache"):
        get()


@pytest.mark.parametrize("pinned", [False, True])
def test_a_black_hole_costs_three_seconds_when_cached(hub: Hub, files: dict[str, bytes], pinned: bool) -> None:
    hub.add(REPO, files)
    get()
    hub.stall()
    began = time.monotonic()
    assert first_of(get(revision=head(hub) if pinned else None)) == 1
    assert time.monotonic() - began < (1 if pinned else 4.5)


def test_a_black_hole_is_one_sentence_after_three_seconds_when_not_cached(hub: Hub) -> None:
    hub.stall()
    for revision in (None, "0" * 40):
        began = time.monotonic()
        with pytest.raises(HubError, match=f"cannot be reached, and collection {REPO} is not in the cache"):
            get(revision=revision)
        assert time.monotonic() - began < 4.5


def test_a_refused_connection_uses_the_cache_at_once(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    get()
    with hub.down():
        began = time.monotonic()
        assert first_of(get()) == 1
        assert [entry.model for entry in list_masks(REPO)] == [MODEL]
        with pytest.raises(HubError, match="cannot be reached"):
            NeuronMask.from_pretrained("org/other", model=MODEL)
        assert time.monotonic() - began < 3
    assert sum(hub.naps) == 0


# Finding what is damaged


def test_a_mask_that_arrives_changed_is_fetched_again_and_healed(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    hub.spoil(MASK_GET, lambda body: body[:-1] + b"\xff")
    assert first_of(get()) == 1
    assert len(hub.asked(MASK_GET)) == 2
    hub.requests.clear()
    assert first_of(get()) == 1
    assert not hub.asked("GET .*/resolve/")


@pytest.mark.parametrize("change", [bytes.swapcase, lambda body: body.replace(b"{", b"[")])
def test_a_summary_that_arrives_changed_is_fetched_again_and_healed(
    hub: Hub, files: dict[str, bytes], change: Callable[[bytes], bytes]
) -> None:
    hub.add(REPO, files)
    hub.spoil(r"GET .*/resolve/.*mask\.json", change)
    assert first_of(get()) == 1
    assert len(hub.asked(r"GET .*/resolve/.*mask\.json")) == 2


@pytest.mark.parametrize("pinned", [False, True])
def test_a_cache_that_rots_is_healed_when_the_hub_can_be_asked(
    hub: Hub, files: dict[str, bytes], pinned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, files)
    revision = head(hub) if pinned else None
    cached = find_mask(MODEL, collection=REPO, revision=revision).folder / "mask.safetensors"
    for content in (b"", b"\0" * 50, cached.read_bytes()[:-1], cached.read_bytes()[::-1]):
        cached.resolve().write_bytes(content)
        with monkeypatch.context() as patch:
            offline(patch)
            with pytest.raises(BadFile, match=f"The mask {PLACE} of {REPO} is damaged: .* another SHA-256"):
                get(revision=revision)
        assert first_of(get(revision=revision)) == 1
        assert sha256_of(cached) == json.loads(files[f"{PLACE}/mask.json"])["sha256"]


def test_a_mask_that_is_damaged_on_the_hub_is_refused_after_one_more_try(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, {**files, f"{PLACE}/mask.json": summary(files, sha256="0" * 64)})
    with pytest.raises(BadFile) as caught:
        get()
    assert str(caught.value) == f"The mask {PLACE} of {REPO} is damaged: its mask.json names another SHA-256."
    assert len(hub.asked(MASK_GET)) == 2


def test_a_mask_without_a_summary_is_refused(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, {path: data for path, data in files.items() if not path.endswith("mask.json")})
    with pytest.raises(BadFile, match=rf"{PLACE}/mask\.json is missing, damaged"):
        get()


def test_a_mask_of_another_model_in_the_place_is_refused(hub: Hub, files: dict[str, bytes], tmp_path: Path) -> None:
    other = {
        path.replace("org--other", "org--tiny"): data for path, data in made(tmp_path / "o", model="org/other").items()
    }
    hub.add(REPO, other)
    expected = f"{REPO} has a mask of org/other in the place of one for {MODEL}."
    with pytest.raises(BadFile) as caught:
        get()
    assert str(caught.value) == expected
    hub.repos[REPO].commit({f"{PLACE}/mask.json": summary(other, model=MODEL)})  # the mask itself says otherwise
    with pytest.raises(BadFile) as caught:
        get()
    assert str(caught.value) == expected


def tampered(files: dict[str, bytes], content: bytes) -> dict[str, bytes]:
    """Something else as the mask, with its right hash in the summary."""
    digest = hashlib.sha256(content).hexdigest()
    return {**files, f"{PLACE}/mask.safetensors": content, f"{PLACE}/mask.json": summary(files, sha256=digest)}


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff" * 100, b"\x80\x04K\x01.", b"PK\x03\x04" + b"\0" * 60])
def test_what_is_no_mask_is_refused_and_not_pulled(
    hub: Hub, files: dict[str, bytes], here: Path, content: bytes
) -> None:
    hub.add(REPO, tampered(files, content))
    with pytest.raises(BadFile, match=r"mask\.safetensors' is damaged or was not written by lape"):
        pull(REPO, model=MODEL)
    assert not any(here.rglob("*"))


def test_other_tensors_are_no_mask(hub: Hub, files: dict[str, bytes], tmp_path: Path, here: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "other", {"lape": json.dumps({"kind": "statistics"})})
    hub.add(REPO, tampered(files, (tmp_path / "other").read_bytes()))
    with pytest.raises(BadFile, match="does not hold a mask"):
        pull(REPO, model=MODEL)
    assert not any(here.rglob("*"))


def test_a_newer_format_is_loaded_with_a_warning_that_names_what_is_unknown(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("lape.masks.mask.FORMAT_VERSION", 2)
        hub.add(REPO, made(tmp_path / "format2", heads=[1, 2], afterwards="x"))
    with pytest.warns(LapeWarning, match=r"is of a newer format; not understood: afterwards, heads\. Update lape\."):
        mask = get()
    assert mask.metadata["heads"] == [1, 2]


# Sizes


def test_too_much_is_refused_before_it_is_downloaded(
    hub: Hub, files: dict[str, bytes], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, files)
    size = sum(map(len, files.values()))
    monkeypatch.setattr("lape.masks.collection.LARGEST_BYTES", size - 1)
    with pytest.raises(BadFile, match=rf"{REPO} holds 0\.0 GB of mask files; more than \S+ GB are not downloaded\."):
        pull(REPO, model=MODEL)
    assert not hub.asked("GET .*/resolve/")
    assert not any(here.rglob("*"))
    monkeypatch.setattr("lape.masks.collection.LARGEST_BYTES", size)
    assert pull(REPO, model=MODEL)


def test_what_does_not_fit_on_the_disk_is_refused_before_it_is_downloaded(
    hub: Hub, files: dict[str, bytes], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, files)
    size = sum(map(len, files.values()))
    monkeypatch.setattr("lape.hub.snapshots._free_bytes", lambda: size - 1)
    with pytest.raises(HubError, match=rf"The disk is full: collection {REPO} does not fit\. Free some space for"):
        pull(REPO, model=MODEL)
    assert not hub.asked("GET .*/resolve/")
    assert not any(here.rglob("*"))
    monkeypatch.setattr("lape.hub.snapshots._free_bytes", lambda: size)
    assert pull(REPO, model=MODEL)


# Pulling


def pulled(into: str = "precomputed") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (Path(into) / PLACE).iterdir()}


def test_a_pull_copies_all_and_says_where_from(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    folder = pull(REPO, model=MODEL)
    assert folder == Path("precomputed") / PLACE
    assert pulled().keys() == FILES | {"origin.json"}
    for name in FILES:
        assert pulled()[name] == files[f"{PLACE}/{name}"]
        assert not (folder / name).is_symlink()
    origin = json.loads(pulled()["origin.json"])
    digest = sha256_of(folder / "mask.safetensors")
    assert origin == {"collection": REPO, "commit": head(hub), "revision": None, "sha256": digest}


def test_what_was_pulled_is_found_without_a_request(
    hub: Hub, files: dict[str, bytes], newer: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = hub.add(REPO, files)
    old = head(hub)
    pull(REPO, model=MODEL)
    repo.commit(newer)
    hub.requests.clear()
    monkeypatch.setenv("LAPE_MASKS_REPO", "org/other")
    for mask in (NeuronMask.from_pretrained(model=MODEL), get(), get(revision=old)):
        assert (first_of(mask), mask.metadata["collection"], mask.metadata["commit"]) == (1, REPO, old)
    assert find_mask(MODEL).folder == Path("precomputed").resolve() / PLACE
    assert hub.requests == []
    assert first_of(get(revision="main")) == 2  # another revision than was pulled
    assert hub.requests


def test_a_pull_of_a_tag_is_found_by_that_tag(hub: Hub, files: dict[str, bytes], newer: dict[str, bytes]) -> None:
    repo = hub.add(REPO, files)
    repo.refs["refs/tags/v1"] = head(hub)
    pull(REPO, model=MODEL, revision="v1")
    repo.commit(newer)
    hub.requests.clear()
    assert first_of(get(revision="v1")) == 1
    assert hub.requests == []
    assert first_of(get()) == 2


def test_pulling_again_updates(hub: Hub, files: dict[str, bytes], newer: dict[str, bytes]) -> None:
    repo = hub.add(REPO, files)
    pull(REPO, model=MODEL)
    repo.commit({**newer, f"{PLACE}/statistics.safetensors": None})
    pull(REPO, model=MODEL)
    assert pulled().keys() == FILES - {"statistics.safetensors"} | {"origin.json"}
    assert pulled()["mask.safetensors"] == newer[f"{PLACE}/mask.safetensors"]
    assert json.loads(pulled()["origin.json"])["commit"] == head(hub)
    hub.add("org/second", files)
    pull("org/second", model=MODEL)
    assert get_origin() == {"collection": "org/second", "commit": head(hub, "org/second")}


def get_origin() -> dict[str, str]:
    return dict(find_mask(MODEL).origin)


def test_a_mask_of_ones_own_is_never_overwritten(hub: Hub, files: dict[str, bytes], newer: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    own = made(Path("precomputed") / PLACE, first=2)
    with pytest.raises(LapeError, match=rf"{PLACE}' holds a mask that was not pulled, or was changed\. Move it away"):
        pull(REPO, model=MODEL)
    assert {f"{PLACE}/{name}": data for name, data in pulled().items()} == own
    assert not hub.asked("/resolve/")
    assert pull(REPO, model=MODEL, into="elsewhere") == Path("elsewhere") / PLACE


def test_a_pulled_mask_that_was_changed_is_ones_own(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    own = mask_of({"fr": [(1, 1)], "es": []}, model=MODEL)
    own.save(pull(REPO, model=MODEL))
    with pytest.raises(LapeError, match="was not pulled, or was changed"):
        pull(REPO, model=MODEL)
    assert NeuronMask.load(Path("precomputed") / PLACE) == own
    assert get_origin() == {}
    assert first_of(get()) == 1  # the collection's, and not what lies in its place


@pytest.mark.parametrize("origin", [b"", b"[]", b"{", b"null", b"\xff", b"[" * 100_000, b'{"sha256": 5}', b'{"a": 1}'])
def test_a_damaged_origin_is_none(hub: Hub, files: dict[str, bytes], origin: bytes) -> None:
    hub.add(REPO, files)
    (pull(REPO, model=MODEL) / "origin.json").write_bytes(origin)
    assert get_origin() == {}
    with pytest.raises(LapeError, match="was not pulled"):
        pull(REPO, model=MODEL)


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("before", [False, True], ids=["at first", "when it was pulled before"])
def test_a_connection_that_breaks_leaves_all_as_it_was(
    hub: Hub, files: dict[str, bytes], newer: dict[str, bytes], name: str, before: bool
) -> None:
    repo = hub.add(REPO, files)
    if before:
        pull(REPO, model=MODEL)
        statistics_of({"fr": [[3] * 4] * 2, "es": [[2] * 4] * 2}).save("other.safetensors")
        repo.commit({**newer, f"{PLACE}/statistics.safetensors": Path("other.safetensors").read_bytes()})
    old = pulled() if before else {}
    hub.cut(rf"GET .*/resolve/.*{name}", times=6)  # huggingface_hub tries that often
    with pytest.raises(HubError, match=rf"The download of collection {REPO} broke off\. Try again"):
        pull(REPO, model=MODEL)
    assert (pulled() if before else {}) == old
    assert before or not Path("precomputed").exists()
    pull(REPO, model=MODEL)
    assert pulled()["mask.safetensors"] == (newer if before else files)[f"{PLACE}/mask.safetensors"]
    assert pulled().keys() == FILES | {"origin.json"}


def test_a_hub_that_fails_in_between_is_not_half_a_mask(hub: Hub, files: dict[str, bytes]) -> None:
    """huggingface_hub then returns a folder in which something is missing, without an error."""
    hub.add(REPO, files)
    hf_hub_download(REPO, f"{PLACE}/README.md")
    hub.before("/tree/", lambda: hub.fail("/tree/", 404, times=1))
    with pytest.raises(HubError, match=rf"The download of {REPO} broke off before {PLACE}/[a-z.]+\. Try again\."):
        pull(REPO, model=MODEL)
    assert not Path("precomputed").exists()
    assert pull(REPO, model=MODEL)


@pytest.mark.parametrize("failing", range(4))
@pytest.mark.parametrize("before", [False, True])
def test_a_full_disk_leaves_what_was_pulled_before(
    hub: Hub,
    files: dict[str, bytes],
    newer: dict[str, bytes],
    failing: int,
    before: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repo = hub.add(REPO, files)
    if before:
        pull(REPO, model=MODEL)
        repo.commit(newer)
    old = pulled() if before else {}
    done: list[object] = []
    copy = shutil.copyfile

    def copyfile(source: Path, target: Path) -> None:
        done.append(source)
        if len(done) > failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        copy(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfile", copyfile)
        with pytest.raises(LapeError) as caught:
            pull(REPO, model=MODEL)
    place = str(Path("precomputed") / PLACE)
    said = f"'{place}' cannot be written (No space left on device). Free some space, or pull into another folder."
    assert str(caught.value) == said
    assert pulled() == old
    pull(REPO, model=MODEL)
    assert get_origin()["commit"] == head(hub)


def test_a_place_that_cannot_be_written_is_said(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    Path("taken").write_text("a file")
    with pytest.raises(LapeError, match=r"cannot be written \(Not a directory|cannot be written \(File exists"):
        pull(REPO, model=MODEL, into="taken")
    assert Path("taken").read_text() == "a file"


def test_a_busy_hub_is_waited_for(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    for pattern in ("/revision/", "/tree/", "HEAD .*/resolve/", "GET .*/resolve/"):
        hub.limit(pattern, seconds=2)
    assert pull(REPO, model=MODEL)
    assert 4 <= sum(hub.naps) <= 12


def test_large_files_come_from_elsewhere(hub: Hub, files: dict[str, bytes]) -> None:
    hub.lfs_suffixes = (".safetensors",)
    hub.add(REPO, files)
    pull(REPO, model=MODEL)
    assert pulled()["mask.safetensors"] == files[f"{PLACE}/mask.safetensors"]
    assert hub.asked("GET /_cdn/")


def test_a_gated_collection_needs_who_may_see_it(
    hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(REPO, files, gated=True)
    with pytest.raises(HubError, match="is gated: accept its conditions"):
        get()
    monkeypatch.setenv("HF_TOKEN", READ)
    assert first_of(get()) == 1


# The command line


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, list[str]]:
    """Exit code, standard output, and what lape itself wrote to standard error."""
    capsys.readouterr()
    code = main(words)
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return code, printed.out, [line for line in printed.err.splitlines() if line.startswith("lape: ")]


def test_the_list_command(hub: Hub, files: dict[str, bytes], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.add(REPO, files)
    code, out, _ = run(["list", REPO], capsys)
    assert code == 0
    line, commit = out.splitlines()
    assert line.split() == [MODEL, "lape", "es", "1,", "fr", "2"]
    assert commit == f"{REPO} at {head(hub)}"
    code, out, _ = run(["list", REPO, "--json", "--revision", "main"], capsys)
    about = {"model": MODEL, "method": "lape", "counts": {"fr": 2, "es": 1}}
    assert json.loads(out) == [{**about, "collection": REPO, "commit": head(hub)}]
    hub.add("org/empty")
    assert run(["list", "org/empty"], capsys)[:2] == (0, "org/empty holds no masks.\n")
    assert run(["list", "org/empty", "--json"], capsys)[:2] == (0, "[]\n")


def test_the_list_command_without_a_collection_asks_nothing(
    hub: Hub, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(here / "precomputed" / PLACE)
    code, out, _ = run(["list"], capsys)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [MODEL, GEMMA.model, SMOLLM2.model]
    assert [entry["commit"] for entry in json.loads(run(["list", "--json"], capsys)[1])] == [None, None, None]
    assert hub.requests == []


def test_the_list_command_notes_what_is_damaged(
    hub: Hub, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add(REPO, {**files, "org--bad/lape/mask.json": b"{"})
    with warnings.catch_warnings():
        warnings.simplefilter("always", LapeWarning)
        code, out, err = run(["list", REPO, "--json"], capsys)
    assert (code, [entry["model"] for entry in json.loads(out)]) == (0, [MODEL])
    assert "One mask is left out. org--bad/lape/mask.json is missing, damaged or was not written by lape" in "\n".join(
        err
    )


def test_the_pull_command(hub: Hub, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    hub.add(REPO, files)
    place = str(Path("precomputed") / PLACE)
    words = ["pull", REPO, "--model", MODEL]
    assert run(words, capsys)[:2] == (0, f"Pulled {MODEL} to {place}: fr 2, es 1.\n")
    assert main([*words, "--out", "again"]) == 0
    assert "dry-run" not in capsys.readouterr().err
    code, out, _ = run([*words, "--json", "--out", "elsewhere", "--revision", head(hub)], capsys)
    assert (code, json.loads(out)) == (0, {"path": str(Path("elsewhere") / PLACE), "counts": {"fr": 2, "es": 1}})
    code, out, _ = run(["list", "--json"], capsys)
    assert MODEL in {entry["model"] for entry in json.loads(out)}


def test_the_pull_command_takes_a_method_and_a_preset(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add(REPO, made(tmp_path / "qwen", model="Qwen/Qwen3-0.6B", method="lape-top0.01"))
    code, out, _ = run(["pull", REPO, "--model", "qwen3-0.6b", "--method", "lape-top0.01"], capsys)
    assert (code, out.split(":")[0]) == (0, "Pulled Qwen/Qwen3-0.6B to precomputed/Qwen--Qwen3-0.6B/lape-top0.01")


def private(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files, private=True)


def gated(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files, gated=True)


def stranger(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files, gated=True)
    patch.setenv("HF_TOKEN", STRANGER)


def unknown_token(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    patch.setenv("HF_TOKEN", "hf_unknown")


def odd_token(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    patch.setenv("HF_TOKEN", "hf_grün")


def no_repo(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    patch.setenv("HF_TOKEN", WRITE)


def no_mask(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO)


def limited(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    hub.limit("/api/", times=ALWAYS, seconds=200)


def ill(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    hub.fail("/api/", 500, times=ALWAYS)


def ill_at_the_file(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    hub.fail("GET .*/resolve/", 502, times=ALWAYS)


def refused(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    hub.close()


def black_hole(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    hub.stall()


def switched_off(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    offline(patch)


def login_page(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    hub.spoil("", lambda _: b"<html>", times=ALWAYS)


def cut(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    hub.cut(MASK_GET, times=ALWAYS)


def cut_at_the_start(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    hub.cut("/revision/", times=ALWAYS)


def truncated(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    hub.spoil(MASK_GET, lambda body: body[:-1], times=ALWAYS)


def spoiled(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    hub.spoil(MASK_GET, lambda body: body[::-1], times=ALWAYS)


def full_disk(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr("huggingface_hub.file_download.http_get", fail)


def no_cache(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    Path(constants.HF_HUB_CACHE).parent.mkdir(parents=True)
    Path(constants.HF_HUB_CACHE).write_text("")


def own_mask(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    made(Path("precomputed") / PLACE)


def other_mask(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, {**files, f"{PLACE}/mask.json": summary(files, model="org/other")})


def too_large(hub: Hub, patch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    patch.setattr("lape.masks.collection.LARGEST_BYTES", 10)


WRONG: list[tuple[Callable[[Hub, pytest.MonkeyPatch, dict[str, bytes]], None], str]] = [
    (private, f"There is no collection {REPO} on the Hub, or it is private: then log in"),
    (no_repo, f"There is no collection {REPO} on the Hub, or the token (HF_TOKEN) may not see it"),
    (gated, f"{REPO} is gated: accept its conditions at "),
    (stranger, "then use the token of that account (now: HF_TOKEN)."),
    (unknown_token, "The Hub does not accept the token from HF_TOKEN; log in"),
    (odd_token, "The token from HF_TOKEN is not plain letters and digits."),
    (no_mask, f"{REPO} has no 'lape' mask for {MODEL}. It has: none."),
    (limited, "The Hub limits how often it may be asked; try again in 200 s, or log in"),
    (ill, "The Hub has a problem of its own (status 500); try again later."),
    (ill_at_the_file, "The Hub has a problem of its own (status 502); try again later."),
    (refused, f"cannot be reached, and collection {REPO} is not in the cache."),
    (black_hole, f"cannot be reached, and collection {REPO} is not in the cache."),
    (switched_off, f"Offline mode is on (HF_HUB_OFFLINE), and collection {REPO} is not in the cache."),
    (login_page, "is not the Hub: perhaps a login page of this network. Check the network and HF_ENDPOINT."),
    (cut, f"The download of collection {REPO} broke off. Try again; nothing of it was used."),
    (cut_at_the_start, f"The download of collection {REPO} broke off. Try again; nothing of it was used."),
    (truncated, f"The download of collection {REPO} broke off. Try again; nothing of it was used."),
    (spoiled, f"The mask {PLACE} of {REPO} is damaged: its mask.json names another SHA-256."),
    (full_disk, f"The disk is full: collection {REPO} does not fit."),
    (no_cache, "cannot be written. Name a folder that can be in HF_HOME."),
    (own_mask, "holds a mask that was not pulled, or was changed. Move it away"),
    (other_mask, f"{REPO} has a mask of org/other in the place of one for {MODEL}."),
    (too_large, "GB are not downloaded."),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG, ids=[wrong.__name__ for wrong, _ in WRONG])
def test_whatever_is_wrong_the_pull_command_says_it_in_one_line(
    hub: Hub,
    files: dict[str, bytes],
    wrong: Callable[[Hub, pytest.MonkeyPatch, dict[str, bytes]], None],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong(hub, monkeypatch, files)
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    began = time.monotonic()
    code, out, lines = run(["pull", REPO, "--model", MODEL], capsys)
    assert (code, out, len(lines)) == (2, "", 1)
    assert said in lines[0]
    assert lines[0].endswith(".")
    assert "hf_" not in lines[0]
    assert time.monotonic() - began < 10
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pull", "collection"], "There is no collection collection on the Hub"),
        (["pull", "a/b/c"], "'a/b/c' is not the name of a collection on the Hub; write it as owner/name."),
        (["pull", REPO, "--model", "qwen"], "No preset or model folder 'qwen'. Did you mean"),
        (["pull", REPO, "--model", MODEL, "--revision", "../.."], "'../..' is not the name of a branch"),
        (["pull", REPO, "--model", MODEL, "--revision", "v9"], f"{REPO} has no revision 'v9'"),
        (["pull", REPO, "--model", MODEL, "--method", "../.."], f"{REPO} has no '../..' mask for {MODEL}"),
        (["pull", REPO, "--model", MODEL, "--method", "*"], f"{REPO} has no '*' mask for {MODEL}"),
        (["list", REPO, "--revision", "v9"], f"{REPO} has no revision 'v9'"),
        (["list", "org/other"], "There is no collection org/other on the Hub"),
    ],
)
def test_wrong_words_are_one_line(
    hub: Hub, files: dict[str, bytes], words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add(REPO, files)
    code, out, lines = run(words, capsys)
    assert (code, out, len(lines)) == (2, "", 1)
    assert said in lines[0]
    assert not Path("precomputed").exists()


# Odd names

ODD = [
    f"{PLACE}\\..\\mask.json",
    "C:\\org--tiny\\mask.json",
    "C:/lape/mask.json",
    "org--tiny/la\0pe/mask.json",
    "org--tiny/la\npe/mask.json",
    "org--tiny/\u202elape/mask.json",
    "org--tiny/\x1b[2J/mask.json",
    "org--tiny/עברית/mask.json",
    f"org--tiny/{'x' * 300}/mask.json",
    f"{'x' * 300}--tiny/lape/mask.json",
    "org--tiny/../mask.json",
    "../org--tiny/mask.json",
    "org--tiny/./mask.json",
    "//mask.json",
    "tiny/lape/mask.json",
    "org--tiny/<img src=x>/mask.json",
    "org--tiny/la%2fpe/mask.json",
]
OTHER_ODD = ["../../../etc/passwd", "a\\b\\c", "x" * 300, "a\nb/mask.safetensors", "con/nul/aux", "\u202e.json", "\0"]


def with_odd_names(hub: Hub, files: dict[str, bytes]) -> None:
    odd = dict.fromkeys([*ODD, *OTHER_ODD, f"{PLACE}/../../mask.safetensors", f"{PLACE}/evil\\..\\mask.json"], b"{}")
    hub.add(REPO, {**odd, **files})


def test_odd_names_are_left_out_by_name_and_hide_nothing(
    hub: Hub, files: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    # One such name ended the listing of the whole collection: huggingface_hub refuses to download it.
    with_odd_names(hub, files)
    left_out: list[str] = []
    assert [entry.model for entry in list_masks(REPO, left_out=left_out)] == [MODEL]
    assert len(left_out) == len(ODD) + 1
    assert all(said.isprintable() and len(said) < 170 and said.endswith("ORG--MODEL/METHOD.") for said in left_out)
    assert first_of(get()) == 1
    assert find_mask(MODEL, collection=REPO).origin["commit"] == head(hub)
    with warnings.catch_warnings():
        warnings.simplefilter("default", LapeWarning)
        code, out, lines = run(["list", REPO], capsys)
    assert (code, len(lines)) == (0, len(ODD) + 1)
    assert MODEL in out
    assert all(line.isprintable() for line in lines)
    pull(REPO, model=MODEL)
    assert {path.name for path in (Path("precomputed") / PLACE).iterdir()} == {*FILES, "origin.json"}
    assert not [one for one in hub.asked("/resolve/") if "org--tiny/lape/" not in one.path]


def test_odd_names_are_left_out_of_what_is_cached_too(hub: Hub, files: dict[str, bytes]) -> None:
    with_odd_names(hub, files)
    with pytest.warns(LapeWarning, match="left out"):
        list_masks(REPO)
    hub.requests.clear()
    with pytest.warns(LapeWarning, match=r"left out\. .*ORG--MODEL/METHOD\.") as caught:
        assert [entry.model for entry in list_masks(REPO, head(hub))] == [MODEL]
    assert len(caught) == len(ODD) + 1
    assert hub.requests == []
    with hub.down(), pytest.raises(BadFile, match=rf"It has: {MODEL} lape\.$"):
        get(model="org/other")


def test_of_many_odd_names_twenty_are_named(hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, {**files, **{f"org--{number}/<{number}>/mask.json": b"" for number in range(50)}})
    left_out: list[str] = []
    assert len(list_masks(REPO, left_out=left_out)) == 1
    assert len(left_out) == 21
    assert left_out[-1] == "30 more files lie where no mask can."
