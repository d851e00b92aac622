"""The fuzzer: every event and every route of the served page, called with what no page sends.

The same seed and number give the same call, but for the names of uploaded files.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import httpx
from calls import API, Call, Calls
from draws import Materials
from served import SECRET, TOKEN, Served, served

from lape.demo.compare.request import DEFAULTS
from lape.demo.words import texts

PATIENCE_SECONDS = 60  # to the end of an answer
GLANCE_SECONDS = 0.3  # at an answer that may go on for ever
MEGABYTES = 700  # more memory than at the start; 250 sessions with their state take 200
LOG_BYTES = 2000  # of one call
OWN_503 = re.compile(r"[Qq]ueue is full|wait")  # a limit of the page, not a failure
LEAKS = {
    "the planted token is in an answer": TOKEN[:10],
    "a file of the server is in an answer": SECRET,
    "/etc/passwd is in an answer": "root:x:0:0",
    "a traceback is in an answer": "Traceback (most recent",
    "an event failed in a way nobody foresaw": "The log of the server says more",
}
TEMPLATE = str(texts()["en"]["said.failed"])
IDS = re.compile(r"[0-9a-f]{32}|position \d+")
MARKED = ("<script>fell(", "<img src=x onerror=fell(")


@dataclass(frozen=True)
class Answer:
    """What came back; the status is 0 where none did."""

    status: int
    type: str = ""
    text: str = ""
    ended: bool = True


class Fuzzer:
    """Makes calls of a served page and judges what comes back.

    Args:
        page: Where it is served.
        seed: Of all draws.
        bait: An address that the server must not call.
    """

    def __init__(self, page: Served, seed: int, bait: str) -> None:
        self.page = page
        self.http = httpx.Client(timeout=PATIENCE_SECONDS, base_url=page.url)
        own, others = (self._upload(name) for name in ("mine.txt", "theirs.txt"))
        given = Materials(page.url, str(page.secret), own, others, bait)
        self.calls = Calls(self.http.get("/config").raise_for_status().json(), page.ask("routes"), given, seed)

    def answer(self, call: Call) -> Answer:
        """Makes a call; of one whose answer has no end, reads the beginning."""
        if call.target.kind == "connection":
            return self._raw(call.body)
        try:
            begun = self._request(call, len(call.body) + 10**7)
            found = re.search(r'"event_id":\s*"(\w+)"', begun.text) if begun.status == 200 else None
            if call.target.kind != "event" or not found:
                return begun
            return self._followed(call, found[1])
        except (httpx.LocalProtocolError, httpx.InvalidURL, UnicodeEncodeError, ValueError):
            return Answer(0, "unsent")  # no client can send this
        except httpx.TimeoutException:
            return Answer(0, "no end", ended=False)
        except httpx.TransportError as error:
            return Answer(0, type(error).__name__)

    def faults(self, call: Call, answer: Answer, logged: str) -> Iterator[str]:
        """What is wrong with the answer to a call, and with what the server wrote meanwhile."""
        if answer.status >= 500 and not (answer.status == 503 and OWN_503.search(answer.text)):
            yield f"the answer is {answer.status}"
        if not answer.ended:
            yield "the answer has no end"
        told = answer.text.replace(TEMPLATE, "")  # the page's words are in its settings
        yield from (said for said, text in LEAKS.items() if text in told)
        shown = [answer.text] if answer.type.startswith("text/html") else self._html(call, answer.text)
        if any(mark in text for mark in MARKED for text in shown):
            yield "markup comes back as HTML"
        if "Traceback" in logged:
            last = re.findall(r"^[\w.]+(?:Error|Exception).*", logged, re.MULTILINE)
            yield f"a traceback is in the log: {IDS.sub('…', last[-1] if last else '')[:200]}"
        elif len(logged) > LOG_BYTES:
            yield "one call writes over 2 KB into the log"
        elif call.target.kind != "event" and logged.count("\n") > 1:
            yield "a call that no event answers writes more than a line into the log"
        yield from (
            f"the log holds the {name}" for name, text in (("token", TOKEN), ("secret", SECRET)) if text in logged
        )

    def good(self) -> str:
        """How a comparison ends that the page itself could ask for."""
        target = next(one for one in self.calls.targets if one.name == "compare")
        asked = vars(replace(DEFAULTS, prompt="Bonjour", max_new_tokens=2))
        content = json.dumps({"data": [*asked.values()]})
        said = {"content-type": "application/json"}
        return self.answer(Call(-1, target, "call", "POST", f"{API}/call/compare", said, content.encode())).text

    def _upload(self, name: str) -> str:
        (path,) = self.http.post(f"{API}/upload", files={"files": (name, b"Some text.")}).raise_for_status().json()
        return path

    def _request(self, call: Call, most: int) -> Answer:
        with self.http.stream(call.method, call.path, headers=call.headers, content=call.body) as answer:
            kind = answer.headers.get("content-type", "")
            if kind.startswith("text/event-stream"):  # it may go on for ever, or never begin
                answer.request.extensions["timeout"]["read"] = GLANCE_SECONDS
                with suppress(httpx.ReadTimeout):
                    return Answer(answer.status_code, kind, next(answer.iter_text(), ""))
                return Answer(answer.status_code, kind)
            return Answer(answer.status_code, kind, answer.read()[:most].decode(errors="replace"))

    def _followed(self, call: Call, event: str) -> Answer:
        """What an event that has begun gives, to its end or to where the call gives up."""
        who = call.session if isinstance(call.session, str) else ""
        path = f"{API}/queue/data?session_hash={quote(who.encode('utf-8', 'surrogatepass'))}"
        if not call.path.endswith("join"):
            path = f"{call.path}/{event}"
        said = ""
        with self.http.stream("GET", path) as answer:
            for line in answer.iter_lines():
                said += line + "\n"
                if call.way == "dropped" and line:
                    break
                if call.way == "cancelled" and line:
                    about = {"session_hash": who, "fn_index": call.target.about["id"], "event_id": event}
                    self.http.post(f"{API}/cancel", json=about)
                    break
                if '"msg":"process_completed"' in line and event in line:
                    break
        return Answer(answer.status_code, answer.headers.get("content-type", ""), said)

    def _raw(self, sent: bytes) -> Answer:
        host, port = self.page.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), PATIENCE_SECONDS) as connection:
            try:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                said = connection.recv(10_000)
            except OSError as error:
                return Answer(0, type(error).__name__)
        found = re.match(rb"HTTP/1.1 (\d+)", said)
        return Answer(int(found[1]) if found else 0, "raw", said.decode(errors="replace"))

    def _html(self, call: Call, said: str) -> list[str]:
        """The strings of an event's answer that the page shows as HTML: those of such components, and of errors."""
        if call.target.kind != "event":
            return []
        kinds = [self.calls.components[one]["type"] for one in call.target.about["outputs"]]
        found: list[str] = []
        for line in said.splitlines():
            try:
                message = json.loads(line.removeprefix("data: "))
            except (ValueError, RecursionError):
                continue
            output = message.get("output", message) if isinstance(message, dict) else {"data": message}
            if isinstance(output, dict):
                found += strings(output.get("error"))
                shown = output.get("data")
                shown = shown if isinstance(shown, list) else []
                found += strings([one for kind, one in zip(kinds, shown, strict=False) if kind == "html"])
        return found


