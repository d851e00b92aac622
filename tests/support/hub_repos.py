"""What a stand-in Hub holds: repositories with their history in memory, and the rules for a card's metadata."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml


class Account(NamedTuple):
    """Who a token belongs to, and what the token allows."""

    name: str
    role: str
    orgs: tuple[str, ...]


class Refusal(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"error": message}
        self.headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **headers}


@dataclass(frozen=True)
class Blob:
    """The bytes of one file in one commit."""

    data: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> bytes:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        return text.encode()

    @property
    def oid(self) -> str:
        """What git calls the file: for one in LFS, its pointer."""
        stored = self.pointer if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    def entry(self, path: str) -> dict[str, Any]:
        """The file as the Hub lists it."""
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(self.data), "oid": self.oid}
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.data), "pointerSize": len(self.pointer)}
        return entry


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    title: str
    author: str
    files: Mapping[str, Blob]


@dataclass
class Repo:
    """A repository; `key` is its id, after `datasets/` or `spaces/` if it is one."""

    key: str
    private: bool = False
    gated: bool = False
    allowed: set[str] = field(default_factory=set)  # the accounts that were let through the gate
    refs: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.key.removeprefix("datasets/").removeprefix("spaces/")

    def member(self, account: Account | None) -> bool:
        return account is not None and self.id.split("/")[0] in (account.name, *account.orgs)

    def at(self, revision: str) -> Commit:
        """The commit of a branch, a tag, a full ref or a commit id, which may be shortened to 7 digits."""
        for name in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if name in self.refs:
                return self.commits[self.refs[name]]
        found = [oid for oid in self.commits if len(revision) >= 7 and oid.startswith(revision)]
        if len(found) != 1:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[found[0]]

    def read(self, path: str, revision: str = "main") -> bytes:
        return self.at(revision).files[path].data

    def paths(self, revision: str = "main") -> set[str]:
        return set(self.at(revision).files)

    def history(self, revision: str = "main") -> list[Commit]:
        """The newest first."""
        commits = [self.at(revision)]
        while commits[-1].parent:
            commits.append(self.commits[commits[-1].parent])
        return commits

    def commit(
        self,
        files: Mapping[str, bytes | Blob | None],
        title: str = "a commit",
        *,
        ref: str = "refs/heads/main",
        parent: str | None = None,
        author: str = "ada",
    ) -> Commit:
        """Adds a commit to a ref, on `parent` or on the ref's own; None removes a file."""
        parent = parent or self.refs.get(ref)
        kept = dict(self.commits[parent].files) if parent else {}
        for path, data in files.items():
            if data is None:
                del kept[path]
            else:
                kept[path] = data if isinstance(data, Blob) else Blob(data)
        # As many commits as there are make the id another one, as the date does in git.
        oid = hashlib.sha1(f"{self.key} {len(self.commits)} {parent} {title}".encode()).hexdigest()
        self.commits[oid] = Commit(oid, parent, title, author, kept)
        self.refs[ref] = oid
        return self.commits[oid]


def front_matter(text: str) -> Any:
    """What stands between the two lines of dashes at the top; None without them."""
    match = re.match(r"---\r?\n(.*?)\r?\n---\s*(\n|$)", text, re.DOTALL)
    return yaml.safe_load(match[1]) if match else None


def card_problems(text: str) -> tuple[list[str], list[str]]:
    """Errors and warnings for a card's metadata: the Hub's rules for the keys that we use."""
    try:
        card = front_matter(text)
    except yaml.YAMLError as error:
        return [str(error)], []
    if card is None:
        return [], ["empty or missing yaml metadata in repo card"]
    if not isinstance(card, dict):
        return ["the metadata is not a mapping"], []
    lists = {key: value if isinstance(value, list) else [value] for key, value in card.items()}
    errors = [
        f'"{key}" must be a string or a list of strings'
        for key in ("language", "license", "tags", "datasets", "base_model", "library_name", "pipeline_tag")
        if not all(isinstance(one, str) for one in lists.get(key, []))
    ]
    for code in lists.get("language", []):
        if not re.fullmatch("[a-z]{2,3}|code|multilingual", str(code)):
            errors.append(f'"language" with value "{code}" is not valid. It must be an ISO 639-1, 639-2 or 639-3 code')
    for model in lists.get("base_model", []):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(model)):
            errors.append(f'"base_model" with value "{model}" is not valid. Use a model id from https://hf.co/models.')
    return errors, []
