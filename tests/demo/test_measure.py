"""The Measure tab without a browser: evidence of the mask in use and of no other, own texts, own openings."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from families import build
from transformers import PreTrainedModel

from lape import ActivationStatistics, LapeError, NeuronMask
from lape.demo.backend import Backend
from lape.demo.loaded import Loaded, read_mask
from lape.demo.measure.costs import one_language
from lape.demo.measure.evidence import mask_names, matrix_parts
from lape.demo.measure.request import (
    OPENINGS,
    TEXT_CHARACTERS,
    TEXTS,
    checked_steering,
    checked_texts,
    example_openings,
)
from lape.demo.measure.running import progress_text
from lape.demo.page import Page, build_page
from lape.demo.report import LARGEST_HTML, report_html
from lape.demo.words import say, speaking
from lape.demo.words import texts as words
from lape.errors import BadFile
from lape.evaluation.kinds import KINDS
from lape.evaluation.metrics.conditions import Setting
from lape.evaluation.metrics.continuations import Decoding
from lape.evaluation.runs.own_text import OWN, TEXT_TOKENS, PartialResults, own_costs
from lape.evaluation.runs.run import run
from lape.evaluation.runs.subject import Subject
from lape.evaluation.runs.work import Options
from lape.models.architectures import activation_sites
from lape.storage.json import LARGEST_BYTES

LANGUAGES = ("fr", "es", "de")
SHAPE = (3, 48)
MODEL = "tiny"
VISITOR = "visitor"
REQUEST = gr.Request(session_hash=VISITOR)
HTML = "<img src=x onerror=alert(1)>"
TEXT = {"fr": "Il était une fois une petite fille. " * 3, "es": "Había una vez un viejo pescador. " * 3}
ROWS = ["fr", "es", None, None, TEXT["fr"], TEXT["es"], "", None]  # languages, then texts


@pytest.fixture(scope="module")
def statistics() -> ActivationStatistics:
    generator = torch.Generator().manual_seed(3)
    counts = {code: torch.randint(0, 100, SHAPE, generator=generator) for code in LANGUAGES}
    sums = {code: torch.randn(SHAPE, generator=generator).double() * 100 for code in LANGUAGES}
    return ActivationStatistics(counts, sums, sums, dict.fromkeys(LANGUAGES, 100), {"tokens": {}})


@pytest.fixture(scope="module")
def mask(statistics: ActivationStatistics) -> NeuronMask:
    cells = torch.randperm(3 * 48, generator=torch.Generator().manual_seed(1))[:60].split(20)
    pairs = zip(LANGUAGES, cells, strict=True)
    neurons = {code: torch.stack([flat // 48, flat % 48], 1).int() for code, flat in pairs}
    return NeuronMask(neurons, {}, SHAPE, {"method": "lape", "model": MODEL}).with_means(statistics)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    torch.manual_seed(0)
    model = build("llama")
    model.name_or_path = MODEL
    return model


@pytest.fixture(scope="module")
def measured(
    tmp_path_factory: pytest.TempPathFactory, model: PreTrainedModel, tokenizer: Any, mask: NeuronMask
) -> Path:
    """The folder of a mask with evidence that `lape evaluate` would make."""
    folder = tmp_path_factory.mktemp("masks") / "lape"
    mask.save(folder)
    held_out = {code: [text] for code, text in TEXT.items()}
    subject = Subject(folder, lambda: (model, tokenizer), held_out, ("fr", "es"))
    asked = Options(tokens=64, block=16, seeds=1, max_new_tokens=2, instructed=False)
    for kind in ("perplexity", "steering"):
        work = KINDS[kind].plan(subject, asked)
        run(kind, work, folder / "evidence", command="lape evaluate", device="cpu", progress=False)
    return folder


@pytest.fixture(scope="module")
def bare(model: PreTrainedModel, tokenizer: Any, mask: NeuronMask, statistics: ActivationStatistics) -> Loaded:
    return Loaded(model, tokenizer, mask, statistics)


@pytest.fixture
def folder(tmp_path: Path, measured: Path) -> Path:
    """The same to be spoiled."""
    shutil.copytree(measured, tmp_path / "lape")
    return tmp_path / "lape"


@pytest.fixture(scope="module")
def served(bare: Loaded) -> tuple[Backend, Page]:
    backend = Backend(bare)
    return backend, build_page(backend)


@pytest.fixture
def backend(served: tuple[Backend, Page], bare: Loaded) -> Backend:
    """As it begins: what visitors had in other tests is gone."""
    served[0].visitors.share(bare)
    return served[0]


@pytest.fixture
def page(served: tuple[Backend, Page], backend: Backend) -> Page:
    return served[1]


def function(page: Page, event: str) -> Callable[..., Any]:
    return next(one.fn for one in page.fns.values() if one.api_name == event)


def evidence_shown(page: Page, visitor: str = VISITOR) -> dict[str, str]:
    """The HTML of the evidence as it is after something has changed."""
    refresh = next(one for one in page.fns.values() if one.api_name == "refresh")
    named = {f"lape-evidence{part}" for part in ("-lead", "-chart", "", "-matrix", "-rest")}
    outputs = refresh.fn(gr.Request(session_hash=visitor), *(one.value for one in refresh.inputs)).items()
    return {part.elem_id: value for part, value in outputs if getattr(part, "elem_id", None) in named}


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def assert_sentence(html: str) -> None:
    assert html.count("<") == 2, html  # one paragraph, and nothing in it
    assert 'role="alert"' in html
    said = text_of(html)
    assert said.endswith(".")
    assert len(said) < 400


def assert_free(backend: Backend) -> None:
    assert not backend.lock.locked()
    assert not [thread for thread in threading.enumerate() if thread.name in ("lape-measure", "lape-generate")]
    decoder = activation_sites(backend.ready().model).decoder
    assert not decoder._forward_pre_hooks
    assert not any(module._forward_hooks for module in decoder.modules())


# Evidence.


def test_the_evidence_of_the_mask_in_use_is_shown(backend: Backend, page: Page, measured: Path) -> None:
    nothing = say("measured.nothing")
    assert text_of(evidence_shown(page)["lape-evidence-lead"]) == nothing
    backend.change(VISITOR, lambda loaded: loaded.with_mask(*read_mask(measured), place=measured))
    found = evidence_shown(page)
    results = json.loads((measured / "evidence" / "perplexity.json").read_text())["results"]
    own = results["masks"]["lape"]
    assert f"{own['dominance']['value']:.1f}" in text_of(found["lape-evidence"])
    cost = own["off"]["fr"]["es"]["delta_nats"]
    cell = f"{cost['value']:.3f} [{cost['low']:.3f}, {cost['high']:.3f}]".replace("-", "−")
    matrix = found["lape-evidence-matrix"]
    assert f"<title>fr, es: {cell}</title>" in matrix  # on hover
    assert f'<td class="figure">{cell}</td>' in matrix  # and without
    assert "Means over 2 ordered pairs of languages" in found["lape-evidence-rest"]
    assert (
        text_of(evidence_shown(page, "another")["lape-evidence-lead"]) == nothing
    )  # who has the mask without a folder


def test_every_mask_and_both_figures_can_be_chosen(backend: Backend, page: Page, measured: Path) -> None:
    backend.change(VISITOR, lambda loaded: loaded.with_mask(*read_mask(measured), place=measured))
    found = backend.ready(VISITOR).evidence()
    assert mask_names(found) == ["lape", "random 0"]  # without statistics beside it there are no rivals
    choosing = function(page, "measure_evidence")
    (shown,) = choosing(REQUEST, "random 0", "delta_bits_per_byte").values()
    cost = found["perplexity"]["results"]["masks"]["random 0"]["off"]["es"]["es"]["delta_bits_per_byte"]
    assert f"es, es: {cost['value']:.3f} [".replace("-", "−") in shown
    assert "random 0: Change in bits per byte" in shown


@pytest.mark.parametrize("name", ["lapse", None, 3, ["lape"], {"a": 1}, HTML, "x" * 100_000])
@pytest.mark.parametrize("place", [0, 1])
def test_a_choice_of_any_kind_is_answered_with_a_sentence(
    backend: Backend, page: Page, measured: Path, name: Any, place: int
) -> None:
    backend.change(VISITOR, lambda loaded: loaded.with_mask(*read_mask(measured), place=measured))
    values: list[Any] = ["lape", "delta_nats"]
    values[place] = name
    (line,) = function(page, "measure_evidence")(REQUEST, *values).values()
    assert_sentence(line)


def test_it_opens_with_one_sentence_and_one_chart(backend: Backend, page: Page, measured: Path) -> None:
    backend.change(VISITOR, lambda loaded: loaded.with_mask(*read_mask(measured), place=measured))
    found, evidence = evidence_shown(page), backend.ready(VISITOR).evidence()
    results = evidence["perplexity"]["results"]["masks"]["lape"]
    own, others = (results["dominance"][f"{name}_nats"]["value"] for name in ("own", "others"))
    lead = text_of(found["lape-evidence-lead"])
    said = f"Switching a language off costs its own text {own:.1f} nats per token and other texts {others:.1f}; "
    assert lead.startswith(said)
    share = evidence["steering"]["results"]["averages"]["all"]["conditions"]["steered"]["target_share"]["value"]
    assert lead.endswith(f"reaches the target language in {share:.0%} of the outputs.")
    chart = found["lape-evidence-chart"]
    costs = {code: results["off"][code][code]["delta_nats"]["value"] for code in ("fr", "es")}
    assert re.findall('data-code="(..)"', chart) == sorted(costs, key=lambda code: -costs[code])
    assert f"<title>French off: its own text {costs['fr']:.2f}, other texts " in chart
    cell = results["off"]["fr"]["es"]["delta_nats"]
    told = f"{cell['value']:.2f} [{cell['low']:.2f}, {cell['high']:.2f}]".replace("-", "−")
    one = "".join(one_language(evidence, "fr"))
    assert f"<title>Text in Spanish: {told} nats per token</title>" in one
    assert "Steered to it from Spanish, " in text_of(one)


@pytest.mark.parametrize("code", ["lapse", None, 3, ["fr"], {"code": "fr"}, HTML, "x" * 100_000])
def test_a_language_of_any_kind_is_answered_with_a_sentence(
    backend: Backend, page: Page, measured: Path, code: Any
) -> None:
    backend.change(VISITOR, lambda loaded: loaded.with_mask(*read_mask(measured), place=measured))
    (line,) = function(page, "measure_language")(REQUEST, code).values()
    assert_sentence(line)


def test_evidence_of_another_mask_is_not_shown(bare: Loaded, folder: Path, mask: NeuronMask) -> None:
    used = bare.with_mask(*read_mask(folder), place=folder)
    assert set(used.evidence()) == {"perplexity", "steering"}
    assert replace(used, mask=mask.random_like(None, 0)).evidence() == {}  # made here, of the same folder
    assert bare.evidence() == {}
    file = folder / "evidence" / "steering.json"
    other = json.loads(file.read_text())
    other["settings"]["mask"]["sha256"] = "0" * 64
    file.write_text(json.dumps(other))
    assert set(used.evidence()) == {"perplexity"}
    shutil.rmtree(folder / "evidence")
    assert used.evidence() == {}
    shutil.rmtree(folder)
    assert used.evidence() == {}


def test_a_bundled_mask_has_the_evidence_beside_it(
    bare: Loaded, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it came to be in use, and whatever else is bundled."""
    (tmp_path / MODEL / "damaged").mkdir(parents=True)
    (tmp_path / MODEL / "damaged" / "mask.safetensors").write_bytes(b"no")
    shutil.copytree(folder, tmp_path / MODEL / "lape")
    monkeypatch.setenv("LAPE_PRECOMPUTED", str(tmp_path))
    assert bare.place is None
    assert set(bare.evidence()) == {"perplexity", "steering"}
    assert replace(bare, mask=bare.known_mask.only(("fr", "es"))).evidence() == {}


