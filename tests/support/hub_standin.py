"""A stand-in for the Hugging Face Hub on 127.0.0.1, which huggingface_hub itself talks to, unmodified.

Repositories live in memory with their whole history: commits, branches, tags, pull requests. Statuses, error codes and
messages are those of the Hub as far as the client looks at them. One is not: a 401 for what does not exist, or may not
be seen, carries a code here, because the client reads the bare one only at an https address.

    def test_something(hub, monkeypatch):
        hub.add("org/collection", {"a/b.json": b"{}"}, gated=True)
        monkeypatch.setenv("HF_TOKEN", WRITE)         # nobody is logged in before this
        hub.limit("/resolve/", times=2, seconds=5)    # fail, limit, cut, spoil, stall, before; `with hub.down()`
        ...
        assert not hub.asked("POST")
        assert sum(hub.naps) < 20                     # waits are counted, not slept
"""

from __future__ import annotations

import re
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hub_endpoints import Endpoints
from hub_repos import Account, Blob, Refusal, Repo
from huggingface_hub import constants, hf_api
from huggingface_hub.utils import _cache_assets, _cache_manager, _git_credential, _http, close_session

WRITE, READ, STRANGER = "hf_ada_may_write", "hf_ada_may_only_read", "hf_eve_is_no_member"
HOST = "127.0.0.1"
ALWAYS = sys.maxsize

ACCOUNTS = {
    WRITE: Account("ada", "write", ("org",)),
    READ: Account("ada", "read", ("org",)),
    STRANGER: Account("eve", "write", ()),
}


class Request(NamedTuple):
    """One line of the log; `path` includes the query, `authorised` says whether a token was sent."""

    method: str
    path: str
    authorised: bool


@dataclass
class Fault:
    """What happens to the next requests that match."""

    pattern: re.Pattern[str]
    left: int
    before: Callable[[], object] | None = None
    refusal: Refusal | None = None
    keep: float | None = None  # the share of the body that is sent before the connection is cut
    spoil: Callable[[bytes], bytes] | None = None
    stall: bool = False


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


