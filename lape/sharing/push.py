"""Push a mask to a collection on the Hugging Face Hub: all is checked first, then one commit is made.

The card of the mask and that of the collection are renewed with it. What the Hub has already is not sent again, and a
commit that someone else makes in the meantime is never overwritten.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import CommitInfo
from huggingface_hub.utils import get_token

from lape.errors import BadFile, HubError, LapeError, LapeWarning
from lape.hub.client import reachable
from lape.hub.remote import Remote, Snapshot
from lape.masks.picture import mask_svg
from lape.masks.summaries import SUMMARY_PLACE, MaskEntry, checked_summary, mask_path
from lape.sharing.cards import collection_card, mask_card
from lape.sharing.parcel import Parcel, is_hub_id, packed, readme_text
from lape.sharing.readme import own_text
from lape.storage.json import parse_json
from lape.storage.names import PICTURE_NAME, README_NAME, SUMMARY_NAME

TAG = re.compile(r"(?!.*(?:\.\.|\.lock$))[A-Za-z0-9][A-Za-z0-9_.-]{0,99}(?<!\.)")
LONG_UPLOAD_BYTES = 5_000_000


@dataclass(frozen=True)
class Pushed:
    """What came of a push.

    Attributes:
        repo: The collection.
        url: The mask's folder on the Hub.
        commit: The commit that was made, or the head when the Hub had everything.
        changed: Paths in the collection that were written; empty when the Hub had everything.
        pull_request: Address of the pull request, if one was made.
        tag: The tag of that commit, if one was asked for.
    """

    repo: str
    url: str
    commit: str
    changed: tuple[str, ...]
    pull_request: str | None = None
    tag: str | None = None

    @property
    def sentence(self) -> str:
        """What came of it, for people."""
        files = f"{len(self.changed)} file{'' if len(self.changed) == 1 else 's'}"
        if self.changed and self.pull_request:
            return f"Proposed {files} to {self.repo}: {self.pull_request}"
        done = f"Pushed {files} to {self.repo}" if self.changed else f"Nothing to push: {self.repo} has all of it"
        return f"{done}, commit {self.commit}{f', tag {self.tag}' if self.tag else ''}: {self.url}"


def push(
    folder: str | os.PathLike[str],
    repo: str,
    *,
    private: bool | None = None,
    create_pr: bool = False,
    tag: str | None = None,
    message: str | None = None,
    token: str | None = None,
) -> Pushed:
    """Pushes a folder with a mask to a collection, in one commit.

    Args:
        folder: It holds `mask.safetensors`, `mask.json` and what belongs to them; nothing in it is changed.
        repo: The collection, a model repo on the Hub: `owner/name`. It is made when there is none.
        private: Whether a new repo is private; None is the owner's default.
        create_pr: Propose the change in a pull request.
        tag: Name to give to the commit.
        message: First line of the commit.
        token: Of the Hub; None takes HF_TOKEN, then the saved login.

    Returns:
        What was written, and where.

    Raises:
        LapeError: Something is wrong with the folder or a name; nothing was asked of the Hub.
        HubError: The Hub refuses, cannot be reached, or was changed by someone else in the meantime.
    """
    parcel = checked(folder, repo, private=private, create_pr=create_pr, tag=tag, message=message)
    remote = Remote(repo, HfApi(token=write_token(token)), "this login" if token else None)
    if not reachable():
        raise HubError(f"The Hub at {constants.ENDPOINT} cannot be reached. Nothing was written; check the network.")
    if not create_pr:
        remote.write(remote.api.create_repo, repo, private=private, exist_ok=True)
    about = remote.ask(remote.api.model_info, repo)
    if private and not about.private:
        raise HubError(
            f"{repo} is there already, and public. Nothing was written; push without --private, or elsewhere."
        )
    head = remote.at(str(about.sha))
    tagged = remote.tags().get(tag) if tag else None
    contents = _contents(parcel, head)
    changed = {path: content for path, content in contents.items() if not head.has(path, content)}
    if tagged and (changed or tagged != head.commit):
        raise HubError(f"{repo} has the tag {tag} already, on commit {tagged}. Nothing was written; choose another.")
    commit, pull_request = head.commit, None
    if changed:
        _warn_of_more(parcel, head)
        commit, pull_request = _committed(head, changed, create_pr, message or _message(parcel, head))
    if tag and not tagged:
        try:
            remote.write(remote.api.create_tag, repo, tag=tag, revision=commit)
        except HubError as error:
            raise HubError(f"The mask is there, as commit {commit}, but without the tag {tag}. {error}") from error
    url = f"{constants.ENDPOINT}/{repo}/tree/main/{parcel.path}"
    return Pushed(repo, url, commit, tuple(changed), pull_request, tag)


def checked(
    folder: str | os.PathLike[str],
    repo: str,
    *,
    private: bool | None = None,
    create_pr: bool = False,
    tag: str | None = None,
    message: str | None = None,
) -> Parcel:
    """Checks everything that can be checked without the Hub, and gives what `push` would send.

    Raises:
        LapeError: Something is wrong with the folder or a name.
    """
    check_collection(repo)
    if tag is not None and not TAG.fullmatch(tag):
        raise LapeError(f"{tag!r} is not a tag's name; use up to 100 of A-Z, a-z, 0-9, _, . and -, such as v1.0.")
    if message is not None and not message.strip():
        raise LapeError("The commit's message is empty. Write one, or leave it out.")
    if create_pr and tag:
        raise LapeError("A proposed change cannot be tagged. Push without the tag; tag it when it is merged.")
    if create_pr and private:
        raise LapeError("A pull request makes no repo that could be private. Leave out one of the two.")
    return packed(Path(folder))


def check_collection(repo: str) -> None:
    """Refuses what cannot be the name of a collection."""
    if not is_hub_id(repo):
        raise LapeError(f"{repo!r} is not the name of a collection on the Hub; write it as owner/name.")


def write_token(given: str | None = None) -> str:
    """The token to push with, wherever it is; never shown.

    Raises:
        HubError: There is none, or it is damaged; nothing was asked of the Hub.
    """
    token = (given or get_token() or "").strip()
    if not token:
        raise HubError(
            "Pushing needs a token with write access, and there is none: set HF_TOKEN, or log in with `hf auth login`."
        )
    if not re.fullmatch(r"[!-~]+", token):  # an error about the header would show it
        raise HubError("The token is not one line of plain letters and digits. Copy it again from the Hub's settings.")
    return token


def _contents(parcel: Parcel, head: Snapshot) -> dict[str, bytes | Path]:
    """What the collection shall hold after the push, by path."""
    repo, card = head.remote.repo, f"{parcel.path}/{README_NAME}"
    entries = [*_others(parcel, head), _entry(parcel)]
    contents: dict[str, bytes | Path] = {f"{parcel.path}/{name}": file for name, file in parcel.files.items()}
    contents[f"{parcel.path}/{PICTURE_NAME}"] = mask_svg(parcel.mask).encode()
    contents[card] = mask_card(
        parcel.mask,
        statistics=parcel.statistics,
        evidence=parcel.evidence,
        collection=repo,
        method=parcel.method,
        previous=_previous(parcel.readme, _readme(head, card), card),
    ).encode()
    contents[README_NAME] = collection_card(entries, collection=repo, previous=_readme(head, README_NAME)).encode()
    return contents


def _previous(mine: str | None, theirs: str | None, card: str) -> str | None:
    """The mask's README to update: the Hub's, because others may have written in it; else the folder's."""
    if theirs is None or mine is None:
        return mine if theirs is None else theirs
    written = own_text(mine).strip()
    if written and written != own_text(theirs).strip():
        warnings.warn(
            f"The text of your README.md is not that of {card} on the Hub, which stays. Change it there.",
            LapeWarning,
            stacklevel=2,
        )
    return theirs


