"""The soak: eight clients at one page for long, with stops, drops, uploads, downloads and reloads."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import httpx
import psutil
from browsing import serve
from families import byte_tokenizer
from gradio_client import Client
from served import MASK, sizes
from tiny_page import tiny_loaded

from benchmarks.load import BACK_OFF_SECONDS, KINDS, WARM_UP, Run, Visitor, visited
from lape.demo.backend import Backend
from lape.demo.loaded import Loaded

MARGIN = 0.03  # of the memory after the warm-up
MEDIAN_SECONDS = 60  # of memory, around the warm-up's end and the end; of a short soak, a tenth
_OPENED = count()


class Guest(Visitor):
    """A visitor who also opens the page anew, brings files, takes files away, and calls the public endpoint."""

    beats: Any = None
    mask: bytes = b""  # of the page's own mask, to be brought

    @cached_property
    def client(self) -> Client:
        """Gradio's own client, with a session of its own."""
        return Client(self.url.removesuffix("/gradio_api"), verbose=False)

    def reloads(self) -> None:
        """Closes the page and opens it anew, as somebody else."""
        if self.beats is not None:
            self.beats.close()
        self.session = f"guest-{next(_OPENED)}"
        root = self.url.removesuffix("/gradio_api")
        self.http.get(root).raise_for_status()
        beats = self.http.build_request("GET", f"{self.url}/heartbeat/{self.session}")
        self.beats = self.http.send(beats, stream=True).raise_for_status()
        self.call("arrive", self.given("arrive"))

    def sent(self, name: str, content: bytes) -> list[dict[str, Any]]:
        """Uploads a file; gives what the page's script then passes to the event."""
        answer = self.http.post(f"{self.url}/upload", files={"files": (name, content)}).raise_for_status()
        return [{"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}} for path in answer.json()]

    def brings_mask(self) -> None:
        """Uploads a mask, compares with it, goes back to the start."""
        self.call("uploading", [self.sent(MASK, self.mask), ""])
        self.call("compare", self.comparison(2))
        self.call("starting_over", [])

    def brings_text(self) -> None:
        """Uploads a text to find neurons in."""
        values = self.given("unpacking")
        values[0] = self.sent("fr.txt", "Il était une fois une petite fille. ".encode() * 100)
        self.call("unpacking", values)

    def takes_run(self) -> None:
        """Generates, and exports the run."""
        before = self.outcome.refused
        self.generates()
        if self.outcome.refused > before:  # perhaps it was this one; the others count too
            return
        self.call("linking", self.given("linking"))
        self.call("export", [None])

    def takes_mask(self) -> None:
        """Finds neurons and downloads the zip."""
        self.reads(20)
        found = [message for message in self.updates("finding", [None]) if message["success"]]
        if not found:  # it was turned away
            return
        (path,) = {one["path"] for one in files(found[-1:])}
        self.http.get(f"{self.url}/file={path}").raise_for_status()
        self.call("restoring", [])

    def opens_sentences(self) -> None:
        """Measures sentence openings, and stops."""
        for number, _ in enumerate(self.updates("measure_openings", self.given("measure_openings"))):
            if number == 1:
                self.cancel("measure_openings")

    def asks(self) -> None:
        """Calls the public endpoint with gradio's client, once to the end, and once cancelled."""
        try:
            self.client.predict(*self.comparison(3), api_name="/compare")
        except httpx.HTTPStatusError as error:
            if error.response.status_code != 429:
                raise
            self.outcome.refused += 1
            time.sleep(BACK_OFF_SECONDS)
            return
        job = self.client.submit(*self.comparison(100), api_name="/compare")
        job.cancel()

    def acts(self, *arguments: Any) -> None:
        super().acts(*arguments)
        if "client" in vars(self):
            self.client.close()


def files(value: Any) -> Iterator[dict[str, Any]]:
    """All files in an answer."""
    if isinstance(value, dict) and "path" in value and "meta" in value:
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from files(one)


SOAKING = (
    *(Guest.reloads, *KINDS, Guest.brings_mask, Guest.takes_run, Guest.asks, Guest.reloads, Guest.brings_text),
    *(Guest.takes_mask, Guest.opens_sentences),
)


@dataclass
class Watch:
    """What is seen of the process from a thread.

    Attributes:
        seconds: How long the clients work.
        began: When they begin, on the clock of `time.monotonic`; None before.
        curve: Memory in MB by the second since then.
        held: What there is in the page's containers, after the warm-up and now.
    """

    seconds: float
    began: float | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)
    held: list[Counter[str]] = field(default_factory=list)

    def begin(self) -> None:
        """The clients begin; what was before is not looked at."""
        self.began = time.monotonic()

    def megabytes(self) -> tuple[float, float]:
        """The median of the memory after the warm-up, and in the end."""
        width, last = min(MEDIAN_SECONDS, self.seconds / 10), self.curve[-1][0]
        starts = WARM_UP * self.seconds, last - width
        warm, end = (median(size for at, size in self.curve if start <= at <= start + width) for start in starts)
        return warm, end


class TimedLock:
    """A lock that knows for how long it was held at most: a run may go on after its visitor has seen its end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since = 0.0
        self.longest_seconds = 0.0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Like that of `threading.Lock`."""
        if got := self._lock.acquire(blocking, timeout):
            self._since = time.monotonic()
        return got

    def release(self) -> None:
        """Like that of `threading.Lock`."""
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - self._since)
        self._lock.release()

    def locked(self) -> bool:
        """Like that of `threading.Lock`."""
        return self._lock.locked()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: Any) -> None:
        self.release()


