"""Language confusion: pass rates by hand, the published completions' figures, and answers made one by one."""

from __future__ import annotations

import copy
import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from families import random_mask
from samples import statistics_of
from test_steering import SHAPE, ByFirstLetter, Counting
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import BadFile, Intervention
from lape.evaluation.metrics.confusion.answers import KEPT, Answers, answer
from lape.evaluation.metrics.confusion.prompts import LANGUAGES, LONGEST_PROMPT, Benchmark, read_benchmark
from lape.evaluation.metrics.confusion.rates import (
    Rates,
    Verdict,
    english_words,
    mean_rates,
    pass_rates,
    spoken_lines,
    verdict,
)
from lape.evaluation.metrics.continuations import Bench, Decoding, continue_prompts
from lape.evaluation.metrics.language import Chooser, Identified, identifier

BENCHMARK = Path(__file__).resolve().parents[3] / "shared" / "lcb"  # beside the checkout, in CI too
DICTIONARY = english_words(["Paris", "big", "house", "river"])


def benchmark_folder(folder: Path, prompts: dict[str, list[str]], words: str | None = "Paris\nbig\nhouse\n") -> Path:
    """A folder in the benchmark's layout, of `<task>/<source>/<code>` to prompts."""
    for place, texts in prompts.items():
        file = folder / f"{place}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", encoding="utf-8", newline="") as opened:
            rows = csv.writer(opened)
            rows.writerows([["prompt", "source", "language"], *([text, "x", file.stem] for text in texts)])
    if words is not None:
        (folder / "words").write_text(words, encoding="utf-8")
    return folder


class ByName:
    """Tells a line by the language that its first word names; `zxx` is in none, and `?` too short to say."""

    def identify(self, text: str) -> Identified:
        name = text.split()[0]
        return Identified(None if name == "?" else name, 1.0, gibberish=name == "zxx")


# The rates


def test_only_lines_of_five_words_say_something() -> None:
    assert spoken_lines(" One, two: three — four?\nOne two three - four (five)!\nQ: one two three four five", "en") == [
        "One two three  four five"
    ]
    assert spoken_lines("a—b—c—d—e\n1. a b c d", "fr") == ["a b c d e", "1 a b c d"]
    assert spoken_lines("نعم، هذا هو الجواب الصحيح", "ar") == ["نعم هذا هو الجواب الصحيح"]
    # 1.6 characters are a word: eight of them are five words, and blanks are none.
    assert spoken_lines("一二三四五六七\n一二三四五六七八\n一二三四 五六七", "zh") == ["一二三四五六七八"]
    assert spoken_lines("한국어 문장 하나", "ko") == []


@pytest.mark.parametrize(
    ("said", "language", "found"),
    [
        ("ru a b c d\nru e f g h", "ru", Verdict(True, False)),
        ("ru a b c d\nen e f g h", "ru", Verdict(False)),  # one line in another language is enough
        ("zxx a b c d", "zxx", Verdict(False)),  # nor is a text in no language in this one
        ("? a b c d", "ru", Verdict(None)),
        ("? a b c d\nru a b c d", "ru", Verdict(True, False)),
        ("ru a b", "ru", Verdict(None)),
        ("ru a b c house", "ru", Verdict(True, True)),
        ("ru a Paris big House", "ru", Verdict(True, False)),  # a name, three letters, and a capital letter
        ("fr a b c house", "fr", Verdict(True)),  # English words do not stand out in its script
        ("ja 一二三四五六house七", "ja", Verdict(True, True)),  # where no blanks are, letters are a word
        ("ru a b c d", "ru_Cyrl", Verdict(True, False)),
    ],
)
def test_an_answer_is_judged_line_by_line(said: str, language: str, found: Verdict) -> None:
    assert verdict(said, language, ByName(), DICTIONARY) == found


def test_words_are_left_alone_without_a_dictionary() -> None:
    assert verdict("ru a b c house", "ru", ByName()) == Verdict(True)


