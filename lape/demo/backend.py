"""The one model behind the page, its mask, and its lock."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape.bundled import STATISTICS_NAME, bundled_folder
from lape.demo.request import CompareRequest, checked
from lape.errors import BadFile, LapeError, LapeWarning
from lape.evaluation.language import MIN_WIDTH, Identified, LanguageIdentifier, text_width
from lape.evaluation.repetition import LOOP_SHARE, repeated_share
from lape.generation import Finish, Update, side_by_side
from lape.interventions import Intervention
from lape.masks import NeuronMask
from lape.models import load_model
from lape.pairs import pairs_of
from lape.statistics import ActivationStatistics

UPDATE_SECONDS = 0.125  # the page redraws about 8 times a second
COLUMNS = ("on", "off", "steered", "random")


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
    """One model, its tokenizer, mask and statistics; one comparison at a time.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        mask: Its neurons, of at least two languages.
        statistics: Where the random control's means come from; None limits that control to switching off.

    Raises:
        LapeError: The mask has fewer than two languages, or belongs to a model of another shape.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: Tokenizer,
        mask: NeuronMask,
        statistics: ActivationStatistics | None = None,
    ) -> None:
        if len(mask.languages) < 2:
            raise LapeError("The mask has fewer than two languages, so there is none to steer to. Record more of them.")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LapeWarning)
            mask.check(model)
        self.notes = [str(warning.message) for warning in caught]
        if statistics is not None:
            mask.random_like(statistics, seed=0)  # refuses statistics of another shape or without these languages
        self.model = model
        self.tokenizer = tokenizer
        self.mask = mask
        self.statistics = statistics
        self.lock = threading.Lock()
        self.closing = threading.Event()
        # Loading the classifiers takes a second, which the page need not wait for.
        with_classifier = ThreadPoolExecutor(1, thread_name_prefix="lape-language")
        self._identifier = with_classifier.submit(LanguageIdentifier, mask.languages)
        with_classifier.shutdown(wait=False)

    @classmethod
    def load(cls, model: str | None = None, quantization: str | None = None, mask: str | None = None) -> Backend:
        """Loads a model, and its bundled mask or the one in a folder.

        Raises:
            LapeError: One of them cannot be loaded, or they do not fit each other.
        """
        try:
            path = Path(mask) if mask is not None else bundled_folder(model)
        except BadFile as error:
            raise BadFile(f"{error} Then name its folder with --mask.") from error
        folder = path if path.is_dir() else path.parent
        loaded_mask = NeuronMask.load(path)
        statistics = None
        if (file := folder / STATISTICS_NAME).is_file():
            statistics = ActivationStatistics.load(file)
        loaded, tokenizer = load_model(model, quantization=quantization)
        return cls(loaded, tokenizer, loaded_mask, statistics)

    def close(self) -> None:
        """Ends what runs within a token, for good."""
        self.closing.set()

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that have neurons."""
        return self.mask.languages

    @property
    def chat(self) -> bool:
        """Whether the model has a chat template."""
        return bool(self.tokenizer.chat_template)

    def request(self, values: dict[str, Any]) -> CompareRequest:
        """Checks untrusted values.

        Raises:
            LapeError: One of them is not what it should be.
        """
        return checked(self.languages, values, chat=self.chat)

    def variants(self, request: CompareRequest) -> dict[str, Intervention | None]:
        """The columns of a request: name to what is done to the model's neurons.

        Raises:
            MeansMissing: The mask has no means for the target, which this mode needs.
        """
        steered = Intervention(
            self.mask, off=request.source, on=request.target, mode=request.mode, strength=request.strength
        )
        variants = {"on": None, "off": Intervention(self.mask, off=request.source), "steered": steered}
        if request.show_random:
            random = self._random(steered, request)
            if self.statistics is not None:
                variants["random"] = replace(steered, mask=random)
            else:  # no means to switch random neurons on with
                variants["random"] = Intervention(random, off=request.source)
        return variants

    def _random(self, steered: Intervention, request: CompareRequest) -> NeuronMask:
        """As many random neurons in every layer as an intervention really changes.

        That is fewer than the mask has where its two languages share some.
        """
        changed = {request.source: steered.off_neurons, request.target: steered.on_neurons}
        pairs = {code: pairs_of(flat, self.mask.shape[1]) for code, flat in changed.items()}
        return NeuronMask(pairs, {}, self.mask.shape, self.mask.metadata).random_like(self.statistics, request.seed)

    def compare(self, request: CompareRequest) -> Generator[dict[str, Column], None, None]:
        """Runs a request and streams its columns, about 8 times a second; the last state is always sent.

        Holds the model until it ends or is closed; closing ends the generation within a token.

        Raises:
            LapeError: The model cannot do it, such as a prompt longer than its context.
        """
        variants = self.variants(request)
        changed = {
            name: (len(variant.off_neurons), len(variant.on_neurons)) if variant else (0, 0)
            for name, variant in variants.items()
        }
        prompt = [{"role": "user", "content": request.prompt}] if request.chat else request.prompt
        with self.lock:
            updates = side_by_side(
                self.model,
                self.tokenizer,
                prompt,
                variants,
                max_new_tokens=request.max_new_tokens,
                temperature=request.temperature,
                top_p=request.top_p,
                repetition_penalty=request.repetition_penalty,
                seed=request.seed,
                stop=self.closing,
            )
            try:
                for update in _throttled(updates):
                    yield {name: self._column(update, name, *changed[name]) for name in variants}
            finally:
                updates.close()

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


def _throttled(updates: Iterator[Update]) -> Iterator[Update]:
    """Leaves out updates that come too soon after another, but never the last."""
    sent, pending = 0.0, None
    for update in updates:
        pending = update
        if time.monotonic() - sent >= UPDATE_SECONDS:
            yield update
            sent, pending = time.monotonic(), None
    if pending is not None:
        yield pending
