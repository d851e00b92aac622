"""The one model behind the page, and its lock: load, let go, compare."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch

from lape.demo.loaded import Loaded
from lape.demo.request import CompareRequest, checked
from lape.demo.space import gpu, on_space
from lape.errors import LapeError
from lape.evaluation.language import MIN_WIDTH, Identified, LanguageIdentifier, text_width
from lape.evaluation.repetition import LOOP_SHARE, repeated_share
from lape.generation import Finish, Update, side_by_side
from lape.presets import PRESETS, resolve_name

UPDATE_SECONDS = 0.125  # the page redraws about 8 times a second
COLUMNS = ("on", "off", "steered", "random")
_VERSIONS = itertools.count(1)


@dataclass(frozen=True)
class Column:
    """What one column shows at a moment.

    Attributes:
        text: The model's text so far.
        language: The language it is in.
        new_tokens: Tokens so far.
        tokens_per_second: Their rate since the generation began.
        repeats: Whether the text is a loop.
        finished: Why the column ended, or None while it goes on.
        off: Neurons that are off.
        on: Neurons that are switched on.
    """

    text: str
    language: Identified
    new_tokens: int
    tokens_per_second: float
    repeats: bool
    finished: Finish | None
    off: int
    on: int


class Backend:
    """The model behind the page; one comparison at a time, one model at a time.

    Args:
        loaded: The model and its mask; None begins without.
        failure: Why nothing is loaded.
    """

    def __init__(self, loaded: Loaded | None = None, failure: str = "") -> None:
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.failure = failure
        self._generate = gpu(self._updates)
        self._set(loaded)

    def _set(self, loaded: Loaded | None) -> None:
        self.loaded = loaded
        self.version = next(_VERSIONS)  # pages that show another one are out of date
        if loaded is not None and loaded.mask is not None:
            # Loading the classifiers takes a second, which the page need not wait for.
            with_classifier = ThreadPoolExecutor(1, thread_name_prefix="lape-language")
            self._identifier = with_classifier.submit(LanguageIdentifier, loaded.mask.languages)
            with_classifier.shutdown(wait=False)

    def close(self) -> None:
        """Ends what runs within a token, for good."""
        self.closing.set()

    def load(self, model: str | None, quantization: str | None = None) -> Loaded:
        """Loads a model and its mask in place of what is loaded, once that is free.

        What was loaded is let go first: there need not be memory for two.

        Raises:
            LapeError: It cannot be loaded, and then nothing is.
        """
        name = resolve_name(model)
        if on_space() and name not in {preset.model for preset in PRESETS}:
            raise LapeError(f"On this public page only the models of the menu load, not {name!r}.")
        with self.lock:
            self._unload()
            try:
                self._set(Loaded.load(model, quantization))
            except LapeError as error:
                self.failure = str(error)
                raise
            return self.ready()

    def unload(self) -> None:
        """Lets the model go and frees its memory, once it is free."""
        with self.lock:
            self._unload()

    def _unload(self) -> None:
        self.failure = ""
        self._set(None)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def change(self, make: Callable[[Loaded], Loaded]) -> Loaded:
        """Puts something made of what is loaded in its place, such as the model with another mask.

        Raises:
            LapeError: No model is loaded, or it cannot be made; what was loaded stays.
        """
        with self.lock:
            loaded = make(self.ready())
            self._set(loaded)
        return loaded

    def ready(self) -> Loaded:
        """What is loaded.

        Raises:
            LapeError: No model is; says why, or the way out.
        """
        if self.loaded is None:
            raise LapeError(f"No model is loaded. {self.failure or 'Choose one and press Load.'}")
        return self.loaded

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that have neurons; none without a mask."""
        return () if self.loaded is None or self.loaded.mask is None else self.loaded.mask.languages

    def request(self, values: dict[str, Any]) -> CompareRequest:
        """Checks untrusted values.

        Raises:
            LapeError: One of them is not what it should be.
        """
        loaded = self.ready()
        return checked(loaded.known_mask.languages, values, chat=loaded.chat)

    def compare(self, request: CompareRequest) -> Generator[dict[str, Column], None, None]:
        """Runs a request and streams its columns, about 8 times a second; the last state is always sent.

        Holds the model until it ends or is closed; closing ends the generation within a token.

        Raises:
            LapeError: The model cannot do it, such as a prompt longer than its context.
        """
        with self.lock:
            variants = self.ready().variants(request)
            changed = {
                name: (len(variant.off_neurons), len(variant.on_neurons)) if variant else (0, 0)
                for name, variant in variants.items()
            }
            updates = self._generate(request)
            try:
                for update in _throttled(updates):
                    yield {name: self._column(update, name, *changed[name]) for name in variants}
            finally:
                updates.close()

    def _updates(self, request: CompareRequest) -> Generator[Update | LapeError, None, None]:
        """What needs the GPU: on ZeroGPU this runs in another process, so an error of ours is sent as a value."""
        loaded = self.ready()
        try:
            with closing(
                side_by_side(
                    loaded.model,
                    loaded.tokenizer,
                    [{"role": "user", "content": request.prompt}] if request.chat else request.prompt,
                    loaded.variants(request),
                    max_new_tokens=request.max_new_tokens,
                    temperature=request.temperature,
                    top_p=request.top_p,
                    repetition_penalty=request.repetition_penalty,
                    seed=request.seed,
                    stop=self.closing,
                )
            ) as updates:
                yield from updates
        except LapeError as error:
            yield error

    def _column(self, update: Update, name: str, off: int, on: int) -> Column:
        text = update.texts[name]
        return Column(
            text=text,
            language=self.identify(text),
            new_tokens=update.new_tokens[name],
            tokens_per_second=update.new_tokens[name] / max(update.elapsed_seconds, 1e-6),
            repeats=repeated_share(text) > LOOP_SHARE,
            finished=update.finished[name],
            off=off,
            on=on,
        )

    def identify(self, text: str) -> Identified:
        """The language of a text; unknown when the mask's labels are not languages the classifier has."""
        try:
            # While the classifiers still load, the first words need not wait: too short for them in any case.
            return self._identifier.result().identify(text) if text_width(text) >= MIN_WIDTH else Identified(None)
        except LapeError:
            return Identified(None)


def _throttled(updates: Iterator[Update | LapeError]) -> Iterator[Update]:
    """Leaves out updates that come too soon after another, but never the last; raises an error that comes."""
    sent, pending = 0.0, None
    for update in updates:
        if isinstance(update, LapeError):
            raise update
        pending = update
        if time.monotonic() - sent >= UPDATE_SECONDS:
            yield update
            sent, pending = time.monotonic(), None
    if pending is not None:
        yield pending
