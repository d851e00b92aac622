"""The language of a text, how much it repeats itself, and both over many outputs."""

from __future__ import annotations

import pytest
from families import random_mask
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import Intervention, UnknownLabel
from lape.evaluation.language import Identified, LanguageIdentifier, text_width
from lape.evaluation.repetition import repeated_share
from lape.evaluation.steering import Outputs, continue_prompts, openings

SENTENCES = {
    "en": "The little girl walked slowly through the old forest.",
    "zh": "小女孩慢慢地穿过了那片古老的森林。",
    "fr": "La petite fille marchait lentement dans la vieille forêt.",
    "es": "La niña caminaba despacio por el viejo bosque.",
    "vi": "Cô bé đi chậm rãi qua khu rừng già.",
    "id": "Gadis kecil itu berjalan perlahan melewati hutan tua.",
    "ja": "小さな女の子は古い森の中をゆっくりと歩いた。",
    "de": "Das kleine Mädchen ging langsam durch den alten Wald.",
    "it": "La bambina camminava lentamente nel vecchio bosco.",
    "pt": "A menina caminhava devagar pela velha floresta.",
    "ru": "Маленькая девочка медленно шла через старый лес.",
    "ko": "어린 소녀는 오래된 숲을 천천히 걸어갔다.",
}
SHORT = Identified(None, 0.0, False)


@pytest.fixture(scope="module")
def identifier() -> LanguageIdentifier:
    return LanguageIdentifier(SENTENCES)


@pytest.mark.parametrize("language", SENTENCES)
def test_a_sentence_is_in_its_language(identifier: LanguageIdentifier, language: str) -> None:
    found = identifier.identify(SENTENCES[language])
    assert found.language == language
    assert 0.9 < found.confidence <= 1
    assert not found.gibberish


def test_only_the_languages_asked_about_and_english_are_told_apart(identifier: LanguageIdentifier) -> None:
    few = LanguageIdentifier(["fr", "legal", "zxx"])
    assert few.identify(SENTENCES["fr"]).language == "fr"
    assert few.identify(SENTENCES["en"]).language == "en"
    assert {few.identify(text).language for text in SENTENCES.values()} == {"fr", "en"}
    # The one made first is not disturbed.
    assert identifier.identify(SENTENCES["es"]).language == "es"


def test_languages_it_does_not_know_are_refused() -> None:
    with pytest.raises(UnknownLabel, match="No language to identify among 'legal, zxx'"):
        LanguageIdentifier(["legal", "zxx"])


@pytest.mark.parametrize("text", ["", "   \n", " Bonjour tout le mon \n", "小女孩慢慢地穿过", "\n" * 30])
def test_nothing_is_said_of_a_text_under_20_columns(identifier: LanguageIdentifier, text: str) -> None:
    assert identifier.identify(text) == SHORT


def test_20_columns_are_enough(identifier: LanguageIdentifier) -> None:
    for text in ("Bonjour tout le mond", "小女孩慢慢地穿过了那"):
        assert text_width(text) == 20
        assert identifier.identify(text).language is not None
        assert identifier.identify(text[:-1]) == SHORT


def test_a_text_in_no_language_is_told(identifier: LanguageIdentifier) -> None:
    assert identifier.identify("xqzt kfjw pqlr vbnm zxcv").gibberish
    assert identifier.identify("1234 5678 9012 3456 7890 1234").gibberish


@pytest.mark.parametrize("text", ["." * 32, "!?" * 16, "] " * 16, "0 " * 16])
def test_a_text_without_letters_is_in_no_language(identifier: LanguageIdentifier, text: str) -> None:
    assert identifier.identify(text) == Identified(None, 0.0, gibberish=True)


@pytest.mark.parametrize(
    ("text", "width"), [("", 0), ("été", 3), ("中文", 4), ("한국", 4), ("カナ", 4), ("ｶﾅ", 2), ("Ａ", 2), ("中a文", 5)]
)
def test_a_wide_character_fills_two_columns(text: str, width: int) -> None:
    assert text_width(text) == width


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0),
        ("abcdefg", 0),  # too short for any 8-gram
        ("abcdefgh", 0),
        ("abcdefghijklmnop", 0),  # nine different ones
        ("abcdefghabcdefgh", 1 / 9),  # the last one is the first again
        ("aaaaaaaaaaaaaaaa", 8 / 9),
        ("abcdefghXabcdefgh", 1 / 10),
        ("中文中文中文中文中文中文", 3 / 5),  # five 8-grams, two different
    ],
)
def test_repeated_share(text: str, share: float) -> None:
    assert repeated_share(text) == pytest.approx(share)


def test_outputs_are_counted() -> None:
    outputs = Outputs(("a", "b", "c", "d"), ("fr", None, "fr", "en"), (0.0,) * 4)
    assert outputs.share("fr") == 0.5
    assert outputs.share("de") == 0
    assert outputs.most_common()[0] == ("fr", 2)


def test_prompts_are_continued_under_one_intervention(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, identifier: LanguageIdentifier
) -> None:
    prompts = ["Il était", "Es war einmal"]
    steer = Intervention(random_mask((3, 48)), on="bb", strength=5)
    outputs = [
        continue_prompts(tiny_model, tokenizer, prompts, intervention, identifier, max_new_tokens=12)
        for intervention in (None, steer)
    ]
    assert outputs[0].texts != outputs[1].texts
    for output in outputs:
        assert len(output.texts) == len(output.languages) == len(output.repetition) == 2
        assert output.repetition == tuple(repeated_share(text) for text in output.texts)
        assert output.languages == tuple(identifier.identify(text).language for text in output.texts)


def test_openings_are_in_their_language(identifier: LanguageIdentifier) -> None:
    for language in ("en", "fr", "es", "de", "zh"):
        texts = openings(language)
        assert len(set(texts)) == len(texts) >= 10
        assert identifier.identify(" ".join(texts)).language == language
    with pytest.raises(UnknownLabel, match="Did you mean 'fr'"):
        openings("frr")
