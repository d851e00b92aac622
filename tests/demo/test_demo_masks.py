"""The Masks tab without a browser: its events, called over HTTP as the page calls them, against the stand-in Hub."""

from __future__ import annotations

import html
import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from asking import HTTP
from browsing import serve
from hub_standin import READ, STRANGER, WRITE, Hub
from huggingface_hub import constants

from lape import ActivationStatistics, LapeError, NeuronMask
from lape.demo.backend import Backend
from lape.demo.checks import LINE_CHARACTERS
from lape.demo.compare.comparison import compare
from lape.demo.compare.request import DEFAULTS
from lape.demo.compare.variants import variants_of
from lape.demo.loaded import Loaded
from lape.demo.masks.listing import HERE
from lape.demo.masks.share import WIKIPEDIA
from lape.demo.page import Page, build_page
from lape.masks.calibration import calibrate
from lape.models.embedded import GEMMA, SMOLLM2

MODEL = "org/tiny"
REPO = "org/collection"
PLACE = "org--tiny/lape"
SHAPE = (3, 128)
MASK = f"{MODEL} lape"
HTML = "<img src=x onerror=alert(1)>"
SHORT = replace(DEFAULTS, prompt="Bonjour", max_new_tokens=2)
SESSION = "visitor"
REQUEST = gr.Request(session_hash=SESSION)
OUTPUTS = {"showing": ("line", "listed", "chosen", "card", "first", "second"), "reading": ("line", "card")}


@dataclass
class Visitor:
    """Calls the events of a served page, as the page's own script does."""

    page: Page
    url: str

    def call(self, event: str, *values: Any) -> list[Any]:
        """What an event gives each of its outputs; it must not fail."""
        body = json.dumps({"data": values, "session_hash": SESSION})  # a lone surrogate stays an escape
        headers = {"content-type": "application/json"}
        sent = HTTP.post(f"{self.url}/gradio_api/call/{event}", content=body, headers=headers)
        assert sent.status_code == 200, sent.text[:300]
        answer = HTTP.get(f"{self.url}/gradio_api/call/{event}/{sent.json()['event_id']}").text
        *_, kind, data = [line for line in answer.splitlines() if line]
        assert kind == "event: complete", data
        return json.loads(data.removeprefix("data: "))

    def ask(self, event: str, *values: Any) -> dict[str, Any]:
        """The outputs of an event of the tab, by name."""
        return dict(zip(OUTPUTS.get(event, ("line",)), self.call(event, *values), strict=True))

    def said(self, event: str, *values: Any) -> str:
        """The line below the buttons."""
        return text_of(self.ask(event, *values)["line"])

    def function(self, event: str) -> Callable[..., dict[Any, Any]]:
        """What runs for an event; that of a push takes the visitor's login, which gradio adds, at last."""
        return next(one.fn for one in self.page.fns.values() if one.api_name == event)

    def directly(self, event: str, *values: Any) -> str:
        """The same sentence without the HTTP around it, which takes longer."""
        asked = [REQUEST] if event in ("using", "calibrating") else []
        login = [None] if event == "sharing" else []
        (line,) = self.function(event)(*asked, *values, *login).values()
        return refusal(line, [])

    def refused(self, event: str, *values: Any) -> str:
        """The sentence with which an event is refused; nothing else on the page may change."""
        outputs = self.ask(event, *values)
        return refusal(outputs.pop("line"), outputs.values())


def text_of(line: str) -> str:
    """The text of a status line, in which there is no element but its own."""
    found = re.fullmatch(r'<p class="lape-status(?: lape-failed)?" role="(?:alert|status)">([^<>]*)</p>', line)
    assert found, line
    return html.unescape(found[1])


def key_of(block: Any) -> str:
    """Of the words of a component's label."""
    label = str(getattr(block, "label", ""))
    return json.loads(label.removeprefix("__i18n__"))["key"] if label.startswith("__i18n__") else ""


def refusal(line: Any, others: Any) -> str:
    assert 'role="alert"' in line
    for other in others:
        assert set(other) <= {"__type__", "props"}
    said = text_of(line)
    assert said.endswith(".")
    assert "\n" not in said
    assert len(said) < 1000
    assert "Traceback" not in said
    return said


def mask_of(means: bool = True, model: str = MODEL, **about: Any) -> NeuronMask:
    cells = torch.tensor([[0, 1], [1, 2], [2, 5]], dtype=torch.int32)
    about = {"model": model, "method": "lape", **about}
    values = {"fr": torch.ones(3), "es": torch.ones(3)} if means else {}
    return NeuronMask({"fr": cells, "es": cells + torch.tensor([0, 9])}, values, SHAPE, about)


