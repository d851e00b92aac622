"""Many visitors at once for a while: `python -m benchmarks.load [--clients 8] [--seconds 120]`.

Serves the real page with the embedded model on this machine and lets clients do what visitors do, until the time is
over: compare, stop, go away in the middle, colour a text, choose other neurons and go back, measure, find. Prints what
was done, what failed, how long they waited, and whether the model is as it was before: no hook, the same bits, the
lock free, no more memory.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from statistics import median

import httpx
import psutil
import torch

from lape.demo.backend import Backend
from lape.demo.compare.request import DEFAULTS
from lape.demo.find.finding import MOST_LANGUAGES
from lape.demo.loaded import Loaded
from lape.demo.page import Page, build_page, launch
from lape.generation.interventions import Intervention, intervene
from lape.models.architectures import activation_sites

WARM_UP = 0.25  # of the time
MEMORY_MARGIN = 0.10  # of what is in use after the warm-up
FREE_SECONDS = 5.0  # until the model is free again once its visitor has gone; a token takes a fraction
BACK_OFF_SECONDS = 1.0  # of a client who was turned away, before it does anything else
PATIENCE_SECONDS = 300  # of a client for its turn
ROWS = 3
FULL = "Queue is full"
_SESSIONS = itertools.count()


@dataclass(frozen=True)
class Run:
    """A call that was answered.

    Attributes:
        event: Its name.
        began_seconds: When, on the monotonic clock.
        ahead: How many waited in its queue before it.
        wait_seconds: From the call to its first update.
        held_seconds: From the beginning of its work to the end, or to where the client gave it up.
    """

    event: str
    began_seconds: float
    ahead: int
    wait_seconds: float
    held_seconds: float


@dataclass
class Outcome:
    """What has happened so far; clients add to it from their threads.

    Attributes:
        done: Actions by kind.
        refused: Calls that were turned away because the queue was full, or the visitor's share of it.
        errors: What went wrong, by kind.
        runs: Calls that were answered.
        freed_seconds: From going away to the model being free.
        memory_bytes: In use after the warm-up, half-way, and in the end.
        checks: What must be true of the model in the end.
    """

    done: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    errors: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    freed_seconds: float = 0.0
    memory_bytes: list[int] = field(default_factory=list)
    checks: dict[str, bool] = field(default_factory=dict)

    @property
    def waits_seconds(self) -> list[float]:
        """Of all runs, from the call to its first update."""
        return [run.wait_seconds for run in self.runs]

    @property
    def growth(self) -> float:
        """Of the memory from the warm-up to the end, as a share."""
        return self.memory_bytes[-1] / self.memory_bytes[0] - 1

    def lines(self) -> Iterator[str]:
        """What is printed."""
        yield f"actions: {sum(self.done.values())}: " + ", ".join(
            f"{kind} {n}" for kind, n in sorted(self.done.items())
        )
        yield f"errors: {len(self.errors)}; refused in a sentence because the queue was full: {self.refused}"
        waits = self.waits_seconds
        yield f"wait for the first update: median {median(waits):.2f} s, worst {max(waits):.2f} s"
        sizes = ", ".join(f"{size / 1e6:.0f} MB" for size in self.memory_bytes)
        yield f"memory after warm-up, half-way, at the end: {sizes}: {self.growth:+.1%} (margin {MEMORY_MARGIN:.0%})"
        yield f"a visitor who goes away frees the model after: {self.freed_seconds:.2f} s"
        yield from (f"{what}: {'yes' if true else 'NO'}" for what, true in self.checks.items())
        yield from self.errors


class Visitor:
    """A client that does one thing after the other, each of them what the page itself would send.

    Args:
        page: The page that is served.
        url: Where.
        outcome: What has happened.
        seed: Of what it does.
    """

    def __init__(self, page: Page, url: str, outcome: Outcome, seed: int) -> None:
        self.events = {one.api_name: one for one in page.fns.values()}
        self.url, self.outcome = f"{url}/gradio_api", outcome
        self.chance = random.Random(seed)
        self.session = f"visitor-{next(_SESSIONS)}"
        self.http = httpx.Client(timeout=PATIENCE_SECONDS)
        self.languages = list(self.events["stream"].inputs[3].choices)

    def given(self, event: str) -> list:
        """What stands in the inputs of an event on a page just opened."""
        return [getattr(block, "value", None) for block in self.events[event].inputs]

    def updates(self, event: str, values: list) -> Iterator[dict]:
        """Calls an event as the page does and gives its messages; closing it closes the connection."""
        body = {"fn_index": self.events[event]._id, "data": values, "session_hash": self.session}
        begun = self.http.post(f"{self.url}/queue/join", json=body)
        if begun.status_code == 429 or (begun.status_code == 503 and FULL in begun.text):
            self.outcome.refused += 1
            time.sleep(BACK_OFF_SECONDS)
            return
        begun.raise_for_status()
        self.event = begun.json()["event_id"]
        ahead, wait, began = 0, None, time.monotonic()
        started = began
        with self.http.stream("GET", f"{self.url}/queue/data", params={"session_hash": self.session}) as answer:
            try:
                for line in answer.iter_lines():
                    if not line.startswith("data: "):
                        continue
                    message = json.loads(line.removeprefix("data: "))
                    if message["msg"] == "estimation":
                        ahead = max(ahead, message["rank"])
                    if message["msg"] == "process_starts":
                        started = time.monotonic()
                    if message["msg"] in ("process_generating", "process_completed"):
                        wait = time.monotonic() - began if wait is None else wait
                        yield message
                    if message["msg"] == "process_completed":
                        return
            finally:
                if wait is not None:
                    self.outcome.runs.append(Run(event, began, ahead, wait, time.monotonic() - started))

    def call(self, event: str, values: list, said: str = "") -> None:
        """Calls an event to its end, which must be a good one: one that says something, or nothing of a failure."""
        for message in self.updates(event, values):
            shown = json.dumps(message.get("output"))
            if not message["success"] or ("lape-failed" in shown and (not said or said not in shown)):
                raise AssertionError(f"{event}: {shown[max(shown.find('lape-failed'), 0) :][:300]}")

    def comparison(self, tokens: int) -> list:
        """Values of a comparison with settings by chance."""
        codes = [code for _, code in self.languages]
        source, *targets = self.chance.sample(codes, 3)
        changed = {
            "prompt": self.chance.choice(("Il était une fois", "Había una vez", "When I opened")),
            "source": source,
            "targets": targets[: self.chance.randint(1, 2)],
            "mode": self.chance.choice(("replace", "add", "scale")),
            "temperature": self.chance.choice((0.0, 0.8)),
            "max_new_tokens": tokens,
            "show_random": self.chance.random() < 0.3,
        }
        return list((vars(DEFAULTS) | changed).values())

    def compares(self) -> None:
        """Runs the endpoint."""
        self.call("compare", self.comparison(self.chance.randint(2, 6)))

    def generates(self) -> None:
        """Presses Generate."""
        self.call("compare_busy", [None, None, False, *self.comparison(3)])
        self.call("stream", [None, None, *self.comparison(self.chance.randint(2, 6))])

    def stops(self) -> None:
        """Presses Stop in the middle of a long run."""
        for number, _ in enumerate(self.updates("stream", [None, None, *self.comparison(200)])):
            if number == 0:
                self.cancel("stream")

    def cancel(self, event: str) -> None:
        """Ends the event that runs, as a Stop button of the page does."""
        body = {"session_hash": self.session, "fn_index": self.events[event]._id, "event_id": self.event}
        self.http.post(f"{self.url}/cancel", json=body).raise_for_status()

    def leaves(self) -> None:
        """Closes the page in the middle of a long run, and comes back as somebody else."""
        updates = self.updates("compare", self.comparison(200))
        next(updates, None)
        updates.close()
        self.session = f"visitor-{next(_SESSIONS)}"

    def colors(self) -> None:
        """Has a text coloured."""
        self.call("coloring", ["Il était une fois. Había una vez."])

    def chooses(self) -> None:
        """Moves a slider, compares with these neurons, goes back to the start."""
        values = self.given("identifying")
        values[3] = self.chance.choice((0.01, 0.02, 0.05))
        self.call("identifying", values)
        self.call("coloring", ["Bonjour tout le monde"])
        self.call("resetting", [])

    def measures(self) -> None:
        """Measures a short text."""
        values = self.given("measure_texts")
        values[len(values) // 2] = "Il était une fois une petite fille qui vivait dans un village au bord de la mer."
        self.call("measure_texts", values)

    def finds(self) -> None:
        """Finds neurons in two short texts and goes back to the start."""
        self.reads(20)
        self.call("finding", [None], said="now in use in every tab")
        self.call("restoring", [])

    def reads(self, times: int) -> None:
        """Pastes two texts to find neurons in, each a sentence so many times."""
        self.call("preparing", [])
        values = self.given("fetching")
        texts = ("Il était une fois une petite fille. " * times, "Había una vez un viejo pescador. " * times)
        labels, rows = len(values) - 2 * MOST_LANGUAGES, len(values) - MOST_LANGUAGES
        values[labels - 4 : labels] = (0.1, 0.1, 0.1, 0.5)  # rates at which every model has some neurons
        values[labels : labels + 2], values[rows : rows + 2] = ("fr", "es"), texts
        self.call("fetching", values)

    def acts(self, kinds: itertools.cycle, over: Callable[[], bool]) -> None:
        """Does one thing after the other until the time is over."""
        while not over():
            action = next(kinds)
            try:
                action(self)
                self.outcome.done[action.__name__] += 1
            except Exception as error:
                self.outcome.errors.append(f"{action.__name__}: {type(error).__name__}: {str(error)[:400]}")
        self.http.close()


KINDS = (
    *(Visitor.compares, Visitor.stops, Visitor.generates, Visitor.leaves, Visitor.colors, Visitor.chooses),
    *(Visitor.compares, Visitor.leaves, Visitor.measures, Visitor.stops, Visitor.finds),
)


def visited(
    backend: Backend,
    page: Page,
    url: str,
    clients: int,
    seconds: float,
    visitor: type[Visitor] = Visitor,
    kinds: Sequence[Callable[..., None]] = KINDS,
    seed: int = 0,
    begun: Callable[[], None] = lambda: None,
) -> Outcome:
    """Lets clients use a served page for a while, and looks at the model afterwards.

    Args:
        backend: Of the page.
        page: The page.
        url: Where it is served.
        clients: How many at once.
        seconds: For how long they begin something new.
        visitor: What the clients are.
        kinds: What they do.
        seed: Of what they choose.
        begun: Called when everything has been done once and the clients begin.
    """
    outcome, before = Outcome(), _logits(backend)
    warm = visitor(page, url, Outcome(), seed=-1)
    for action in dict.fromkeys(kinds):
        action(warm)
    begun()
    end = time.monotonic() + seconds
    visitors = [visitor(page, url, outcome, seed * clients + place) for place in range(clients)]
    firsts = [place * len(kinds) // clients for place in range(clients)]  # apart, so that all is done soon
    threads = [
        threading.Thread(
            target=one.acts,
            args=(itertools.cycle([*kinds[first:], *kinds[:first]]), lambda: time.monotonic() > end),
        )
        for first, one in zip(firsts, visitors, strict=True)
    ]
    for thread in threads:
        thread.start()
    for _ in range(2):  # until all are warm, and until the middle of what is left
        time.sleep(WARM_UP * seconds if not outcome.memory_bytes else (1 - WARM_UP) / 2 * seconds)
        outcome.memory_bytes.append(_memory_bytes())
    for thread in threads:
        thread.join()
    outcome.freed_seconds = _freed_seconds(backend, visitor(page, url, outcome, seed=clients))
    outcome.memory_bytes.append(_memory_bytes())
    outcome.checks = _checks(backend, outcome, before)
    return outcome


def _memory_bytes() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def _freed_seconds(backend: Backend, visitor: Visitor) -> float:
    """How long the model stays busy once its only visitor has closed the connection."""
    visitor.leaves()
    began = time.perf_counter()
    free = backend.lock.acquire(timeout=60)
    if free:
        backend.lock.release()
    return time.perf_counter() - began


def _logits(backend: Backend, plan: list[Intervention | None] | None = None) -> torch.Tensor:
    """Of one prompt in a few rows, on the bare model or with an intervention in some rows."""
    loaded = backend.ready()
    ids = loaded.tokenizer([DEFAULTS.prompt] * ROWS, return_tensors="pt").input_ids.to(loaded.model.device)
    with torch.no_grad(), intervene(loaded.model, plan) if plan else nullcontext():
        return loaded.model(ids).logits


def _checks(backend: Backend, outcome: Outcome, before: torch.Tensor) -> dict[str, bool]:
    """What must be true when all have gone.

    Args:
        backend: Of the page.
        outcome: What has happened.
        before: The bare model's logits at the start.
    """
    loaded, free = backend.ready(), not backend.lock.locked()
    source, target, *_ = loaded.known_mask.languages
    off = Intervention(loaded.known_mask, off=source)
    with backend.lock:  # else a run that is about to end still has its hooks
        hooks = [module for module in activation_sites(loaded.model).modules if module._forward_hooks]
        bare, beside = _logits(backend), _logits(backend, [None, off, replace(off, on=target)])
    return {
        "no error": not outcome.errors,
        "no hook is left": not hooks,
        "the bare model gives the bits it gave before": torch.equal(bare, before),
        "row on, beside off and steered, has the same bits": torch.equal(beside[0], before[0]),
        "the rows beside it do not": not any(torch.equal(beside[row], before[row]) for row in (1, 2)),
        "the lock is free": free,
        f"the model is free within {FREE_SECONDS:.0f} s": outcome.freed_seconds < FREE_SECONDS,
        f"memory is flat within {MEMORY_MARGIN:.0%}": outcome.growth < MEMORY_MARGIN,
    }


def main() -> None:
    """Runs it on the embedded model; ends with 1 when something is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=120)
    asked = parser.parse_args()
    backend = Backend(Loaded.load(None))
    page = build_page(backend)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        outcome = visited(backend, page, launch(page, port), asked.clients, asked.seconds)
    finally:
        page.close(verbose=False)
    print(f"{asked.clients} clients, {asked.seconds:.0f} s")
    print("\n".join(outcome.lines()))
    if not all(outcome.checks.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