def test_a_mask_that_is_a_file_has_the_evidence_beside_it(bare: Loaded, measured: Path) -> None:
    file = measured / "mask.safetensors"
    assert set(bare.with_mask(*read_mask(file), place=file).evidence()) == {"perplexity", "steering"}


def _renamed(text: str) -> str:
    return text.replace('"random 0"', json.dumps(HTML)).replace('"summary": "', f'"summary": "{HTML}')


HOSTILE: dict[str, Callable[[str], str]] = {
    "no JSON": lambda text: text[:-10],
    "deep": lambda text: "[" * 100_000,
    "too large": lambda text: text + " " * LARGEST_BYTES,
    "no results": lambda text: json.dumps({**json.loads(text), "results": {}}),
    "a list": lambda text: json.dumps({**json.loads(text), "results": [1]}),
    "no settings": lambda text: json.dumps(
        {**json.loads(text), "settings": {"mask": json.loads(text)["settings"]["mask"]}}
    ),
    "a summary that is none": lambda text: json.dumps({**json.loads(text), "summary": {"a": [1]}}),
    "words for figures": lambda text: re.sub(r'"value": [-\d.e]+', f'"value": "{HTML}"', text),
    "no number": lambda text: re.sub(r'"value": [-\d.e]+', '"value": null', text),
    "infinite": lambda text: re.sub(r'"(value|high)": [-\d.e]+', r'"\1": 1e999', text),
    "huge": lambda text: re.sub(r'"value": [-\d.e]+', '"value": ' + "9" * 400, text),
}


