"""The Find neurons tab without a browser: its checks, its work on the model, its events, its files."""

from __future__ import annotations

import html
import io
import json
import pickle
import re
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
import torch
from asking import HTTP
from families import CONTEXT, build, byte_tokenizer
from gradio.utils import get_upload_folder

from lape import ActivationStatistics, LapeError, NeuronMask, NotEnoughText, identify, record
from lape.demo import downloads as downloads_module
from lape.demo.backend import Backend
from lape.demo.downloads import KEPT, Downloads
from lape.demo.find import tab as find_module
from lape.demo.find.controls import EXAMPLE
from lape.demo.find.finding import (
    MOST_LANGUAGES,
    WIKIPEDIA,
    Allowance,
    Counted,
    allowance,
    checked_find,
    counting,
)
from lape.demo.find.found import progress
from lape.demo.loaded import Loaded
from lape.demo.page import build_page, launch
from lape.demo.stops import Stops
from lape.demo.uploads import UPLOAD_BYTES, take
from lape.identify import method_settings, methods_reading
from lape.recording.texts import Texts

HTML = "<img src=x onerror=alert(1)>"
FRENCH = "Ceci est le premier texte.\nIl est assez court.\n\n" * 8  # 8 documents
CHINESE = "这是一些文字。\n\n" * 20
RATES = {"top_rate": 0.1, "filter_rate": 0.9, "activation_bar_ratio": 0.9, "min_probability": 0.5}
GIVEN: dict[str, Any] = {
    "kind": "own",
    "labels": ["fr", "zh", None],
    "texts": [FRENCH, CHINESE, ""],
    "dataset": WIKIPEDIA,
    "languages": ["fr", "es"],
    "tokens": 256,
    "method": "lape",
    "rates": RATES,
}
GIVEN_HERE = {**GIVEN, "shared": False}
TEXTS = {"fr": Texts.of(FRENCH), "zh": Texts.of(CHINESE)}