@contextmanager
def watching(page: Any, backend: Backend, seconds: float) -> Iterator[Watch]:
    """Notes the memory once a second, and what is held when all are warm and in the end."""
    watch, over = Watch(seconds), threading.Event()

    def look() -> None:
        process = psutil.Process()
        while not over.wait(min(1.0, seconds / 30)):
            if watch.began is None:
                continue
            second = time.monotonic() - watch.began
            watch.curve.append((round(second, 1), process.memory_info().rss / 1e6))
            if not watch.held and second > WARM_UP * seconds:
                watch.held.append(held(page, backend))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
        watch.held.append(held(page, backend))


def held(page: Any, backend: Backend) -> Counter[str]:
    """How much is in the page's containers, and how many objects there are of each type."""
    gc.collect()
    objects = Counter(f"objects of {type(one).__qualname__}" for one in gc.get_objects())
    parts = {"app": page.app, "page": page, "queue": page._queue, "sessions": page.app.state_holder}
    return objects + Counter(sizes(**parts, visitors=backend.visitors)) + Counter({"threads": threading.active_count()})


def late(runs: list[Run], longest_seconds: float) -> list[Run]:
    """Runs that waited longer for their first update than the queue allows.

    That is as long as the longest run takes, for each one before it, for the one that runs, and for itself.
    """
    return [run for run in runs if run.wait_seconds > (run.ahead + 2) * longest_seconds]


def attack(seed: int = 0, minutes: float = 30, clients: int = 8, model: str = "embedded") -> dict[str, Any]:
    """Lets clients work at a page with the model `embedded` or `tiny`.

    Returns:
        What was done and what fell; the memory by the second, each wait, and what grew after the warm-up.
    """
    with TemporaryDirectory(prefix="lape-soak-") as folder, patch.dict(os.environ, {"GRADIO_TEMP_DIR": folder}):
        loaded = tiny_loaded(byte_tokenizer()) if model == "tiny" else Loaded.load(None)
        if model == "tiny":
            loaded.model.name_or_path = "nobody/tiny"
        backend, lock = Backend(loaded), TimedLock()
        backend.lock = lock  # type: ignore[assignment]
        mask = replace(loaded.known_mask, metadata={**loaded.known_mask.metadata, "model": loaded.name})
        mask.save(Path(folder) / "own")
        Guest.mask = (Path(folder) / "own" / MASK).read_bytes()
        seconds, began = 60 * minutes, time.monotonic()
        with serve(backend) as (page, url), watching(page, backend, seconds) as watch:
            outcome = visited(backend, page, url, clients, seconds, Guest, SOAKING, seed, watch.begin)
    warm, end = watch.megabytes()
    faults: dict[str, dict[str, Any]] = {said: {"times": times} for said, times in Counter(outcome.errors).items()} | {
        f"not so: {said}": {} for said, true in outcome.checks.items() if not true
    }
    longest = max(lock.longest_seconds, *(run.held_seconds for run in outcome.runs))
    faults |= {f"waited too long: {run}": {} for run in late(outcome.runs, longest)}
    if (growth := end / warm - 1) > MARGIN:
        faults[f"the memory grew by {growth:.1%} after the warm-up"] = {"megabytes": [warm, end]}
    before, after = watch.held
    return {
        **{"seed": seed, "clients": clients, "tries": sum(outcome.done.values()) + len(outcome.errors)},
        **{"fell": len(faults), "seconds": round(time.monotonic() - began), "refused": outcome.refused},
        "actions": dict(outcome.done),
        "wait_seconds": {"median": median(outcome.waits_seconds), "worst": max(outcome.waits_seconds)},
        "longest_run_seconds": longest,
        **{"megabytes": [warm, end], "growth": growth, "grew": dict((after - before).most_common(25))},
        "curve": watch.curve,
        "waits": [(round(run.began_seconds - began, 1), run.ahead, round(run.wait_seconds, 2)) for run in outcome.runs],
        "faults": faults,
    }