def test_rates_are_means_over_sources_and_then_over_languages() -> None:
    passed, mixed, failed, silent = Verdict(True, False), Verdict(True, True), Verdict(False), Verdict(None)
    # Lines: 3 of 4 and 1 of 2, of which the silent one is none; words: 2 of 3 and 0 of 1.
    ru = pass_rates({"a": [passed, passed, mixed, failed], "b": [mixed, failed, silent]}, "ru")
    found = ru.values()
    assert found["judged"] == 6
    assert found["line_pass_rate"]["value"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert found["word_pass_rate"]["value"] == pytest.approx((2 / 3 + 0) / 2)
    line, word = 5 / 8, 1 / 3
    assert found["line_and_word_pass_rate"]["value"] == pytest.approx(2 * line * word / (line + word))
    for rate in ("line_pass_rate", "line_and_word_pass_rate"):
        assert found[rate]["low"] < found[rate]["value"] < found[rate]["high"]

    fr = pass_rates({"a": [Verdict(True), Verdict(True)]}, "fr")
    none = pass_rates({"a": [silent, silent]}, "ko")
    assert none.values() == {"judged": 0, **dict.fromkeys(list(found)[1:])}
    together = mean_rates([ru, fr, none]).values()
    assert together["judged"] == 8
    assert together["line_pass_rate"]["value"] == pytest.approx((5 / 8 + 1) / 2)
    assert together["word_pass_rate"] == found["word_pass_rate"]
    assert pass_rates({"a": [failed, failed]}, "ru").both is None


def rates_of(file: str, task: str, judge: Chooser) -> Rates:
    dictionary = english_words((BENCHMARK / "words").read_text().splitlines())
    verdicts: Any = defaultdict(lambda: defaultdict(list))
    with (BENCHMARK / file).open(encoding="utf-8", newline="") as opened:
        for row in csv.DictReader(opened):
            if row["task"] == task:
                found = verdict(row["completion"], row["language"], judge, dictionary)
                verdicts[row["language"]][row["source"]].append(found)
    return mean_rates(pass_rates(by_source, code) for code, by_source in verdicts.items())


@pytest.mark.slow
@pytest.mark.skipif(not BENCHMARK.is_dir(), reason="the published completions are not beside the checkout")
@pytest.mark.parametrize("name", ["py3langid", "fasttext"])
def test_the_published_completions_have_their_published_rates(name: str) -> None:
    judge = identifier(name, LANGUAGES)
    for file, task, published in (
        ("completions.llama-3-instruct.csv", "monolingual", 0.460),
        ("completions.llama-3-instruct.csv", "crosslingual", 0.303),
        ("completions.gpt-4-turbo.csv", "monolingual", 0.993),
    ):
        line = rates_of(file, task, judge).line
        assert line is not None
        assert line.value == pytest.approx(published, abs=0.02), (file, task)


# The prompts

ASKED = {
    "monolingual/okapi/fr": [f"Question {number} ?" for number in range(6)] + ["x" * (LONGEST_PROMPT + 1)],
    "monolingual/aya/en": ["What is one?", 'What is "two",\nor more?'],
    "crosslingual/okapi/fr": ["Reply in French. What is one?", "Use French. What is two?"],
}


def test_prompts_are_chosen_by_chance_and_the_same_for_everybody(tmp_path: Path) -> None:
    folder = str(benchmark_folder(tmp_path, ASKED))
    found = read_benchmark(folder, ["fr-CA", "en", "ko"], 3)
    assert list(found.prompts) == [
        ("monolingual", "aya", "en"),
        ("monolingual", "okapi", "fr-CA"),
        ("crosslingual", "okapi", "fr-CA"),
    ]
    chosen = found.prompts["monolingual", "okapi", "fr-CA"]
    assert len(set(chosen)) == 3
    assert set(chosen) < set(ASKED["monolingual/okapi/fr"][:6])
    assert set(found.prompts["monolingual", "aya", "en"]) == set(ASKED["monolingual/aya/en"])
    assert found.too_long == 1
    assert found.dictionary == {"house"}
    assert read_benchmark(folder, ["fr-CA", "en"], 3) == found
    assert read_benchmark(folder, ["fr-CA", "en"], 3, seed=1) != found


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ({}, "has no folder monolingual or crosslingual. Unpack test_sets.zip"),
        ({"monolingual/okapi/ko": ["a", "b"]}, "has no prompts in fr, en, only in ko"),
        ({"monolingual/okapi/fr": ["a"]}, "'monolingual/okapi/fr.csv' has 1 prompts"),
        ({"monolingual/okapi/fr": ["a", " "]}, "'monolingual/okapi/fr.csv' must have a column `prompt`"),
    ],
)
def test_what_is_no_benchmark_is_refused(tmp_path: Path, prompts: dict[str, list[str]], said: str) -> None:
    folder = benchmark_folder(tmp_path, prompts, words=None)
    with pytest.raises(BadFile, match=said):
        read_benchmark(str(folder), ["fr", "en"], 3)


