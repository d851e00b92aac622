"""Who is answered on which page: its owner alone on a loopback address, strangers by the rules of a public Space."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from browsing import serve
from hub_standin import WRITE, Hub
from tiny_page import tiny_loaded

from lape.demo import uploads
from lape.demo.backend import Backend
from lape.demo.compare.request import DEFAULTS
from lape.demo.masks.listing import HERE
from lape.demo.page import rules, start
from lape.demo.reach import OWN, SHARED, address_of, is_foreign, is_forwarded
from lape.demo.turns import PLACES_OF_A_PAGE, PLACES_OF_AN_ADDRESS
from lape.demo.uploads import Quota

EVIL = "evil.example.org"
TUNNEL = {"x-forwarded-for": "93.184.216.34", "x-forwarded-proto": "https"}


@pytest.fixture
def backend(tokenizer: Any) -> Backend:
    return Backend(tiny_loaded(tokenizer))


@pytest.fixture
def page(backend: Backend) -> Iterator[Page]:
    with serve(backend) as (_, url), httpx.Client(timeout=60) as http:
        yield Page(url, http)


@pytest.fixture(scope="module")
def untouched(tokenizer: Any) -> Iterator[Page]:
    """The page, for tests that change nothing of it."""
    with serve(Backend(tiny_loaded(tokenizer))) as (_, url), httpx.Client(timeout=60) as http:
        yield Page(url, http)


class Page:
    """The page over raw HTTP."""

    def __init__(self, url: str, http: httpx.Client) -> None:
        self.url, self.http = url, http
        self.events = {one["api_name"]: one["id"] for one in http.get(f"{url}/config").json()["dependencies"]}

    def join(self, event: str, *values: Any, session: str | None = "ann", **headers: str) -> httpx.Response:
        body = {"fn_index": self.events[event], "data": values, "session_hash": session}
        return self.http.post(f"{self.url}/gradio_api/queue/join", json=body, headers=named(headers))

    def said(self, event: str, *values: Any, **headers: str) -> str:
        """All that is sent until the event has ended."""
        self.join(event, *values, session="ann", **headers).raise_for_status()
        query = {"session_hash": "ann"}
        return self.http.get(f"{self.url}/gradio_api/queue/data", params=query, headers=named(headers)).text

    def upload(self, *sizes: int, **headers: str) -> httpx.Response:
        files = [("files", (f"{at}.txt", bytes([at]) * size)) for at, size in enumerate(sizes)]
        return self.http.post(f"{self.url}/gradio_api/upload", files=files, headers=named(headers))


def named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


# Whose calls are answered


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({"host": "localhost:7860"}, False),
        ({"host": "127.0.0.1:7860"}, False),
        ({"host": "[::1]:7860", "origin": "http://localhost:7860"}, False),
        ({"host": "LOCALHOST.", "origin": "http://127.0.0.1:3000"}, False),
        ({}, True),
        ({"host": EVIL}, True),
        ({"host": f"localhost.{EVIL}"}, True),
        ({"host": "127.0.0.1.nip.io:7860"}, True),
        ({"host": "[::1"}, True),
        ({"host": "0.0.0.0:7860"}, True),
        ({"host": "localhost:7860", "origin": f"https://{EVIL}"}, True),
        ({"host": "localhost:7860", "origin": "null"}, True),
        # A tunnel that hands its visitor's page on: the browser sees one origin.
        ({"host": "localhost:7860", "origin": f"https://{EVIL}", "x-forwarded-host": EVIL}, False),
        ({"host": EVIL, "origin": f"https://{EVIL}", "x-forwarded-host": EVIL}, True),
    ],
)
def test_only_calls_for_this_machine_are_its_own(headers: dict[str, str], foreign: bool) -> None:
    assert is_foreign(headers) is foreign


def test_a_visitor_cannot_choose_its_address() -> None:
    assert address_of("93.184.216.34", "1.1.1.1") == "93.184.216.34"
    assert address_of("10.0.0.7", "6.6.6.6, 93.184.216.34, 10.0.0.2") == "93.184.216.34"
    assert address_of("10.0.0.7", "unknown, ,<script>") == "10.0.0.7"
    assert address_of("", "") == ""
    assert is_forwarded({"via": "1.1 proxy"})
    assert not is_forwarded({"x-other": "1"})


def test_foreign_hosts_and_pages_are_refused_on_loopback(page: Page, backend: Backend) -> None:
    for headers in ({"host": EVIL}, {"origin": f"http://{EVIL}"}, {"origin": "null"}):
        for answer in (
            page.http.get(page.url, headers=headers),
            page.http.get(f"{page.url}/config", headers=headers),
            page.join("compare", **headers),
            page.upload(10, **headers),
        ):
            assert answer.status_code == 421
            assert answer.text.startswith("This page answers only calls to localhost")
    assert page.http.get(page.url, headers={"host": "localhost"}).status_code == 200
    assert not backend.shared


def test_a_tunnel_makes_the_page_shared_before_its_first_call_is_answered(
    page: Page, backend: Backend, hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITE)
    push = [HERE, "HuggingFaceTB/SmolLM2-135M-Instruct lape", "org/stolen", "", False, False]
    said = page.said("sharing", *push, None, x_forwarded_for="93.184.216.34")
    assert "Others reach this page, so nothing is pushed from it." in said
    assert backend.shared
    assert [request for request in hub.requests if request[0] != "GET"] == []
    assert "org/stolen" not in hub.repos
    assert "nothing is pushed from it" in page.said("sharing", *push, None)  # and it stays so
    assert "model stays loaded" in page.said("unloading")
    assert [record.getMessage() for record in caplog.records if record.name == "lape.demo.gate"] == [
        f"A proxy handed a call on. {SHARED}"
    ]
    assert backend.ready()


def test_the_rules_are_those_of_where_the_page_is_reached(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lape.demo.loaded.Loaded.load", lambda *_: tiny_loaded(tokenizer))
    monkeypatch.delenv("SPACE_ID", raising=False)
    for name, share, shared in (
        ("127.0.0.1", False, False),
        ("localhost", False, False),
        ("::1", False, False),
        ("127.0.0.1", True, True),
        ("0.0.0.0", False, True),
        ("192.168.1.7", False, True),
    ):
        monkeypatch.setenv("GRADIO_SERVER_NAME", name)
        backend = start(None, share=share)
        assert backend.shared is shared
        assert rules(backend) == (SHARED if shared else OWN)
    monkeypatch.delenv("GRADIO_SERVER_NAME")
    monkeypatch.setenv("SPACE_ID", "org/space")
    assert start(None).shared


# What one visitor may take


def test_one_page_and_one_network_have_a_share_of_the_queue(page: Page, backend: Backend) -> None:
    values = list(vars(replace(DEFAULTS, prompt="Bonjour", max_new_tokens=2)).values())
    with backend.lock:  # nothing that needs the model ends
        mine = [page.join("compare", *values) for _ in range(PLACES_OF_A_PAGE + 1)]
        assert [answer.status_code for answer in mine] == [200] * PLACES_OF_A_PAGE + [429]
        assert mine[-1].json()["detail"] == "4 of your runs wait or run already; wait for one to end, or stop it."
        others = [page.join("compare", *values, session=f"other-{at}") for at in range(PLACES_OF_AN_ADDRESS)]
        assert [answer.status_code for answer in others].count(429) == PLACES_OF_A_PAGE
        assert others[-1].json()["detail"].startswith("10 runs from your network wait or run already")
        elsewhere = page.join("compare", *values, session="eve", x_forwarded_for="93.184.216.34")
        assert elsewhere.status_code == 200


def test_a_network_has_so_many_uploads_and_the_page_too(
    page: Page, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "OF_AN_ADDRESS", 3)
    monkeypatch.setattr(uploads, "BYTES_OF_AN_ADDRESS", 50_000)
    monkeypatch.setattr(uploads, "BYTES_OF_ALL", 85_000)
    for _ in range(4):
        assert page.upload(10_000).status_code == 200  # the owner's machine is the owner's
    backend.shared = True
    first = page.upload(11, 12, **TUNNEL)
    assert first.status_code == 200
    assert page.upload(50_000, **TUNNEL).status_code == 429  # too many bytes
    assert page.upload(13, **TUNNEL).status_code == 200
    refused = page.upload(14, **TUNNEL)
    assert refused.status_code == 429
    assert refused.text == (
        "At most 3 files of 0 MB together are kept for your network. They are deleted after 60 minutes."
    )
    other = page.upload(40_000, x_forwarded_for="1.1.1.1")
    assert other.status_code == 200
    full = page.upload(49_500, x_forwarded_for="8.8.8.8")
    assert (full.status_code, full.text.partition(".")[0]) == (429, "The page keeps no more files now")
    for path in (*first.json(), *other.json()):
        Path(path).unlink()
    assert page.upload(15, **TUNNEL).status_code == 200  # what is gone does not count


def test_room_is_held_while_a_file_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "BYTES_OF_AN_ADDRESS", 100)
    quota = Quota()
    with quota.room("a", 60) as first, quota.room("a", 60) as second, quota.room("b", 60) as other:
        assert (first, other) == ("", "")
        assert second.startswith("At most 48 files")
    with quota.room("a", 60) as again:
        assert again == ""


def test_an_upload_says_how_long_it_is(page: Page, backend: Backend) -> None:
    backend.shared = True
    answer = page.http.post(f"{page.url}/gradio_api/upload", content=iter([b"x"]))
    assert (answer.status_code, answer.text) == (411, "Say how long the upload is (Content-Length).")


# What others see


@pytest.mark.parametrize(
    "path",
    [
        "/monitoring",
        "/monitoring/summary",
        "/monitoring/key",
        "/gradio_api/deep_link?session_hash=ann",
        "/gradio_api/proxy=https://org-space.hf.space/x",
        "/gradio_api/stream/a/b/1/playlist.m3u8",
        "/gradio_api/vibe-code",
        "/gradio_api/runs",
        f"/static/{'a' * 300}",
        f"/gradio_api/file={'ä' * 200}",
        "/gradio_api/run-history/records",
        "/gradio_api/queue/data?session_hash=",
        "/gradio_api/queue/data?session_hash=%ED%A0%80",
        "/gradio_api/heartbeat/a%0Ab",
    ],
)
def test_nobody_reads_what_others_do(untouched: Page, path: str, capfd: pytest.CaptureFixture[str]) -> None:
    untouched.join("compare", session="victim")
    answer = untouched.http.get(untouched.url + path)
    assert (answer.status_code, answer.text) == (404, "This page has no such address.")
    assert "onitoring" not in capfd.readouterr().out


@pytest.mark.parametrize("path", ["queue/data?session_hash=nobody", "call/compare/nothing"])
def test_an_unknown_session_or_event_writes_one_line(
    untouched: Page, path: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = untouched.http.get(f"{untouched.url}/gradio_api/{path}")
        time.sleep(0.5)
    assert len(answer.text) < 300
    written = [record.getMessage() for record in caplog.records if record.exc_info is None]
    assert [record for record in caplog.records if record.exc_info] == []
    assert len(written) == 1
    assert len(written[0].splitlines()) == 1
    assert len(written[0]) < 200
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("session", ["", "a\ud800b", "a b", "x" * 65, "../x"])
def test_a_session_has_a_plain_name(untouched: Page, session: str, capfd: pytest.CaptureFixture[str]) -> None:
    body = json.dumps({"fn_index": untouched.events["compare"], "data": [], "session_hash": session})
    answer = untouched.http.post(
        f"{untouched.url}/gradio_api/queue/join", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("A session is named with 1 to 64")
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("body", ["Infinity", '{"a\\ud800b": null}', '{"event_id": NaN}', "[]", "{"])
def test_a_call_of_another_shape_is_refused_in_a_sentence(
    untouched: Page, body: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for route in ("reset", "call/compare", "queue/join", "cancel"):
        answer = untouched.http.post(
            f"{untouched.url}/gradio_api/{route}", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 422
        assert answer.json()["detail"] == "This call is not of the form that the page's API has."
    assert "Traceback" not in "".join(capfd.readouterr())
