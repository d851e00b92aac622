"""The Compare tab without a browser: several targets, a plain prompt, chats, links, exports; on a tiny random model."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args
from urllib.parse import parse_qsl

import gradio as gr
import pytest
import torch
from asking import HTTP
from browsing import serve
from families import build
from gradio_client import Client
from scripts import strange_letters

import lape
from lape import LapeError, NeuronMask
from lape.demo.backend import Backend
from lape.demo.compare.chat import TURNS, continued, prompts_of
from lape.demo.compare.columns import conversation, head
from lape.demo.compare.comparison import Column, compare, identify
from lape.demo.compare.export import Comparison, about, exported, fingerprint
from lape.demo.compare.links import LONGEST, from_query, is_link, to_query
from lape.demo.compare.marked import text_box, word_end
from lape.demo.compare.places import PLACES, places_of
from lape.demo.compare.request import DEFAULTS, MOST_TARGETS, CompareRequest
from lape.demo.compare.variants import variants_of
from lape.demo.examples import EXAMPLES, TRIED_ON, examples_for
from lape.demo.loaded import Loaded
from lape.demo.page import Page, build_page
from lape.evaluation.metrics.language import Identified, LanguageIdentifier
from lape.languages import language
from lape.models.cpu_forms import CpuForm, best_form, form_of, pack
from lape.models.embedded import GEMMA

LANGUAGES = ("de", "es", "fr", "it", "zh")
SHORT = replace(DEFAULTS, prompt="Bonjour", max_new_tokens=4)
TEMPLATE = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}[assistant]"
HTML = "<img src=x onerror=alert(1)>"
LINK = {"lape": "1", "prompt": "Hola", "source": "es", "targets": "fr,zh"}


def mask_of(means: tuple[str, ...] = LANGUAGES, **about: Any) -> NeuronMask:
    cells = torch.randperm(3 * 48, generator=torch.Generator().manual_seed(1))[:50].split(10)
    neurons = {code: torch.stack([flat // 48, flat % 48], 1) for code, flat in zip(LANGUAGES, cells, strict=True)}
    return NeuronMask(neurons, {code: torch.ones(10) for code in means}, (3, 48), about)


@pytest.fixture(scope="module")
def backend(tokenizer: Any) -> Backend:
    chatting = copy.deepcopy(tokenizer)
    chatting.chat_template = TEMPLATE
    return Backend(Loaded(build("llama"), chatting, mask_of()))


@pytest.fixture
def loaded(backend: Backend) -> Loaded:
    return backend.ready()


def last(backend: Backend, request: CompareRequest, talks: Any = None) -> dict[str, Column]:
    *_, columns = compare(backend, request, "", talks)
    return columns


# What stays when the mask changes


def after(backend: Backend, visitor: str, **values: Any) -> dict[str, Any]:
    """What the page sets in the menus after a change, by the field of a request; given what stands in them."""
    page = build_page(backend)
    event = next(one for one in page.fns.values() if one.api_name == "refresh")
    asked = vars(replace(SHORT, **values))
    at = next(place for place, block in enumerate(event.inputs) if getattr(block, "elem_id", "") == "lape-prompt")
    places = dict(zip(event.inputs[at : at + len(asked)], asked, strict=True))
    given = [asked[places[block]] if block in places else getattr(block, "value", None) for block in event.inputs]
    assert isinstance(event.inputs[at - 1], gr.State)  # the run on show
    shown = event.fn(gr.Request(session_hash=visitor), *given[: at - 1], None, *given[at:])
    updates = {name: shown[block] for block, name in places.items() if block in shown}
    values = {name: getattr(update, "constructor_args", {"value": update}) for name, update in updates.items()}
    heads = " ".join(text for text in shown.values() if isinstance(text, str) and "lape-head" in text)
    return {name: update["value"] for name, update in values.items() if "value" in update} | {"heads": heads}


def test_what_a_visitor_set_stays_when_only_the_mask_changes(backend: Backend) -> None:
    fewer = {code: cells for code, cells in mask_of().neurons.items() if code in ("de", "fr", "it")}
    backend.change("ann", lambda loaded: replace(loaded, mask=NeuronMask(fewer, {"it": torch.ones(10)}, (3, 48))))
    kept = after(backend, "ann", prompt="Mon texte", source="fr", targets=["it"], show_plain=True)
    assert list(kept) == ["heads"]
    assert "Steered: Italian" in kept["heads"]
    assert "Continue this text in Italian" in kept["heads"]
    backend.leave("ann")


@pytest.mark.parametrize("gone", [{"targets": ["es"]}, {"source": "zh"}, {"strength": "x"}, {"source": None}])
def test_what_cannot_be_done_with_the_new_mask_begins_anew(backend: Backend, gone: dict[str, Any]) -> None:
    fewer = {code: cells for code, cells in mask_of().neurons.items() if code in ("de", "fr", "it")}
    backend.change("ann", lambda loaded: replace(loaded, mask=NeuronMask(fewer, {"it": torch.ones(10)}, (3, 48))))
    begun = after(backend, "ann", **({"prompt": "Mon texte", "targets": ["it"]} | gone))
    assert (begun["prompt"], begun["source"], begun["targets"]) == (DEFAULTS.prompt, "fr", ["de"])
    backend.leave("ann")


# Columns


def test_each_target_has_a_column(backend: Backend) -> None:
    columns = last(backend, replace(SHORT, targets=("zh", "es", "it"), show_random=True, show_plain=True))
    assert list(columns) == ["on", "off", "steered:zh", "steered:es", "steered:it", "plain", "random"]
    assert [columns[name].on for name in columns] == [0, 0, 10, 10, 10, 0, 0]  # no means without statistics
    alone = last(backend, replace(SHORT, targets=("es",)))
    for name in ("on", "off", "steered:es"):
        assert columns[name].text == alone[name].text


def test_a_target_without_means_has_no_column(loaded: Loaded) -> None:
    partly = replace(loaded, mask=mask_of(("es",)))
    variants = variants_of(partly, replace(SHORT, targets=("zh", "es"), show_random=True))
    assert list(variants) == ["on", "off", "steered:es", "random"]
    assert list(variants_of(partly, replace(SHORT, targets=("zh", "es"), mode="scale"))) == [
        "on",
        "off",
        "steered:zh",
        "steered:es",
    ]


def test_the_plain_column_is_the_untouched_model_asked_in_words(backend: Backend) -> None:
    request = replace(SHORT, targets=("es", "zh"), show_plain=True)
    found = last(backend, request)
    model, tokenizer = backend.ready().model, backend.ready().tokenizer
    settings = {"max_new_tokens": 4, "repetition_penalty": request.repetition_penalty, "temperature": 0.0}
    for chat, asked in (
        (False, "Continue this text in Spanish.\n\nBonjour"),
        (True, [{"role": "user", "content": "Answer in Spanish.\n\nBonjour"}]),
    ):
        found = last(backend, replace(request, chat=chat))
        *_, alone = lape.generate_rows(model, tokenizer, [asked], **settings)
        assert found["plain"].text == alone.texts[0]
        assert (found["plain"].off, found["plain"].on) == (0, 0)


def test_every_column_has_a_place() -> None:
    names = ["on", "off", *(f"steered:{code}" for code in "abcd"), "kept", "residual", "plain", "random"]
    assert list(places_of(names).values()) == list(PLACES)
    assert places_of(["on", "steered:x", "random"]) == {"on": "on", "steered:x": "steered", "random": "random"}
    assert len(names) == MOST_TARGETS + 6


COLUMN = Column("Il vivait dans une maison", Identified(None), 5, 1.0, False, "length", 0, 0, None)


def test_the_first_difference_is_marked() -> None:
    assert "<mark" not in text_box("off", COLUMN, SHORT)
    marked = text_box("off", replace(COLUMN, text=f" {COLUMN.text}", differs_at=11), SHORT)
    assert re.search(">Il vivait <mark[^>]*>dans</mark> une maison</div>", marked)
    assert "(it ends here)</mark>" in text_box("off", replace(COLUMN, differs_at=25), SHORT)
    long = text_box("off", replace(COLUMN, text="a" * 100 + HTML + "b" * 100, differs_at=100), SHORT)
    assert "&lt;img</mark> src=x onerror=alert(1)&gt;" in long
    assert "<img" not in long
    assert word_end("很久很久以前有一位老人住在一座很高很高的山上他的名字叫", 2) == 26  # no spaces: a few signs


def test_a_text_has_its_own_direction_and_an_empty_one_says_so() -> None:
    arabic = replace(COLUMN, text="في قديم الزمان", language=Identified("ar", 0.9))
    assert 'dir="rtl" lang="ar"' in text_box("off", arabic, SHORT)
    assert 'dir="ltr" lang="es"' in text_box("steered:es", COLUMN, SHORT)
    assert "…" in text_box("on", replace(COLUMN, text="", finished=None), SHORT)
    assert "ended without a word" in text_box("on", replace(COLUMN, text=" ", finished="eos"), SHORT)


def test_columns_say_where_they_differ_from_the_untouched_one(backend: Backend) -> None:
    columns = last(backend, replace(SHORT, max_new_tokens=20))
    on = columns["on"]
    assert on.differs_at is None
    for column in columns.values():
        if column.text == on.text:
            assert column.differs_at is None
        else:
            assert column.differs_at is not None
            assert column.text[: column.differs_at] == on.text[: column.differs_at]
    assert any(column.differs_at is not None for column in columns.values())


def test_titles_name_the_target_and_escape_it(loaded: Loaded) -> None:
    variants = variants_of(loaded, replace(SHORT, targets=("zh", "es")))
    assert ": Chinese</h2>" in head("steered:zh", variants["steered:zh"], SHORT)
    assert "10 French neurons off, 10 Chinese on" in head("steered:zh", variants["steered:zh"], SHORT)
    assert "Continue this text in Spanish." in head("plain", None, SHORT)
    assert "<img" not in head(f"steered:{HTML}", None, replace(SHORT, targets=(HTML,)))


# Chats


def test_each_column_keeps_its_own_conversation(backend: Backend) -> None:
    first = replace(SHORT, chat=True, prompt="Hallo", show_plain=True)
    before = last(backend, first)
    talks = continued({}, first, {name: column.text for name, column in before.items()})
    assert {name: said[-1]["content"] for name, said in talks.items()} == {
        name: column.text for name, column in before.items()
    }
    assert talks["plain"][0]["content"] == "Answer in Spanish.\n\nHallo"
    second = replace(first, prompt="Und?")
    after = last(backend, second, talks)
    said = [*talks["on"], {"role": "user", "content": "Und?"}]
    model, tokenizer = backend.ready().model, backend.ready().tokenizer
    settings = {"max_new_tokens": 4, "repetition_penalty": second.repetition_penalty}
    *_, alone = lape.generate_rows(model, tokenizer, [said], **settings)
    assert after["on"].text == alone.texts[0]
    assert prompts_of(second, ["off"], talks)["off"][:2] == list(talks["off"])


def test_a_conversation_is_bounded_and_has_whole_turns() -> None:
    talks: Any = {}
    for number in range(TURNS + 3):
        asked = replace(SHORT, chat=True, prompt=str(number))
        talks = continued(talks, asked, {"on": f"answer {number}", "off": " "})
    assert talks["off"] == ()  # no answer, no turn
    assert len(talks["on"]) == 2 * TURNS
    assert talks["on"][0] == {"role": "user", "content": "3"}
    assert talks["on"][-1] == {"role": "assistant", "content": f"answer {TURNS + 2}"}


def test_what_is_said_is_text() -> None:
    shown = conversation([{"role": "user", "content": HTML}, {"role": "assistant", "content": f"</p>{HTML}"}])
    assert "<img" not in shown
    assert shown.count("&lt;img") == 2
    assert shown.count('dir="auto"') == 2


# Links


@pytest.mark.parametrize(
    "request_",
    [
        SHORT,
        replace(SHORT, prompt='„Ünïcode" & <b>=?#%+\n很久', source="zh", targets=("es", "fr", "it", "de")),
        replace(SHORT, strength=0.3, temperature=0.05, top_p=0.95, seed=2**32 - 1, mode="scale"),
        replace(SHORT, show_random=True, show_plain=True, chat=True, max_new_tokens=256),
    ],
)
def test_a_link_opens_what_it_was_made_of(loaded: Loaded, request_: CompareRequest) -> None:
    query = to_query(request_, loaded)
    assert query.startswith("?lape=1&")
    assert query.isascii()
    values = dict(parse_qsl(query[1:]))
    assert is_link(values)
    assert from_query(values, loaded) == (request_, "Opened from a link. Press Generate.")


def test_a_link_made_elsewhere_says_so(loaded: Loaded) -> None:
    values = dict(parse_qsl(to_query(SHORT, loaded)[1:]))
    assert "made with 'org/other', another model" in from_query({**values, "model": "org/other"}, loaded)[1]
    assert "made with another mask" in from_query({**values, "mask": "0" * 12}, loaded)[1]
    other = replace(loaded, mask=mask_of(("es",)))
    assert fingerprint(other.known_mask) == fingerprint(loaded.known_mask)  # the same neurons
    assert from_query({"lape": "1", "prompt": "x", "source": "fr", "targets": "es"}, loaded)[1].endswith("Generate.")


def test_a_link_names_no_folder_of_this_machine(tiny_folder: Any) -> None:
    here = Loaded.load(str(tiny_folder))
    assert here.public_name == tiny_folder.name
    cells = torch.tensor([[0, 1], [1, 2]])
    masked = replace(here, mask=NeuronMask({"fr": cells, "es": cells + 1}, {}, (3, 128)))
    assert str(tiny_folder.parent) not in to_query(SHORT, masked)
    assert str(tiny_folder.parent) not in json.dumps(about(masked))


def test_a_link_that_is_too_long_is_refused(loaded: Loaded) -> None:
    with pytest.raises(LapeError, match=f"at most {LONGEST:,} get through; shorten the prompt, or export"):
        to_query(replace(SHORT, prompt="很" * 2000), loaded)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lape": "2"}, "is of version '2' and this page opens 1"),
        ({"lape": ""}, "is of version ''"),
        ({"lape": "x" * 10_000}, "is of version 'xxx"),
        ({"source": "xx"}, "one of de, es, fr"),
        ({"targets": "fr,fr2"}, "one of de, es, fr"),
        ({"targets": ",".join(["fr"] * 9)}, "Choose 1 to 4"),
        ({"targets": ""}, "one of de, es, fr"),
        ({"targets": "es"}, "both Spanish"),
        ({"prompt": " "}, "The prompt is empty"),
        ({"prompt": "x" * 2001}, "2,001 characters"),
        ({"prompt": "\ud800"}, "half a character"),
        ({"strength": "nan"}, "from 0 to 5"),
        ({"strength": "1e999"}, "from 0 to 5"),
        ({"strength": HTML}, "from 0 to 5"),
        ({"max_new_tokens": "1.5"}, "whole number"),
        ({"max_new_tokens": "-3"}, "from 1 to 256"),
        ({"seed": "9" * 5000}, "whole number"),
        ({"mode": "__class__"}, "replace, add, scale"),
        ({"chat": "yes"}, "true or false"),
        ({"show_plain": "2"}, "true or false"),
    ],
)
def test_a_bad_link_is_one_sentence(loaded: Loaded, changed: dict[str, str], said: str) -> None:
    with pytest.raises(LapeError) as caught:
        from_query({**LINK, **changed}, loaded)
    assert said in str(caught.value)
    assert "shows its defaults" in str(caught.value)
    assert len(str(caught.value)) < 300


# Exports


def test_an_exported_run_holds_what_made_it(backend: Backend, loaded: Loaded) -> None:
    request = replace(SHORT, targets=("es", "zh"), show_plain=True, chat=True)
    talks = continued({}, request, {"on": "before"})
    columns = last(backend, request, talks)
    assert list(continued(talks, request, {"off": "x", "steered:it": "y"})) == ["off", "steered:it"]
    text = exported(Comparison(request, columns, talks, about(loaded)))
    found = json.loads(text)
    assert (found["kind"], found["format"]) == ("lape comparison", 1)
    assert found["settings"] == {**vars(request), "targets": ["es", "zh"]}
    assert found["environment"]["lape"] == lape.__version__
    assert found["environment"]["packages"]["torch"] == torch.__version__
    assert found["mask"]["neurons"] == dict.fromkeys(LANGUAGES, 10)
    assert found["mask"]["sha256"] == fingerprint(loaded.known_mask)
    assert {name: column["text"] for name, column in found["columns"].items()} == {
        name: column.text for name, column in columns.items()
    }
    assert found["columns"]["steered:es"]["neurons_on"] == 10
    assert found["columns"]["plain"]["instruction"] == "Answer in Spanish."
    assert found["columns"]["on"]["said_before"] == list(talks["on"])
    assert "said_before" not in found["columns"]["off"]


def test_the_fingerprint_is_of_the_neurons() -> None:
    assert fingerprint(mask_of()) == fingerprint(mask_of((), model="org/other"))
    fewer = NeuronMask({"de": mask_of().neurons["de"], "es": mask_of().neurons["es"]}, {}, (3, 48))
    assert len({fingerprint(mask) for mask in (mask_of(), fewer, mask_of() | mask_of())} | {""}) == 3


# The served page


@pytest.fixture(scope="module")
def served(backend: Backend) -> Iterator[tuple[Page, str]]:
    with serve(backend) as (page, url):
        yield page, url


def call(url: str, event: str, *values: Any, session: str = "ann") -> list[Any]:
    """What an event gives its outputs; it must not fail."""
    body = json.dumps({"data": values, "session_hash": session})
    headers = {"content-type": "application/json"}
    sent = HTTP.post(f"{url}/gradio_api/call/{event}", content=body, headers=headers)
    assert sent.status_code == 200, sent.text[:300]
    answer = HTTP.get(f"{url}/gradio_api/call/{event}/{sent.json()['event_id']}").text
    *_, kind, data = [line for line in answer.splitlines() if line]
    assert kind == "event: complete", data
    return json.loads(data.removeprefix("data: "))


def asked(**changed: Any) -> list[Any]:
    return list((vars(SHORT) | {"targets": ["es"]} | changed).values())


def test_the_endpoint_takes_several_targets(served: tuple[Page, str]) -> None:
    client = Client(served[1], verbose=False)
    words = {"prompt": "Bonjour", "max_new_tokens": 3, "show_plain": True, "api_name": "/compare"}
    one = client.submit(**words)
    one.result(timeout=60)
    assert list(one.outputs()[-1]) == ["on", "off", "steered", "plain"]
    several = client.submit(target=["zh", "es"], **words)
    several.result(timeout=60)
    assert list(several.outputs()[-1]) == ["on", "off", "steered:zh", "steered:es", "plain"]
    assert several.outputs()[-1]["steered:es"]["text"] == one.outputs()[-1]["steered"]["text"]
    assert "differs_at" in one.outputs()[-1]["off"]


def test_a_conversation_goes_on_and_is_cleared(served: tuple[Page, str]) -> None:
    page, url = served
    busy, emptied = fn_index(page, "busy"), fn_index(page, "emptied")

    def begun() -> int:
        """How many columns show the first question when another one is asked."""
        return sum("eins" in str(part) for part in predict(url, busy, None, None, True, *asked()))

    assert begun() == 0
    call(url, "stream", *asked(prompt="eins", chat=True))
    assert begun() == 3
    call(url, "stream", *asked(prompt="zwei", chat=True))
    assert begun() == 3
    assert "eins" not in str(predict(url, busy, None, None, True, *asked(), session="bob"))
    predict(url, emptied, True)
    assert begun() == 0


def test_stop_holds_for_a_comparison_that_is_still_to_be_asked_for(served: tuple[Page, str]) -> None:
    page, url = served
    busy, stopped = fn_index(page, "busy"), fn_index(page, "stopped")
    begin = (url, busy, None, {}, False, *asked())
    predict(*begin, session="cat")
    predict(url, stopped, None, session="cat")
    assert set(map(str, call(url, "stream", *asked(), session="cat"))) == {"None"}
    predict(*begin, session="cat")
    assert "<p" in str(call(url, "stream", *asked(), session="cat"))


def fn_index(page: Page, name: str) -> int:
    """An event of the tab; others on the page may have its name."""
    return next(
        index
        for index, one in page.fns.items()
        if getattr(one.fn, "__name__", "") == name
        and one.fn.__module__ in {f"lape.demo.compare.{part}" for part in ("tab", "sharing", "freshness")}
    )


def predict(url: str, index: int, *values: Any, session: str = "ann") -> list[Any]:
    """What an event without the queue gives its outputs, as the page's script calls it."""
    body = {"data": values, "fn_index": index, "session_hash": session}
    answer = HTTP.post(f"{url}/gradio_api/run/predict", json=body)
    assert answer.status_code == 200, answer.text[:300]
    return answer.json()["data"]