@pytest.mark.parametrize(("kind", "damage"), [*itertools.product(("perplexity", "steering"), HOSTILE)])
def test_damaged_evidence_is_one_sentence(backend: Backend, page: Page, folder: Path, kind: str, damage: str) -> None:
    file = folder / "evidence" / f"{kind}.json"
    file.write_text(HOSTILE[damage](file.read_text()))
    backend.change(VISITOR, lambda loaded: loaded.with_mask(*read_mask(folder), place=folder))
    found = evidence_shown(page)
    (said,) = re.findall(r'<p class="notice">(Left out: .*?)</p>', found["lape-evidence-lead"])
    assert f"{kind}.json" in said or f"The evidence of {kind} " in said
    assert unescape(said).endswith(".")
    assert len(said) < 400
    other = KINDS["steering" if kind == "perplexity" else "perplexity"]
    assert other.heading in found["lape-evidence" if kind == "steering" else "lape-evidence-rest"]  # all else is shown
    assert (found["lape-evidence-matrix"] == "") == (kind == "perplexity")
    assert KINDS[kind].heading not in found["lape-evidence-rest"]


def test_too_many_masks_are_one_sentence(backend: Backend, page: Page, folder: Path) -> None:
    file = folder / "evidence" / "perplexity.json"
    content = json.loads(file.read_text())
    content["results"]["masks"] |= {f"mask {place}": {} for place in range(100)}
    file.write_text(json.dumps(content))
    backend.change(VISITOR, lambda loaded: loaded.with_mask(*read_mask(folder), place=folder))
    said = text_of(evidence_shown(page)["lape-evidence-lead"])
    assert "'perplexity.json' does not say its results.masks as a mapping of 1 to 100" in said


