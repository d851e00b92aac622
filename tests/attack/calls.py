"""The calls of the fuzzer, each drawn from a seed and its number: every event, every route, and the connection."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import quote

from draws import MARKUP, Materials, body, headers, hostile, session, text, values

API = "/gradio_api"
WAYS = ("queue/join", "queue/join", "call", "call/v2", "run", "api", "dropped", "cancelled")  # to call an event
BROKEN = ("half a body", "half a head", "no length", "long length", "no HTTP", "long line", "many headers", "two hosts")


@dataclass(frozen=True)
class Target:
    """Something of the page that is called: an event, a route with a method, or the connection itself."""

    kind: str
    name: str
    about: Any = None


@dataclass(frozen=True)
class Call:
    """One try, whole: what is sent to which target."""

    number: int
    target: Target
    way: str
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    session: Any = None

    def __str__(self) -> str:
        sent = self.body if len(self.body) < 700 else self.body[:600] + b"... (%d bytes)" % len(self.body)
        return (
            f"{self.number} ({self.target.name}, {self.way}): {self.method} {self.path[:300]} {self.headers} {sent!r}"
        )


class Calls:
    """All calls of a seed.

    Args:
        config: The page's configuration.
        routes: The page's routes: what OpenAPI says of each method, by path.
        given: What calls may name.
        seed: Of all draws.
    """

    def __init__(self, config: dict[str, Any], routes: dict[str, Any], given: Materials, seed: int) -> None:
        self.given, self.seed = given, seed
        self.components = {one["id"]: one for one in config["components"]}
        self.targets = [
            *(Target("event", one["api_name"], one) for one in config["dependencies"]),
            *(
                Target("route", f"{method.upper()} {path}", (method.upper(), path, about))
                for path, methods in routes.items()
                for method, about in methods.items()
            ),
            *(Target("connection", name) for name in BROKEN),
            Target("form", "upload"),
        ]

    def call(self, number: int) -> Call:
        """The call of a number: targets come in rounds, each in an order of its own, so that none is forgotten."""
        turn, at = divmod(number, len(self.targets))
        order = Random(f"{self.seed} round {turn}").sample(self.targets, len(self.targets))
        return getattr(self, f"_{order[at].kind}")(Random(f"{self.seed} {number}"), number, order[at])

    def _event(self, random: Random, number: int, target: Target) -> Call:
        about, way = target.about, random.choice(WAYS)
        who = session(random, number, self.given)
        content: dict[str, Any] = {
            "data": values(random, [self.components[one] for one in about["inputs"]], self.given),
            "session_hash": who,
        }
        if way in ("queue/join", "dropped", "cancelled"):
            path = f"{API}/queue/join"
            content |= {"fn_index": about["id"], "trigger_id": None, "event_data": None}
        else:
            path = f"{API}/{way}/{about['api_name']}"
        if way == "call/v2" and isinstance(content["data"], list):
            content = {f"param_{place}": value for place, value in enumerate(content["data"])}
        if random.random() < 0.1:
            more = ("trigger_id", "event_data", "event_id", "batched", "simple_format", "fn_index", "oauth_token")
            content[random.choice(more)] = hostile(random, self.given)
        said = {"content-type": "application/json", **headers(random, self.given)}
        return Call(number, target, way, "POST", path, said, body(random, content), who)

    def _route(self, random: Random, number: int, target: Target) -> Call:
        method, path, about = target.about
        if random.random() < 0.15:
            method = random.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW"))
        safe = random.choice(("/:", ""))

        def odd() -> str:
            value = random.choice((text(random, self.given), "victim", "1", "compare", self.given.secret, "x"))
            return quote(value[:3000].encode("utf-8", "surrogatepass"), safe=safe)

        path = re.sub(r"{[^}]*}", lambda _: odd(), path)
        asked = [one["name"] for one in about.get("parameters", ()) if one["in"] == "query"]
        if asked := [name for name in (*asked, "__theme", "lape", "prompt") if random.random() < 0.6]:
            path += "?" + "&".join(f"{name}={odd()}" for name in asked)
        content: Any = {
            **{name: text(random, self.given) for name in ("session_hash", "event_id", "prompt", "code", "fn_name")},
            **{name: hostile(random, self.given) for name in ("data", "component_id", "username", "password")},
            "fn_index": random.choice((0, -1, 10**6, None)),
        }
        content = content if random.random() < 0.7 else hostile(random, self.given)
        said = {"content-type": "application/json", **headers(random, self.given)}
        sent = body(random, content) if method not in ("GET", "HEAD") else b""
        return Call(number, target, method, method, path, said, sent)

    def _form(self, random: Random, number: int, target: Target) -> Call:
        name = text(random, self.given)[:2000].encode("utf-8", "surrogatepass").replace(b'"', b"%22")
        content = random.choice((b"", b"x", MARKUP.encode(), b"\0" * 100_000, b"x" * 9_000_000))
        head = b'Content-Disposition: form-data; name="%s"; filename="%s"\r\n' % (
            random.choice((b"files", b"files", b"other")),
            name,
        )
        kind = random.choice((b"text/plain", b"text/html", b"image/svg+xml", b"x" * 9999))
        part = b"--b\r\n" + head + b"Content-Type: " + kind + b"\r\n\r\n" + content + b"\r\n"
        whole = part * random.choice((1, 1, 3, 40)) + random.choice((b"--b--\r\n", b""))
        return Call(
            *(number, target, "upload", "POST", f"{API}/upload"),
            {"content-type": random.choice(("multipart/form-data; boundary=b", "multipart/form-data", "text/html"))},
            whole,
        )

    def _connection(self, random: Random, number: int, target: Target) -> Call:
        content = b'{"data": [], "session_hash": "mallory", "fn_index": 0}'
        head = b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        sent = {
            "half a body": head + b"Content-Length: %d\r\n\r\n" % len(content) + content[: random.randrange(30)],
            "half a head": head[: random.randrange(5, len(head))],
            "no length": head + b"\r\n" + content,
            "long length": head + b"Content-Length: 99999999999999999999\r\n\r\n" + content,
            "no HTTP": random.randbytes(random.randrange(1, 2000)),
            "long line": b"GET /" + b"a" * random.randrange(70_000, 200_000) + b" HTTP/1.1\r\n\r\n",
            "many headers": head + b"X: y\r\n" * 5000 + b"\r\n",
            "two hosts": head + b"Host: evil.example\r\nContent-Length: %d\r\n\r\n" % len(content) + content,
        }[target.name]
        return Call(number, target, "raw", "", "", {}, sent)
