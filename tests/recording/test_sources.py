"""What is no source of text is refused in words, wherever one is given, before the model runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from samples import mask_of
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import LapeError, record
from lape.evaluation.metrics.harm import next_line_items
from lape.evaluation.metrics.lss import lss_items
from lape.evaluation.metrics.perplexity import text_blocks
from lape.masks.calibration import calibrate
from lape.recording.sources import open_source
from lape.recording.texts import count_tokens, taken

ONE_TEXT = "Bonjour le monde. " * 40
GENERATOR = (text for text in ["a"] * 99)
WRONG_SOURCES = [
    (ONE_TEXT, r"'fr' is one string\. Give a list .*\[text\]"),
    (ONE_TEXT.encode(), "'fr' is one string"),
    (None, r"'fr' is None\. Give a list of documents, or a function"),
    (7, "'fr' is 7"),
    (float("nan"), "'fr' is nan"),
    ({"text": ONE_TEXT}, "'fr' is a dict"),
    ((text for text in [ONE_TEXT]), "'fr' is a generator, which can be read only once"),
    (iter([ONE_TEXT]), "'fr' is a list_iterator, which can be read only once"),
]
WRONG_DOCUMENTS = [
    (None, "Document 2 of 'fr' is None, not text"),
    (float("nan"), "Document 2 of 'fr' is nan, not text"),
    (3, "Document 2 of 'fr' is 3, not text"),
    (b"bytes", "Document 2 of 'fr' is a bytes, not text"),
    ("half \ud83d", r"Document 2 of 'fr' holds half a character \(a lone surrogate\) at character 6"),
]
WRONG = [*WRONG_SOURCES, *(([ONE_TEXT[:9], document], said) for document, said in WRONG_DOCUMENTS)]
Entrance = Callable[[PreTrainedModel, Any, Any], Any]
ENTRANCES: dict[str, Entrance] = {
    "record": lambda model, tokenizer, source: record(model, tokenizer, {"fr": source}, tokens=64, block=16),
    "short": lambda model, tokenizer, source: record(
        model, tokenizer, {"fr": source}, tokens=64, block=16, allow_short=True
    ),
    "perplexity": lambda _, tokenizer, source: text_blocks(tokenizer, {"fr": source}, tokens=64, block=16),
    "harm": lambda _, __, source: next_line_items(source, 2, 0, "fr"),
    "count_tokens": lambda _, tokenizer, source: count_tokens(tokenizer, source, 64, "fr"),
    "calibrate": lambda model, tokenizer, source: calibrate(
        mask_of({"fr": [(0, 1)]}, shape=(3, 48)), model, tokenizer, {"fr": source}, tokens=64, block=16, progress=False
    ),
    "taken": lambda _, __, source: list(taken(source, 10**6, "fr")),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(
    ("source", "said"),
    WRONG,
    ids=map(str, range(len(WRONG))),  # not by value: some of them name an address in memory
)
def test_what_is_no_text_is_refused_at_every_entrance(
    entrance: str, source: Any, said: str, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    calls = []
    tiny_model.get_decoder().register_forward_pre_hook(lambda *_: calls.append(1))
    with pytest.raises(LapeError, match=said):
        ENTRANCES[entrance](tiny_model, tokenizer, source)
    assert len(calls) <= 1  # the pass that proves the architecture


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (lambda: ONE_TEXT, "is one string"),
        (lambda: None, "is None"),
        (lambda: lambda: [], "returned a function"),
    ],
)
def test_a_function_that_opens_no_documents_is_refused(source: Any, said: str) -> None:
    with pytest.raises(LapeError, match=said):
        open_source(source, "fr")


def test_a_function_that_gives_one_generator_twice_is_refused() -> None:
    once = (f"Document {number}." for number in range(99))
    assert len(list(open_source(lambda: once))) == 99
    with pytest.raises(LapeError, match="returned a generator that was read before"):
        open_source(lambda: once)


@pytest.mark.parametrize(("corpora", "said"), [(["a"], "not as a list"), (None, "not as None"), ("a", "not as a str")])
def test_texts_are_a_mapping(
    corpora: Any, said: str, tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    for give in (
        lambda: record(tiny_model, tokenizer, corpora),
        lambda: text_blocks(tokenizer, corpora),
        lambda: lss_items(corpora, [("en", "fr")]),
    ):
        with pytest.raises(LapeError, match=said):
            give()


def test_what_can_be_read_again_will_do() -> None:
    for source in (["a", "b"], ("a", "b"), lambda: iter(["a", "b"]), lambda: ["a", "b"]):
        assert list(open_source(source)) == list(open_source(source)) == ["a", "b"]
