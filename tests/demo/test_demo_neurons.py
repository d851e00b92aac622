"""The Neurons tab without a browser: its events over HTTP as the page calls them, its figures and its checks."""

from __future__ import annotations

import html
import json
import pickle
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from asking import HTTP
from families import build
from mixtures import WIDTH, build_mixture

from lape import ActivationStatistics, NeuronMask, identify
from lape.demo.backend import Backend
from lape.demo.compare.comparison import request_of
from lape.demo.loaded import Loaded
from lape.demo.neurons.colored import PALETTE
from lape.demo.neurons.figures import activity_figure, layers_figure, overlap_figure
from lape.demo.neurons.listing import ROWS
from lape.demo.neurons.neuron import DEEPEST, SAMPLES, WRITTEN, working
from lape.demo.page import Page, build_page, launch
from lape.demo.sliders import SLIDERS as RANGES
from lape.demo.words import say
from lape.evaluation.metrics.openings import openings
from lape.inspection.activations import activations
from lape.inspection.firing import active_names, firing, mask_neurons, most_specific
from lape.inspection.profiles import neighbours
from lape.inspection.table import activity, chosen_neurons, neuron_table
from lape.inspection.writes import writes, written_inputs
from lape.models.architectures import activation_sites
from lape.recording.topmost import record_top_texts
from lape.storage.names import TOP_TEXTS_NAME

CODES = ("es", "fr", "zh")
SHAPE = (3, 48)
TEXT = "Un été, 그리고"
HTML = "<img src=x onerror=alert(1)>"
RATES = {"top_rate": 0.1, "filter_rate": 0.6, "activation_bar_ratio": 0.6}
SLIDERS = [RATES.get(name, 0.5) for name in RANGES]
LOOK = ("look", "colored", "kept")
OUTPUTS = {
    "coloring": ("color", "line", "colored", "kept"),
    "identifying": ("line", *LOOK),
    "switching": ("line", *LOOK, "methods", *RANGES),
    "counting": ("line", *LOOK, *RANGES),
    "resetting": ("line", "box", "methods", "equal", "languages", *RANGES),
    "listing": ("table", "line"),
    "naming": ("name", "asked", "line", "figure", "links", "texts", "near", "written", "samples"),
    "drawing": ("line", "figure", "links", "texts", "near", "written", "samples"),
    "sampling": ("line", "written", "samples"),
}
ODD = [None, "", HTML, 3, -1, 1.5, True, [], ["fr"], ["xx"], {}, {"fr": 1}, float("nan"), float("inf"), 10**400]


@pytest.fixture(scope="module")
def statistics() -> ActivationStatistics:
    generator = torch.Generator().manual_seed(3)
    counts = {code: torch.randint(0, 100, SHAPE, generator=generator) for code in CODES}
    sums = {code: torch.randn(SHAPE, generator=generator).double() * 100 for code in CODES}
    return ActivationStatistics(counts, sums, sums, dict.fromkeys(CODES, 100), {})


@pytest.fixture(scope="module")
def backend(tokenizer: Any, statistics: ActivationStatistics) -> Backend:
    return Backend(Loaded(build("llama"), tokenizer, identify(statistics, **RATES), statistics))


@pytest.fixture(scope="module")
def page(backend: Backend) -> Iterator[Page]:
    page = build_page(backend)
    yield page
    page.close(verbose=False)


@pytest.fixture(scope="module")
def url(page: Page) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return launch(page, port)


@dataclass
class Visitor:
    """Calls the events of a served page, as the page's own script does."""

    url: str
    session: str

    def ask(self, event: str, *values: Any) -> dict[str, Any]:
        """The outputs of an event by name; it must not fail."""
        body = json.dumps({"data": values, "session_hash": self.session})
        headers = {"content-type": "application/json"}
        sent = HTTP.post(f"{self.url}/gradio_api/call/{event}", content=body, headers=headers)
        assert sent.status_code == 200, sent.text[:300]
        answer = HTTP.get(f"{self.url}/gradio_api/call/{event}/{sent.json()['event_id']}").text
        *_, kind, data = [line for line in answer.splitlines() if line]
        assert kind == "event: complete", (event, values, data)
        return dict(zip(OUTPUTS[event], json.loads(data.removeprefix("data: ")), strict=True))

    def said(self, event: str, *values: Any) -> str:
        """The status line that an event ends with."""
        return text_of(self.ask(event, *values)["line"])