def test_what_evidence_says_is_text(backend: Backend, page: Page, folder: Path) -> None:
    for name in ("perplexity", "steering"):
        file = folder / "evidence" / f"{name}.json"
        file.write_text(_renamed(file.read_text()))
    backend.change(VISITOR, lambda loaded: loaded.with_mask(*read_mask(folder), place=folder))
    found = evidence_shown(page)
    (chosen,) = function(page, "measure_evidence")(REQUEST, HTML, "delta_nats").values()
    for shown in (*found.values(), chosen):
        assert "<img" not in shown
    assert "&lt;img" in found["lape-evidence"]
    assert "&lt;img" in chosen


def test_too_much_for_a_page_is_refused() -> None:
    with pytest.raises(BadFile, match="lape report"):
        report_html(["x" * LARGEST_HTML, "y"])


def test_without_evidence_there_is_no_matrix() -> None:
    with pytest.raises(LapeError, match="Nothing has been measured"):
        matrix_parts({}, "lape", "delta_nats")
    with pytest.raises(LapeError, match="Nothing has been measured"):
        one_language({}, "fr")


def test_without_a_model_the_tab_says_so() -> None:
    found = evidence_shown(build_page(Backend(failure="It is too large.")))
    assert text_of(found["lape-evidence-lead"]) == "No model is loaded. It is too large."