def test_no_benchmark_at_all_is_refused_and_a_missing_dictionary_is_not(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no --prompts were named"):
        read_benchmark(None, ["fr"], 3)
    assert read_benchmark(str(benchmark_folder(tmp_path, ASKED, words=None)), ["fr"], 3).dictionary is None


# The answers


@pytest.fixture
def asked() -> Benchmark:
    prompts = {
        ("monolingual", "okapi", "aa"): ("One day the", "When it rained"),
        ("monolingual", "aya", "aa"): ("My old dog", "We never knew", "In the morning"),
        ("crosslingual", "okapi", "bb"): ("Use bb. One", "Use bb. Two"),
    }
    return Benchmark(prompts, 0, None)


def answered(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, asked: Benchmark, **other: Any
) -> Answers:
    mask = random_mask(SHAPE)
    statistics = statistics_of({code: [[1] * SHAPE[1]] * SHAPE[0] for code in mask.languages})
    bench = Bench(tiny_model, tokenizer, ByFirstLetter(), Decoding(max_new_tokens=6))
    return answer(bench, asked, {KEPT: mask, "random3": mask.random_like(statistics, 3)}, **other)


def test_a_language_is_kept_by_its_neurons_on_and_all_others_off(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, asked: Benchmark
) -> None:
    cells = Counting()
    found = answered(tiny_model, tokenizer, asked, strength=2.0, cells=cells)
    assert cells.computed[:3] == [
        "baseline language=bb prompts=crosslingual/okapi",  # the shortest prompts first
        "kept on=bb replace x2 prompts=crosslingual/okapi",
        "random3 on=bb replace x2 prompts=crosslingual/okapi",
    ]
    mask = random_mask(SHAPE)
    kept = {
        "aa": Intervention(mask, off=["bb", "cc"], on="aa", mode="replace", strength=2.0),
        "bb": Intervention(mask, off=["aa", "cc"], on="bb", mode="replace", strength=2.0),
    }
    assert list(found.outputs) == list(asked.prompts)
    assert found.conditions == ("baseline", "kept", "random3")
    for place, prompts in asked.prompts.items():
        for condition, plan in (("baseline", None), ("kept", kept[place[2]])):
            made = [output.text for output in found.outputs[place][condition]]
            alone = [
                text
                for prompt in prompts
                for text in continue_prompts(tiny_model, tokenizer, [prompt], plan, Decoding(max_new_tokens=6))
            ]
            assert made == alone


def test_a_chat_model_is_asked_through_its_template(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, asked: Benchmark
) -> None:
    chatting = copy.deepcopy(tokenizer)
    chatting.chat_template = "{% for message in messages %}<{{ message['content'] }}>{% endfor %}"
    found = answered(tiny_model, chatting, asked)
    for place, prompts in asked.prompts.items():
        wrapped = [f"<{prompt}>" for prompt in prompts]
        alone = [
            text
            for prompt in wrapped
            for text in continue_prompts(tiny_model, tokenizer, [prompt], None, Decoding(max_new_tokens=6))
        ]
        assert [output.text for output in found.outputs[place]["baseline"]] == alone


def test_figures_are_those_of_the_answers(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, asked: Benchmark
) -> None:
    made = answered(tiny_model, tokenizer, asked).outputs
    written = copy.deepcopy(dict(made))
    for place, texts in (
        (("monolingual", "okapi", "aa"), {"baseline": "b a a a a", "kept": "a b b b b", "random3": "b b b b b"}),
        (("monolingual", "aya", "aa"), {"baseline": "a b b b b", "kept": "a a a a a", "random3": "b b b b b"}),
    ):
        for name, text in texts.items():
            for output in written[place][name]:
                object.__setattr__(output, "text", text)
    found = Answers(asked, written).values(ByFirstLetter())
    json.dumps(found, allow_nan=False)
    assert list(found) == ["monolingual", "crosslingual"]
    task = found["monolingual"]
    assert task["languages"]["aa"]["prompts"] == 5
    conditions = task["languages"]["aa"]["conditions"]
    assert [conditions[name]["line_pass_rate"]["value"] for name in made[place]] == [0.5, 1.0, 0.0]
    assert [conditions[name]["line_pass_change"]["value"] for name in made[place]] == [0.0, 0.5, -0.5]
    assert conditions["kept"]["sample"] == "a a a a a"
    for name, average in task["averages"].items():
        assert average == {key: value for key, value in conditions[name].items() if key != "sample"}
