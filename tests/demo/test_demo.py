"""The page without a browser: what it refuses, streams, frees and sends; on a tiny random model."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from asking import HTTP
from families import build
from fastapi import Request
from gradio_client import Client
from gradio_client.exceptions import AppError

import app
import lape
from lape import ActivationStatistics, LapeError, NeuronMask
from lape.demo.backend import Backend
from lape.demo.compare.columns import badges, head
from lape.demo.compare.comparison import UPDATE_SECONDS, compare, identify
from lape.demo.compare.request import DEFAULTS, LIMITS, CompareRequest, checked, opening
from lape.demo.compare.variants import variants_of
from lape.demo.examples import EXAMPLES, examples_for
from lape.demo.loaded import Loaded
from lape.demo.page import build_page, launch
from lape.demo.part import failures_to
from lape.demo.reach import OWN
from lape.demo.refusals import unknown
from lape.demo.status import status
from lape.models.architectures import activation_sites
from lape.models.embedded import SMOLLM2

ROOT = Path(app.__file__).parent
LANGUAGES = ("fr", "es", "zh")
SHORT = replace(DEFAULTS, prompt="Bonjour", max_new_tokens=5)
FULL = replace(SHORT, max_new_tokens=120)
HTML = "<img src=x onerror=alert(1)>"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def statistics() -> ActivationStatistics:
    generator = torch.Generator().manual_seed(3)
    counts = {code: torch.randint(0, 100, (3, 48), generator=generator) for code in LANGUAGES}
    sums = {code: torch.randn(3, 48, generator=generator).double() * 100 for code in LANGUAGES}
    return ActivationStatistics(counts, sums, sums, dict.fromkeys(LANGUAGES, 100), {"tokens": {}})


@pytest.fixture(scope="module")
def backend(tokenizer: Any, statistics: ActivationStatistics) -> Backend:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    cells = torch.randperm(3 * 48, generator=generator)[:60].split(20)
    neurons = {code: torch.stack([flat // 48, flat % 48], 1).int() for code, flat in zip(LANGUAGES, cells, strict=True)}
    means = {code: torch.ones(20) for code in LANGUAGES}
    backend = Backend(Loaded(build("llama"), tokenizer, NeuronMask(neurons, means, (3, 48)), statistics))
    identify(LANGUAGES, "Wait until the classifiers are loaded.")
    return backend


@pytest.fixture(scope="module")
def url(backend: Backend) -> Iterator[str]:
    page = build_page(backend)
    yield launch(page, free_port())
    page.close(verbose=False)


@pytest.fixture
def slowed(backend: Backend) -> Iterator[None]:
    """Every pass of the model takes a while, so that there is time to interrupt it."""
    handle = backend.loaded.model.register_forward_pre_hook(lambda *_: time.sleep(0.05))
    yield
    handle.remove()


def values(**changed: Any) -> dict[str, Any]:
    return vars(SHORT) | changed


def words(**changed: Any) -> dict[str, Any]:
    """The same as a client names them."""
    return {"target" if name == "targets" else name: value for name, value in values(targets="es", **changed).items()}


def until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def assert_free(backend: Backend) -> None:
    """The model is free, nothing hooks it and nothing runs."""
    assert until(lambda: not backend.lock.locked())
    assert until(lambda: not [thread for thread in threading.enumerate() if thread.name == "lape-generate"])
    assert not any(module._forward_hooks for module in activation_sites(backend.loaded.model).modules)


# What is refused, each with one sentence.

BAD_VALUES = [
    ("prompt", "", "empty"),
    ("prompt", " \n\t", "empty"),
    ("prompt", None, "must be text"),
    ("prompt", ["a"], "must be text"),
    ("prompt", 3, "must be text"),
    ("prompt", "x" * 2001, "2,001 characters"),
    ("prompt", "x" * 10_000_000, "10,000,000 characters"),
    ("prompt", "a\ud800b", "half a character"),
    ("source", "xx", "one of fr, es, zh"),
    ("source", None, "one of fr, es, zh"),
    ("source", ["fr"], "one of fr, es, zh"),
    ("source", "es", "both Spanish"),
    ("targets", {"code": "es"}, "one of fr, es, zh"),
    ("targets", HTML, "one of fr, es, zh"),
    ("targets", "e" * 100_000, "one of fr, es, zh"),
    ("targets", [], "Choose 1 to 4"),
    ("targets", ["es"] * 5, "Choose 1 to 4"),
    ("targets", ["es", "xx"], "one of fr, es, zh"),
    ("targets", ["es", ["zh"]], "one of fr, es, zh"),
    ("targets", ["zh", "fr"], "both French"),
    ("targets", None, "one of fr, es, zh"),
    ("mode", "replac", "replace, add, scale"),
    ("mode", None, "replace, add, scale"),
    ("mode", ["add"], "replace, add, scale"),
    ("strength", float("nan"), "from 0 to 5"),
    ("strength", float("inf"), "from 0 to 5"),
    ("strength", -1, "from 0 to 5"),
    ("strength", "1", "from 0 to 5"),
    ("strength", None, "empty"),
    ("strength", True, "from 0 to 5"),
    ("strength", [1.0], "from 0 to 5"),
    ("max_new_tokens", 0, "from 1 to 256"),
    ("max_new_tokens", 257, "from 1 to 256"),
    ("max_new_tokens", 10**400, "from 1 to 256"),
    ("max_new_tokens", 3.5, "whole number"),
    ("temperature", -0.1, "from 0 to 2"),
    ("temperature", 2.1, "from 0 to 2"),
    ("top_p", 0, "from 0.05 to 1"),
    ("top_p", 1.1, "from 0.05 to 1"),
    ("repetition_penalty", 0.5, "from 1 to 2"),
    ("seed", -1, "whole number"),
    ("seed", 2**32, "whole number"),
    ("seed", 0.5, "whole number"),
    ("seed", None, "not empty"),
    ("show_random", "yes", "true or false"),
    ("show_random", None, "true or false"),
    ("show_plain", 1, "true or false"),
    ("chat", 1, "true or false"),
    ("chat", True, "no chat template"),
]


@pytest.mark.parametrize(("name", "value", "said"), BAD_VALUES, ids=lambda value: repr(value)[:24])
def test_a_bad_value_gets_one_sentence(name: str, value: Any, said: str) -> None:
    with pytest.raises(LapeError) as caught:
        checked(LANGUAGES, values(**{name: value}))
    sentence = str(caught.value)
    assert said in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 200


def test_good_values_become_a_request() -> None:
    assert checked(LANGUAGES, {"prompt": "Bonjour"}) == replace(DEFAULTS, prompt="Bonjour")
    whole = checked(LANGUAGES, values(max_new_tokens=5.0, strength=2))  # JavaScript has one kind of number
    assert (type(whole.max_new_tokens), type(whole.strength)) == (int, float)
    assert checked(LANGUAGES, values(chat=True), chat=True).chat
    assert checked(LANGUAGES, values(prompt="x" * 2000)).prompt


def test_the_page_opens_with_values_it_accepts() -> None:
    everything = sorted({code for example in EXAMPLES for code in (example.source, example.target)})
    assert opening(everything) == DEFAULTS == checked(everything, vars(DEFAULTS))
    for name, limit in LIMITS.items():
        assert limit.low <= getattr(DEFAULTS, name) <= limit.high
    for example in examples_for(everything):
        assert checked(everything, {**vars(DEFAULTS), **vars(example), "targets": example.target})


def test_the_page_opens_with_other_languages() -> None:
    assert opening(("zh", "ko")) == replace(DEFAULTS, prompt=EXAMPLES[2].prompt, source="zh", targets=("ko",))
    assert opening(("law", "code")) == replace(DEFAULTS, prompt="", source="law", targets=("code",))
    assert examples_for(("law", "code")) == []


def test_varieties_have_the_examples_of_their_language_in_the_same_script() -> None:
    french, spanish, portuguese = examples_for(("fra_Latn", "es-MX", "pt-BR", "pt", "zh-Hant"))
    assert (french.prompt, french.source, french.target) == (EXAMPLES[0].prompt, "fra_Latn", "es-MX")
    assert (spanish.source, spanish.target) == ("es-MX", "fra_Latn")
    assert (portuguese.source, portuguese.target) == ("pt", "fra_Latn")
    assert {example.seen for example in (french, spanish, portuguese)} == {None}


# The backend.


def last(backend: Backend, request: CompareRequest) -> dict[str, Any]:
    *_, columns = compare(backend, request)
    return columns


def test_columns_stream_together(backend: Backend, slowed: None) -> None:
    states = list(compare(backend, replace(FULL, max_new_tokens=20, show_random=True)))
    assert len(states) > 3
    for columns in states:
        assert list(columns) == ["on", "off", "steered:es", "random"]
    for name in states[0]:
        counts = [columns[name].new_tokens for columns in states]
        assert counts == sorted(counts)
        assert counts[0] < counts[-1]
        assert [columns[name].finished for columns in states[:-1]].count(None) > 2
        assert states[-1][name].finished in ("length", "eos")
        assert states[-1][name].tokens_per_second > 0
    assert_free(backend)


def test_updates_are_throttled_and_the_last_is_sent(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lape.demo.compare.comparison.UPDATE_SECONDS", 1000.0)
    states = list(compare(backend, FULL))
    assert len(states) == 2  # the first and the last
    assert states[-1]["on"].finished is not None
    assert UPDATE_SECONDS == 0.125


def test_columns_say_how_many_neurons_they_change(backend: Backend) -> None:
    columns = last(backend, replace(SHORT, show_random=True))
    assert [(columns[name].off, columns[name].on) for name in ("on", "off", "steered:es")] == [
        (0, 0),
        (20, 0),
        (20, 20),
    ]
    assert columns["random"].on == 20
    assert 0 < columns["random"].off <= 20  # neurons drawn for both languages are the target's


def test_the_random_control_has_as_many_neurons_in_every_layer(backend: Backend) -> None:
    variants = variants_of(backend.loaded, replace(SHORT, show_random=True))
    random, steered = variants["random"], variants["steered:es"]
    assert random is not None
    assert steered is not None
    assert random.mask != steered.mask
    for code in ("fr", "es"):
        assert random.mask.per_layer(code) == steered.mask.per_layer(code)
    assert (random.off, random.on, random.mode, random.strength) == (
        steered.off,
        steered.on,
        steered.mode,
        steered.strength,
    )


def test_the_random_control_leaves_out_what_the_languages_share(backend: Backend) -> None:
    shared = {"fr": torch.tensor([[0, 1], [0, 2], [1, 3]]), "es": torch.tensor([[0, 1], [2, 2]])}
    mask = NeuronMask(shared, {"es": torch.ones(2)}, (3, 48))
    variants = variants_of(replace(backend.loaded, mask=mask), replace(SHORT, show_random=True))
    assert len(variants["off"].off_neurons) == 3  # type: ignore[union-attr]
    assert len(variants["steered:es"].off_neurons) == 2  # type: ignore[union-attr]
    assert variants["random"].mask.per_layer("fr") == [1, 1, 0]  # type: ignore[union-attr]


def test_without_statistics_the_random_control_only_switches_off(backend: Backend) -> None:
    bare = Backend(replace(backend.loaded, statistics=None))
    random = variants_of(bare.ready(), replace(SHORT, show_random=True))["random"]
    assert random is not None
    assert (random.off, random.on) == (("fr",), None)
    assert last(bare, replace(SHORT, show_random=True))["random"].on == 0


def test_without_means_the_mask_switches_off_and_does_not_steer(backend: Backend) -> None:
    bare = Backend(replace(backend.loaded, mask=NeuronMask(backend.loaded.mask.neurons, {}, backend.loaded.mask.shape)))
    columns = last(bare, replace(SHORT, show_random=True))
    assert list(columns) == ["on", "off", "random"]
    assert (columns["off"].off, columns["off"].on) == (20, 0)
    assert last(bare, replace(SHORT, mode="scale"))["steered:es"].on == 20


def test_the_untouched_column_is_the_untouched_model(backend: Backend) -> None:
    alone = list(
        lape.side_by_side(backend.loaded.model, backend.loaded.tokenizer, "Bonjour", {"on": None}, max_new_tokens=5)
    )
    assert last(backend, replace(SHORT, repetition_penalty=1.0))["on"].text == alone[-1].texts["on"]


def test_the_same_seed_gives_the_same_texts(backend: Backend) -> None:
    def texts(seed: int) -> list[str]:
        request = replace(FULL, max_new_tokens=30, temperature=1.0, seed=seed, show_random=True)
        return [column.text for column in last(backend, request).values()]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_a_prompt_over_the_context_is_refused(backend: Backend) -> None:
    with pytest.raises(LapeError, match="context"):
        last(backend, replace(SHORT, prompt="x" * 300))
    assert_free(backend)


def test_a_closed_comparison_frees_the_model(backend: Backend, slowed: None) -> None:
    with closing(compare(backend, FULL)) as states:
        next(states)
        assert backend.lock.locked()
    assert_free(backend)


def test_a_failing_model_is_freed(backend: Backend) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    handle = backend.loaded.model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError):
        last(backend, SHORT)
    handle.remove()
    assert_free(backend)
    assert last(backend, SHORT)["on"].new_tokens == 5


def test_what_does_not_fit_is_refused_at_the_start(backend: Backend, statistics: ActivationStatistics) -> None:
    one = NeuronMask({"fr": backend.loaded.mask.neurons["fr"]}, {}, (3, 48))
    with pytest.raises(LapeError, match="fewer than two languages"):
        replace(backend.loaded, mask=one)
    with pytest.raises(LapeError, match="3 layers x 48"):
        replace(backend.loaded, mask=NeuronMask(backend.loaded.mask.neurons, {}, (4, 48)))
    fewer = replace(statistics, tokens={"fr": 100})
    with pytest.raises(LapeError, match="No language"):
        replace(backend.loaded, statistics=fewer)


def test_a_mask_of_another_model_is_noted(backend: Backend) -> None:
    other = NeuronMask(backend.loaded.mask.neurons, {}, (3, 48), {"model": "org/other"})
    assert "org/other" in replace(backend.loaded, mask=other).notes[0]


# What the columns say.


def test_text_from_outside_is_escaped(backend: Backend) -> None:
    neurons = {HTML: backend.loaded.mask.neurons["fr"], "es": backend.loaded.mask.neurons["es"]}
    hostile = replace(backend.loaded, mask=NeuronMask(neurons, {}, (3, 48)), statistics=None)
    request = replace(SHORT, source=HTML, targets=("es",))
    shown = head("off", lape.Intervention(hostile.mask, off=HTML), request) + status(HTML) + status(HTML, failed=True)
    assert "<img" not in shown
    assert shown.count("&lt;img") == 3


def test_badges(backend: Backend) -> None:
    column = last(backend, SHORT)["on"]
    french = identify(LANGUAGES, "Il était une fois une petite fille qui vivait dans la forêt.")
    spanish = identify(LANGUAGES, "Había una vez una niña que vivía en el bosque con su abuela.")
    assert badges(None, SHORT) == '<div class="lape-badges"></div>'
    assert "lape-tone-source" in badges(replace(column, language=french), SHORT)
    assert "French" in badges(replace(column, language=french), SHORT)
    assert "lape-tone-target" in badges(replace(column, language=spanish), SHORT)
    tagged = replace(SHORT, source="fra_Latn", targets=("es-MX",))
    assert "lape-tone-source" in badges(replace(column, language=french), tagged)
    assert "lape-tone-target" in badges(replace(column, language=spanish), tagged)
    assert "too short to say" in badges(replace(column, language=identify(LANGUAGES, "Bonjour")), SHORT)
    assert "no language" in badges(replace(column, language=replace(french, gibberish=True)), SHORT)
    assert "repeats itself" in badges(replace(column, repeats=True), SHORT)
    assert "repeats itself" not in badges(replace(column, repeats=False), SHORT)
    assert "1 token ·" in badges(replace(column, new_tokens=1), SHORT)
    assert "stopped" in badges(replace(column, finished="stopped"), SHORT)


def test_labels_that_are_no_languages_have_no_badge(backend: Backend) -> None:
    labels = {"law": backend.loaded.mask.neurons["fr"], "code": backend.loaded.mask.neurons["es"]}
    labelled = replace(backend.loaded, mask=NeuronMask(labels, {}, (3, 48)), statistics=None)
    assert identify(labelled.known_mask.languages, "x" * 50).language is None


# The served page.


def test_two_visitors_wait_for_each_other(url: str, backend: Backend) -> None:
    first, second = Client(url, verbose=False), Client(url, verbose=False)
    jobs = [
        client.submit(**words(prompt=prompt, max_new_tokens=40), api_name="/compare")
        for client, prompt in ((first, "Un"), (second, "Deux"))
    ]
    for job, prompt in zip(jobs, ("Un", "Deux"), strict=True):
        assert (
            job.result(timeout=120)["on"]["text"]
            == last(backend, replace(FULL, prompt=prompt, max_new_tokens=40))["on"].text
        )
    assert_free(backend)


def test_the_endpoint_streams(url: str, backend: Backend, slowed: None) -> None:
    job = Client(url, verbose=False).submit(**words(max_new_tokens=20, show_random=True), api_name="/compare")
    final = job.result(timeout=120)
    assert len(job.outputs()) > 3
    assert list(final) == ["on", "off", "steered", "random"]
    assert final["steered"]["neurons_off"] == final["steered"]["neurons_on"] == 20
    assert final["on"]["new_tokens"] == 20
    assert "language" in final["on"]


def test_the_api_page_names_only_the_endpoint(url: str) -> None:
    described = Client(url, verbose=False).view_api(return_format="dict")
    assert list(described["named_endpoints"]) == ["/compare"]
    compare = described["named_endpoints"]["/compare"]
    assert compare["description"].startswith("Continues a prompt")
    assert [parameter["parameter_name"] for parameter in compare["parameters"]] == list(words())


def test_stop_frees_the_model(url: str, backend: Backend, slowed: None) -> None:
    job = Client(url, verbose=False).submit(**words(max_new_tokens=200), api_name="/compare")
    assert until(lambda: len(job.outputs()) > 1)
    began = time.monotonic()
    job.cancel()
    assert_free(backend)
    assert time.monotonic() - began < 5  # the whole would take over 10 s


def test_a_closed_connection_frees_the_model(url: str, backend: Backend, slowed: None) -> None:
    event = post(url, "compare", list(values(max_new_tokens=200).values())).json()["event_id"]
    with httpx.stream("GET", f"{url}/gradio_api/call/compare/{event}", timeout=60) as answer:
        next(answer.iter_lines())
        assert until(backend.lock.locked)
    began = time.monotonic()
    assert_free(backend)
    assert time.monotonic() - began < 5


def post(url: str, name: str, data: Any) -> httpx.Response:
    body = json.dumps({"data": data})
    headers = {"content-type": "application/json"}
    return HTTP.post(f"{url}/gradio_api/call/{name}", content=body, headers=headers)


def outcome(url: str, name: str, data: Any) -> tuple[str, Any]:
    """The last event of a raw call and its data."""
    sent = post(url, name, data)
    assert sent.status_code == 200, sent.text[:300]
    answer = HTTP.get(f"{url}/gradio_api/call/{name}/{sent.json()['event_id']}")
    assert answer.status_code == 200
    lines = [line for line in answer.text.splitlines() if line]
    return lines[-2].removeprefix("event: "), json.loads(lines[-1].removeprefix("data: "))


RAW = [
    *((name, value, said) for name, value, said in BAD_VALUES if value not in ("x" * 10_000_000, "a\ud800b")),
    ("prompt", {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, "Files are not accepted"),
    ("prompt", "<b>bold</b>" * 1000, "11,000 characters"),
]


def test_the_raw_endpoint_answers_each_bad_value_with_a_sentence(
    url: str, backend: Backend, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value, said in RAW:
        kind, data = outcome(url, "compare", list(values(**{name: value}).values()))
        assert kind == "error", (name, value)
        sentence = data["error"]
        assert said.replace("<", "&lt;") in sentence, (name, value)
        assert "<" not in sentence
        assert "\n" not in sentence.strip()
    for data in ([], [1], list(values().values())[:-1]):
        assert f"takes {len(vars(DEFAULTS))} values" in outcome(url, "compare", data)[1]["error"]
    assert outcome(url, "compare", ["x" * 10_000_000, *list(values().values())[1:]])[0] == "error"
    assert post(url, "compare", "text").status_code == 422
    assert post(url, "compare", None).status_code in (404, 422)
    assert outcome(url, "compare", list(values().values()))[0] == "complete"
    assert "Traceback" not in capfd.readouterr().err
    assert_free(backend)


def test_the_page_shows_each_bad_value_as_a_sentence(url: str, backend: Backend) -> None:
    for name, value, said in RAW[:-2]:
        kind, data = outcome(url, "stream", list(values(**{name: value}).values()))
        assert kind == "complete"
        shown = [part for part in data if isinstance(part, str) and "lape-failed" in part]
        assert len(shown) == 1
        assert said.replace("'", "&#x27;") in shown[0], (name, value)
        assert "<img" not in shown[0]
    assert_free(backend)


def test_a_crash_of_the_model_is_one_sentence(url: str, backend: Backend) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    handle = backend.loaded.model.register_forward_pre_hook(fail)
    data = outcome(url, "stream", list(values().values()))[1]
    handle.remove()
    assert any("Something failed (RuntimeError)" in str(part) for part in data)
    assert "secret" not in str(data)
    assert outcome(url, "compare", list(values().values()))[0] == "complete"
    assert_free(backend)


def test_nothing_skips_the_queue(url: str) -> None:
    for route in ("api", "run"):
        answer = HTTP.post(f"{url}/gradio_api/{route}/compare", json={"data": list(values().values())})
        assert answer.status_code == 404


def test_the_browser_follows_the_progress_of_few_components(url: str) -> None:
    """At every update of a text it goes through all that any event has named for its progress, and for its inputs."""
    events = httpx.get(f"{url}/config").json()["dependencies"]
    named = [one["outputs"] if one["show_progress_on"] is None else one["show_progress_on"] for one in events]
    assert max(map(len, named)) <= 6
    (stream,) = [one for one in events if one["api_name"] == "stream"]
    assert len(stream["outputs"]) < 25


def test_the_client_raises_the_sentence(url: str) -> None:
    with pytest.raises(AppError, match="choose two different ones"):
        Client(url, verbose=False).predict(**{**words(), "target": "fr"}, api_name="/compare")


# Starting and ending.


def test_serving_reaches_nothing_outside(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[Any] = []
    resolve, connect = socket.getaddrinfo, socket.socket.connect

    def resolved(host: Any, *rest: Any, **more: Any) -> Any:
        reached.append(host)
        return resolve(host, *rest, **more)

    def connected(self: socket.socket, address: Any) -> None:
        reached.append(address[0])
        connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(socket.socket, "connect", connected)
    page = build_page(backend)
    address = launch(page, free_port())
    assert httpx.get(address).status_code == 200
    time.sleep(1)  # for threads that would call home a little later
    page.close(verbose=False)
    assert set(reached) <= {"127.0.0.1", "localhost"}


LISTENING = """
import socket, runpy, sys
reached = set()
resolve, connect = socket.getaddrinfo, socket.socket.connect
def resolved(host, *rest, **more):
    reached.add(str(host))
    return resolve(host, *rest, **more)