# What is asked for.


def test_texts_by_language() -> None:
    assert checked_texts(LANGUAGES, [("fr", "a"), ("es", " "), ("xx", ""), (None, None), ("de", "b")]) == {
        "fr": "a",
        "de": "b",
    }
    assert checked_texts(LANGUAGES, [("fr", "x" * TEXT_CHARACTERS)])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no text"),
        ([("fr", "  \n")], "no text"),
        ([("fr", 3)], "must be text"),
        ([("fr", ["a"])], "must be text"),
        ([("fr", "x" * 4001)], "4,001 characters"),
        ([("fr", "x" * 10_000_000)], "10,000,000 characters"),
        ([("fr", "a\ud800")], "half a character"),
        ([("xx", "a")], "one of fr, es, de"),
        ([(None, "a")], "one of fr, es, de"),
        ([({"a": 1}, "a")], "one of fr, es, de"),
        ([(HTML, "a")], "one of fr, es, de"),
        ([("fr", "a"), ("fr", "b")], "two texts in French"),
    ],
)
def test_bad_texts_get_one_sentence(rows: list[tuple[Any, Any]], said: str) -> None:
    with pytest.raises(LapeError, match=said) as caught:
        checked_texts(LANGUAGES, rows)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 200


def test_openings_by_line() -> None:
    asked = checked_steering(LANGUAGES, "Il était\r\n\n  Une fois \n", "fr", "es", 2, "replace")
    assert asked.openings == ("Il était", "Une fois")
    assert asked.setting == Setting("replace", 2.0)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, "", "no opening"),
        (0, "\n \n", "no opening"),
        (0, None, "no opening"),
        (0, 5, "must be text"),
        (0, ["a"], "must be text"),
        (0, "a\n" * 11, "There are 11 openings, and at most 10"),
        (0, "x" * 3001, "3,001 characters"),
        (0, "a\udfff", "half a character"),
        (1, "xx", "one of fr, es, de"),
        (1, None, "one of fr, es, de"),
        (2, ["es"], "one of fr, es, de"),
        (2, "fr", "both in French"),
        (3, float("nan"), "from 0 to 5"),
        (3, -1, "from 0 to 5"),
        (3, "2", "from 0 to 5"),
        (3, True, "from 0 to 5"),
        (4, "replaced", "replace, add, scale"),
        (4, None, "replace, add, scale"),
        (4, {"mode": "add"}, "replace, add, scale"),
    ],
)
def test_bad_openings_get_one_sentence(place: int, value: Any, said: str) -> None:
    values: list[Any] = ["Il était", "fr", "es", 2.0, "replace"]
    values[place] = value
    with pytest.raises(LapeError, match=said) as caught:
        checked_steering(LANGUAGES, *values)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 200


