"""What a stand-in Hub answers, endpoint by endpoint: those of the Hub, as far as huggingface_hub looks at them."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from hub_repos import Blob, Commit, Refusal, Repo, card_problems, front_matter

if TYPE_CHECKING:
    from hub_standin import Hub

DATE = "2026-01-01T00:00:00.000Z"


class Answer(NamedTuple):
    """What is sent; on HEAD without the body, but with its length."""

    body: bytes = b""
    headers: Mapping[str, str] = {}
    status: int = 200


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(value).encode(), {"Content-Type": "application/json"}, status)


ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Answer]]] = []
API = r"/api/(?P<kind>models|datasets|spaces)/(?P<id>[^/]+(?:/[^/]+)?)"


def _route(methods: str, path: str) -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    def register(function: Callable[..., Answer]) -> Callable[..., Answer]:
        ROUTES.append((methods, re.compile(path), function))
        return function

    return register


class Endpoints(BaseHTTPRequestHandler):
    """Looks at one request and answers it; `hub` is set by the server, in a subclass."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def handle_any(self) -> None:
        hub, given = self.hub, self.headers.get("Authorization")
        self.close_connection = True  # one request a connection, so that `down` leaves none open
        self.data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = hub.take(self.command, self.path, given is not None)
        if fault.before:
            fault.before()
        if fault.stall:
            hub.released.wait()
            return
        try:
            if fault.refusal:
                raise fault.refusal
            self.account = hub.accounts.get((given or "").removeprefix("Bearer "))
            if given and self.account is None:
                raise Refusal(401, "Invalid credentials in Authorization header")
            answer = self.dispatch()
        except Refusal as refusal:
            answer = Answer(json.dumps(refusal.body).encode(), refusal.headers, refusal.status)
        if fault.spoil and self.command != "HEAD":
            answer = answer._replace(body=fault.spoil(answer.body))
        self.send(answer, fault.keep)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def send(self, answer: Answer, keep: float | None) -> None:
        body = b"" if self.command == "HEAD" else answer.body
        if keep is not None and not body:
            return
        self.send_response(answer.status)
        request = f"Root=1-{len(self.hub.requests):08x}"
        for name, value in {"X-Request-Id": request, "Connection": "close", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(body if keep is None else body[: int(len(body) * keep)])

    def dispatch(self) -> Answer:
        parts = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        with self.hub.lock:
            for methods, pattern, function in ROUTES:
                if self.command in methods.split() and (match := pattern.fullmatch(parts.path)):
                    found = {name: unquote(value or "") for name, value in match.groupdict().items()}
                    if "id" in found:
                        kind = found.pop("kind", "")
                        found["key"] = ("" if kind in ("", "models") else f"{kind}/") + found.pop("id")
                    return function(self, **found)
        raise Refusal(404, "Not Found")

    def readable(self, key: str) -> Repo:
        repo = self.hub.repos.get(key)
        if repo is None or (repo.private and not repo.member(self.account)):
            if self.account is None:
                raise Refusal(401, "Invalid username or password.", "RepoNotFound")
            raise Refusal(404, "Repository not found", "RepoNotFound")
        return repo

    def past_the_gate(self, key: str) -> Repo:
        repo = self.readable(key)
        if repo.gated and self.account is None:
            text = "You must have access to it and be authenticated to access it. Please log in."
            raise Refusal(401, f"Access to model {repo.id} is restricted. {text}", "GatedRepo")
        if repo.gated and not repo.member(self.account) and self.account.name not in repo.allowed:
            text = f"and you are not in the authorized list. Visit {self.hub.endpoint}/{repo.id} to ask for access."
            raise Refusal(403, f"Access to model {repo.id} is restricted {text}", "GatedRepo")
        return repo

    def writable(self, key: str, by_request: bool = False) -> Repo:
        """A pull request (`by_request`) may come from anyone whose token may write; a commit only from a member."""
        repo = self.readable(key)
        if self.account is None:
            raise Refusal(401, "Invalid username or password.", "RepoNotFound")
        if self.account.role != "write" or not (by_request or repo.member(self.account)):
            raise Refusal(403, "Authorization error.")
        return repo

    @property
    def sent(self) -> Any:
        return json.loads(self.data)

    # -- the account, and what belongs to no repository

    @_route("GET HEAD", "/")
    def home(self) -> Answer:
        return Answer(b"the stand-in")

    @_route("GET", "/api/whoami-v2")
    def whoami(self) -> Answer:
        if self.account is None:
            raise Refusal(401, "Invalid username or password.")
        orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in self.account.orgs]
        token = {"displayName": "a token", "role": self.account.role, "createdAt": DATE}
        auth = {"type": "access_token", "accessToken": token}
        return _json({"type": "user", "id": "1", "name": self.account.name, "orgs": orgs, "auth": auth})

    @_route("POST", "/api/validate-yaml")
    def validate_yaml(self) -> Answer:
        errors, warnings = card_problems(self.sent["content"])
        found = {"errors": errors, "warnings": warnings}
        return _json(
            {name: [{"message": one} for one in lines] for name, lines in found.items()}, 400 if errors else 200
        )

    @_route("POST", "/api/repos/create")
    def create(self) -> Answer:
        if self.account is None:
            raise Refusal(401, "Invalid username or password.")
        kind, owner = self.sent.get("type", "model"), self.sent.get("organization") or self.account.name
        if self.account.role != "write" or owner not in (self.account.name, *self.account.orgs):
            raise Refusal(403, f'You don\'t have the rights to create a {kind} under the namespace "{owner}"')
        key = ("" if kind == "model" else f"{kind}s/") + f"{owner}/{self.sent['name']}"
        url = f"{self.hub.endpoint}/{key}"
        if key in self.hub.repos:
            refusal = Refusal(409, f"You already created this {kind} repo")
            refusal.body["url"] = url
            raise refusal
        self.hub.add(key, private=self.sent.get("visibility") == "private")
        return _json({"url": url, "name": f"{owner}/{self.sent['name']}"})

    # -- what is in a repository

    @_route("GET", f"{API}(?:/revision/(?P<revision>[^/]+))?")
    def info(self, key: str, revision: str) -> Answer:
        repo = self.readable(key)
        commit = repo.at(revision or "main")
        card = front_matter(commit.files["README.md"].data.decode()) if "README.md" in commit.files else None
        card = card if isinstance(card, dict) else {}
        blobs = self.query.get("blobs")
        info = {
            "_id": repo.id, "id": repo.id, "modelId": repo.id, "author": repo.id.split("/")[0], "sha": commit.oid,
            "lastModified": DATE, "createdAt": DATE, "private": repo.private, "disabled": False, "downloads": 0,
            "likes": 0, "gated": "manual" if repo.gated else False, "tags": card.get("tags", []), "cardData": card,
            "siblings": [
                {"rfilename": path} | ({"blobId": blob.oid} | blob.entry(path) if blobs else {})
                for path, blob in sorted(commit.files.items())
            ],
        }  # fmt: skip
        return _json(info | ({"library_name": card["library_name"]} if "library_name" in card else {}))

    @_route("GET", f"{API}/tree/(?P<revision>[^/]+)(?:/(?P<path>.*))?")
    def tree(self, key: str, revision: str, path: str) -> Answer:
        commit = self.readable(key).at(revision)
        prefix = f"{path.strip('/')}/" if path else ""
        under = {name: blob for name, blob in sorted(commit.files.items()) if name.startswith(prefix)}
        if not under:
            raise Refusal(404, f'{path} does not exist on "{revision}"', "EntryNotFound")
        deep = self.query.get("recursive") == "true"
        entries: dict[str, dict[str, Any]] = {}
        for name, blob in under.items():
            steps = name.removeprefix(prefix).split("/")
            for depth in range(1, len(steps) if deep else min(2, len(steps))):
                folder = prefix + "/".join(steps[:depth])
                oid = hashlib.sha1(folder.encode()).hexdigest()
                entries[folder] = {"type": "directory", "path": folder, "size": 0, "oid": oid}
            if deep or len(steps) == 1:
                entries[name] = blob.entry(name)
        return _json(list(entries.values()))

    @_route("POST", f"{API}/paths-info/(?P<revision>[^/]+)")
    def paths_info(self, key: str, revision: str) -> Answer:
        files = self.readable(key).at(revision).files
        asked = parse_qs(self.data.decode()).get("paths", [])
        return _json([files[path].entry(path) for path in asked if path in files])

    @_route("GET", f"{API}/refs")
    def list_refs(self, key: str) -> Answer:
        listed: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": [], "pullRequests": []}
        places = {"heads": "branches", "tags": "tags", "pr": "pullRequests"}
        for ref, oid in sorted(self.readable(key).refs.items()):
            _, place, name = ref.split("/", 2)
            listed[places[place]].append({"name": name, "ref": ref, "targetCommit": oid})
        return _json(listed)

    @_route("GET", f"{API}/commits/(?P<revision>[^/]+)")
    def commits(self, key: str, revision: str) -> Answer:
        return _json(
            [
                {"id": one.oid, "title": one.title, "message": "", "authors": [{"user": one.author}], "date": DATE}
                for one in self.readable(key).history(revision)
            ]
        )

    @_route("GET", f"{API}/auth-check(?:/(?P<write>write))?")
    def auth_check(self, key: str, write: str) -> Answer:
        self.past_the_gate(key)
        if write:
            self.writable(key)
        return _json({})

    @_route("GET HEAD", r"(?:/(?P<kind>datasets|spaces))?/(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
    def resolve(self, key: str, revision: str, path: str) -> Answer:
        commit = self.past_the_gate(key).at(revision)
        headers = {"X-Repo-Commit": commit.oid}
        if path not in commit.files:
            raise Refusal(404, "Entry not found", "EntryNotFound", **headers)
        blob = commit.files[path]
        if blob.lfs:  # the bytes are elsewhere: at another name of this machine, which is another host to the client
            headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.data))}
            place = f"http://localhost:{self.hub.port}/_cdn/{blob.sha256}"
            return Answer(b"Found", {"Location": place, **headers}, 302)
        return self.part(blob.data, {"ETag": f'"{blob.oid}"', **headers})

    @_route("GET HEAD", "/_cdn/(?P<oid>.+)")
    def content(self, oid: str) -> Answer:
        return self.part(self.hub.large[oid], {"ETag": f'"{oid}"'})

    def part(self, data: bytes, headers: Mapping[str, str]) -> Answer:
        """The bytes, or those from where the client wants to go on."""
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked is None:
            return Answer(data, {"Accept-Ranges": "bytes", **headers})
        start = int(asked[1])
        if start >= len(data):
            raise Refusal(416, "Range Not Satisfiable", **{"Content-Range": f"bytes */{len(data)}"})
        return Answer(data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}", **headers}, 206)

    # -- writing

    @_route("POST", f"{API}/preupload/(?P<revision>[^/]+)")
    def preupload(self, key: str, revision: str) -> Answer:
        files = self.writable(key, "create_pr" in self.query).at(revision).files
        answers = []
        for one in self.sent["files"]:
            lfs = one["path"].endswith(self.hub.lfs_suffixes)
            there = files.get(one["path"])
            oid = there and (there.sha256 if there.lfs else there.oid)
            mode = "lfs" if lfs else "regular"
            answers.append({"path": one["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return _json({"files": answers})

    @_route("POST", r"(?:/(?P<kind>datasets|spaces))?/(?P<id>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
    def lfs_batch(self, key: str) -> Answer:
        self.writable(key, True)
        place = {one["oid"]: {"href": f"{self.hub.endpoint}/_upload/{one['oid']}"} for one in self.sent["objects"]}
        objects = [
            one if one["oid"] in self.hub.large else {**one, "actions": {"upload": place[one["oid"]]}}
            for one in self.sent["objects"]
        ]
        return _json({"transfer": "basic", "objects": objects})

    @_route("PUT", "/_upload/(?P<oid>.+)")
    def upload(self, oid: str) -> Answer:
        self.hub.large[oid] = self.data
        return Answer()

    @_route("POST", f"{API}/commit/(?P<revision>[^/]+)")
    def commit(self, key: str, revision: str) -> Answer:
        by_request = "create_pr" in self.query
        repo = self.writable(key, by_request)
        lines = [json.loads(line) for line in self.data.splitlines()]
        header = lines[0]["value"]
        head, expected = repo.at(revision), header.get("parentCommit")
        ref = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        if by_request:
            head = repo.at(expected) if expected else head
            number = 1 + sum(name.startswith("refs/pr/") for name in repo.refs)
            ref = f"refs/pr/{number}"
        elif ref not in repo.refs:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        elif expected and not head.oid.startswith(expected):
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        changes: dict[str, bytes | Blob | None] = {}
        for line in lines[1:]:
            changes |= self.change(line["key"], line["value"], head)
        made = repo.commit(changes, header["summary"], ref=ref, parent=head.oid, author=self.account.name)
        url = f"{self.hub.endpoint}/{key}"
        answer = {"success": True, "commitOid": made.oid, "commitUrl": f"{url}/commit/{made.oid}", "hookOutput": ""}
        return _json(answer | ({"pullRequestUrl": f"{url}/discussions/{number}"} if by_request else {}))

    def change(self, what: str, value: dict[str, Any], head: Commit) -> dict[str, bytes | Blob | None]:
        path = value["path"]
        if what == "file":
            return {path: base64.b64decode(value["content"])}
        if what == "lfsFile":
            if value["oid"] not in self.hub.large:
                raise Refusal(400, f"LFS pointer pointed to a file that does not exist: {path}")
            return {path: Blob(self.hub.large[value["oid"]], lfs=True)}
        gone = [
            name
            for name in head.files
            if name == path or (what == "deletedFolder" and name.startswith(f"{path.rstrip('/')}/"))
        ]
        if not gone:
            raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
        return dict.fromkeys(gone)

    @_route("POST", f"{API}/tag/(?P<revision>[^/]+)")
    def tag(self, key: str, revision: str) -> Answer:
        return self.new_ref(self.writable(key), f"refs/tags/{self.sent['tag']}", revision)

    @_route("POST", f"{API}/branch/(?P<name>[^/]+)")
    def branch(self, key: str, name: str) -> Answer:
        return self.new_ref(self.writable(key), f"refs/heads/{name}", self.sent.get("startingPoint", "main"))

    def new_ref(self, repo: Repo, ref: str, revision: str) -> Answer:
        if ref in repo.refs:
            raise Refusal(409, f"Reference already exists: {ref}")
        repo.refs[ref] = repo.at(revision).oid
        return Answer(status=201)

    @_route("DELETE", f"{API}/tag/(?P<name>[^/]+)")
    def delete_tag(self, key: str, name: str) -> Answer:
        if self.writable(key).refs.pop(f"refs/tags/{name}", None) is None:
            raise Refusal(404, f"Invalid rev id: {name}", "RevisionNotFound")
        return Answer()

    # Last: whatever else is asked of a repository, so that one that is not there is said not to be there.
    @_route("GET HEAD POST", f"{API}(?:/.*)?")
    @_route("GET HEAD", r"/(?P<id>[^/]+(?:/[^/]+)?)/resolve/.*")
    def anything(self, key: str) -> Answer:
        self.readable(key)
        raise Refusal(404, "Not Found")