def connected(self, address):
    reached.add(str(address[0]))
    return connect(self, address)
socket.getaddrinfo, socket.socket.connect = resolved, connected
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(sorted(reached))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.skipif(not SMOLLM2.files(), reason="SmolLM2 is not installed: make app installs it")
def test_the_default_start_reaches_nothing_outside_and_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    port = free_port()
    online = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    code = f"import sys; sys.argv = {[str(ROOT / 'app.py'), '--port', str(port)]}\n{LISTENING}"
    started = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run in background
        env={**online, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    ready = started.stdout.readline()
    assert ready.startswith("Ready in "), ready
    assert ready.strip().endswith(f": http://127.0.0.1:{port}")
    assert started.stdout.readline().strip() == OWN
    client = Client(ready.split()[-1], verbose=False)
    job = client.submit(**words(max_new_tokens=200), api_name="/compare")  # it may well be in the middle of something
    assert until(lambda: bool(job.outputs()), 60)
    started.send_signal(signal.SIGINT)
    output, errors = started.communicate(timeout=60)
    assert started.returncode == 130, errors
    assert "Traceback" not in errors
    assert output == "['127.0.0.1']\n"


@pytest.fixture
def arguments(tmp_path: Path, tiny_folder: Path, tokenizer: Any) -> list[str]:
    """Words for app.py that serve a tiny model with its own mask."""
    cells = torch.tensor([[0, 1], [1, 2]], dtype=torch.int32)
    means = {"fr": torch.ones(2), "es": torch.ones(2)}
    NeuronMask({"fr": cells, "es": cells + 1}, means, (3, 128)).save(tmp_path / "mask")
    return ["--model", str(tiny_folder), "--mask", str(tmp_path / "mask"), "--port", str(free_port())]


def test_without_gradio_the_way_to_it_is_one_line() -> None:
    hidden = """
import importlib.util as util, sys, app
find = util.find_spec
util.find_spec = lambda name, *rest: None if name == "gradio" else find(name, *rest)
sys.exit(app.main([]))
"""
    ended = subprocess.run([sys.executable, "-c", hidden], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == "lape: The page needs gradio: pip install 'lape[demo]', or run `make app`.\n"


@pytest.mark.skipif(importlib.util.find_spec("mcp") is not None, reason="the extra mcp is installed")
def test_mcp_without_its_extra_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--mcp"]) == 2
    assert capsys.readouterr().err.startswith("lape: --mcp needs the extra mcp: pip install 'lape[mcp]'")


def test_a_bad_start_is_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lape.demo.page.wait", lambda *_: pytest.fail("it started"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "mask.safetensors").write_bytes(b"\0" * 100)
    NeuronMask({"fr": torch.zeros(0, 2).int(), "es": torch.zeros(0, 2).int()}, {}, (3, 7)).save(tmp_path / "other")
    model = arguments[:2]
    port = arguments[-2:]
    bad: list[tuple[list[str], str]] = [
        ([*arguments, "--port", "99999"], "ports are 1 to 65535"),
        ([*arguments, "--port", "http"], "ports are 1 to 65535"),
        ([*arguments, "--quantization", "3bit"], "3bit"),
        ([*arguments, "--colour"], "--colour"),
        ([*model, *port, "--mask", str(tmp_path / "nowhere")], "nowhere"),
        ([*model, *port, "--mask", str(tmp_path / "broken")], "broken"),
        ([*model, *port, "--mask", str(tmp_path / "other")], "3 layers x 7 neurons"),
        (["--model", "smollm", *port, "--mask", arguments[3]], "No preset or model folder 'smollm'"),
        (["--model", str(tmp_path / "no" / "model"), *port, "--mask", arguments[3]], "could not be loaded"),
    ]
    for words, said in bad:
        try:
            code = app.main(words)
        except SystemExit as error:
            code = error.code  # type: ignore[assignment]
        written = capsys.readouterr().err
        assert code == 2, words
        line = [line for line in written.splitlines() if line.startswith("lape: ")]
        assert len(line) == 1, written
        assert said in line[0]
        assert "Traceback" not in written


def test_a_taken_port_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(arguments[-1])))
        taken.listen()
        assert app.main(arguments) == 2
    port = int(arguments[-1])
    said = f'Port {port} is in use; choose another with --port {port + 1} (or ARGS="--port {port + 1}" for `make app`).'
    assert capsys.readouterr().err == f"lape: {said}\n"


