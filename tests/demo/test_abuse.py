"""Every event of the page called over raw HTTP with what no page sends: a sentence each, and the app goes on."""

from __future__ import annotations

import html
import itertools
import json
import math
import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from browsing import serve
from gradio.utils import get_upload_folder
from tiny_page import tiny_loaded

import lape
from lape.demo.backend import Backend
from lape.demo.compare.request import DEFAULTS
from lape.demo.page import SESSIONS, Page, build_page

THREADS = 6
SHORT = replace(DEFAULTS, prompt="Bonjour", max_new_tokens=2)
PATIENCE_SECONDS = 60  # to the end of an answer
SECRET = "canary-3f9c1d"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>"
SENTENCE_CHARACTERS = 700
SERVER = (str(Path(lape.__file__).parents[1]), sys.prefix, get_upload_folder(), "site-packages", "Traceback")


def function_of(block_fn: Any) -> str:
    """Where the function of an event is written; of an event that happens in the browser, its name."""
    code = getattr(block_fn.fn, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else block_fn.api_name


EVENTS = build_page(Backend()).fns
FIRST = {function_of(one): number for number, one in reversed(EVENTS.items())}.values()
ALIKE = ("nothing", "markup")  # enough for one more event with the same function


def deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


@dataclass(frozen=True)
class Served:
    """The page, where it is, and a file it has no business with."""

    page: Page
    url: str
    backend: Backend
    http: httpx.Client
    secret: Path
    around: Path

    def hostile(self) -> dict[str, Any]:
        """What may come in the place of a value."""
        path = str(self.secret)
        return {
            "null": None,
            "huge": 10**400,
            "negative": -1,
            "not a number": math.nan,
            "infinite": -math.inf,
            "unknown": "xx",
            "markup": MARKUP,
            "half a character": "a\ud800b",
            "zero": "\0",
            "long": "é" * 20_000,
            "list": [[None], {}],
            "object": {"__type__": "update", "value": MARKUP},
            "deep": deep(150),
            "file": {"path": path, "meta": {"_type": "gradio.FileData"}},
            "files": [{"path": path, "orig_name": "../../x", "meta": {"_type": "gradio.FileData"}}],
            "address": {"url": f"file://{path}", "path": f"{self.url}/config", "meta": {"_type": "gradio.FileData"}},
            "path": path,
            "way out": f"../../../../../..{path}",
        }

    def post(self, route: str, content: str) -> httpx.Response:
        headers = {"content-type": "application/json"}
        return self.http.post(f"{self.url}/gradio_api/{route}", content=content, headers=headers)

    def call(self, event: str, data: Any) -> str:
        """All that is answered; an answer that does not end is an error here."""
        session = f"mallory-{threading.get_ident()}"
        begun = self.post(f"call/{event}", json.dumps({"data": data, "session_hash": session}))
        if begun.status_code != 200:
            assert begun.status_code < 500, begun.text[:300]
            return begun.text
        return self.http.get(f"{self.url}/gradio_api/call/{event}/{begun.json()['event_id']}").text

    def files(self) -> set[Path]:
        return set(self.around.rglob("*"))


@pytest.fixture(scope="module")
def app(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    around = tmp_path_factory.mktemp("around")
    secret = around / "secret.txt"
    secret.write_text(SECRET)
    backend = Backend(tiny_loaded(tokenizer))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_DEFAULT_CONCURRENCY_LIMIT", str(THREADS))  # for time; the model's events take turns
        patch.setenv("GRADIO_ANALYTICS_CACHE_FREQUENCY", "100000")  # else gradio sums up all events after each
        with serve(backend) as (page, url), httpx.Client(timeout=PATIENCE_SECONDS) as http:
            yield Served(page, url, backend, http, secret, around)


def given(block_fn: Any) -> list[Any]:
    """What the page itself would send, so that a bad value in one place meets good ones in the others."""
    if block_fn.api_name == "compare":
        return list(vars(SHORT).values())
    return [getattr(block, "value", None) for block in block_fn.inputs]


def attacks(app: Served, block_fn: Any) -> dict[str, list[Any]]:
    """Each bad value in every place at once; each place alone, with one bad value after the other."""
    hostile, good = app.hostile(), given(block_fn)
    found: dict[str, list[Any]] = {"nothing": [], "one more": [MARKUP] * (len(good) + 1), "many": [None] * 500}
    if good:
        found |= {name: [value] * len(good) for name, value in hostile.items()}
    for place, name in zip(range(len(good)), itertools.cycle(hostile), strict=False):
        found[f"{name} at {place}"] = [*good[:place], hostile[name], *good[place + 1 :]]
    return found


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def refusals(answer: str) -> Iterator[str]:
    """The sentences that say what was wrong."""
    *_, data = [line for line in answer.splitlines() if line]
    said = json.loads(data.removeprefix("data: "))
    if isinstance(said, dict) and isinstance(said.get("error"), str):
        yield html.unescape(said["error"])
    for text in strings(said):
        assert "<script" not in text
        assert "<img" not in text
        for shown in re.findall(r'<p class="lape-status lape-failed"[^>]*>(.*?)</p>', text, re.DOTALL):
            assert "<" not in shown
            yield html.unescape(shown)


def assert_harmless(app: Served, answer: str) -> None:
    assert answer.strip(), "the answer has no end"
    assert SECRET not in answer
    assert "__class__" not in answer
    for sentence in refusals(answer):
        assert sentence.strip()
        assert "\n" not in sentence.strip()
        assert len(sentence) < SENTENCE_CHARACTERS
        assert "Something failed" not in sentence, sentence
        assert "The model failed" not in sentence, sentence
        own = sentence.replace(str(app.secret), "")  # they may repeat what came
        assert not [text for text in SERVER if text in own], sentence


def assert_alive(app: Served) -> None:
    """A good comparison has its three columns."""
    answer = app.call("compare", list(vars(SHORT).values()))
    assert "event: complete" in answer
    assert {"on", "off", "steered:es"} <= json.loads(answer.splitlines()[-2].removeprefix("data: "))[0].keys()


@pytest.mark.parametrize("number", EVENTS, ids=[one.api_name for one in EVENTS.values()])
def test_an_event_answers_anything_with_a_sentence(app: Served, number: int, capfd: pytest.CaptureFixture[str]) -> None:
    block_fn, shared, before = app.page.fns[number], app.backend.visitors.shared, app.files()
    bad = attacks(app, block_fn)

    def attacked(kind: str) -> None:
        try:
            assert_harmless(app, app.call(block_fn.api_name, bad[kind]))
        except Exception as error:
            raise AssertionError(f"{block_fn.api_name}, {kind}: {error!r}") from error

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(attacked, bad if number in FIRST else bad.keys() & ALIKE))
    assert app.files() == before
    assert (app.backend.visitors.shared is shared) == (block_fn.api_name != "unloading")
    app.backend.visitors.shared = shared
    if number in FIRST:
        assert_alive(app)
    assert "Traceback" not in capfd.readouterr().err


def test_the_ways_past_the_queue_refuse_too(app: Served) -> None:
    hostile = app.hostile()
    for block_fn in (app.page.fns[number] for number in FIRST):
        for kind in ("markup", "files"):
            data = json.dumps({"data": [hostile[kind]] * len(block_fn.inputs), "session_hash": "mallory"})
            answer = app.post(f"run/{block_fn.api_name}", data)
            assert answer.status_code in (200, 404, 422), answer.text[:300]
            assert SECRET not in answer.text
    few = app.post("run/linking", json.dumps({"data": [MARKUP]}))
    assert (few.status_code, few.json()["error"]) == (422, f"linking takes {len(vars(DEFAULTS))} values, and 1 came.")
    assert_alive(app)


JOIN = {"data": [], "session_hash": "mallory"}
MISSHAPEN: list[tuple[str, Any]] = [
    ("queue/join", {**JOIN, "fn_index": 10**6}),
    ("queue/join", {**JOIN, "fn_index": -1}),
    ("queue/join", {**JOIN, "fn_index": MARKUP}),
    ("queue/join", JOIN),
    ("queue/join", {**JOIN, "fn_index": 0, "session_hash": {"a": 1}}),
    ("queue/join", {**JOIN, "fn_index": 0, "trigger_id": MARKUP}),
    ("queue/join", [JOIN]),
    ("call/nothing", {"data": []}),
    ("call/" + "x" * 5000, {"data": []}),
    ("call/..%2f..%2fetc", {"data": []}),
    ("call/compare", {"data": MARKUP}),
    ("call/compare", None),
    ("call/v2/nothing", {}),
    ("call/v2/compare", {"data": []}),
    ("run/nothing", {"data": []}),
    ("cancel", {"session_hash": "mallory", "fn_index": 10**6, "event_id": MARKUP}),
    ("reset", {"event_id": MARKUP}),
    ("stream/nothing", {"data": []}),
    ("component_server", {**JOIN, "component_id": 10**6, "fn_name": "ls"}),
    ("component_server", {**JOIN, "component_id": 3, "fn_name": "__init__"}),
]


@pytest.mark.parametrize(("route", "body"), MISSHAPEN, ids=lambda value: str(value)[:40])
def test_a_call_of_nothing_there_is_blames_the_call(
    app: Served, route: str, body: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = app.post(route, json.dumps(body))
    assert answer.status_code < 500
    assert not [text for text in SERVER if text in answer.text]
    assert "Traceback" not in capfd.readouterr().err


def test_sessions_without_end_do_not_fill_the_memory(app: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = app.page.app.state_holder
    assert holder.capacity == SESSIONS
    monkeypatch.setattr(holder, "capacity", most := len(holder.session_data) + 5)
    for number in range(10):
        answer = app.post("run/direction", json.dumps({"data": ["fr"], "session_hash": f"number {number}"}))
        assert answer.status_code == 200
    assert len(holder.session_data) == most


def test_ten_megabytes_are_refused_in_every_text(app: Served) -> None:
    long = "x" * 10_000_000
    for event in ("compare", "stream", "coloring", "measure_texts", "measure_openings"):
        block_fn = next(one for one in app.page.fns.values() if one.api_name == event)
        values = given(block_fn)
        places = [place for place, value in enumerate(values) if isinstance(value, str) and " " in value] or [0]
        place = 4 if event == "measure_texts" else places[0]
        answer = app.call(event, [*values[:place], long, *values[place + 1 :]])
        assert len(answer) < 50_000
        assert "10,000,000 characters" in "".join(refusals(answer)), event
    assert_alive(app)
