"""A collection as it is on the Hub at one commit, for those who are about to change it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import ParamSpec, TypeVar

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.sha import git_hash

from lape.errors import BadFile, HubError
from lape.hub.client import explained, retried

LARGEST_TEXT_BYTES = 10_000_000

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Remote:
    """A collection's repo, and who asks: requests are repeated when the Hub is busy, their failures told in words.

    Attributes:
        repo: `owner/name`.
        api: With the token.
        login: Where the token is from, in words, if not from the usual places.
    """

    repo: str
    api: HfApi
    login: str | None = None

    def ask(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Reads something."""
        with explained(self.repo, "collection", login=self.login):
            return retried(lambda: function(*args, **kwargs))

    def write(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Writes something."""
        with explained(self.repo, "collection", writing=True, login=self.login):
            return retried(lambda: function(*args, **kwargs))

    def tags(self) -> dict[str, str]:
        """Tags and their commits."""
        return {ref.name: ref.target_commit for ref in self.ask(self.api.list_repo_refs, self.repo).tags}

    def at(self, commit: str) -> Snapshot:
        """The files of a commit."""
        entries = self.ask(lambda: list(self.api.list_repo_tree(self.repo, recursive=True, revision=commit)))
        return Snapshot(self, commit, {entry.path: entry for entry in entries if isinstance(entry, RepoFile)})


@dataclass(frozen=True)
class Snapshot:
    """The files of one commit.

    Attributes:
        remote: Where it is.
        commit: Its id.
        files: What the Hub says of each, by path.
    """

    remote: Remote
    commit: str
    files: Mapping[str, RepoFile]

    def has(self, path: str, content: bytes | Path) -> bool:
        """Whether exactly this is at a path."""
        if path not in self.files:
            return False
        content = content if isinstance(content, bytes) else content.read_bytes()
        file = self.files[path]
        return sha256(content).hexdigest() == file.lfs.sha256 if file.lfs else git_hash(content) == file.blob_id

    def read(self, path: str) -> bytes:
        """A small file, exactly as the Hub has it.

        Raises:
            BadFile: It is not small.
            HubError: The Hub refuses, or sends something else.
        """
        repo, size = self.remote.repo, self.files[path].size
        if size > LARGEST_TEXT_BYTES:
            raise BadFile(f"{path} of {repo} has {size / 1e6:,.0f} MB, which is too much for a text.")
        content = Path(self.remote.ask(self.remote.api.hf_hub_download, repo, path, revision=self.commit)).read_bytes()
        if not self.has(path, content):  # huggingface_hub compares no hashes of small files
            raise HubError(f"{path} of {repo} did not arrive whole. Nothing was written; push again.")
        return content
