"""Visitors of the page: the model is everybody's, a mask is its visitor's; and how work runs on that model."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import gradio as gr
import httpx
import pytest
import torch
from browsing import serve
from families import build
from gradio_client import Client

from benchmarks.load import Outcome, Visitor
from lape import Intervention, LapeError, NeuronMask
from lape.demo.backend import Backend
from lape.demo.compare.comparison import compare, request_of
from lape.demo.compare.request import DEFAULTS
from lape.demo.loaded import Loaded
from lape.demo.page import Page
from lape.demo.part import visitor_of
from lape.demo.visitors import KEPT

SHORT = replace(DEFAULTS, prompt="Bonjour", max_new_tokens=3)


def mask_of(*codes: str) -> NeuronMask:
    pairs = {code: torch.tensor([[0, 2 * at], [1, 2 * at + 1]]) for at, code in enumerate(codes)}
    return NeuronMask(pairs, {code: torch.ones(2) for code in codes}, (3, 48))


@pytest.fixture
def backend(tokenizer: Any) -> Backend:
    return Backend(Loaded(build("llama"), tokenizer, mask_of("fr", "es", "zh")))


def use(backend: Backend, visitor: str, *codes: str) -> Loaded:
    return backend.change(visitor, lambda loaded: replace(loaded, mask=mask_of(*codes)))


def test_each_visitor_has_the_mask_it_chose(backend: Backend) -> None:
    versions = [backend.version(visitor) for visitor in ("ann", "bob", "eve")]
    mine = use(backend, "ann", "de", "it")
    use(backend, "bob", "ja", "ru", "pt")
    assert backend.ready("ann") is mine
    assert [backend.languages(visitor) for visitor in ("ann", "bob", "eve", "")] == [
        ("de", "it"),
        ("ja", "ru", "pt"),
        ("fr", "es", "zh"),
        ("fr", "es", "zh"),
    ]
    assert backend.ready("ann").model is backend.ready("bob").model is backend.ready().model
    now = [backend.version(visitor) for visitor in ("ann", "bob", "eve")]
    assert [old == new for old, new in zip(versions, now, strict=True)] == [False, False, True]
    assert len(set(now)) == 3
    request = request_of(backend, {**vars(SHORT), "source": "de", "targets": "it"}, "ann")
    *_, columns = compare(backend, request, "ann")
    assert columns["steered:it"].on == 2
    with pytest.raises(LapeError, match="one of fr, es, zh"):
        request_of(backend, {**vars(SHORT), "source": "de", "targets": "it"}, "eve")


def test_a_mask_that_cannot_be_made_leaves_the_one_there_was(backend: Backend) -> None:
    mine = use(backend, "ann", "de", "it")
    with pytest.raises(LapeError, match="fewer than two languages"):
        use(backend, "ann", "de")
    assert backend.ready("ann") is mine


def test_who_leaves_is_forgotten(backend: Backend) -> None:
    use(backend, "ann", "de", "it")
    use(backend, "bob", "de", "it")
    backend.leave("ann")
    backend.leave("nobody")
    assert backend.languages("ann") == ("fr", "es", "zh")
    assert backend.languages("bob") == ("de", "it")


def test_masks_are_kept_for_so_many_visitors(backend: Backend) -> None:
    for number in range(KEPT):
        use(backend, f"visitor {number}", "de", "it")
    first = backend.version("visitor 0")  # asking is a sign of life
    use(backend, "one more", "de", "it")
    own = [number for number in range(KEPT) if backend.languages(f"visitor {number}") == ("de", "it")]
    assert own == [0, *range(2, KEPT)]
    assert backend.version("visitor 0") == first
    assert backend.version("visitor 1") == backend.version()


def test_another_model_begins_anew_for_everybody(backend: Backend, tokenizer: Any) -> None:
    use(backend, "ann", "de", "it")
    backend.unload()
    with pytest.raises(LapeError, match="No model is loaded"):
        backend.ready("ann")
    assert backend.languages("ann") == ()
    backend.visitors.share(Loaded(build("llama"), tokenizer, mask_of("fr", "es")))
    assert backend.languages("ann") == ("fr", "es")


def test_a_mask_made_while_another_model_was_loaded_is_refused(backend: Backend, tokenizer: Any) -> None:
    def slowly(loaded: Loaded) -> Loaded:
        backend.visitors.share(Loaded(build("llama"), tokenizer, mask_of("fr", "es")))
        return replace(loaded, mask=mask_of("de", "it"))

    with pytest.raises(LapeError, match="Another model has been loaded in the meantime"):
        backend.change("ann", slowly)
    assert backend.languages("ann") == ("fr", "es")


def test_choosing_a_mask_does_not_wait_for_the_model(backend: Backend) -> None:
    with closing(backend.run(counting, 3)) as values:
        next(values)
        assert backend.lock.locked()
        assert use(backend, "ann", "de", "it").known_mask.languages == ("de", "it")


def test_a_visitor_is_its_session() -> None:
    assert visitor_of(gr.Request(session_hash="abc")) == "abc"
    assert visitor_of(gr.Request()) == visitor_of(None) == ""


# Work on the model

ENDED = threading.Event()


def counting(model: Any, tokenizer: Any, end: int) -> Generator[int, None, None]:
    ENDED.clear()
    try:
        yield from range(end)
    finally:
        ENDED.set()


def test_work_that_waits_for_the_model_can_be_closed(backend: Backend) -> None:
    """Gradio closes one run after the other: had the second to wait in `next`, nobody could close the first."""
    first, second, third = (backend.run(counting, 3) for _ in range(3))
    assert next(first) == 0
    assert next(second) is None
    assert next(second) is None
    second.close()
    assert next(third) is None
    assert next(first) == 1  # undisturbed
    first.close()
    assert list(third) == [0, 1, 2]
    assert not backend.lock.locked()


def refusing(model: Any, tokenizer: Any, why: str) -> Generator[None, None, None]:
    yield None
    raise LapeError(why)


def breaking(model: Any, tokenizer: Any) -> Generator[None, None, None]:
    yield None
    raise ZeroDivisionError


def naming(model: Any, tokenizer: Any) -> Generator[str, None, None]:
    yield type(model).__name__
    yield type(tokenizer).__name__


def test_work_streams_what_it_yields(backend: Backend) -> None:
    assert list(backend.run(counting, 3)) == [0, 1, 2]
    assert list(backend.run(naming)) == ["LlamaForCausalLM", type(backend.ready().tokenizer).__name__]
    assert not backend.lock.locked()


def test_closing_work_ends_it_and_frees_the_model(backend: Backend) -> None:
    with closing(backend.run(counting, 3)) as values:
        next(values)
        assert backend.lock.locked()
        assert not ENDED.is_set()
    assert ENDED.is_set()
    assert not backend.lock.locked()


def test_work_that_fails_frees_the_model(backend: Backend) -> None:
    with pytest.raises(LapeError, match=r"^No means\.$"):
        list(backend.run(refusing, "No means."))
    with pytest.raises(ZeroDivisionError):
        list(backend.run(breaking))
    assert not backend.lock.locked()


def test_work_needs_a_model(backend: Backend) -> None:
    backend.unload()
    with pytest.raises(LapeError, match="No model is loaded"):
        backend.run(counting, 3)


def test_work_that_waited_through_a_load_is_refused(backend: Backend, tokenizer: Any) -> None:
    waiting = backend.run(counting, 3)
    backend.visitors.share(Loaded(build("llama"), tokenizer, mask_of("fr", "es")))
    with pytest.raises(LapeError, match="Another model has been loaded in the meantime"):
        next(waiting)
    assert not backend.lock.locked()


def test_the_server_ends_work_when_it_closes(backend: Backend) -> None:
    values = backend.run(counting, 3)
    next(values)
    backend.close()
    assert list(values) == []
    assert ENDED.is_set()


def test_what_work_is_given_can_go_to_another_process() -> None:
    intervention = Intervention(mask_of("fr", "es"), off="fr", on="es", strength=0.5)
    there = pickle.loads(pickle.dumps((SHORT, {"on": None, "steered": intervention})))
    assert there[0] == SHORT
    assert there[1]["steered"].mask.per_layer("es") == intervention.mask.per_layer("es")
    assert torch.equal(there[1]["steered"].on_neurons, intervention.on_neurons)
    assert pickle.loads(pickle.dumps(LapeError("A sentence."))).args == ("A sentence.",)


def test_on_zero_gpu_all_that_work_is_given_and_yields_is_pickled(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gpu(function: Any) -> Any:
        def elsewhere(*arguments: Any) -> Generator[Any, None, None]:
            for value in function(*pickle.loads(pickle.dumps(arguments))):
                yield pickle.loads(pickle.dumps(value))

        return elsewhere

    monkeypatch.setattr("lape.demo.backend.gpu", gpu)
    there = Backend(Loaded(build("llama"), tokenizer, mask_of("fr", "es")))
    use(there, "ann", "de", "it")
    request = request_of(there, {**vars(SHORT), "source": "de", "targets": "it", "show_plain": True}, "ann")
    *_, columns = compare(there, request, "ann")
    assert list(columns) == ["on", "off", "steered:it", "plain"]
    assert columns["on"].new_tokens == 3
    with pytest.raises(LapeError, match=r"^No means\.$"):
        list(there.run(refusing, "No means."))


# The served page


@pytest.fixture
def served(backend: Backend) -> Iterator[tuple[Page, str]]:
    with serve(backend) as page_and_url:
        yield page_and_url


@pytest.fixture
def url(served: tuple[Page, str]) -> str:
    return served[1]


def test_two_clients_compare_with_their_own_masks(url: str, backend: Backend) -> None:
    first, second = Client(url, verbose=False), Client(url, verbose=False)
    use(backend, first.session_hash, "de", "it", "nl")
    words = {"prompt": "Bonjour", "source": "de", "target": "it", "max_new_tokens": 3}
    job = first.submit(**words, api_name="/compare")
    job.result(timeout=60)
    assert job.outputs()[-1]["steered"]["neurons_on"] == 2
    with pytest.raises(Exception, match="one of fr, es, zh"):
        second.predict(**words, api_name="/compare")


def test_a_session_does_not_grow_with_its_runs_and_ends_with_its_page(served: tuple[Page, str]) -> None:
    """gradio would keep a new component for each update that an event makes, and the session for an hour."""
    page = served[0]
    visitor = Visitor(*served, Outcome(), seed=0)
    kept = []
    for _ in range(3):
        visitor.call("compare_busy", [None, None, False, *visitor.comparison(3)])
        visitor.call("stream", [None, None, *visitor.comparison(3)])
        kept.append(len(page.app.state_holder.session_data[visitor.session].blocks_config.blocks))
    assert kept == [len(page.blocks)] * 3
    assert not page.app.state_holder.session_data[visitor.session].config_values
    page.forget(visitor.session)
    assert visitor.session not in page.app.state_holder.session_data
    assert visitor.session not in page._queue.pending_event_ids_session


def test_closing_the_page_frees_what_its_visitor_had(url: str, backend: Backend) -> None:
    with httpx.stream("GET", f"{url}/gradio_api/heartbeat/ann", timeout=60) as page:
        beats = page.iter_lines()  # let go of, it would close the page here already
        assert next(beats) == "data: ALIVE"
        use(backend, "ann", "de", "it")
        use(backend, "bob", "de", "it")
        time.sleep(1)
        assert backend.languages("ann") == ("de", "it")
    end = time.monotonic() + 60
    while backend.languages("ann") == ("de", "it") and time.monotonic() < end:
        time.sleep(0.05)
    assert backend.languages("ann") == ("fr", "es", "zh")
    assert backend.languages("bob") == ("de", "it")