def test_the_words_name_the_limits() -> None:
    for code, said in words().items():
        numbers = [
            re.sub(r"\D", "", number)
            for number in re.findall(r"\d[\d ,.\u202f]*\d|\d+", said["measure.texts_explanation"])
        ]
        assert {str(TEXT_CHARACTERS), str(TEXT_TOKENS)} <= set(numbers), code
        assert str(OPENINGS) in said["measure.openings_info"]
        assert str(Decoding().max_new_tokens) in said["measure.openings_explanation"]
    assert TEXTS == 4


def test_examples_are_the_projects_openings() -> None:
    assert len(example_openings("fr")) == 20
    assert example_openings("xx") == []


def test_the_time_to_go() -> None:
    assert progress_text(PartialResults(0, 9, {}), 6) == "0 of 9 measured in 6 s"
    assert progress_text(PartialResults(9, 9, {}), 18) == "9 of 9 measured in 18 s, about 0 s to go"


# The runs.


def streamed(page: Page, event: str, *values: Any) -> tuple[list[str], str]:
    """The lines of a run, and its last results."""
    lines, results = [], ""
    for update in function(page, event)(REQUEST, *values):
        for part, value in update.items():
            if part.elem_id.endswith("status"):
                lines.append(text_of(value))
            else:
                results = value
    return lines, results


def test_own_texts_are_measured(backend: Backend, page: Page, bare: Loaded, mask: NeuronMask) -> None:
    lines, results = streamed(page, "measure_texts", *ROWS)
    assert lines[-1].startswith("Done in ")
    assert any(line.startswith("5 of 10 measured in ") for line in lines)
    *_, last = own_costs(bare.model, bare.tokenizer, mask, TEXT)
    cost = last.results["masks"][OWN]["off"]["fr"]["es"]["delta_nats"]
    cell = f"{cost['value']:.3f} [{cost['low']:.3f}, {cost['high']:.3f}]".replace("-", "−")
    assert f"<title>fr, es: {cell}</title>" in results
    assert f'<td class="figure">{cell}</td>' in results
    size = last.results["texts"]["fr"]
    assert f"French {size['tokens']} {size['blocks']} " in text_of(results)
    assert_free(backend)


def test_own_openings_are_measured(backend: Backend, page: Page) -> None:
    lines, results = streamed(page, "measure_openings", f"Il était\n{HTML}", "fr", "es", 2.0, "replace")
    assert lines[-1].startswith("Done in ")
    shown = text_of(results)
    assert "The language of the continuations of 2 openings" in shown
    for condition in ("steered", "random neurons", "an instruction in English", "untouched"):
        assert f"What was written: {condition}" in shown
    assert "<img" not in results
    assert "&lt;img" in results
    assert_free(backend)