def strings(value: Any) -> list[str]:
    """All strings in a value, which may be deeper than Python calls."""
    found, waiting = [], [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one
    return found


@contextmanager
def listening() -> Iterator[tuple[str, socket.socket]]:
    """An address that nobody should call, and the socket that hears whether somebody does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/bait", listener


def heard(listener: socket.socket) -> bool:
    """Whether somebody has called since the last time."""
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def remains(page: Served, fuzzer: Fuzzer) -> Iterator[str]:
    """What is wrong with a page when all calls are over."""
    if not page.alive:
        return
    if "complete" not in fuzzer.good():
        yield "a good comparison fails afterwards"
    if page.ask("hooks"):
        yield "hooks stay on the model"
    for path in page.around.rglob("*"):
        if path.is_file() and TOKEN.encode() in path.read_bytes():
            yield f"the planted token is in the file {path.name}"


def attack(seed: int = 0, minutes: float | None = None, tries: int | None = None) -> dict[str, Any]:
    """Fuzzes a page with a tiny model for some time or number of calls.

    Returns:
        How many calls of each kind and answers of each status there were, the memory, and what fell: each fault once
        with the first call that shows it and how many did.
    """
    with (
        TemporaryDirectory(prefix="lape-fuzz-") as folder,
        listening() as (bait, listener),
        served("tiny", Path(folder)) as page,
    ):
        fuzzer = Fuzzer(page, seed, bait)
        began, start = time.monotonic(), page.megabytes()
        kinds: Counter[str] = Counter()
        statuses: Counter[str] = Counter()
        faults: dict[str, dict[str, Any]] = {}
        most, read, fell, number, before = start, page.log.stat().st_size, 0, 0, ""
        for number in count():
            if number == tries or (minutes is not None and time.monotonic() - began > 60 * minutes):
                break
            call = fuzzer.calls.call(number)
            answer = fuzzer.answer(call)
            with page.log.open(errors="replace") as log:
                log.seek(read)
                logged, read = log.read(), log.tell()
            found = list(fuzzer.faults(call, answer, logged))
            if heard(listener):
                found.append("the server called an address that a visitor named")
            most = max(most, page.megabytes() if page.alive else 0)
            if most > start + MEGABYTES:
                found.append(f"the server holds over {MEGABYTES} MB more than at its start")
            if not page.alive:
                found.append("the server is dead")
            kinds[f"{call.target.kind}, {call.way}"] += 1
            statuses[str(answer.status or answer.type)] += 1
            fell += bool(found)
            for fault in found:
                named = fault if "log" in fault else f"{call.target.name}: {fault}"  # what one call breaks, many log
                shown = {"times": 0, "call": str(call), "before": before, "answer": answer.text[-500:]}
                shown["logged"] = logged[-LOG_BYTES:]
                faults.setdefault(named, shown)["times"] += 1
            if not page.alive:
                break
            before = str(call)
            if call.target.name in ("loading", "unloading"):
                page.ask("restore")
        after = list(remains(page, fuzzer))
        faults |= {fault: {"times": 1} for fault in after}
    return {
        **{"seed": seed, "tries": number, "seconds": round(time.monotonic() - began), "fell": fell + len(after)},
        "targets": dict(Counter(one.kind for one in fuzzer.calls.targets)),
        **{
            "kinds": dict(kinds),
            "statuses": dict(statuses),
            "megabytes": [round(start), round(most)],
            "faults": faults,
        },
    }
