"""The one model behind the page, and its lock: load, let go, run."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from lape.demo.loaded import Loaded
from lape.demo.space import gpu, on_space
from lape.demo.status import sentences
from lape.demo.visitors import Visitors
from lape.demo.words import say
from lape.errors import LapeError, ModelUnavailable
from lape.models.loading import find_model
from lape.models.machine import give_back_memory
from lape.models.presets import PRESETS, resolve_name

WAITING_SECONDS = 0.2
Work = Callable[..., Generator[Any, None, None]]


class Backend:
    """The model behind the page, and what each visitor does with it.

    There is one model at a time and one use of it at a time. A visitor is named by the session of a page; "" is
    nobody in particular.

    Args:
        loaded: The model and its mask; None begins without.
        failure: Why nothing is loaded.
        shared: Whether others than the owner reach the page, so that the rules of a public Space hold: only the models
            of the menu and the collections named by the owner, no folder of this machine, no unloading, no push with
            the owner's token, less text in a run. Once it is, it stays so.
        cpu_form: As for `load_model`, of every model.
    """

    def __init__(
        self, loaded: Loaded | None = None, failure: str = "", shared: bool = False, cpu_form: str = "auto"
    ) -> None:
        self.shared = shared or on_space()
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.failure = failure
        self.cpu_form = cpu_form
        self.visitors = Visitors(loaded)
        self._work = gpu(self._working)

    @property
    def loaded(self) -> Loaded | None:
        """What is loaded, as everybody begins with it."""
        return self.visitors.shared.loaded

    def close(self) -> None:
        """Ends what runs within a token, for good."""
        self.closing.set()

    def load(self, model: str | None, quantization: str | None = None) -> Loaded:
        """Loads a model and its mask in place of what is loaded, once that is free.

        What is loaded stays until the other is found to be there, allowed and small enough; where memory holds both,
        until the other is loaded.

        Raises:
            LapeError: It cannot be loaded; what was loaded is in place.
        """
        name = resolve_name(model)
        if self.shared and name not in {preset.model for preset in PRESETS}:
            raise LapeError(say("said.only_the_menu", model=repr(name)))
        with self.lock:
            make_room = self.loaded is not None and not self._fits_beside(model, quantization)
            put_back = self._let_go() if make_room else None
            try:
                self.visitors.share(Loaded.load(model, quantization, None, self.cpu_form))
            except Exception as error:
                self.failure = str(error)  # shown while nothing is loaded
                if put_back is not None:
                    self.visitors.share(put_back())
                raise
            self.failure = ""
            _free_memory()
            return self.ready()

    def _fits_beside(self, model: str | None, quantization: str | None) -> bool:
        """Whether a model can be loaded while another is, as well as if that had been let go.

        Raises:
            LapeError: It cannot be loaded in the other's place either.
        """
        found = partial(find_model, model, quantization=quantization, cpu_form=self.cpu_form)
        alone = found(in_place_of=self.ready().model)
        try:
            return found().placement == alone.placement
        except ModelUnavailable:
            return False

    def unload(self) -> None:
        """Lets the model go and frees its memory, once it is free.

        Raises:
            LapeError: The page is shared: a visitor would take the model from all others.
        """
        if self.shared:
            raise LapeError(say("said.stays_loaded"))
        with self.lock:
            self.failure = ""
            if self.loaded is not None:
                self._let_go()

    def _let_go(self) -> Callable[[], Loaded]:
        """Lets go of what is loaded; gives a function that loads it again."""
        before = self.ready()
        again = partial(Loaded.load, before.name, before.quantization, before.place, self.cpu_form)
        del before
        self.visitors.share(None)
        _free_memory()
        return again

    def change(self, visitor: str, make: Callable[[Loaded], Loaded]) -> Loaded:
        """Puts something made of what is loaded in its place for one visitor, such as the model with another mask.

        `make` must not use the model: what it needs of it, `run` gives.

        Raises:
            LapeError: No model is loaded, or it cannot be made; what the visitor had stays.
        """
        made = make(self.ready(visitor))
        if not self.visitors.put(visitor, made):
            raise LapeError(say("said.model_changed"))
        return made

    def leave(self, visitor: str) -> None:
        """Lets go of what a visitor had, who has closed the page."""
        self.visitors.leave(visitor)

    def ready(self, visitor: str = "") -> Loaded:
        """The model, with the visitor's own mask and statistics where there are some.

        Raises:
            LapeError: No model is loaded; says why, or the way out.
        """
        loaded = self.visitors.shown(visitor).loaded
        if loaded is None:
            why = sentences(say("said.no_model"), self.failure)
            raise LapeError(why if self.failure else say("said.no_model_yet"))
        return loaded

    def version(self, visitor: str = "") -> int:
        """A number that is another one after every change this visitor would see."""
        return self.visitors.shown(visitor).version

    def languages(self, visitor: str = "") -> tuple[str, ...]:
        """Codes of the languages that have neurons for this visitor; none without a mask."""
        loaded = self.visitors.shown(visitor).loaded
        return () if loaded is None or loaded.mask is None else loaded.mask.languages

    def run(self, work: Work, *arguments: Any) -> Generator[Any, None, None]:
        """Runs work that uses the model, and streams what it yields.

        Waits until the model is free and holds it until the work ends or the generator is closed. While it waits it
        yields None, and who uses it must hand that on: gradio closes one run after the other, and could not close the
        one that holds the model before this one can be closed. On ZeroGPU the work runs in another process, which has
        the GPU.

        Args:
            work: A generator function at the top of a module, `work(model, tokenizer, *arguments)`; it takes its
                hooks off when it is closed, and yields at least once a token or block.
            *arguments: Plain values that can be pickled, and so must be what it yields.

        Raises:
            LapeError: No model is loaded, or the work cannot be done.
        """
        return self._held(self.ready().model, work, arguments)

    def _held(self, model: PreTrainedModel, work: Work, arguments: tuple) -> Generator[Any, None, None]:
        while not self.lock.acquire(timeout=WAITING_SECONDS):
            yield None
        try:
            if self.ready().model is not model:
                raise LapeError(say("said.model_changed"))
            with closing(self._work(work, arguments)) as values:
                for value in values:
                    if isinstance(value, LapeError):
                        raise value
                    if self.closing.is_set():
                        return
                    yield value
        finally:
            self.lock.release()
            give_back_memory()

    def _working(self, work: Work, arguments: tuple) -> Generator[Any, None, None]:
        """What needs the GPU; errors of ours are sent as values, which keep their class between processes."""
        loaded = self.ready()
        try:
            with closing(work(loaded.model, loaded.tokenizer, *arguments)) as values:
                yield from values
        except LapeError as error:
            yield error


def _free_memory() -> None:
    gc.collect()
    give_back_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