@pytest.fixture
def visitor(url: str, backend: Backend, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    name = re.sub(r"\W", "-", request.node.name)[:64]  # sessions have plain names
    yield Visitor(url, name)
    backend.leave(name)
    assert not backend.lock.locked()
    assert not any(module._forward_hooks for module in activation_sites(backend.ready().model).modules)


def text_of(line: str) -> str:
    """The text of a status line, in which there is no element but its own."""
    found = re.fullmatch(r'<p class="lape-status(?: lape-failed)?" role="(?:alert|status)">([^<>]*)</p>', line)
    assert found, line
    return html.unescape(found[1])


def directly(page: Page, event: str, *values: Any) -> Any:
    """The status line of an event without the HTTP around it, which takes longer."""
    function: Callable[..., Any] = next(one.fn for one in page.fns.values() if one.api_name == event)
    found = function(gr.Request(session_hash="direct"), *values)
    (line,) = [
        shown for shown in ([*found][-1] if event in ("coloring", "sampling") else found).values() if is_line(shown)
    ]
    return line


def is_line(shown: Any) -> bool:
    return isinstance(shown, str) and "lape-status" in shown


# A text by language


def test_a_text_has_the_colors_of_its_languages(visitor: Visitor, backend: Backend) -> None:
    found = visitor.ask("coloring", TEXT)
    loaded = backend.ready()
    seen = activations(loaded.model, loaded.tokenizer, TEXT, mask_neurons(loaded.known_mask))
    pieces = firing(seen, loaded.known_mask, loaded.statistics)
    assert firing(pickle.loads(pickle.dumps(seen)), loaded.known_mask, loaded.statistics) == pieces  # as on ZeroGPU
    names = {"fr": "French", "es": "Spanish", "zh": "Chinese", None: None}
    shown = re.search(r'<p class="lape-colored"[^>]*>(.*)</p><p', found["colored"], re.DOTALL)[1]
    parts = re.findall(
        r'<span data-tip="([^"]*)" tabindex="(0|-1)"( data-go="[^"]+")?( style="[^"]+")?>([^<]*)</span>', shown
    )
    assert [html.unescape(text) for *_, text in parts] == [piece.text for piece in pieces]
    assert [bool(look) for *_, look, _ in parts] == [piece.language is not None for piece in pieces]
    assert [place for _, place, *_ in parts] == ["0", *["-1"] * (len(parts) - 1)]
    ordered = most_specific(loaded.known_mask, loaded.statistics)
    for at, (piece, (tip, _, leads, *_)) in enumerate(zip(pieces, parts, strict=True)):
        first = max(piece.levels, key=lambda code: piece.levels[code])
        assert f": {names[first]} {piece.levels[first]:.2f} · " in tip
        fired = active_names(seen, ordered[piece.language], loaded.known_mask)[at] if piece.language else []
        assert (f"{names[piece.language]}: {len(fired)} of its neurons are active" in tip) == bool(fired)
        assert leads == (f' data-go="{html.escape(json.dumps({"neuron": fired[0]}))}"' if fired else "")
    tokens = Counter(name for piece in pieces if (name := names[piece.language]) for _ in range(piece.tokens))
    legend = re.findall(r'<li><span style="[^"]+">(\w+)</span> (\d+)</li>', found["colored"])
    assert [(name, int(count)) for name, count in legend] == tokens.most_common()
    tokens = len(TEXT.encode())
    assert text_of(found["line"]).startswith(f"{tokens} tokens: ")
    assert say("neuron.no_usual") not in text_of(found["line"])


def test_a_text_is_colored_anew_for_other_neurons_without_the_model(
    visitor: Visitor, backend: Backend, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = next(one.fn for one in page.fns.values() if one.api_name == "coloring")
    (kept,) = [
        value
        for value in [*function(gr.Request(session_hash=visitor.session), TEXT)][-1].values()
        if type(value) is tuple
    ]
    identifying = next(one.fn for one in page.fns.values() if one.api_name == "identifying")
    monkeypatch.setattr(backend, "run", lambda *_: pytest.fail("the model was asked"))
    asked = "lape", False, ["zh", "fr"], 0.3, 0.1, 0.1, 0.5, kept
    at_once = colored_of(identifying(gr.Request(session_hash=visitor.session), *asked))
    loaded = backend.ready(visitor.session)
    seen = activations(loaded.model, loaded.tokenizer, TEXT, mask_neurons(loaded.known_mask))
    pieces = firing(seen, loaded.known_mask, loaded.statistics)
    assert firing(kept[1].of(mask_neurons(loaded.known_mask)), loaded.known_mask, loaded.statistics) == pieces
    colored = colored_of(refreshed(page, visitor, {kept_in(page): kept}))
    assert colored == at_once
    assert colored.count("--token") - colored.count("<li>") == sum(piece.language is not None for piece in pieces)
    other = refreshed(page, visitor, {kept_in(page): ("another", kept[1])})  # what was read by another model
    assert colored_of(other) == ""


def colored_of(shown: Mapping[Any, Any]) -> str:
    """The colored text among what the page shows."""
    (colored,) = [value for part, value in shown.items() if part.elem_id == "lape-look-colored"]
    return colored


def refreshed(page: Page, visitor: Visitor, values: Mapping[Any, Any] = {}) -> dict[Any, Any]:
    """What the page shows after a change, with what its components hold."""
    refresh = next(one for one in page.fns.values() if one.api_name == "refresh")
    return refresh.fn(gr.Request(session_hash=visitor.session), *map(values.get, refresh.inputs))


def kept_in(page: Page) -> gr.State:
    """Where the page keeps what it read of a visitor's text."""
    coloring = next(one for one in page.fns.values() if one.api_name == "coloring")
    (state,) = [one for one in coloring.outputs if isinstance(one, gr.State)]
    return state


def test_without_statistics_the_line_says_so(visitor: Visitor, backend: Backend) -> None:
    backend.change(visitor.session, lambda loaded: replace(loaded, statistics=None))
    assert visitor.said("coloring", TEXT).endswith(say("neuron.no_usual"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "The text is empty"),
        (" \n", "The text is empty"),
        ("x" * 2001, "2,001 characters and at most 2,000"),
        ("x" * 300, "300 tokens and at most 255"),
        ("a\ud800b", "half a character"),
        *[(value, "The text must be text") for value in ODD if not isinstance(value, str)],
    ],
)
def test_what_is_no_text_is_refused(text: Any, said: str, page: Page) -> None:
    line = directly(page, "coloring", text)
    assert 'role="alert"' in line
    assert said in text_of(line)


def luminance(color: tuple[float, ...]) -> float:
    """Relative luminance of WCAG 2."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (c / 255 for c in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("below", "text"), [((255, 255, 255), 0.0), ((30, 41, 59), 1.0)], ids=["light", "dark"])
def test_text_can_be_read_on_every_color(below: tuple[int, ...], text: float) -> None:
    assert len(set(PALETTE)) == len(PALETTE) == 12
    for color in PALETTE:
        part = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
        shown = luminance(tuple((top + under) / 2 for top, under in zip(part, below, strict=True)))
        light, dark = max(shown, text), min(shown, text)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, color


# Live identification


def test_sliders_choose_for_their_visitor_only(
    visitor: Visitor, backend: Backend, statistics: ActivationStatistics
) -> None:
    before = backend.version()
    said = visitor.said("identifying", "lape", False, ["zh", "fr"], 0.05, 0.7, 0.8, 0.5)
    expected = identify(statistics, "lape", ["fr", "zh"], top_rate=0.05, filter_rate=0.7, activation_bar_ratio=0.8)
    mask = backend.ready(visitor.session).known_mask
    assert mask == expected
    assert mask.metadata["settings"] == expected.metadata["settings"]
    total = sum(mask.count(code) for code in mask.languages)
    assert re.fullmatch(rf"{total} neurons of 2 languages\. Chosen in \d+ ms\. Every tab uses them now\.", said)
    assert backend.languages(visitor.session) == ("fr", "zh")
    assert backend.version() == before
    request = request_of(backend, {"prompt": "Bonjour", "source": "fr", "targets": ["zh"]}, visitor.session)
    assert (request.source, request.targets) == ("fr", ("zh",))


def test_reset_goes_back_to_the_start(visitor: Visitor, backend: Backend) -> None:
    visitor.said("identifying", "lape", False, ["zh", "fr"], *SLIDERS)
    found = visitor.ask("resetting")
    assert backend.ready(visitor.session) is backend.ready()
    assert "as the page began" in text_of(found["line"])
    assert found["languages"]["value"] == [*CODES]
    assert found["top_rate"]["value"] == 0.1
    assert found["methods"]["value"] == "lape"


@pytest.mark.parametrize(
    ("method", "sliders"),
    [("lap", {"min_probability"}), ("margin", {"top_rate"}), ("alignment", {"top_rate", "activation_bar_ratio"})],
)
def test_another_method_begins_with_its_own_settings(
    method: str, sliders: set[str], visitor: Visitor, backend: Backend, statistics: ActivationStatistics
) -> None:
    found = visitor.ask("switching", method, False, [*CODES])
    assert {name for name in RANGES if found[name]["visible"]} == sliders
    mask = backend.ready(visitor.session).known_mask
    assert mask == identify(statistics, method)
    assert {name: found[name]["value"] for name in sliders} == {
        name: value for name, value in mask.metadata["settings"].items() if name in sliders
    }


def test_another_method_can_have_as_many_neurons_as_the_mask(
    visitor: Visitor, backend: Backend, statistics: ActivationStatistics
) -> None:
    mask = backend.ready().known_mask
    counts = {code: mask.count(code) for code in CODES}
    found = visitor.ask("switching", "lape", True, [*CODES])
    assert [name for name in RANGES if found[name]["visible"]] == ["filter_rate", "activation_bar_ratio"]
    equally = identify(statistics, "lape", per_language=counts, at_most=True)
    assert backend.ready(visitor.session).known_mask == equally
    fewer = visitor.ask("switching", "margin", True, ["fr", "zh"])
    two = backend.ready(visitor.session).known_mask
    active = statistics.active
    ahead = {code: active[code] > active[other] for code, other in (("fr", "zh"), ("zh", "fr"))}
    assert {code: two.count(code) for code in two.languages} == {
        code: min(counts[code], int(neurons.sum())) for code, neurons in ahead.items()
    }
    assert not any(fewer[name]["visible"] for name in RANGES)
    found = visitor.ask("counting", "margin", False, [*CODES], *SLIDERS)
    assert [name for name in RANGES if found[name]["visible"]] == ["top_rate"]
    assert backend.ready(visitor.session).known_mask == identify(statistics, "margin", top_rate=0.1)


@pytest.mark.parametrize("settings", [{"filter_rate": 0.2}, {"top_rate": 0.5}, {"activation_bar_ratio": 1.0}])
def test_the_sliders_show_the_mask_in_use_whatever_its_settings(
    settings: dict[str, float], visitor: Visitor, backend: Backend, page: Page, statistics: ActivationStatistics
) -> None:
    mask = identify(statistics, **{**RATES, **settings})
    backend.change(visitor.session, lambda loaded: replace(loaded, mask=mask))
    shown = refreshed(page, visitor)
    sliders = [part for part in shown.values() if isinstance(part, gr.Slider) and part.value in settings.values()]
    assert sliders
    assert all(part.minimum <= part.value <= part.maximum for part in sliders)
    given = [{**RATES, **settings}.get(name, 0.5) for name in RANGES]
    visitor.said("identifying", "lape", False, [*CODES], *given)  # as when another slider is moved
    assert backend.ready(visitor.session).known_mask == mask


def test_a_refresh_leaves_the_sliders_that_made_the_mask_alone(visitor: Visitor, backend: Backend, page: Page) -> None:
    visitor.said("identifying", "lape", False, ["zh", "fr"], *SLIDERS)
    shown = refreshed(page, visitor)
    sliders = [part for part in shown if isinstance(part, gr.Slider) and part.maximum == RANGES["top_rate"][1]]
    assert sliders == []
    backend.change(visitor.session, lambda loaded: replace(loaded, mask=backend.ready().mask, made_from=None))
    shown = refreshed(page, visitor)
    (slider,) = [part for part in shown if isinstance(part, gr.Slider) and part.maximum == RANGES["top_rate"][1]]
    assert shown[slider].value == 0.1


def test_without_statistics_there_is_nothing_to_choose_from(visitor: Visitor, backend: Backend, page: Page) -> None:
    backend.change(visitor.session, lambda loaded: replace(loaded, statistics=None))
    assert visitor.said("identifying", "lape", False, ["zh", "fr"], *SLIDERS) == say("neuron.chosen_already")
    shown = refreshed(page, visitor)
    (box,) = [part for part in shown if part.elem_id == "lape-live"]
    (line,) = [part for part in shown if part.elem_id == "lape-live-status"]
    assert shown[box].visible is False
    assert say("neuron.chosen_already") in text_of(shown[line])


@pytest.mark.parametrize(
    ("place", "values", "said"),
    [
        (0, [value for value in ODD if value != "lape"], "The method must be one of lape, lap"),
        (
            2,
            [value for value in ODD if value not in (["fr"], [])],
            "The languages must be a list of some of es, fr, zh",
        ),
        (2, [[], ["fr"], ["fr", "fr"]], "Choose at least 2 languages"),
        (3, [value for value in ODD if value is not True], "Top rate must be a share above 0 and up to 1"),
        (3, [True, 0, 1.1], "Top rate must be a share"),
        (4, [*ODD, -0.1], "Filter rate must be a share from 0 to 1"),
        (5, [*ODD, 1.1], "Bar must be a share from 0 to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    place: int, values: list[Any], said: str, page: Page, backend: Backend
) -> None:
    for value in values:
        given = ["lape", False, ["fr", "es"], *SLIDERS]
        given[place] = value
        line = directly(page, "identifying", *given)
        assert 'role="alert"' in line, value
        assert said in text_of(line), value
    assert backend.ready("direct") is backend.ready()


def test_a_method_that_is_none_is_refused(page: Page) -> None:
    for value in ODD:
        assert "The method must be one of" in text_of(directly(page, "switching", value, False, ["fr", "es"]))


# One by one


def test_the_table_is_the_librarys(visitor: Visitor, backend: Backend, statistics: ActivationStatistics) -> None:
    found = visitor.ask("listing", ["zh"], -1, "probability", False)
    mask = backend.ready().known_mask
    expected = chosen_neurons(neuron_table(mask, statistics), ["zh"], "probability")
    table = found["table"]["value"]
    assert table["headers"] == ["language", "layer", "neuron", "entropy", "mean", *CODES]
    assert [row[:3] for row in table["data"]] == [["Chinese", row.layer, row.neuron] for row in expected]
    for shown, row in zip(table["data"], expected, strict=True):
        assert shown[3:5] == pytest.approx([row.entropy_nats, row.mean], abs=6e-4)
        assert shown[5:] == pytest.approx([row.probabilities[code] for code in CODES], abs=6e-3)
    assert set(found["table"]["datatype"]) == {"str", "number"}
    assert text_of(found["line"]) == f"{len(expected)} of {len(expected)} neurons."
    layer = expected[0].layer
    rows = visitor.ask("listing", ["zh"], layer, "probability", False)["table"]["value"]["data"]
    assert [row[:3] for row in rows] == [["Chinese", layer, row.neuron] for row in expected if row.layer == layer]


def shared_by(mask: NeuronMask, codes: Any) -> int:
    sets = ({(layer, neuron) for layer, neuron in mask.neurons[code].tolist()} for code in codes)
    return len(set.intersection(*sets))


def test_neurons_that_languages_share_are_listed_once(visitor: Visitor, backend: Backend) -> None:
    mask = backend.ready().known_mask
    expected = shared_by(mask, ["fr", "es"])
    assert 0 < expected < mask.count("fr")
    found = visitor.ask("listing", ["es", "fr"], -1, "entropy", True)
    rows = found["table"]["value"]["data"]
    assert [row[0] for row in rows] == ["Spanish, French"] * expected
    assert len({tuple(row[1:3]) for row in rows}) == expected
    assert all(list(row[1:3]) in mask.neurons[code].tolist() for row in rows for code in ("fr", "es"))


def test_a_cell_of_a_figure_lists_its_neurons(page: Page, backend: Backend) -> None:
    leading = next(one.fn for one in page.fns.values() if one.api_name == "leading")
    mask, request = backend.ready().known_mask, gr.Request(session_hash="direct")
    for figure, counts in ((layers_figure(mask), mask.per_layer), (overlap_figure(mask), None)):
        cells = [json.loads(html.unescape(cell)) for cell in re.findall(r'data-go="([^"]+)"', figure)]
        assert cells
        found = [*leading(request, gr.EventData(None, cells[-1])).values()]
        (line,) = filter(is_line, found)
        codes, layer = cells[-1]["languages"], cells[-1]["layer"]
        assert [sorted(found[0]), found[1], found[3]] == [sorted(codes), -1 if layer is None else layer, len(codes) > 1]
        expected = counts(codes[0])[layer] if counts else shared_by(mask, codes)
        assert text_of(line) == f"{expected} of {expected} neurons."
    for wrong in (
        *ODD,
        *({"languages": one, "layer": 0} for one in ODD if one != ["fr"]),
        {"languages": ["fr"], "layer": 3},
    ):
        if wrong not in (
            {"languages": [], "layer": 0},
            {"languages": None, "layer": 0},
            {"languages": "", "layer": 0},
            {"languages": {}, "layer": 0},
        ):
            (line,) = leading(request, gr.EventData(None, wrong)).values()
            assert 'role="alert"' in line


def test_a_long_table_is_cut_and_says_so(visitor: Visitor, backend: Backend, statistics: ActivationStatistics) -> None:
    mask = identify(statistics, top_rate=1.0, filter_rate=0.0, activation_bar_ratio=0.0)
    backend.change(visitor.session, lambda loaded: replace(loaded, mask=mask))
    total = sum(mask.count(code) for code in CODES)
    assert total > ROWS
    found = visitor.ask("listing", [], -1, "entropy", False)
    assert len(found["table"]["value"]["data"]) == ROWS
    assert text_of(found["line"]) == f"{ROWS} of {total} neurons."


def test_without_statistics_the_table_has_what_the_mask_knows(visitor: Visitor, backend: Backend) -> None:
    backend.change(visitor.session, lambda loaded: replace(loaded, statistics=None))
    table = visitor.ask("listing", [], -1, "entropy", False)["table"]["value"]
    assert table["headers"] == ["language", "layer", "neuron", "entropy", "mean"]
    assert {row[3] for row in table["data"]} == {None}
    visitor.ask("naming", "0.0")
    assert "is not known how active" in text_of(visitor.ask("drawing", None)["figure"])
    assert "highest activation" in visitor.said("sampling", None, None)


def test_orders_and_languages_that_do_not_exist_are_refused(page: Page) -> None:
    for value in ODD:
        assert "The order must be one of entropy" in text_of(directly(page, "listing", ["fr"], -1, value, False))
        if value not in (None, "", [], ["fr"], {}):
            assert "The languages must be a list" in text_of(directly(page, "listing", value, -1, "entropy", False))
        if value not in (None, -1):
            assert "Layer must be a whole number from 0 to 2" in text_of(
                directly(page, "listing", [], value, "entropy", False)
            )


def test_a_neuron_is_shown_at_work(visitor: Visitor, backend: Backend, statistics: ActivationStatistics) -> None:
    mask = backend.ready().known_mask
    layer, neuron = mask.neurons["fr"][0].tolist()
    name = f"{layer}.{neuron}"
    assert visitor.ask("naming", f" {name}")["name"] == name
    drawn = visitor.ask("drawing", None)
    assert f"Layer {layer}, neuron {neuron}" in drawn["figure"]
    found = activity(statistics, CODES, layer, neuron)
    assert all(f"<td>{one.probability:.1%}</td><td>{one.mean:.2f}</td>" in drawn["figure"] for one in found.values())
    alike = neighbours(statistics, mask.languages, layer, neuron)
    shown = re.findall(r'href="\?neuron=([\d.]+)"[^>]*>([\d.]+) <small>([\d.]+)</small>', drawn["near"])
    assert shown == [(one.name, one.name, f"{one.similarity:.3f}") for one in alike]
    order = sorted(CODES, key=lambda code: -found[code].probability)
    other = next(code for code in mask.languages if code != order[0])
    assert f'href="?neuron={name}"' in drawn["links"]
    assert f"?lape=1&amp;only={name}&amp;source={order[0]}&amp;targets={other}&amp;prompt=" in drawn["links"]
    assert say("neuron.texts_missing") in drawn["texts"]
    shown = visitor.ask("sampling", None, None)
    loaded = backend.ready()
    tokens = [*writes(loaded.model, loaded.tokenizer, layer, neuron, tokens=WRITTEN).raised]
    assert [float(score) for score in re.findall(r"<small>([+-][\d.]+)", shown["written"])[:WRITTEN]] == pytest.approx(
        [token.score for token in tokens], abs=0.051
    )
    tokens = [(token["token"], token["class_or_confidence"]) for token in shown["samples"]["value"]]
    names = {"fr": "French", "es": "Spanish", "zh": "Chinese"}
    assert "".join(text for text, _ in tokens) == "\n".join(f"{names[code]}: {openings(code)[1]}" for code in order)
    flat = torch.tensor([layer * SHAPE[1] + neuron])
    seen = [activations(loaded.model, loaded.tokenizer, openings(code)[1], flat) for code in order]
    strengths = torch.cat([one.by_piece(one.values)[:, 0] for one in seen])
    most = max(float(one.values.abs().max()) for one in seen)
    assert [strength for _, strength in tokens if strength is not None] == pytest.approx(
        (strengths / most * DEEPEST).tolist(), abs=1e-6
    )
    assert len(order) <= SAMPLES
    peak = max(float(one.values.max()) for one in seen)
    assert text_of(shown["line"]) == f"Layer {layer}, neuron {neuron}: its highest activation here is {peak:.2f}."
    visitor.ask("coloring", TEXT)  # the visitor's own text comes first then
    tokens = visitor.ask("sampling", None, None)["samples"]["value"]
    assert "".join(token["token"] for token in tokens).startswith(f"Your text: {TEXT}\n")


def test_a_neuron_of_a_mixture_is_told_too(tokenizer: Any) -> None:
    model, neuron = build_mixture("qwen3_moe"), 2 * WIDTH + 7
    texts = [*openings("fr")[:3], TEXT]
    *seen, share, written = working(model, tokenizer, texts, 1, neuron, activation_sites(model).neurons)
    assert written == writes(model, tokenizer, 1, neuron, tokens=WRITTEN)
    raised = []
    for text, one in zip(texts, seen, strict=True):
        with written_inputs(model, 1, neuron) as inputs:
            again = activations(
                model, tokenizer, text, torch.tensor([activation_sites(model).neurons + neuron])
            ).values[:, 0]
        assert (one.values[:, 0] == again).all()
        read = inputs[-1][-len(again) :]
        assert (read != 0).tolist() == (again != 0).tolist()  # at the tokens of its expert
        raised += (read > 0)[again > 0].tolist()
    assert 0 < len(raised) < sum(len(one.values) for one in seen)
    assert share == pytest.approx(sum(raised) / len(raised))


@pytest.mark.parametrize(
    ("licence", "shared", "said"), [("CC0-1.0", True, "CC0-1.0"), (None, False, "–"), (None, True, "")]
)
def test_top_texts_are_shown_where_they_may_be(
    licence: str | None,
    shared: bool,
    said: str,
    visitor: Visitor,
    backend: Backend,
    page: Page,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = backend.ready()
    texts = {"fr": [f"Un texte <b>{number}</b>" for number in range(9)]}
    top = record_top_texts(loaded.model, loaded.tokenizer, texts, block=32, tokens=96, progress=False, licence=licence)
    top.save(tmp_path / TOP_TEXTS_NAME)
    backend.change(visitor.session, lambda loaded: replace(loaded, place=tmp_path))
    monkeypatch.setattr(backend, "shared", shared)
    visitor.ask("naming", "1.7")
    sheet = visitor.ask("drawing", None)["texts"]
    assert "<b>" not in sheet
    if not said:
        assert say("neuron.texts_hidden") in sheet
        assert "<mark>" not in sheet
        return
    assert f"Licence: {said}." in sheet
    found = re.findall(r'<td dir="ltr">([^<]*)<mark>([^<]*)</mark>([^<]*)</td>', sheet)
    expected = top.texts(loaded.tokenizer, 1, 7)
    assert [tuple(map(html.unescape, row)) for row in found] == [(one.before, one.token, one.after) for one in expected]
    assert found


def test_an_address_opens_its_neuron_and_a_wrong_one_says_so(page: Page, backend: Backend) -> None:
    arrive = next(one.fn for one in page.fns.values() if one.api_name == "arrive")

    def arrived(query: dict[str, str]) -> list[Any]:
        request = gr.Request(session_hash="direct")
        request.kwargs["query_params"] = query
        return [*arrive(request, backend.version("direct"), *[None] * 40).values()]

    assert "1.7" in arrived({"neuron": "1.7"})
    for wrong in ("3.0", "1.48", "", HTML, "1" * 9999):
        assert any(is_line(shown) and 'role="alert"' in shown for shown in arrived({"neuron": wrong}))
    assert "1.7" not in arrived({})


def test_a_row_of_the_table_is_a_neuron(page: Page, backend: Backend) -> None:
    function = next(one.fn for one in page.fns.values() if one.api_name == "picking")
    request = gr.Request(session_hash="direct")
    for row in (["French", 2, 47, 0.1], ["French", "2", "47"]):
        found = function(request, gr.EventData(None, {"row_value": row}))
        assert [*found.values()][:2] == ["2.47", (backend.ready().name, "2.47")]
    wrong: list[Any] = [*ODD, *({"row_value": value} for value in ODD), {"row_value": [HTML] * 3}]
    wrong += [
        {"row_value": ["French", layer, neuron]}
        for layer, neuron in ((3, 0), (-1, 0), (0, 48), (0.5, 0), (0, "9" * 99))
    ]
    for data in wrong:
        (line,) = filter(is_line, function(request, gr.EventData(None, data)).values())
        assert 'role="alert"' in line


def test_neurons_that_the_model_does_not_have_are_refused(page: Page) -> None:
    for value in [*ODD, "3.0", "0.48", "0.e0.1"]:
        assert 'role="alert"' in directly(page, "naming", value)


# Without a model, and what is drawn


def test_without_a_model_every_event_says_so() -> None:
    page = build_page(Backend(failure="It is asleep."))
    for event, values in {
        "coloring": [TEXT],
        "identifying": ["lape", False, ["fr", "es"], *SLIDERS],
        "listing": [[], -1, "entropy", False],
        "naming": ["0.0"],
        "drawing": [("model", "0.0")],
        "sampling": [("model", "0.0"), None],
    }.items():
        assert "No model is loaded. It is asleep." in text_of(directly(page, event, *values))


def labelled() -> NeuronMask:
    cells = torch.tensor([[0, 1], [2, 5]], dtype=torch.int32)
    return NeuronMask({"fr": cells, HTML[:32]: cells[:1], "zh": cells[:0]}, {}, SHAPE)


def test_figures_escape_and_count() -> None:
    mask = labelled()
    for figure in (layers_figure(mask), overlap_figure(mask)):
        assert "<img" not in figure
        assert "&lt;img" in figure
    layers = layers_figure(mask)
    assert "French: 2 neurons, most in layer 0" in layers
    assert layers.count(", layer ") == 9
    assert layers.count("data-go") == 3
    overlap = overlap_figure(mask)
    assert overlap.count('class="lape-own"') == 3  # a language with itself
    assert overlap.count(">50</td>") == 2
    statistics = activity_figure(HTML, [], {})
    assert "<img" not in statistics


def test_an_empty_mask_is_said_to_be_empty(visitor: Visitor, backend: Backend) -> None:
    nothing = {code: torch.empty(0, 2, dtype=torch.int32) for code in CODES}
    backend.change(visitor.session, lambda loaded: replace(loaded, mask=NeuronMask(nothing, {}, SHAPE)))
    assert "has no neuron" in visitor.said("coloring", TEXT)
    assert "data-go" not in layers_figure(backend.ready(visitor.session).known_mask)


def test_a_crash_of_the_model_is_one_sentence(visitor: Visitor, backend: Backend) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    handle = backend.ready().model.get_decoder().register_forward_pre_hook(fail)
    visitor.ask("naming", "0.0")
    for event, values in (("coloring", [TEXT]), ("sampling", [None, None])):
        said = visitor.said(event, *values)
        assert "RuntimeError" in said
        assert "secret" not in said
    handle.remove()