class Unquoted(HTMLParser):
    """The text of a page but for what is marked as English, and for what was written and read."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.inside, self.texts = [False], list[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "br":
            self.inside.append(self.inside[-1] or dict(attrs).get("lang") == "en" or tag == "dl")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """It holds nothing."""

    def handle_endtag(self, tag: str) -> None:
        self.inside.pop()

    def handle_data(self, data: str) -> None:
        if not self.inside[-1]:
            self.texts.append(data)


@pytest.mark.parametrize("code", ["ar", "ja"])
def test_all_that_is_measured_is_said_in_the_language_of_who_asks(
    code: str, backend: Backend, page: Page, measured: Path
) -> None:
    backend.change(VISITOR, lambda loaded: loaded.with_mask(*read_mask(measured), place=measured))
    with speaking(code):
        shown = evidence_shown(page)
        _, shown["texts"] = streamed(page, "measure_texts", *ROWS)
        _, shown["openings"] = streamed(page, "measure_openings", "Il était", "fr", "es", 2.0, "replace")
        assert say("measured.english") in shown["lape-evidence"]
        assert say("measured.kind_steering") in shown["lape-evidence-rest"]
    for place, html in shown.items():
        if isinstance(html, str):
            found = [text for text in Unquoted(html).texts if re.search(r"[a-z]{2,} [a-z]{2,}", text)]
            assert [text for text in found if "lape report" not in text] == [], place


def test_every_kind_that_the_page_unfolds_has_its_heading() -> None:
    for name, kind in KINDS.items():
        if kind.panel:
            assert say(f"measured.kind_{name}") == kind.heading


def test_without_statistics_there_is_no_control(backend: Backend, page: Page) -> None:
    backend.change(VISITOR, lambda loaded: replace(loaded, statistics=None))
    _, results = streamed(page, "measure_openings", "Il était", "fr", "es", 2.0, "replace")
    assert "random neurons" not in results
    assert say("measured.no_control") in text_of(results)


def test_each_visitor_has_the_own_mask(backend: Backend, page: Page, mask: NeuronMask) -> None:
    other = mask.only(("es", "de"))
    backend.change(VISITOR, lambda loaded: replace(loaded, mask=other, statistics=None))
    lines, results = streamed(page, "measure_texts", *ROWS)
    assert "must be one of es, de, not 'fr'" in lines[-1]
    assert results == ""
    (*_, last) = function(page, "measure_texts")(gr.Request(session_hash="another"), *ROWS)
    assert "Done" in next(iter(last.values()))


@pytest.mark.parametrize("event", ["measure_texts", "measure_openings"])
@pytest.mark.parametrize("value", [None, 3, float("nan"), [], {"a": 1}, HTML, "x" * 1_000_000, "a\ud800"])
def test_values_of_any_kind_are_answered_with_a_sentence(backend: Backend, page: Page, event: str, value: Any) -> None:
    count = 2 * TEXTS if event == "measure_texts" else 5
    (update,) = function(page, event)(REQUEST, *[value] * count)
    (line,) = update.values()
    assert_sentence(line)
    assert_free(backend)


def test_a_text_too_short_and_a_target_without_means_are_sentences(
    backend: Backend, page: Page, mask: NeuronMask
) -> None:
    rows = [*ROWS]
    rows[TEXTS] = "Bonjour"
    lines, _ = streamed(page, "measure_texts", *rows)
    assert "The text in French has 8 tokens" in lines[-1]
    bare = NeuronMask(mask.neurons, {}, SHAPE)
    backend.change(VISITOR, lambda loaded: replace(loaded, mask=bare, statistics=None))
    lines, _ = streamed(page, "measure_openings", "Il était", "fr", "es", 2.0, "replace")
    assert "lape calibrate" in lines[-1]
    assert_free(backend)


def test_a_run_that_is_stopped_frees_the_model(backend: Backend, page: Page) -> None:
    decoder = activation_sites(backend.ready().model).decoder
    handle = decoder.register_forward_pre_hook(lambda *_: time.sleep(0.1))
    with closing(function(page, "measure_openings")(REQUEST, "Il était", "fr", "es", 2.0, "replace")) as updates:
        next(updates)
        assert backend.lock.locked()
    handle.remove()
    assert_free(backend)


@pytest.mark.parametrize("value", [None, 3, ["fr"], "ar", "x" * 100_000])
def test_menus_answer_any_value(page: Page, value: Any) -> None:
    assert function(page, "turning")(value, "mine").constructor_args == {"rtl": value == "ar"}
    filled = function(page, "filling")(2, *[value] * TEXTS, *[value] * TEXTS)
    assert all(text == "" or isinstance(text, dict) for text in filled.values())


def test_examples_fill_what_is_empty(page: Page) -> None:
    filled = function(page, "filling")(2, "fr", "es", "de", None, "mine", "", "", None)
    assert list(filled.values()) == ["\n".join(example_openings("es"))]
    first = {code: "\n".join(example_openings(code)[:4]) for code in ("fr", "es")}
    chosen = function(page, "turning")("es", first["fr"]).constructor_args
    assert chosen == {"value": first["es"], "rtl": False}


def test_texts_are_added_up_to_four(page: Page) -> None:
    add = function(page, "adding")
    assert next(iter(add(2).values())) == 3
    assert next(iter(add(4).values())) == TEXTS