class Hub:
    """The server and what is on it; see the module's docstring.

    A pattern is a regular expression that is searched in "METHOD /path?query". Of the faults that were set up, the
    first that matches a request and has some of its times left happens to it.
    """

    accounts = ACCOUNTS

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}  # LFS objects by their sha256
        self.lfs_suffixes: tuple[str, ...] = ()  # files that are uploaded in LFS mode, such as ".safetensors"
        self.requests: list[Request] = []
        self.naps: list[float] = []  # seconds that callers waited, or would have
        self.lock = threading.RLock()
        self.released = threading.Event()
        self._faults: list[Fault] = []
        self._server = self._serve(0)
        self.port: int = self._server.server_address[1]
        self.endpoint = f"http://{HOST}:{self.port}"

    def add(
        self, key: str, files: Mapping[str, bytes] | None = None, *, private: bool = False, gated: bool = False
    ) -> Repo:
        """Makes a repository as the Hub does, with a first commit; then one with the files, if there are any."""
        repo = self.repos[key] = Repo(key, private, gated)
        repo.commit({".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}, "initial commit")
        if files:
            blobs = {path: Blob(data, path.endswith(self.lfs_suffixes)) for path, data in files.items()}
            self.large |= {blob.sha256: blob.data for blob in blobs.values() if blob.lfs}
            repo.commit(blobs, "files")
        return repo

    def asked(self, pattern: str = "") -> list[Request]:
        """The requests so far that match."""
        return [one for one in self.requests if re.search(pattern, f"{one.method} {one.path}")]

    def fail(self, pattern: str = "", status: int = 503, *, times: int = 1, **headers: str) -> None:
        """Answers a status instead, and does nothing; `Retry_After="3"` sends that header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._add(pattern, times, refusal=Refusal(status, "Something went wrong on our side", **named))

    def limit(self, pattern: str = "", *, times: int = 1, seconds: int = 3) -> None:
        """Answers 429, with the headers the Hub sends; `fail(status=429, Retry_After="3")` is another server's way."""
        message = (
            "We had to rate limit you, you hit the quota of 1000 api requests per 5 minutes period. Upgrade to a PRO "
            "user or Team/Enterprise organization account (https://hf.co/pricing) to get higher limits."
        )
        headers = {"RateLimit": f'"api";r=0;t={seconds}', "RateLimit-Policy": '"fixed window";"api";q=1000;w=300'}
        self._add(pattern, times, refusal=Refusal(429, message, **headers))

    def cut(self, pattern: str = "", *, times: int = 1, keep: float = 0.5) -> None:
        """Does what is asked, but closes the connection within the answer; before it, when that has no body."""
        self._add(pattern, times, keep=keep)

    def spoil(self, pattern: str, change: Callable[[bytes], bytes], *, times: int = 1) -> None:
        """Sends other bytes, as a broken mirror does; a HEAD request still tells the truth."""
        self._add(pattern, times, spoil=change)

    def stall(self, pattern: str = "", *, times: int = ALWAYS) -> None:
        """Takes requests and never answers."""
        self._add(pattern, times, stall=True)

    def before(self, pattern: str, call: Callable[[], object]) -> None:
        """Calls a function when the next such request has come, before it is looked at."""
        self._add(pattern, 1, before=call)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nothing listens at the address: connections are refused."""
        self._stop()
        with socket.socket() as held:  # bound, so that nobody else gets the port, but it does not listen
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind((HOST, self.port))
            try:
                yield
            finally:
                held.close()
                self._server = self._serve(self.port)

    def close(self) -> None:
        self.released.set()
        self._stop()

    def take(self, method: str, path: str, authorised: bool) -> Fault:
        """Writes a request down, and says what happens to it."""
        with self.lock:
            self.requests.append(Request(method, path, authorised))
            line = f"{method} {path}"
            met = next((one for one in self._faults if one.left and one.pattern.search(line)), None)
            if met is None:
                return Fault(re.compile(""), 0)
            met.left -= 1
            return met

    def _add(self, pattern: str, times: int, **what: Any) -> None:
        self._faults.append(Fault(re.compile(pattern), times, **what))

    def _serve(self, port: int) -> _Server:
        server = _Server((HOST, port), type("Handler", (Endpoints,), {"hub": self}))
        threading.Thread(target=server.serve_forever, args=(0.02,), name="hub-standin", daemon=True).start()
        return server

    def _stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Clock:
    """`time` for a module, with a sleep that is only written down."""

    def __init__(self, naps: list[float]) -> None:
        self.sleep = naps.append

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


COPIES = (_cache_assets, _cache_manager, _git_credential)  # modules that import a constant by value
WAITING = ("huggingface_hub.utils._http", "huggingface_hub.file_download", "lape.hub.client")  # modules that sleep


@contextmanager
def standing_in(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Starts a stand-in and makes it the Hub for this process and for those that it starts.

    Args:
        folder: What huggingface_hub gets for its cache and its login; need not exist.
        patch: The test's own, so that all is undone in order. Nobody is logged in.
    """
    hub = Hub()
    point_at(hub.endpoint, folder, patch)
    for name in WAITING:
        if name in sys.modules:
            patch.setattr(sys.modules[name], "time", _Clock(hub.naps))
    try:
        yield hub
    finally:
        hub.close()
        close_session()  # it may hold connections to the server that is gone
        if (late := sys.modules.get("datasets.config")) and hub.endpoint == late.HF_ENDPOINT:  # imported in the test
            late.HF_ENDPOINT, late.HF_HUB_OFFLINE, late.HF_DATASETS_OFFLINE = constants._HF_DEFAULT_ENDPOINT, True, True


def point_at(endpoint: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Makes `endpoint` the Hub, online, with an empty cache and without a token, for this process and its children."""
    names = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_OIDC_RESOURCE", "HUGGINGFACE_HUB_CACHE",
             "HUGGINGFACE_CO_STAGING", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "TRANSFORMERS_OFFLINE", "HF_XET_CACHE",
             "HF_ASSETS_CACHE", "HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT")  # fmt: skip
    for name in names:
        patch.delenv(name, raising=False)
    switches = {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    places = {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder), "HF_HUB_CACHE": str(folder / "hub")}
    proxies = {"NO_PROXY": f"{HOST},localhost", "no_proxy": f"{HOST},localhost"}
    for name, value in (switches | places | proxies).items():
        patch.setenv(name, value)

    values = {
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": endpoint + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_URL_HOSTS": constants.HF_URL_HOSTS | {HOST},
        "HF_HOME": str(folder),
        "HF_HUB_CACHE": str(folder / "hub"),
        "HUGGINGFACE_HUB_CACHE": str(folder / "hub"),
        "HF_ASSETS_CACHE": str(folder / "assets"),
        "HUGGINGFACE_ASSETS_CACHE": str(folder / "assets"),
        "HF_XET_CACHE": str(folder / "xet"),
        "HF_TOKEN_PATH": str(folder / "token"),
        "HF_STORED_TOKENS_PATH": str(folder / "stored_tokens"),
        "AGENT_HARNESSES_PATH": str(folder / ".agent_harnesses.json"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_TELEMETRY": True,
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": False,
    }
    for module in (constants, *COPIES):
        for name in values.keys() & vars(module).keys():
            patch.setattr(module, name, values[name])
    patch.setattr(_http, "_HUB_ORIGINS", _http._HUB_ORIGINS | {_http._url_origin(endpoint)})
    patch.setattr(hf_api.api, "endpoint", endpoint)  # behind every function that is called without an HfApi
    patch.setattr(hf_api.api, "_whoami_cache", {})
    if "transformers.utils.hub" in sys.modules:
        patch.setattr("transformers.utils.hub._hf_api", None)  # made on the first use, for the endpoint of then
    close_session()