# How events fail.


def test_a_failure_is_a_sentence_and_an_entry_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    @failures_to("line", {"result": ""})
    def returning(error: Exception | None) -> dict[str, str]:
        if error is not None:
            raise error
        return {"line": "done"}

    @failures_to("line")
    def streaming(error: Exception) -> Iterator[dict[str, str]]:
        yield {"line": "begun"}
        raise error

    assert returning(None) == {"line": "done"}
    own = returning(LapeError("Choose a mask."))
    assert own == {"line": status("Choose a mask.", failed=True), "result": ""}
    assert not caplog.records
    begun, ended = streaming(ValueError("secret"))
    assert begun == {"line": "begun"}
    assert "Something failed (ValueError)" in ended["line"]
    assert "secret" not in ended["line"]
    assert "secret" in caplog.text


def test_a_stream_that_is_closed_is_no_failure() -> None:
    closed = []

    @failures_to("line")
    def streaming() -> Iterator[dict[str, str]]:
        try:
            yield {"line": "begun"}
        finally:
            closed.append(True)

    states = streaming()
    next(states)
    states.close()
    assert closed == [True]


def raised_in(*modules: str) -> Exception:
    """A KeyError that the last of these modules raises, each called by the one before."""
    code = "raise KeyError('fr')"
    for module in reversed(modules):
        code = f"exec({code!r}, {{'__name__': {module!r}}})"
    with pytest.raises(KeyError) as raised:
        exec(code)
    return raised.value


@pytest.mark.parametrize(
    ("modules", "status"),
    [
        (("gradio.routes", "lape.demo.somewhere"), 500),
        (("gradio.routes", "lape.demo.somewhere", "torch.nn"), 500),
        (("gradio.routes", "lape.demo.page", "gradio.blocks"), 404),
        (("lape.demo.refusals", "gradio.routes"), 404),
        (("gradio.routes",), 404),
    ],
)
def test_a_failure_of_our_own_is_no_unknown_event(
    modules: tuple[str, ...], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    request = Request({"type": "http", "path": "/gradio_api/call/compare", "headers": [], "query_string": b""})
    answer = asyncio.run(unknown(request, raised_in(*modules)))
    assert answer.status_code == status
    assert (b"Something failed (KeyError)" in answer.body) == (status == 500)
    assert ("failed" in caplog.text) == (status == 500)