@pytest.fixture(scope="module", autouse=True)
def _here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """None of the settings of a Space, and an own folder for files."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("SPACE_ID", "SPACES_ZERO_GPU", "OAUTH_CLIENT_ID"):
            environment.delenv(name, raising=False)
        environment.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        yield


# What is refused


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "file"}, "from 'own' or 'dataset', not 'file'"),
        ({"kind": ["own"]}, "from 'own' or 'dataset'"),
        ({"kind": None}, "not empty"),
        ({"labels": ["fr", "fr", None]}, "Two rows have the label 'fr'"),
        ({"labels": ["fr", "../zh", None]}, "language of row 2 must be a label"),
        ({"labels": ["fr", HTML, None]}, "language of row 2 must be a label"),
        ({"labels": ["fr", None, None]}, "language of row 2 must be a label .* not empty"),
        ({"labels": ["fr", {"a": 1}, None]}, "language of row 2 must be a label"),
        ({"labels": ["fr", "z" * 33, None]}, "language of row 2 must be a label"),
        ({"texts": [FRENCH, 5, ""]}, "text of row 2 must be text, not 5"),
        ({"texts": [FRENCH, {"path": "/etc/passwd"}, ""]}, "text of row 2 must be text"),
        ({"texts": [FRENCH, "a\ud800" * 99, ""]}, "half a character"),
        ({"texts": [FRENCH, " \n", ""]}, "there is 1"),
        ({"texts": [None, None, None]}, "there are 0"),
        ({"texts": [FRENCH, "x" * 5_000_000, ""]}, "more than the 5,000,000 characters"),
        ({"tokens": 31}, "from 32 to 100,000"),
        ({"tokens": 100_001}, "from 32 to 100,000"),
        ({"tokens": float("nan")}, "from 32 to 100,000"),
        ({"tokens": float("inf")}, "from 32 to 100,000"),
        ({"tokens": 64.5}, "whole number"),
        ({"tokens": "256"}, "whole number"),
        ({"tokens": True}, "whole number"),
        ({"tokens": None}, "not empty"),
        ({"method": "lapee"}, "No identification method 'lapee'. Did you mean 'lape'"),
        ({"method": None}, "No identification method"),
        ({"method": ["lape"]}, "No identification method"),
        ({"method": "m" * 100_000}, "No identification method"),
        ({"rates": {**RATES, "top_rate": 0}}, "Top rate must be a share above 0 and up to 1"),
        ({"rates": {**RATES, "top_rate": 1.5}}, "Top rate must be a share"),
        ({"rates": {**RATES, "filter_rate": -0.1}}, "Filter rate must be a share from 0 to 1"),
        ({"rates": {**RATES, "activation_bar_ratio": [0.5]}}, "Bar must be a share"),
        ({"rates": {}}, "Top rate must be a share .* not empty"),
        ({"kind": "dataset", "dataset": ""}, "Name a dataset"),
        ({"kind": "dataset", "dataset": None}, "Name a dataset"),
        ({"kind": "dataset", "dataset": "hf:a/b\nhf:c/d"}, "Name a dataset in one line"),
        ({"kind": "dataset", "dataset": "h" * 301}, "Name a dataset in one line"),
        ({"kind": "dataset", "dataset": "hf:one/text"}, "one text for 2 languages"),
        ({"kind": "dataset", "dataset": "nowhere"}, "There is no corpus at 'nowhere'"),
        ({"kind": "dataset", "languages": "fr"}, "Choose 2 to 12 languages"),
        ({"kind": "dataset", "languages": ["fr"]}, "there is 1"),
        ({"kind": "dataset", "languages": ["fr", "fr"]}, "there is 1"),
        ({"kind": "dataset", "languages": ["fr", 5]}, "language of the dataset must be a label"),
        ({"kind": "dataset", "languages": [f"l{n}" for n in range(13)]}, "Choose 2 to 12 languages"),
    ],
)
def test_a_bad_value_gets_a_sentence(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(LapeError, match=said) as caught:
        checked_find(**GIVEN_HERE | changes)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_good_request() -> None:
    asked = checked_find(**GIVEN_HERE | {"labels": [" fr ", "my-label_1", None]})
    assert list(asked.sources) == ["fr", "my-label_1"]
    assert asked.sources["fr"] == Texts.of(FRENCH)
    assert (asked.tokens, asked.method) == (256, "lape")
    assert asked.settings == {name: RATES[name] for name in ("top_rate", "filter_rate", "activation_bar_ratio")}
    assert checked_find(**GIVEN_HERE | {"method": "lap"}).settings == {"min_probability": 0.5}


@pytest.mark.parametrize("method", methods_reading())
def test_every_method_has_its_settings(method: str) -> None:
    asked = checked_find(**GIVEN_HERE | {"method": method})
    assert set(method_settings(method)) - set(asked.settings) <= {"weight"}  # searched for


def test_a_shared_page_reads_wikipedia_and_nothing_else(tmp_path: Path) -> None:
    for code in ("fr", "es"):
        (tmp_path / f"{code}.txt").write_text("A secret.")
    given = {**GIVEN, "kind": "dataset", "dataset": str(tmp_path)}
    assert checked_find(**given, shared=False).sources["fr"].description == "fr.txt"  # on one's own machine
    asked = checked_find(**given, shared=True)
    assert [source.description for source in asked.sources.values()] == [
        "hf:wikimedia/wikipedia:20231101.fr",
        "hf:wikimedia/wikipedia:20231101.es",
    ]


def test_a_shared_page_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert allowance(shared=False).seconds is None
    assert allowance(shared=True) == Allowance(5_000, 300_000, 120)
    with pytest.raises(LapeError, match="from 32 to 5,000"):
        checked_find(**GIVEN_HERE | {"tokens": 5_001, "shared": True})
    with pytest.raises(LapeError, match="300,000 characters"):
        checked_find(**GIVEN_HERE | {"texts": ["x" * 200_000, "x" * 100_001, None], "shared": True})
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    assert allowance(shared=True).seconds < 60  # the time a GPU is lent for


# The work


def test_the_counts_are_those_of_a_recording(tiny_model: Any, tokenizer: Any) -> None:
    *_, last = counting(tiny_model, tokenizer, TEXTS, 256, None)
    assert last.of_tokens == last.tokens == {"fr": 256, "zh": 256}
    assert (last.block, last.late) == (64, False)
    corpora = {code: list(text.documents) for code, text in TEXTS.items()}
    plain = record(tiny_model, tokenizer, corpora, tokens=256, block=64, batch=16, progress=False)
    found = last.state.statistics(TEXTS)
    for code in corpora:
        assert torch.equal(found.active[code], plain.active[code])
        assert torch.equal(found.sum[code], plain.sum[code])
    groups = last.state.groups(TEXTS)
    groups.check(found)
    assert groups.count == 2


def test_short_texts_are_read_to_their_ends(tiny_model: Any, tokenizer: Any) -> None:
    texts = {"fr": Texts.of("x" * 99), "zh": Texts.of("y" * 39)}  # with their ends 100 and 40 tokens
    *_, last = counting(tiny_model, tokenizer, texts, 256, None)
    assert (last.block, dict(last.tokens)) == (8, {"fr": 96, "zh": 40})
    with pytest.raises(NotEnoughText, match=r"too little text for Chinese: fewer than 32 tokens"):
        list(counting(tiny_model, tokenizer, {**texts, "zh": Texts.of("y" * 30)}, 256, None))


@pytest.mark.parametrize(("template", "block"), [(None, CONTEXT), ("<|im_end|> $A", CONTEXT // 2)])
def test_a_block_fits_the_context_with_what_is_read_before_it(
    tiny_model: Any, template: str | None, block: int
) -> None:
    texts = {code: Texts.of(code * 2 * CONTEXT) for code in ("fr", "zh")}  # four blocks of the whole context
    *_, last = counting(tiny_model, byte_tokenizer(template), texts, 4 * CONTEXT, None)
    assert (last.block, dict(last.tokens)) == (block, dict.fromkeys(texts, 4 * CONTEXT))


def test_what_is_yielded_can_go_to_another_process(tiny_model: Any, tokenizer: Any) -> None:
    *_, last = counting(tiny_model, tokenizer, TEXTS, 256, 60)
    there: Counted = pickle.loads(pickle.dumps(last))
    assert there.tokens == last.tokens
    there_active = there.state.statistics(TEXTS).active
    assert torch.equal(there_active["zh"], last.state.statistics(TEXTS).active["zh"])
    assert pickle.loads(pickle.dumps((TEXTS, 256, 60))) == (TEXTS, 256, 60)


def test_time_is_limited(tiny_model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lape.demo.find.finding.PASS_TOKENS", {"cpu": 64})
    states = list(counting(tiny_model, tokenizer, TEXTS, 256, 0))
    assert [state.late for state in states] == [False, True]
    assert states[-1].total_tokens == 64  # something is counted in any case
    assert not any(module._forward_hooks for module in tiny_model.modules())


def test_closing_leaves_no_hook(tiny_model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lape.demo.find.finding.PASS_TOKENS", {"cpu": 64})
    monkeypatch.setattr("lape.demo.find.finding.SHOW_SECONDS", 0)
    with closing(counting(tiny_model, tokenizer, TEXTS, 256, None)) as states:
        totals = [state.total_tokens for _, state in zip(range(4), states, strict=False)]
        assert totals == [0, 64, 64, 128]
        assert any(module._forward_hooks for module in tiny_model.modules())
    assert not any(module._forward_hooks for module in tiny_model.modules())


def test_the_progress_says_how_far_and_how_long(tiny_model: Any, tokenizer: Any) -> None:
    first, *_, last = counting(tiny_model, tokenizer, TEXTS, 256, None)
    assert first.seconds_left is None
    half = Counted("fr", {"fr": 128, "zh": 128}, {"fr": 256, "zh": 256}, 64, 2.0, False, last.state)
    assert (half.tokens_per_second, half.seconds_left) == (128, 2)
    said = progress(half)
    assert "French: 128 tokens · 256 of 512 in all · 128 tokens/s · about 2 s left" in said
    assert 'value="256" max="512"' in said
    slow = Counted(HTML, {HTML: 1}, {HTML: 1000}, 64, 1.0, False, last.state)
    assert "about 17 min left" in progress(slow)
    assert "<img" not in progress(slow)


# The events


def begun(tokenizer: Any) -> Backend:
    cells = torch.tensor([[0, 1], [1, 2], [2, 5]])
    mask = NeuronMask({"fr": cells, "es": cells + torch.tensor([0, 9])}, {}, (3, 48))
    torch.manual_seed(0)
    return Backend(Loaded(build("llama"), tokenizer, mask))


@pytest.fixture(scope="module")
def shared(tokenizer: Any) -> Backend:
    return begun(tokenizer)


@pytest.fixture
def backend(shared: Backend) -> Iterator[Backend]:
    yield shared
    shared.leave("ann")


class Tab:
    """The events of the tab, called as gradio calls them."""

    def __init__(self, backend: Backend) -> None:
        self.page = build_page(backend)
        self.fns = {one.api_name: one for one in self.page.fns.values()}
        self.ids = {getattr(block, "elem_id", None): block for block in self.page.blocks.values()}

    def call(self, event: str, *values: Any, visitor: str = "ann") -> list[dict[Any, Any]]:
        """Every update of an event."""
        one = self.fns[event]
        found = one.fn(gr.Request(session_hash=visitor), *values)
        return list(found) if hasattr(found, "__next__") else [found]

    def values(self, **changes: Any) -> list[Any]:
        """What the controls give."""
        given = {**GIVEN, **changes}
        rows = [None] * (MOST_LANGUAGES - len(given["labels"]))
        single = [given[name] for name in ("kind", "dataset", "languages", "tokens", "method")]
        return [*single, *given["rates"].values(), *given["labels"], *rows, *given["texts"], *rows]

    def read(self, **changes: Any) -> dict[Any, Any]:
        self.call("preparing")
        return self.call("fetching", *self.values(**changes))[-1]

    def find(self, **changes: Any) -> dict[Any, Any]:
        """The last update of a run."""
        return self.call("finding", self.ready(self.read(**changes)))[-1]

    def ready(self, update: dict[Any, Any]) -> Any:
        (state,) = [value for block, value in update.items() if isinstance(block, gr.State)]
        return state

    def said(self, update: dict[Any, Any]) -> str:
        """The sentence of the status line; what is in it is escaped."""
        line = update[self.ids["lape-find-status"]]
        found = re.fullmatch(r'<p class="lape-status(?: lape-failed)?" role="(?:alert|status)">([^<>]*)</p>', line)
        assert found, line
        return html.unescape(found[1])

    def file(self, update: dict[Any, Any]) -> Path:
        return Path(update[self.ids["lape-find-download"]].value["path"])


@pytest.fixture(scope="module")
def tab(shared: Backend) -> Tab:
    return Tab(shared)


def test_what_is_found_is_in_use_for_this_visitor(tab: Tab, backend: Backend, tmp_path: Path) -> None:
    done = tab.find()
    assert re.fullmatch(
        r"Counted 512 tokens in [\d.]+ s\. \d+ neurons found, now in use in every tab, for you alone\.", tab.said(done)
    )
    mine = backend.ready("ann")
    assert mine.known_mask.languages == ("fr", "zh")
    assert mine.statistics.tokens == {"fr": 256, "zh": 256}
    assert mine.notes == ("Your own mask: Entropy of activations (LAPE) on 512 tokens.",)
    rates = {name: RATES[name] for name in method_settings("lape")}
    assert identify(mine.statistics, **rates) == mine.known_mask
    assert backend.languages("bob") == backend.languages() == ("fr", "es")
    table = done[tab.ids["lape-find-result"]]
    assert f"<td>French</td><td>256</td><td>{mine.known_mask.count('fr')}</td>" in table
    counts = mine.known_mask.per_layer("fr")
    assert f"{counts.index(max(counts))}\u00a0({max(counts)})" in table
    assert "Only 256 tokens of the shortest language" in table

    with zipfile.ZipFile(tab.file(done)) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "unzipped")
    folder = (tmp_path / "unzipped" / names[0]).parent
    assert sorted(Path(name).name for name in names) == ["mask.json", "mask.safetensors", "statistics.safetensors"]
    assert NeuronMask.load(folder) == mine.known_mask
    loaded = ActivationStatistics.load(folder / "statistics.safetensors")
    assert torch.equal(loaded.active["zh"], mine.statistics.active["zh"])


def test_stop_keeps_what_is_counted(tab: Tab, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lape.demo.find.finding.PASS_TOKENS", {"cpu": 64})
    monkeypatch.setattr("lape.demo.find.finding.SHOW_SECONDS", 0)
    waiting = tab.ready(tab.read())
    updates = tab.fns["finding"].fn(gr.Request(session_hash="ann"), waiting)
    for update in updates:
        if "128 of 512" in str(update):
            tab.call("halting", visitor="bob")
            tab.call("halting")
            break
    last = list(updates)[-1]
    assert re.match(r"Stopped: counted \d+ tokens in [\d.]+ s, of 512; they are kept\. \d+ neurons", tab.said(last))
    assert 128 <= sum(backend.ready("ann").statistics.tokens.values()) <= 192
    assert not backend.lock.locked()
    assert not any(module._forward_hooks for module in backend.loaded.model.modules())


def test_stop_before_the_model_is_free(tab: Tab, backend: Backend) -> None:
    waiting = tab.ready(tab.read())
    tab.call("halting")
    (update,) = tab.call("finding", waiting)
    assert tab.said(update) == "Stopped before anything was counted."
    assert backend.languages("ann") == ("fr", "es")
    tab.call("preparing")
    assert "neurons found" in tab.said(tab.call("finding", waiting)[-1])


def test_stop_while_reading(tab: Tab) -> None:
    tab.call("halting")
    update = tab.call("fetching", *tab.values())[-1]
    assert tab.said(update) == "Stopped before anything was counted."
    assert not any(isinstance(block, gr.State) for block in update)


def test_the_time_of_a_public_page_is_told(tab: Tab, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lape.demo.find.finding.PASS_TOKENS", {"cpu": 64})
    monkeypatch.setattr(find_module, "allowance", lambda shared: Allowance(5000, 300_000, 1e-9))
    said = tab.said(tab.find())
    assert re.match(r"The time of 0 s is over: counted 64 tokens in [\d.]+ s, of 512; they are kept\. Nothing", said)


def test_a_language_that_was_not_reached_is_named(tab: Tab, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lape.demo.find.finding.PASS_TOKENS", {"cpu": 64})
    monkeypatch.setattr("lape.demo.find.finding.SHOW_SECONDS", 0)
    waiting = tab.ready(tab.read())
    updates = tab.fns["finding"].fn(gr.Request(session_hash="ann"), waiting)
    next(update for update in updates if "64 of 512" in str(update))
    tab.call("halting")
    last = list(updates)[-1]
    assert "Nothing was counted of Chinese. Telling languages apart needs at least two different ones" in tab.said(last)
    assert backend.languages("ann") == ("fr", "es")
    with zipfile.ZipFile(tab.file(last)) as archive:
        assert [Path(name).name for name in archive.namelist()] == ["statistics.safetensors"]


def test_a_mask_with_one_language_is_shown_and_not_used(tab: Tab, backend: Backend) -> None:
    done = tab.find(texts=[FRENCH, FRENCH + " ", None], method="margin")
    assert "Fewer than two languages have neurons, so it is not put in use" in tab.said(done)
    assert "No neuron was found for" in tab.said(done)
    assert backend.languages("ann") == ("fr", "es")
    assert tab.file(done).is_file()


def test_another_model_in_the_meantime(tokenizer: Any) -> None:
    backend = begun(tokenizer)
    tab = Tab(backend)
    waiting = tab.ready(tab.read())
    updates = tab.fns["finding"].fn(gr.Request(session_hash="ann"), waiting)
    next(updates)
    backend.visitors.share(Loaded(build("llama"), tokenizer, backend.loaded.mask))
    last = list(updates)[-1]
    assert "Another model has been loaded in the meantime" in tab.said(last)
    assert backend.languages("ann") == ("fr", "es")


def test_without_a_model(tokenizer: Any) -> None:
    backend = begun(tokenizer)
    backend.unload()
    tab = Tab(backend)
    assert "No model is loaded" in tab.said(tab.read())


def test_a_failed_reading_leaves_nothing_to_count(tab: Tab) -> None:
    update = tab.read(tokens=-1)
    assert "Tokens per language must be" in tab.said(update)
    (update,) = tab.call("finding", None)
    assert [value["__type__"] for value in update.values()] == ["update"]


def test_a_folder_on_ones_own_machine(tab: Tab, backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "de.txt").write_text(FRENCH)
    (tmp_path / "xx.txt").write_text(CHINESE)
    assert "neurons found" in tab.said(tab.find(kind="dataset", dataset=str(tmp_path), languages=["de", "xx"]))
    corpora = backend.ready("ann").statistics.metadata["corpora"]
    assert [corpora[code][0]["source"] for code in ("de", "xx")] == ["de.txt", "xx.txt"]


def test_a_dataset_that_is_not_read_in_time(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_module, "READING_SECONDS", -1)
    update = tab.read()
    assert "was not read within" in tab.said(update)
    assert not any(isinstance(block, gr.State) for block in update)


def test_back_to_the_first_mask(tab: Tab, backend: Backend) -> None:
    file = tab.file(tab.find())
    assert backend.languages("ann") == ("fr", "zh")
    (update,) = tab.call("restoring")
    assert tab.said(update) == "Back to the mask the page began with."
    assert backend.languages("ann") == ("fr", "es")
    assert not file.parent.exists()


def test_the_example_texts_fill_the_rows(tab: Tab) -> None:
    found = tab.fns["exemplified"].fn()
    texts = [value.value for value in found.values() if isinstance(value, gr.Textbox)]
    assert len(texts) == MOST_LANGUAGES
    assert [len(text) > 100 for text in texts] == [True] * len(EXAMPLE) + [False] * (MOST_LANGUAGES - len(EXAMPLE))


# Files


def test_downloads_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Downloads()
    first = kept.folder("ann")
    (first / "file").write_text("x")
    assert first.stat().st_mode & 0o077 == 0
    assert first.parent == Path(get_upload_folder())
    second = kept.folder("ann")
    assert (first.exists(), second.exists()) == (False, True)
    kept.leave("ann")
    kept.leave("nobody")
    assert not second.exists()
    folders = [kept.folder(f"visitor {number}") for number in range(KEPT + 2)]
    assert [folder.exists() for folder in folders] == [False] * 2 + [True] * KEPT
    monkeypatch.setattr(downloads_module, "KEPT_SECONDS", -1)
    kept.folder("ann")
    assert not any(folder.exists() for folder in folders)


def test_stops_are_of_one_visitor_and_bounded() -> None:
    stops = Stops()
    stops.press("ann")
    assert (stops.pressed("ann"), stops.pressed("bob")) == (True, False)
    stops.begin("ann")
    assert not stops.pressed("ann")
    for number in range(2000):
        stops.press(str(number))
    assert sum(stops.pressed(str(number)) for number in range(2000)) == 1000


@pytest.fixture(scope="module")
def url(tab: Tab) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield launch(tab.page, port)
    tab.page.close(verbose=False)


@pytest.fixture
def post(url: str) -> Callable[..., tuple[str, Any]]:
    """Calls an event over HTTP as anybody can; gives whether it is complete, and its data."""

    def call(event: str, *values: Any) -> tuple[str, Any]:
        headers = {"content-type": "application/json"}
        body = json.dumps({"data": values})
        sent = HTTP.post(f"{url}/gradio_api/call/{event}", content=body, headers=headers)
        assert sent.status_code == 200, sent.text[:300]
        answer = HTTP.get(f"{url}/gradio_api/call/{event}/{sent.json()['event_id']}").text
        *_, kind, data = [line for line in answer.splitlines() if line]
        return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    return call


def uploaded(url: str, name: str, data: bytes) -> dict[str, Any]:
    """What a page gives to an event for a file it has uploaded."""
    sent = HTTP.post(f"{url}/gradio_api/upload", files={"files": (name, io.BytesIO(data))})
    assert sent.status_code == 200, sent.text
    return {"path": sent.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}


EMPTY = [None] * MOST_LANGUAGES


def shown_texts(data: Any) -> dict[str, str]:
    """The rows of an answer: labels to texts."""
    labels = data[MOST_LANGUAGES : 2 * MOST_LANGUAGES]
    texts = [update["value"] for update in data[2 * MOST_LANGUAGES : 3 * MOST_LANGUAGES]]
    return {label: text for label, text in zip(labels, texts, strict=True) if label}


def test_uploaded_files_fill_the_rows(url: str, post: Callable[..., tuple[str, Any]]) -> None:
    files = [uploaded(url, "fr.txt", FRENCH.encode()), uploaded(url, "my_label.txt", b"\xef\xbb\xbfText.")]
    labels, texts = ["es", "fr", *EMPTY[2:]], ["Texto.", "", *EMPTY[2:]]
    kind, data = post("unpacking", files, *labels, *texts)
    assert kind == "complete"
    assert shown_texts(data) == {"es": "Texto.", "fr": FRENCH, "my_label": "Text."}
    again = uploaded(url, "fr.txt", FRENCH.encode())  # by another visitor: gradio puts the same bytes in the same place
    assert again["path"] == files[0]["path"]
    assert shown_texts(post("unpacking", [again], *EMPTY, *EMPTY)[1]) == {"fr": FRENCH}


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("fr.md", b"Text.", "must be named by its language, such as fr.txt"),
        ("fr", b"Text.", "must be named by its language"),
        ("a b.txt", b"Text.", "must be named by its language"),
        ("..%2F..%2Fetc.txt", b"Text.", "must be named by its language"),
        ("<img src=x>.txt", b"Text.", "must be named by its language"),
        ("fr.txt", b"", "fr.txt is empty"),
        ("fr.txt", b"\x80\x04\x95\x1f", "fr.txt is not UTF-8 text"),
        ("fr.txt", b"PK\x03\x04\0\0", "holds bytes of zero"),
    ],
)
def test_a_bad_file_gets_a_sentence(
    name: str, data: bytes, said: str, url: str, post: Callable[..., tuple[str, Any]]
) -> None:
    file = uploaded(url, name, data)
    kind, answer = post("unpacking", [file], *EMPTY, *EMPTY)
    assert kind == "complete"
    assert said in html.unescape(answer[-1])
    assert "<img" not in answer[-1]


def test_a_file_that_was_not_uploaded_is_not_read(
    url: str, post: Callable[..., tuple[str, Any]], tmp_path: Path
) -> None:
    secret = tmp_path / "fr.txt"
    secret.write_text("A secret.")
    there = uploaded(url, "fr.txt", b"Text.")
    meta = {"_type": "gradio.FileData"}
    folder = str(Path(there["path"]).parent)
    for value in (
        {"path": str(secret), "meta": meta},
        {"path": f"{folder}/../../../fr.txt", "meta": meta},
        {"path": "http://127.0.0.1:1/fr.txt", "meta": meta},
        {"path": folder, "meta": meta},
        {"path": "fr\0.txt", "meta": meta},
        {"path": 5, "meta": meta},
        {"path": str(secret), "meta": "x"},
        {"path": there["path"], "meta": meta, "size": "x"},
        {"path": str(secret)},
        "fr.txt",
        5,
        [[there]],
    ):
        kind, data = post("unpacking", value, *EMPTY, *EMPTY)
        assert kind == "error"
        assert "secret" not in str(data)
        assert len(str(data)) < 200
    kind, data = post("unpacking", None, *EMPTY, *EMPTY)
    assert "No file was uploaded" in data[-1]
    assert secret.read_text() == "A secret."
    kind, data = post("fetching", *[there] * 33)
    assert (kind, "Files are not accepted here" in str(data)) == ("error", True)
    assert Path(there["path"]).exists()


def test_too_large_and_too_many_files_are_not_taken_in(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"files": ("fr.txt", io.BytesIO(b"x" * (UPLOAD_BYTES + 1)))}
    assert HTTP.post(f"{url}/gradio_api/upload", files=files).status_code == 413
    there = [uploaded(url, f"{code}.txt", code.encode()) for code in ("aa", "bb", "cc")]
    with pytest.raises(LapeError, match="3 files, and at most 2"):
        take(there, 2)
    monkeypatch.setattr("lape.demo.uploads.TEXT_BYTES", 3)
    with pytest.raises(LapeError, match="at most"):
        take([uploaded(url, "aa.txt", b"long")], 2)


@pytest.mark.parametrize("value", [None, 5, -1e300, "x" * 100_000, [1, [2]], {"a": HTML}, HTML, True])
def test_any_json_in_any_place_gets_a_sentence(tab: Tab, value: Any) -> None:
    good = tab.values()
    for place in range(len(good)):
        values = [*good[:place], value, *good[place + 1 :]]
        tab.call("preparing")
        update = tab.call("fetching", *values)[-1]
        said = tab.said(update)
        assert said.startswith("Waiting") or (said.endswith(".") and len(said) < 500 and "Something failed" not in said)
    for event in ("opening", "_applied", "<lambda>"):
        for one in [fn for fn in tab.page.fns.values() if getattr(fn.fn, "__name__", "") == event]:
            if len(one.inputs) == MOST_LANGUAGES or len(one.inputs) == 1:
                one.fn(*[value] * len(one.inputs))


def test_another_row_is_opened(post: Callable[..., tuple[str, Any]]) -> None:
    for open_rows, following in ((["en", "de"], "fr"), (["fr", "de", "it"], "es"), (["fr", "es", "it"], None)):
        kind, data = post("opening", *open_rows, *[None] * (MOST_LANGUAGES - len(open_rows)))
        assert kind == "complete"
        rows, labels = data[:MOST_LANGUAGES], data[MOST_LANGUAGES:]
        opened = [at for at, row in enumerate(rows) if row.get("visible")]
        assert opened == [len(open_rows)]
        assert labels[opened[0]] == following
    full = [f"l{number}" for number in range(MOST_LANGUAGES)]
    assert post("opening", *full)[0] == "complete"


def test_a_method_shows_its_own_settings(post: Callable[..., tuple[str, Any]]) -> None:
    for method in methods_reading():
        kind, (about, *sliders) = post("_applied", method)
        assert kind == "complete"
        assert f"methods.about_{method}" in str(about)
        settings = method_settings(method)
        assert [slider["visible"] for slider in sliders] == [name in settings for name in RATES]
        for name, slider in zip(RATES, sliders, strict=True):
            assert slider.get("value") == settings.get(name)


def test_over_http_nothing_is_a_server_error(post: Callable[..., tuple[str, Any]], tab: Tab) -> None:
    values = tab.values(tokens=-1)
    assert "Tokens per language" in post("fetching", *values)[1][0]
    assert post("fetching", *values[:5])[0] == "error"
    kind, data = post("opening", *[{"a": HTML}] * MOST_LANGUAGES)
    assert kind == "complete"
    assert HTML not in json.dumps(data)
    assert post("preparing")[0] == post("halting")[0] == post("restoring")[0] == "complete"


def test_closing_the_page_deletes_its_files(url: str, tab: Tab, backend: Backend) -> None:
    with httpx.stream("GET", f"{url}/gradio_api/heartbeat/ann", timeout=60) as page:
        lines = page.iter_lines()  # held, for without them the connection is closed
        next(lines)
        file = tab.file(tab.find())
        assert HTTP.get(f"{url}/gradio_api/file={file}").status_code == 200
    end = time.monotonic() + 30
    while file.parent.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not file.parent.exists()
    assert backend.languages("ann") == ("fr", "es")