def statistics_of(model: str = MODEL) -> ActivationStatistics:
    generator = torch.Generator().manual_seed(0)
    counts = {code: torch.randint(0, 100, SHAPE, generator=generator) for code in ("fr", "es")}
    sums = {code: torch.randn(SHAPE, generator=generator).double() for code in ("fr", "es")}
    tokens = dict.fromkeys(counts, 100)
    return ActivationStatistics(counts, sums, sums, tokens, {"model": model, "tokens": tokens, "corpora": {}})


def made(folder: Path, statistics: bool = True, card: bytes = b"# A card\n", **about: Any) -> dict[str, bytes]:
    """The files of a mask, by their paths in a collection."""
    mask_of(**about).save(folder)
    (folder / "README.md").write_bytes(card)
    if statistics:
        statistics_of(about.get("model", MODEL)).save(folder / "statistics.safetensors")
    place = f"{about.get('model', MODEL).replace('/', '--')}/{about.get('method', 'lape')}"
    return {f"{place}/{path.name}": path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    return made(tmp_path / "made")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without masks, and none of the settings of a Space."""
    for name in ("LAPE_MASKS_REPO", "LAPE_PRECOMPUTED", "SPACE_ID", "SPACES_ZERO_GPU", "OAUTH_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def bare(tiny_folder: Path) -> Loaded:
    """The tiny model under the name of one on the Hub, without a mask."""
    loaded = Loaded.load(str(tiny_folder))
    loaded.model.name_or_path = MODEL
    return Loaded(loaded.model, loaded.tokenizer)


@pytest.fixture(scope="module")
def served(bare: Loaded) -> Iterator[tuple[Backend, Visitor]]:
    backend = Backend(bare)
    with serve(backend) as (page, url):
        yield backend, Visitor(page, url)


@pytest.fixture
def backend(served: tuple[Backend, Visitor], bare: Loaded) -> Backend:
    served[0].visitors.share(bare)
    return served[0]


@pytest.fixture
def visitor(served: tuple[Backend, Visitor], backend: Backend) -> Visitor:
    return served[1]


def columns(backend: Backend) -> list[str]:
    return list(next(iter(compare(backend, SHORT, SESSION))))


# Looking


def test_the_tab_lists_this_machine(visitor: Visitor, here: Path) -> None:
    made(here / "precomputed" / PLACE)
    shown = visitor.ask("showing", HERE, "")
    assert text_of(shown["line"]) == "3 masks."
    ours = [f"{each.model} lape" for each in (GEMMA, SMOLLM2)]
    assert shown["chosen"]["choices"] == [[name, name] for name in (MASK, *ours)]
    assert shown["chosen"]["value"] == MASK
    assert "Spanish 3 · French 3" in shown["listed"]
    assert shown["card"]["visible"] is False


def test_the_mask_that_is_offered_first_is_one_for_the_model_that_is_loaded(
    visitor: Visitor, here: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(here / "precomputed" / PLACE)
    monkeypatch.setattr(type(backend.ready()), "name", SMOLLM2.model)
    assert visitor.ask("showing", HERE, "")["chosen"]["value"] == f"{SMOLLM2.model} lape"


def test_a_collection_is_shown_with_its_commit(visitor: Visitor, hub: Hub, files: dict[str, bytes]) -> None:
    repo = hub.add(REPO, files)
    repo.refs["refs/tags/v1"] = old = repo.at("main").oid
    repo.commit(dict.fromkeys(files))
    shown = visitor.ask("showing", REPO, "v1")
    assert text_of(shown["line"]) == f"1 mask at commit {old[:12]}."
    assert shown["chosen"]["choices"] == [[MASK, MASK]]
    shown = visitor.ask("showing", f" {REPO} ", "")
    assert text_of(shown["line"]) == "0 masks."
    assert (shown["chosen"]["choices"], shown["chosen"]["value"]) == ([], None)
    assert shown["listed"] == "<p>There are none.</p>"


def test_a_name_that_no_mask_has_is_named_and_hides_no_mask(
    visitor: Visitor, hub: Hub, files: dict[str, bytes]
) -> None:
    repo = hub.add(REPO, files | {"org--tiny/<b>\n\u202e/mask.json": b"{}", "C:\\x/mask.json": b"{}"})
    shown = visitor.ask("showing", REPO, "")
    said = text_of(shown["line"])
    assert said.startswith(f"1 mask at commit {repo.at('main').oid[:12]}. Left out and 1 more: ")
    assert said.endswith("is not the place of a mask, ORG--MODEL/METHOD.")
    assert said.isprintable()
    assert "<b>" not in shown["line"]
    assert shown["chosen"]["choices"] == [[MASK, MASK]]


def test_a_damaged_mask_of_a_list_is_named(visitor: Visitor, hub: Hub, files: dict[str, bytes], tmp_path: Path) -> None:
    other = made(tmp_path / "other", model="org/other")
    repo = hub.add(REPO, files | other | {f"{PLACE}/mask.json": b"{"})
    shown = visitor.ask("showing", REPO, "")
    wrong = "it is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))."
    why = f"{PLACE}/mask.json is missing, damaged or was not written by lape: {wrong}"
    assert text_of(shown["line"]) == f"1 mask at commit {repo.at('main').oid[:12]}. Left out: {why}"
    assert shown["chosen"]["choices"] == [["org/other lape", "org/other lape"]]
    repo.commit({"org--other/lape/mask.json": f'{{"model": "{HTML}"}}'.encode()})
    shown = visitor.ask("showing", REPO, "")
    assert text_of(shown["line"]).startswith("0 masks. Left out and 1 more: org--other/lape/mask.json")


def test_what_the_hub_refuses_is_one_sentence(visitor: Visitor, hub: Hub, files: dict[str, bytes]) -> None:
    assert visitor.refused("showing", REPO, "").startswith(f"There is no collection {REPO} on the Hub")
    assert "is not the name of a collection" in visitor.refused("showing", "a/b/c", "")
    hub.add(REPO, files)
    assert visitor.refused("showing", REPO, "v9").startswith(f"{REPO} has no revision 'v9'")
    hub.limit("/api/", times=1, seconds=90)
    assert "try again in 90 s" in visitor.refused("using", REPO, "", MASK)
    hub.spoil("/api/", lambda _: b"<html>")
    assert "is not the Hub" in visitor.refused("reading", REPO, "", MASK)
    with hub.down():
        assert "cannot be reached" in visitor.refused("showing", "org/other", "")


def test_what_a_collection_says_of_itself_is_text(visitor: Visitor, hub: Hub, files: dict[str, bytes]) -> None:
    about = {"model": MODEL, "sha256": "", "counts": {HTML: 1, "fr": 2}}
    hub.add(REPO, {f"{PLACE}/mask.json": json.dumps(about).encode(), f"org--{HTML}/<b>/mask.json": b"{}"})
    shown = visitor.ask("showing", REPO, "")
    assert text_of(shown["line"]).startswith("1 mask")
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown["line"]
    assert not re.search("<(?!/?p[ >])", shown["line"])
    assert shown["listed"].count("&lt;img src=x onerror=alert(1)&gt;") == 1
    assert not re.search("<(?!/?(ul|li|strong|br)[ >])", shown["listed"])


# Its card


def words_of(card: str) -> str:
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", card)).split())


def test_a_card_is_rendered_and_nothing_in_it_is_markup_or_fetched(visitor: Visitor, hub: Hub, tmp_path: Path) -> None:
    card = (
        f"---\ntags:\n- lape\n---\n<!-- lape:begin -->\n# Card\n\n{HTML} <script>alert(1)</script>\n\n"
        '[a](javascript:alert(1)) [b](https://huggingface.co/org "t") [c](evidence/x.json) [d](data:text/html,x)\n\n'
        "![far](https://evil.org/a.png) ![near](../a.png) ![ref][r] ![neurons](layers.svg)\n\n"
        "[r]: https://evil.org/b.png\n\n<img src='https://evil.org/c.png'>\n\n| a | b |\n|---|---|\n| `<b>` | 2 |\n"
    )
    hub.add(REPO, made(tmp_path / "made", card=card.encode()))
    shown = visitor.ask("reading", REPO, "", MASK)
    assert text_of(shown["line"]) == ""
    assert shown["card"]["visible"]
    card = shown["card"]["value"]
    assert "<h1>Card</h1>" in card
    assert "<td><code>&lt;b&gt;</code></td>" in card
    assert {*re.findall(r"<(\w+)", card)} <= {
        *["div", "h1", "p", "a", "span", "br", "img", "table", "thead", "tbody", "tr", "th", "td", "code"]
    }
    assert re.findall("<a [^>]*>", card) == [
        '<a href="https://huggingface.co/org" target="_blank" rel="noopener noreferrer">'
    ]
    (picture,) = re.findall('src="([^"]*)"', card)
    assert picture.startswith("data:image/svg+xml;base64,")  # drawn here, of the mask
    assert not re.search("<[^>]*evil", card)
    assert card.count("<a ") == card.count("</a>") == card.count("<span>") == card.count("</span>") == 1
    assert "lape:begin" not in card
    assert "tags:" not in card
    assert "far near ref neurons" in words_of(card)
    assert not hub.asked("statistics")


def test_a_card_of_this_machine(visitor: Visitor, here: Path) -> None:
    made(here / "precomputed" / PLACE)
    assert "<h1>A card</h1>" in visitor.ask("reading", HERE, "", MASK)["card"]["value"]


def test_nothing_beside_the_masks_is_shown(visitor: Visitor, here: Path) -> None:
    made(here / "precomputed" / PLACE)
    made(here / "outside")
    made(here / "precomputed" / "org--tiny" / ".hidden")
    for method in ("../../outside", "../../../work/outside", ".hidden", "..", ".", f"{here}/outside", ""):
        for event in ("reading", "using"):
            said = visitor.directly(event, HERE, "", f"{MODEL} {method}")
            assert said == "Choose a mask of the list first.", method


def test_an_odd_card_is_shown_as_far_as_it_goes(visitor: Visitor, hub: Hub, tmp_path: Path) -> None:
    repo = hub.add(REPO, made(tmp_path / "made", card=b"\xff\xfe bytes"))
    assert words_of(visitor.ask("reading", REPO, "", MASK)["card"]["value"]) == "\ufffd\ufffd bytes"
    repo.commit({f"{PLACE}/README.md": b"x" * 1_000_000})
    assert words_of(visitor.ask("reading", REPO, "", MASK)["card"]["value"]) == "x" * 50_000
    repo.commit({f"{PLACE}/README.md": None})
    assert words_of(visitor.ask("reading", REPO, "", MASK)["card"]["value"]) == "It has no card."


# Using one


def test_a_mask_of_a_collection_is_used(visitor: Visitor, backend: Backend, hub: Hub, files: dict[str, bytes]) -> None:
    hub.add(REPO, files)
    version = backend.version(SESSION)
    assert visitor.said("using", REPO, "", MASK) == f"In use: {MASK}."
    assert backend.languages(SESSION) == ("fr", "es")
    assert backend.version(SESSION) != version  # open pages see that they are out of date
    assert backend.ready(SESSION).statistics is not None
    assert columns(backend) == ["on", "off", "steered:es"]


def test_a_mask_of_this_machine_is_used(visitor: Visitor, backend: Backend, here: Path) -> None:
    made(here / "precomputed" / PLACE, statistics=False)
    assert visitor.said("using", HERE, "", MASK) == f"In use: {MASK}."
    assert backend.ready(SESSION).statistics is None


def test_a_mask_of_another_model_is_not_fetched(visitor: Visitor, backend: Backend, hub: Hub, tmp_path: Path) -> None:
    hub.add(REPO, made(tmp_path / "other", model="org/other"))
    said = visitor.refused("using", REPO, "", "org/other lape")
    assert said == f"This mask was made for org/other, but {MODEL} is loaded. Load org/other first."
    assert hub.requests == []


def test_a_mask_that_says_another_model_inside_is_refused(visitor: Visitor, backend: Backend, here: Path) -> None:
    mask_of(model="org/other").save(here / "precomputed" / PLACE)
    assert visitor.refused("using", HERE, "", MASK).startswith("This mask was made for org/other")
    assert backend.ready(SESSION).mask is None


def test_without_a_model_no_mask_is_used(visitor: Visitor, backend: Backend, hub: Hub) -> None:
    backend.unload()
    assert visitor.refused("using", REPO, "", MASK) == "No model is loaded. Choose one and press Load."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({f"{PLACE}/mask.safetensors": b"no"}, "is damaged: its mask.json names another SHA-256."),
        ({f"{PLACE}/mask.json": b"{"}, "is missing, damaged or was not written by lape: it is not JSON"),
        ({f"{PLACE}/statistics.safetensors": b"no"}, "is damaged or was not written by lape"),
        ({f"{PLACE}/mask.safetensors": None}, f"{REPO} has no 'lape' mask for {MODEL}. It has: none."),
    ],
)
def test_a_damaged_mask_leaves_the_one_in_use(
    visitor: Visitor, backend: Backend, hub: Hub, files: dict[str, bytes], change: dict[str, Any], said: str
) -> None:
    repo = hub.add(REPO, files)
    visitor.said("using", REPO, "", MASK)
    before = backend.ready(SESSION)
    repo.commit(change)
    assert said in visitor.refused("using", REPO, "", MASK)
    assert backend.ready(SESSION) is before


def test_a_mask_with_one_language_cannot_be_used(visitor: Visitor, backend: Backend, here: Path) -> None:
    one = NeuronMask({"fr": torch.zeros(1, 2).int()}, {}, SHAPE, {"model": MODEL})
    one.save(here / "precomputed" / PLACE)
    assert "fewer than two languages" in visitor.refused("using", HERE, "", MASK)


def test_a_mask_of_another_shape_cannot_be_used(visitor: Visitor, backend: Backend, here: Path) -> None:
    wide = NeuronMask({"fr": torch.zeros(1, 2).int(), "es": torch.ones(1, 2).int()}, {}, (3, 129), {"model": MODEL})
    wide.save(here / "precomputed" / PLACE)
    assert "3 layers x 129 neurons" in visitor.refused("using", HERE, "", MASK)
    assert backend.ready(SESSION).mask is None


def test_a_model_and_its_mask_come_from_the_hub(
    visitor: Visitor, backend: Backend, hub: Hub, files: dict[str, bytes], tiny_folder: Path
) -> None:
    hub.add(MODEL, {path.name: path.read_bytes() for path in tiny_folder.iterdir()})
    hub.add(REPO, files)
    backend.unload()
    _, _, line, _ = visitor.call("loading", MODEL, "full")
    assert re.fullmatch(rf"Loaded {MODEL} in [\d.]+ s\.", text_of(line))
    assert backend.ready(SESSION).mask is None
    shown = visitor.ask("showing", REPO, "")
    assert visitor.said("using", REPO, "", shown["chosen"]["value"]) == f"In use: {MASK}."
    assert columns(backend) == ["on", "off", "steered:es"]


def test_a_model_that_is_not_there_is_one_sentence(visitor: Visitor, backend: Backend, hub: Hub) -> None:
    _, shown, line, button = visitor.call("loading", "org/gone", "auto")
    assert refusal(line, [shown, button]).startswith("There is no model org/gone on the Hub")


# Sharing one


@pytest.fixture
def mine(here: Path) -> Path:
    """A mask of this machine, with means, statistics and a card."""
    made(here / "precomputed" / PLACE)
    return here / "precomputed" / PLACE


def share(where: Any = HERE, name: Any = MASK, to: Any = REPO, **words: Any) -> list[Any]:
    return [where, name, to, words.get("tag", ""), words.get("private", False), words.get("proposed", False)]


def test_a_mask_is_pushed_with_the_token_of_this_machine(
    visitor: Visitor, hub: Hub, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITE)
    address = f"{hub.endpoint}/{REPO}/tree/main/{PLACE}"
    said = visitor.said("sharing", *share(tag="v1", private=True))
    repo = hub.repos[REPO]
    commit = repo.at("main").oid
    assert said == f"Pushed 6 files to {REPO}, commit {commit}, tag v1: {address}"
    assert repo.read(f"{PLACE}/mask.safetensors") == (mine / "mask.safetensors").read_bytes()
    assert (repo.at("v1").oid, repo.private) == (repo.at("main").oid, True)
    again = visitor.said("sharing", *share())
    assert again == f"Nothing to push: {REPO} has all of it, commit {commit}: {address}"
    assert visitor.said("showing", REPO, "").startswith("1 mask at commit")


def test_a_pull_request_is_named(visitor: Visitor, hub: Hub, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add(REPO)
    monkeypatch.setenv("HF_TOKEN", STRANGER)
    said = visitor.said("sharing", *share(proposed=True))
    assert said == f"Proposed 6 files to {REPO}: {hub.endpoint}/{REPO}/discussions/1"
    assert hub.repos[REPO].paths() == {".gitattributes"}


def test_a_push_that_may_not_be_is_refused(
    visitor: Visitor, hub: Hub, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "needs a token with write access, and there is none" in visitor.refused("sharing", *share())
    assert hub.requests == []
    monkeypatch.setenv("HF_TOKEN", READ)
    assert "token from HF_TOKEN" in visitor.refused("sharing", *share())
    monkeypatch.setenv("HF_TOKEN", WRITE)
    for to in ("", None, "collection", "a/b/c", "../x", HTML, ["org/a"], "x" * 10**6):
        assert visitor.directly("sharing", *share(to=to))
    for where in (REPO, "", None, ["on this machine"], {}):
        assert "Only masks on this machine are pushed" in visitor.directly("sharing", *share(where=where))
    for tag in ("v 1", "../x", HTML, 5, ["v1"]):
        assert visitor.directly("sharing", *share(tag=tag))
    (mine / "stray").touch()
    assert "stray in" in visitor.refused("sharing", *share())
    assert hub.repos == {}


# What nobody would type


KINDS = [None, "", [], {}, [None], [MASK], {"path": "/etc/passwd"}, True, 1.5, -1, 10**30, "x" * 1_000_000, "\ud800/c"]
WORDS = [
    "x",
    "../.. ..",
    "../../etc passwd",
    "/etc/passwd lape",
    f"{MODEL} ../../..",
    f"{MODEL} .",
    "a\0b/c lape",
    "a\nb/c lape",
    "\x1b[2J/c lape",
    "\ud800/c lape",
    HTML,
    f"{HTML}/a lape",
    "javascript:alert(1)",
]
CALLS: dict[str, list[Callable[[Any], tuple[Any, ...]]]] = {
    "showing": [lambda value: (value, ""), lambda value: (REPO, value)],
    "using": [lambda value: (value, "", MASK), lambda value: (REPO, value, MASK), lambda value: (HERE, "", value)],
    "reading": [lambda value: (value, "", MASK), lambda value: (REPO, value, MASK), lambda value: (REPO, "", value)],
    "calibrating": [lambda value: (value,)],
    "sharing": [lambda value: (value,) * 6, lambda value: (HERE, value, REPO, "", False, False)],
}


@pytest.mark.parametrize("value", KINDS, ids=lambda value: repr(value)[:24])
def test_a_value_of_any_kind_is_answered_with_a_sentence(
    visitor: Visitor, backend: Backend, hub: Hub, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    before = backend.ready(SESSION)
    for event, calls in CALLS.items():
        values = calls[0](value)
        if event != "showing" or value not in (None, ""):  # this machine
            assert visitor.refused(event, *values), values
    for values in ((value, "full"), (MODEL, value)):
        _, shown, line, button = visitor.call("loading", *values)
        assert refusal(line, [shown, button])
    assert backend.ready(SESSION) is before
    assert not hub.asked("POST|PUT|DELETE")
    assert "Something failed" not in caplog.text


@pytest.mark.parametrize("event", CALLS)
def test_a_word_of_any_kind_is_answered_with_a_sentence(
    visitor: Visitor, backend: Backend, hub: Hub, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = backend.ready(SESSION)
    for arrange in CALLS[event]:
        for value in [*KINDS, *WORDS]:
            values = arrange(value)
            if values in ((None, ""), ("", ""), (REPO, None), (REPO, ""), (REPO, None, MASK), (REPO, "", MASK)):
                continue  # nothing is wrong with these
            assert visitor.directly(event, *values), values
    assert backend.ready(SESSION) is before
    assert not hub.asked("POST|PUT|DELETE")
    assert not caplog.records


def test_a_name_too_long_for_a_file_is_one_sentence(visitor: Visitor, backend: Backend) -> None:
    for name in (f"org/{'x' * 280}", "x" * 280, "a/" * 140):
        assert visitor.refused("reading", HERE, "", f"{name} lape")
        _, shown, line, button = visitor.call("loading", name, "full")
        assert refusal(line, [shown, button])


def test_a_name_of_the_longest_length_is_looked_up(visitor: Visitor, hub: Hub) -> None:
    name = f"org/{'x' * (LINE_CHARACTERS - 9)} lape"
    assert len(name) == LINE_CHARACTERS
    assert "in one line" not in visitor.refused("reading", HERE, "", name)
    assert "must be one line of text, of at most 300" in visitor.refused("reading", HERE, "", f"x{name}")


def test_a_fault_of_ours_is_one_sentence_without_its_details(
    visitor: Visitor, backend: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret")

    for name in ("listing.list_masks", "listing.find_mask", "share.read_corpora", "share.push"):
        monkeypatch.setattr(f"lape.demo.masks.{name}", broken)
    monkeypatch.setattr("lape.demo.masks.share.bundled_folder", broken)
    backend.visitors.share(replace(backend.ready(SESSION), mask=mask_of()))
    said = "Something failed (ZeroDivisionError). The log of the server says more; try again."
    assert visitor.refused("showing", REPO, "") == said
    assert visitor.refused("using", REPO, "", MASK) == said
    assert visitor.refused("reading", REPO, "", MASK) == said
    assert visitor.refused("calibrating", "corpora") == said
    assert visitor.refused("sharing", *share()) == said
    monkeypatch.setattr(backend, "load", broken)
    monkeypatch.setattr(backend, "unload", broken)
    assert text_of(visitor.call("loading", MODEL, "auto")[2]) == said
    assert text_of(visitor.call("unloading")[2]) == said
    assert caplog.text.count("ZeroDivisionError: secret") == 7


# Calibrating


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    texts = {"fr": "Il était une fois une petite fille.", "es": "Había una vez una niña que vivía."}
    for code, text in texts.items():
        (folder / f"{code}.txt").write_text("\n\n".join(f"{text} {n}" for n in range(200)), encoding="utf-8")
    return folder


def test_a_calibrated_mask_steers(
    visitor: Visitor, backend: Backend, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lape.demo.masks.share.CALIBRATION_TOKENS", 512)
    monkeypatch.setattr("lape.demo.masks.share.calibrate", partial(calibrate, block=64))  # a tiny context
    backend.visitors.share(replace(backend.ready(SESSION), mask=mask_of(means=False)))
    assert columns(backend) == ["on", "off"]
    version = backend.version(SESSION)
    said = visitor.said("calibrating", f" {corpus} ")
    assert said == "Calibrated on 1,024 tokens; it steers now, until another mask is chosen."
    assert backend.version(SESSION) != version
    assert set(backend.ready(SESSION).known_mask.means) == {"fr", "es"}
    assert columns(backend) == ["on", "off", "steered:es"]
    assert list(variants_of(backend.ready(SESSION), replace(SHORT, show_random=True))) == [
        "on",
        "off",
        "steered:es",
        "random",
    ]


def test_what_cannot_be_calibrated_is_one_sentence(
    visitor: Visitor, backend: Backend, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert visitor.refused("calibrating", str(corpus)).startswith(f"There is no mask for {MODEL} yet.")
    before = backend.visitors.share(replace(backend.ready(SESSION), mask=mask_of(means=False))) or backend.ready(
        SESSION
    )
    assert "There is no corpus at" in visitor.refused("calibrating", str(tmp_path / "nowhere"))
    assert (
        visitor.refused("calibrating", str(corpus))
        == "A block of 512 tokens is longer than the model's context of 256."
    )
    monkeypatch.setattr("lape.demo.masks.share.calibrate", partial(calibrate, block=64))
    monkeypatch.setattr("lape.demo.masks.share.CALIBRATION_TOKENS", 10**6)
    assert "1000000 were asked for. Add text" in visitor.refused("calibrating", str(corpus))
    (corpus / "es.txt").unlink()
    assert "es" in visitor.refused("calibrating", str(corpus))
    assert backend.ready(SESSION) is before


# On a Space


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch, backend: Backend) -> str:
    monkeypatch.setenv("SPACE_ID", "org/space")
    monkeypatch.setattr(backend, "shared", True)
    monkeypatch.setenv("LAPE_MASKS_REPO", f"{REPO}, org/second")
    return REPO


def test_a_public_page_opens_the_owners_collections_only(
    visitor: Visitor, backend: Backend, hub: Hub, files: dict[str, bytes], space: str
) -> None:
    hub.add(REPO, files)
    hub.add("eve/collection", files)
    hub.add("org/private", files, private=True)
    assert visitor.said("showing", REPO, "").startswith("1 mask")
    assert visitor.said("using", REPO, "", MASK) == f"In use: {MASK}."
    assert visitor.ask("reading", REPO, "", MASK)["card"]["visible"]
    hub.requests.clear()
    expected = f"On this shared page only these collections are open: {HERE}, {REPO}, org/second."
    for other in ("eve/collection", "org/private", f"{REPO}/", "org/Collection", "", None, "https://x/y"):
        assert visitor.directly("showing", other, "") == expected
        for event in ("using", "reading"):
            assert visitor.directly(event, other, "", MASK) == expected
    assert hub.requests == []


def test_a_public_page_pushes_nothing_without_the_visitors_login(
    visitor: Visitor, hub: Hub, mine: Path, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITE)  # the Space's own
    said = visitor.refused("sharing", *share())
    assert said.startswith("Others reach this page, so nothing is pushed from it.")
    monkeypatch.setattr("lape.demo.masks.share.offers_login", lambda: True)
    assert visitor.refused("sharing", *share()) == "Log in with your own account first."
    assert hub.requests == []


def pushed_as(visitor: Visitor, token: str, to: str) -> str:
    (line,) = visitor.function("sharing")(*share(to=to), gr.OAuthToken(token, "write-repos", 0)).values()
    return text_of(line)


def test_a_public_page_pushes_as_the_visitor_and_never_as_its_owner(
    visitor: Visitor, hub: Hub, mine: Path, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITE)  # the Space's own, of ada, who may write to org
    assert pushed_as(visitor, STRANGER, "eve/masks").startswith("Pushed 6 files to eve/masks, commit ")
    assert hub.repos["eve/masks"].at("main").author == "eve"
    hub.add(REPO)
    assert "may not write to org/collection" in pushed_as(visitor, STRANGER, REPO)
    assert "does not accept" in pushed_as(visitor, "hf_expired", REPO)
    for token in ("", " "):
        assert "Pushed" not in pushed_as(visitor, token, REPO)
    assert hub.repos[REPO].paths() == {".gitattributes"}
    assert [commit.author for commit in hub.repos[REPO].history()] == ["ada"]  # the one that made it


def test_gradio_gives_the_login_to_the_event_and_to_nothing_else(visitor: Visitor) -> None:
    _, *special = gr.helpers.special_args(visitor.function("sharing"), [1, 2, 3, 4, 5, 6])
    values, *_ = gr.helpers.special_args(visitor.function("sharing"), [1, 2, 3, 4, 5, 6])
    assert values == [1, 2, 3, 4, 5, 6, None]
    assert special == [None, None, []]


def test_a_public_page_calibrates_on_wikipedia_whatever_is_asked(
    visitor: Visitor, backend: Backend, corpus: Path, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def read(text: object, languages: object) -> None:
        asked.append(text)
        raise LapeError("Enough.")

    monkeypatch.setattr("lape.demo.masks.share.read_corpora", read)
    backend.visitors.share(replace(backend.ready(SESSION), mask=mask_of(means=False)))
    for text in (str(corpus), "hf:eve/secrets", "/etc", None, ["x"], ""):
        assert visitor.directly("calibrating", text) == "Enough."
    assert asked == [WIKIPEDIA] * 6
    monkeypatch.setattr(backend, "shared", False)
    visitor.directly("calibrating", str(corpus))
    visitor.directly("calibrating", " ")
    assert asked[6:] == [str(corpus), WIKIPEDIA]


def test_a_page_on_zero_gpu_keeps_its_model_and_its_mask(
    visitor: Visitor, backend: Backend, corpus: Path, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    before = backend.visitors.share(replace(backend.ready(SESSION), mask=mask_of(means=False))) or backend.ready(
        SESSION
    )
    assert visitor.refused("calibrating", "") == "This page cannot calibrate. Use `lape calibrate` on your own machine."
    for event, values in (("loading", (SMOLLM2.model, "auto")), ("unloading", ())):
        _, shown, line, button = visitor.call(event, *values)
        assert refusal(line, [shown, button]) == "This page keeps its one model."
    assert backend.ready(SESSION) is before


@pytest.mark.parametrize(
    ("space_id", "client", "authlib", "offered", "sharing"),
    [
        (None, None, True, False, True),
        (None, "id", True, False, True),
        ("org/space", None, True, False, False),
        ("org/space", "id", False, False, False),
        ("org/space", "id", True, True, True),
    ],
)
def test_a_login_is_offered_on_a_space_that_has_one(
    space_id: str | None,
    client: str | None,
    authlib: bool,
    offered: bool,
    sharing: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("SPACE_ID", space_id), ("OAUTH_CLIENT_ID", client)):
        if value:
            monkeypatch.setenv(name, value)
    find = importlib.util.find_spec  # other packages are looked for while the page is built
    there = object() if authlib else None
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *of: there if name == "authlib" else find(name, *of))
    monkeypatch.setattr("gradio.routes.attach_oauth", lambda app: None)  # needs gradio[oauth]
    blocks = list(build_page(Backend()).blocks.values())
    assert any(isinstance(block, gr.LoginButton) for block in blocks) is offered
    shown = {key_of(block): block.visible for block in blocks if isinstance(block, gr.Accordion)}
    assert shown["masks.share"] is sharing
    assert shown["masks.calibrate"] is True
    menus = {key_of(block): block for block in blocks if isinstance(block, gr.Dropdown)}
    assert menus["masks.collection"].allow_custom_value is (space_id is None)


def test_the_sharing_text_names_the_tokens_place_and_not_the_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def texts() -> str:
        return json.dumps(build_page(Backend()).get_config_file(), default=str)

    assert "It needs a token: log in with `hf auth login` or set HF_TOKEN." in texts()
    monkeypatch.setenv("HF_TOKEN", WRITE)
    assert "It uses the token of HF_TOKEN." in texts()
    assert WRITE not in texts()
    monkeypatch.setenv("SPACE_ID", "org/space")
    assert "token of" not in texts()
    monkeypatch.setattr("lape.demo.masks.share.offers_login", lambda: True)
    monkeypatch.setattr("gradio.routes.attach_oauth", lambda app: None)  # needs gradio[oauth]
    assert "Log in with your own account first." in texts()


def test_a_damaged_mask_on_this_machine_does_not_keep_the_page_from_starting(here: Path) -> None:
    made(here / "precomputed" / PLACE)
    (here / "precomputed" / PLACE / "mask.json").write_text("{")
    config = json.dumps(build_page(Backend()).get_config_file(), default=str)
    assert SMOLLM2.model in config
    assert f"Left out: {PLACE}/mask.json is missing, damaged or was not written by lape" in config


def test_nothing_is_asked_of_the_hub_when_the_page_is_built(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAPE_MASKS_REPO", REPO)
    build_page(Backend())
    assert hub.requests == []
    assert not Path(constants.HF_HUB_CACHE).exists()