def _readme(head: Snapshot, path: str) -> str | None:
    if path not in head.files:
        return None
    try:
        return readme_text(head.read(path))
    except BadFile as error:
        raise BadFile(f"On the Hub, {head.remote.repo}/{path}: {error} Nothing was written.") from error


def _entry(parcel: Parcel) -> MaskEntry:
    counts = {label: parcel.mask.count(label) for label in parcel.mask.languages}
    return MaskEntry(str(parcel.mask.metadata["model"]), parcel.method, counts)


def _others(parcel: Parcel, head: Snapshot) -> list[MaskEntry]:
    """The other masks of the collection; one that cannot be read is left out of the card."""
    entries = []
    for path in sorted(head.files):
        if not SUMMARY_PLACE.fullmatch(path) or path == f"{parcel.path}/{SUMMARY_NAME}":
            continue
        try:
            entries.append(_other(path, head.read(path)))
        except BadFile as error:
            warnings.warn(f"The collection's card leaves a mask out. {error}", LapeWarning, stacklevel=2)
    return entries


def _other(path: str, content: bytes) -> MaskEntry:
    """The mask that a `mask.json` of the collection is about."""
    folder, method, _ = path.split("/")
    try:
        summary = checked_summary(parse_json(content), f"{path} is damaged: it")
    except ValueError as error:
        raise BadFile(f"{path} is damaged: it is not JSON ({error}).") from error
    if mask_path(summary["model"], method) != f"{folder}/{method}":
        raise BadFile(f"{path} is damaged: it is of {summary['model']}, which is not its folder's model.")
    return MaskEntry(summary["model"], method, summary["counts"])


def _warn_of_more(parcel: Parcel, head: Snapshot) -> None:
    """Files that are beside the mask on the Hub alone are nobody's to delete, but may be of an older mask."""
    mine = {f"{parcel.path}/{name}" for name in (*parcel.files, README_NAME, PICTURE_NAME)}
    if more := sorted(path for path in head.files if path.startswith(f"{parcel.path}/") and path not in mine):
        warnings.warn(
            f"On the Hub but not in your folder, so they stay and the card does not name them: {', '.join(more)}.",
            LapeWarning,
            stacklevel=2,
        )


def _message(parcel: Parcel, head: Snapshot) -> str:
    return f"{'Update' if f'{parcel.path}/{SUMMARY_NAME}' in head.files else 'Add'} {parcel.path}"


def _committed(
    head: Snapshot, changed: Mapping[str, bytes | Path], create_pr: bool, message: str
) -> tuple[str, str | None]:
    """Makes the commit; returns its id and the pull request's address."""
    remote = head.remote
    size = sum(len(content) if isinstance(content, bytes) else content.stat().st_size for content in changed.values())
    if size > LONG_UPLOAD_BYTES:
        print(f"Uploading {len(changed)} files, {size / 1e6:.0f} MB, to {remote.repo} ...", file=sys.stderr)

    def commit() -> CommitInfo:
        added = [CommitOperationAdd(path, content) for path, content in changed.items()]
        try:
            return remote.api.create_commit(
                remote.repo, added, commit_message=message, parent_commit=head.commit, create_pr=create_pr
            )
        except ValueError as error:  # the front matter of the root README is looked at before anything is sent
            if isinstance(error, HfHubHTTPError):
                raise
            raise HubError(f"The Hub refuses README.md of {remote.repo}: {error} Nothing was written.") from error

    made = remote.write(commit)
    return made.oid, made.pr_url