KINDS = [None, "", [], {}, [None], True, -1, 1.5, 10**30, "x" * 100_000, HTML, ["es", "zh"] * 50, {"path": "/etc"}]


@pytest.mark.parametrize("value", KINDS, ids=lambda value: repr(value)[:24])
def test_a_value_of_any_kind_is_answered(served: tuple[Page, str], value: Any) -> None:
    page, url = served
    count = len(asked())
    for name, values in (
        ("linking", [value] * count),
        ("preview", [None, *[value] * count]),
        ("example", [value, None, *[value] * count]),
        ("emptied", [value]),
        ("told", [None, *[value] * count]),
        ("mending", [value] * 3),
        ("busy", [None, None, value, *[value] * count]),
        ("export", [value]),
    ):
        parts = predict(url, fn_index(page, name), *values, session=f"odd {name}")
        assert "<img" not in str(parts)
        failed = [part for part in parts if isinstance(part, str) and "lape-failed" in part]
        assert len(failed) == (name in ("linking", "preview", "export")), name
        assert all("Something failed" not in part for part in failed)


def test_the_page_opens_a_link(served: tuple[Page, str], backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    page, _ = served
    arrive = next(one.fn for one in page.fns.values() if getattr(one.fn, "__name__", "") == "arrive")

    def opened(**query: str) -> dict[str, Any]:
        shown = arrive(gr.Request(query_params=query, session_hash="ann"), backend.version(), None, *asked())
        return {getattr(part, "elem_id", "") or getattr(part, "label", ""): value for part, value in shown.items()}

    assert "lape-status" not in opened(__theme="dark")
    shown = opened(**LINK)
    assert "Opened from a link" in shown["lape-status"]
    assert shown["lape-targets"] == ["fr", "zh"]
    shown = opened(lape="1", source="zz")
    assert "This link cannot be opened" in shown["lape-status"]
    assert "lape-targets" not in shown
    backend_without = Backend()
    monkeypatch.setattr(backend, "visitors", backend_without.visitors)
    assert "No model is loaded" in opened(**LINK)["lape-status"]


# What is said to be expected


@pytest.fixture(scope="module")
def tried_on() -> Backend:
    """The page as it opens, with the whole weights; loaded once, for each form is packed from them."""
    if obstacle := GEMMA.obstacle():
        pytest.skip(obstacle)
    return Backend(Loaded.load(TRIED_ON, cpu_form="float32"))


@pytest.mark.slow
@pytest.mark.parametrize("form", get_args(CpuForm))  # float32 first: it packs nothing
def test_the_examples_do_what_is_said_of_them(form: CpuForm, tried_on: Backend) -> None:
    if get_args(CpuForm).index(form) > get_args(CpuForm).index(best_form()):
        pytest.skip(f"this processor does not generate with {form} weights")
    backend, model, tokenizer = tried_on, tried_on.ready().model, tried_on.ready().tokenizer
    pack(model, form)
    assert form_of(model) == form
    assert examples_for(backend.languages()) == list(EXAMPLES)
    tried = EXAMPLES if form == best_form() else EXAMPLES[:1]  # all in the form that the page takes here
    texts: list[str] = []
    plan: list[Any] = []
    for example in tried:
        request = replace(DEFAULTS, prompt=example.prompt, source=example.source, targets=(example.target,))
        plan += variants_of(backend.ready(), request).values()
        texts += [example.prompt] * 3
        assert example.expected.startswith("What to expect of Gemma 3 270M: on goes on in ")
    settings = {"max_new_tokens": DEFAULTS.max_new_tokens, "repetition_penalty": DEFAULTS.repetition_penalty}
    *_, found = lape.generate_rows(model, tokenizer, texts, plan, **settings)
    languages = [identify(backend.languages(), text).language for text in found.texts.values()]
    for row, example in enumerate(tried):
        assert tuple(languages[3 * row : 3 * row + 3]) == example.seen, example.prompt


def test_an_example_with_another_target_promises_nothing() -> None:
    found = examples_for(("zh", "ko"))
    assert [(example.source, example.target) for example in found] == [("zh", "ko"), ("ko", "zh")]
    assert {(example.seen, example.expected) for example in found} == {(None, "")}


def test_an_output_in_no_language_is_promised_as_such() -> None:
    (hindi,) = (example for example in EXAMPLES if example.source == "hi")
    assert hindi.expected.endswith("on goes on in Hindi, off in no language, steered in Spanish.")


def test_the_second_example_is_steered_to_a_language_written_from_right_to_left() -> None:
    assert [language(example.target).rtl for example in EXAMPLES[:2]] == [False, True]


def test_examples_are_in_their_language_and_stop_in_the_middle() -> None:
    sources = [example.source for example in EXAMPLES]
    assert len(set(sources)) == len(sources) == 33
    judge = LanguageIdentifier(sources)
    for example in EXAMPLES:
        assert judge.identify(example.prompt).language == example.source, example.prompt
        assert strange_letters(example.prompt, language(example.source).script) == []
        assert example.prompt[-1] not in ".!?。।؟۔ ", example.prompt
        assert example.target in {*sources} - {example.source}
