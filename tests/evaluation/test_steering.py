"""Continuations and their figures: hand-worked, and against plain loops on a tiny model."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from families import random_mask
from samples import statistics_of
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import ActivationStatistics, Intervention, LapeError, MeansMissing, NeuronMask, UnknownLabel, generate_rows
from lape.evaluation.metrics.bootstrap import draws
from lape.evaluation.metrics.cells import Task
from lape.evaluation.metrics.conditions import Setting, baseline_cases, controls, instruction_cases, steered_cases
from lape.evaluation.metrics.continuations import (
    Bench,
    Case,
    Decoding,
    Output,
    continuation,
    continue_cases,
    continue_prompts,
)
from lape.evaluation.metrics.language import Identified
from lape.evaluation.metrics.repetition import compression_ratio, repeated_ngrams
from lape.evaluation.metrics.second_opinion import second_opinion
from lape.evaluation.metrics.steering import PairOutputs, Steering, all_pairs, average, steering
from lape.evaluation.runs.ledger import Ledger
from lape.models.embedded import SMOLLM2

OPENINGS = {
    "aa": ["One day the", "When it rained", "My old dog", "In the morning", "We never knew"],
    "bb": ["Un jour le", "Quand il pleut", "Mon vieux chien", "Le matin"],
}
SHAPE = (3, 48)


class ByFirstLetter:
    """An identifier of our own: vowels are aa, other letters bb, digits gibberish, the rest too short to say."""

    def identify(self, text: str) -> Identified:
        first = text.strip()[:1].lower()
        if first.isdigit():
            return Identified(None, gibberish=True)
        return Identified(("aa" if first in "aeiou" else "bb") if first.isalpha() else None, 1.0)


@pytest.fixture
def bench(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Bench:
    return Bench(tiny_model, tokenizer, ByFirstLetter(), Decoding(max_new_tokens=6, rows=8))


@pytest.fixture(scope="module")
def mask() -> NeuronMask:
    return random_mask(SHAPE)


@pytest.fixture(scope="module")
def statistics() -> ActivationStatistics:
    return statistics_of({code: [[1] * SHAPE[1]] * SHAPE[0] for code in ("aa", "bb", "cc")})


def output(
    language: str | None = "aa", *, gibberish: bool = False, nats: float = 0.0, tokens: int = 1, **other: Any
) -> Output:
    given = {"text": "x", "repeated_4gram_share": 0.0, "compression_ratio": 1.0, "bytes": 1, **other}
    return Output(language=language, gibberish=gibberish, nll_nats=nats, tokens=tokens, **given)


# What is scored


def test_a_continuation_is_the_tokens_beyond_the_opening(tokenizer: PreTrainedTokenizerFast) -> None:
    found = continuation(tokenizer, "Un été", " à é")
    assert list(found.context) == tokenizer("Un été")["input_ids"]
    assert list(found.scored) == tokenizer(" à é")["input_ids"]
    assert not continuation(tokenizer, "Un été", "").scored


class Merging:
    """Words as ids; two words without a space between them are one token."""

    words = ("a", "b", "ab", "abc", "c", "x")

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [self.words.index(word) for word in text.split()]}


def test_a_token_across_the_border_counts_to_the_text() -> None:
    found = continuation(Merging(), "c a", "b c")
    assert (found.context, found.scored) == ([4], [2, 4])


def test_the_first_token_is_never_scored_without_one_before_it() -> None:
    found = continuation(Merging(), "a", "b c")
    assert (found.context, found.scored) == ([2], [4])


def test_an_output_counts_as_exactly_one_kind() -> None:
    kinds = [
        (output("aa"), "source"),
        (output("bb"), "target"),
        (output("cc"), "other"),
        (output(None), "short"),
        (output(None, gibberish=True), "gibberish"),
        (output("bb", gibberish=True), "gibberish"),  # the nearest language is no merit
    ]
    for one, kind in kinds:
        assert one.kind("aa", "bb") == kind


def test_an_output_in_a_language_is_in_its_varieties() -> None:
    assert output("pt").kind("en", "pt-BR") == "target"
    assert output("zh").kind("zho_Hans", "eng_Latn") == "source"
    assert output("es").kind("en", "pt-BR") == "other"


# Figures by hand


def test_figures_of_a_pair_by_hand() -> None:
    after = [
        output("bb", nats=4.0, tokens=2, bytes=4, repeated_4gram_share=0.5, compression_ratio=2.0, text="one"),
        output("bb", nats=2.0, tokens=1, bytes=3, text="two"),
        output("aa", nats=3.0, tokens=1, bytes=3, text="three"),
        output(None, nats=0.0, tokens=0, bytes=0, text=""),
    ]
    before = [output(nats=1.0, tokens=2)] * 4
    values = PairOutputs("aa", "bb", after, before).values()
    assert values["prompts"] == 4
    assert values["target_share"]["value"] == 0.5
    shares = {kind: values[f"{kind}_share"] for kind in ("source", "other", "gibberish", "short")}
    assert shares == {"source": 0.25, "other": 0.0, "gibberish": 0.0, "short": 0.25}
    assert values["languages"] == {"bb": 2, "aa": 1, "none": 1}
    assert values["repeated_4gram_share"] == 0.125
    assert values["compression_ratio"] == 1.25
    assert values["log_perplexity_nats"]["value"] == 9 / 4  # sum over sum, not the mean of 2, 2, 3
    assert values["perplexity"] == pytest.approx(math.exp(9 / 4))
    assert values["bits_per_byte"] == pytest.approx(9 / math.log(2) / 10)
    assert values["fluency_cost_nats"]["value"] == 9 / 4 - 1 / 2
    assert values["sample"] == "three"  # the one in the middle
    json.dumps(values, allow_nan=False)


class Second(ByFirstLetter):
    """Another identifier: it tells no text of cc."""

    def untold(self, labels: Iterable[str]) -> dict[str, str]:
        return {label: "it is not known" for label in labels if label == "cc"}


def test_a_second_opinion_by_hand() -> None:
    texts = ["x", "a", "3", "x"]  # to it: bb, aa, nothing, bb
    first = [output("bb", text=texts[0]), output("bb", text=texts[1]), output(None, gibberish=True, text=texts[2])]
    last = [output("bb", text=texts[3], gibberish=True)]  # nearest to bb, but in no language
    steered = PairOutputs("aa", "bb", [*first, *last], [])
    back = PairOutputs("bb", "aa", [output("bb", text="a"), output("aa", text="a")], [])
    measured = {("aa", "bb"): {"steered": steered}, ("bb", "aa"): {"steered": back}, ("aa", "cc"): {"steered": steered}}
    found = second_opinion(Steering({}, measured), Second())
    # To bb 1 of 4 in the target and 1 told otherwise, to aa 2 of 2 and 1.
    assert found == {"steered": {"target_share": (1 / 4 + 1) / 2, "differs_share": (1 / 4 + 1 / 2) / 2}}
    assert second_opinion(Steering({}, {("aa", "cc"): {"steered": steered}}), Second()) == {}


def test_intervals_of_a_pair_are_over_its_openings() -> None:
    after = [output("bb", nats=4.0, tokens=2), output("aa", nats=1.0, tokens=1)]
    before = [output(nats=1.0, tokens=1), output(nats=3.0, tokens=1)]
    values = PairOutputs("aa", "bb", after, before).values()
    assert values["target_share"] == {"value": 0.5, "low": 0.0, "high": 1.0}
    assert values["log_perplexity_nats"] == {"value": 5 / 3, "low": 1.0, "high": 2.0}
    # The opening that is drawn twice is so on both sides: 4/2 - 1 and 1 - 3.
    assert values["fluency_cost_nats"] == {"value": pytest.approx(5 / 3 - 2), "low": -2.0, "high": 1.0}


def test_outputs_without_a_token_have_no_fluency_and_do_not_break_the_rest() -> None:
    silent, written = [output(None, tokens=0, bytes=0, text="")] * 2, [output(nats=1.0)] * 2
    values = PairOutputs("aa", "bb", silent, written).values()
    assert values["short_share"] == 1
    for name in ("log_perplexity_nats", "perplexity", "bits_per_byte", "fluency_cost_nats"):
        assert values[name] is None
    assert PairOutputs("aa", "bb", written, silent).fluency_cost() is None
    # One silent output of two: a quarter of the resamples has no token at all.
    half_silent = PairOutputs("aa", "bb", [silent[0], output(nats=2.0)], written).values()
    assert half_silent["log_perplexity_nats"] == {"value": 2.0, "low": 2.0, "high": 2.0}


def test_averages_count_every_pair_the_same_and_resample_openings_together() -> None:
    yes, no, before = output("bb", nats=3.0), output("aa", nats=1.0), [output(nats=1.0)] * 2
    pairs = [PairOutputs("aa", "bb", [yes, no], before), PairOutputs("aa", "bb", [no, yes], before)]
    found = average(pairs)
    assert found["target_share"] == {"value": 0.5, "low": 0.5, "high": 0.5}  # what one loses the other gains
    assert found["source_share"] == 0.5
    assert found["fluency_cost_nats"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    silent = PairOutputs("aa", "bb", [output(None, tokens=0)] * 2, before)
    assert average([*pairs, silent])["fluency_cost_nats"]["value"] == 1.0  # over those that have one
    assert average([*pairs, silent])["target_share"]["value"] == pytest.approx(1 / 3)
    assert average([silent])["fluency_cost_nats"] is None


def test_all_pairs_are_ordered() -> None:
    assert all_pairs(["en", "fr", "zh"]) == [
        ("en", "fr"), ("en", "zh"), ("fr", "en"), ("fr", "zh"), ("zh", "en"), ("zh", "fr")
    ]  # fmt: skip


# Against plain loops


def alone(bench: Bench, prompt: str, intervention: Intervention | None) -> str:
    """The continuation of one prompt in a batch of its own."""
    decoding = bench.decoding
    settings = {"max_new_tokens": decoding.max_new_tokens, "repetition_penalty": decoding.repetition_penalty}
    *_, last = generate_rows(bench.model, bench.tokenizer, [prompt], intervention, **settings)
    return last.texts[0]


def plain_nats(bench: Bench, opening: str, text: str) -> float:
    """One token after the other, in Python numbers."""
    ids = bench.tokenizer(opening + text)["input_ids"]
    total = 0.0
    for place in range(len(bench.tokenizer(opening)["input_ids"]), len(ids)):
        logits = bench.model(torch.tensor([ids[:place]])).logits[0, -1].double().tolist()
        top = max(logits)
        total += math.log(sum(math.exp(logit - top) for logit in logits)) + top - logits[ids[place]]
    return total


def test_outputs_are_what_each_row_gives_alone(bench: Bench, mask: NeuronMask) -> None:
    plans = [None, Intervention(mask, off="aa", on="bb", strength=5), Intervention(mask, off="bb", on="aa", strength=3)]
    cases = [
        Case(str(place), OPENINGS[code], OPENINGS[code], plan)
        for place, (code, plan) in enumerate(zip(("aa", "aa", "bb"), plans, strict=True))
    ]
    outputs = continue_cases(bench, cases)
    assert list(outputs) == ["0", "1", "2"]
    assert len({tuple(one.text for one in outputs[key]) for key in ("0", "1")}) == 2
    for case in cases:
        for opening, found in zip(case.openings, outputs[case.key], strict=True):
            text = alone(bench, opening, case.intervention)
            assert found.text == text
            ids = bench.tokenizer(text)["input_ids"]
            said = ByFirstLetter().identify(text)
            assert (found.language, found.gibberish) == (said.language, said.gibberish)
            assert (found.tokens, found.bytes) == (len(ids), len(text.encode()))
            assert found.repeated_4gram_share == repeated_ngrams(ids)
            assert found.compression_ratio == compression_ratio(text)
            assert found.nll_nats == pytest.approx(plain_nats(bench, opening, text), rel=1e-5)


def test_prompts_past_a_batch_go_into_the_next(bench: Bench, mask: NeuronMask) -> None:
    prompts = OPENINGS["aa"] * 2
    plan = [Intervention(mask, on="bb", strength=5), None] * 5
    expected = [alone(bench, *pair) for pair in zip(prompts, plan, strict=True)]
    for rows in (3, 10, 80):
        decoding = replace(bench.decoding, rows=rows)
        assert continue_prompts(bench.model, bench.tokenizer, prompts, plan, decoding) == expected
    with pytest.raises(LapeError, match="rows must be at least 1, not 0"):
        Decoding(rows=0)


class Counting:
    """A ledger in memory that notes what was computed, and that can know some cells already."""

    def __init__(self, known: dict[str, Any] | None = None) -> None:
        self.kept = dict(known or {})
        self.computed: list[str] = []

    def __call__(self, tasks: Sequence[Task]) -> dict[str, Any]:
        for task in tasks:
            if new := [key for key in task.keys if key not in self.kept]:
                self.computed += new
                self.kept |= json.loads(json.dumps(task.compute()))
        return self.kept


def test_cases_share_batches_and_a_batch_is_made_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []

    def counted(*arguments: Any, **settings: Any) -> Any:
        batches.append(len(arguments[2]))
        return generate_rows(*arguments, **settings)

    monkeypatch.setattr("lape.evaluation.metrics.continuations.generate_rows", counted)
    cases = [Case(name, OPENINGS["bb"], OPENINGS["bb"]) for name in "vwxyz"]  # 4 rows each, 8 fit
    cells = Counting()
    whole = continue_cases(bench, cases, cells)
    assert batches == [8, 8, 4]
    assert cells.computed == ["v", "w", "x", "y", "z"]
    # A run that was stopped after the third case makes the batch of the fourth as it was, and gives the same.
    again = Counting({key: cells.kept[key] for key in "vwx"})
    assert continue_cases(bench, cases, again) == whole
    assert batches == [8, 8, 4, 8, 4]
    assert again.computed == ["y", "z"]


# The conditions


def test_settings_name_themselves_and_find_their_mask(mask: NeuronMask) -> None:
    assert str(Setting("replace", 2.0, 0.02)) == "replace x2 top=0.02"
    assert str(Setting("add", 1.5)) == "add x1.5"
    assert str(Setting("add", 1.5, 0.02, "others")) == "add x1.5 others-off top=0.02"
    masks = {None: mask, 0.05: random_mask(SHAPE, seed=1)}
    found = Setting("add", 3.0, 0.05).intervention(masks, "aa", "bb")
    assert (found.mask, found.off, found.on) == (masks[0.05], ("aa",), "bb")
    assert (found.mode, found.strength) == ("add", 3.0)
    others = Setting("add", 3.0, off="others").intervention(masks, "bb", "aa")
    assert (others.off, others.on) == (("bb", "cc"), "aa")
    with pytest.raises(UnknownLabel, match="No way of switching off 'other'"):
        Setting("add", 1.0, off="other")
    with pytest.raises(UnknownLabel):
        Setting("add", 1.0, off="others").intervention(masks, "dd", "aa")
    with pytest.raises(UnknownLabel, match=r"No mask of top rate '0.02'.*There are: 0.05, None"):
        Setting("add", 1.0, 0.02).intervention(masks, "aa", "bb")
    with pytest.raises(MeansMissing):
        Setting("replace", 1.0).intervention(masks, "aa", "cc")


def test_conditions_are_named_by_language_and_setting(tokenizer: PreTrainedTokenizerFast, mask: NeuronMask) -> None:
    halves = ("dev", "test")
    untouched = baseline_cases(OPENINGS, "aa", halves)
    assert [case.key for case in untouched] == [
        "baseline source=aa prompts=dev",
        "baseline source=aa prompts=test",
    ]
    assert [list(case.prompts) for case in untouched] == [OPENINGS["aa"][::2], OPENINGS["aa"][1::2]]
    (steered,) = steered_cases(OPENINGS, {None: mask}, "aa", "bb", Setting("replace", 2.0), ("test",))
    assert steered.key == "steered off=aa on=bb replace x2 prompts=test"
    assert steered.intervention == Intervention(mask, off="aa", on="bb", strength=2.0)
    with pytest.raises(UnknownLabel, match="No language with openings 'cc'"):
        baseline_cases(OPENINGS, "cc", halves)


def test_plain_instructions_come_before_the_opening(tokenizer: PreTrainedTokenizerFast) -> None:
    openings = {"en": OPENINGS["aa"]}
    found = instruction_cases(tokenizer, openings, "en", "fr", ("test",))
    assert list(found) == ["instruction-english", "instruction-native"]
    (english,), (native,) = found.values()
    assert english.key == "instruction-english source=en target=fr prompts=test"
    assert english.prompts[0] == "Continue this text in French.\n\nWhen it rained"
    assert native.prompts[1] == "Continuez ce texte en français.\n\nIn the morning"
    assert english.openings == native.openings == ("When it rained", "In the morning")
    assert english.intervention is None


def test_plain_instructions_go_through_a_chat_template(tokenizer: PreTrainedTokenizerFast) -> None:
    chatting = copy.deepcopy(tokenizer)
    chatting.chat_template = "{% for message in messages %}<{{ message['content'] }}>{% endfor %}"
    (case,) = instruction_cases(chatting, {"fr": OPENINGS["bb"]}, "fr", "en", ("dev",))["instruction-english"]
    assert case.prompts[0] == [{"role": "user", "content": "Continue this text in English.\n\nUn jour le"}]
    assert case.openings == ["Un jour le\n", "Mon vieux chien\n"]  # an answer begins on a line of its own


def test_random_controls_are_the_masks_own(mask: NeuronMask, statistics: ActivationStatistics) -> None:
    masks = {0.01: mask, 0.05: random_mask(SHAPE, seed=1)}
    found = controls(masks, statistics, (0, 3))
    assert list(found) == ["random0", "random3"]
    assert found["random3"] == {rate: masks[rate].random_like(statistics, 3) for rate in masks}
    assert controls(masks, None, (0,)) == {}


# All together


def test_steering_measures_every_pair_under_every_condition(
    bench: Bench, mask: NeuronMask, statistics: ActivationStatistics
) -> None:
    setting = Setting("replace", 5.0)
    settings = dict.fromkeys([("aa", "bb"), ("bb", "aa")], setting)
    cells = Counting()
    found = steering(bench, {None: mask}, OPENINGS, settings, statistics=statistics, seeds=(0, 1), cells=cells)
    names = ["baseline", "steered", "random0", "random1", "instruction-english"]
    assert {pair: list(conditions) for pair, conditions in found.measured.items()} == dict.fromkeys(settings, names)
    assert len(cells.computed) == len(set(cells.computed)) == 2 * 2 * len(names)

    random = mask.random_like(statistics, 1)
    for source, target in settings:
        texts = [*OPENINGS[source][::2], *OPENINGS[source][1::2]]
        plans = {
            "baseline": None,
            "steered": Intervention(mask, off=source, on=target, strength=5.0),
            "random1": Intervention(random, off=source, on=target, strength=5.0),
        }
        for name, plan in plans.items():
            measured = found.measured[source, target][name]
            assert [one.text for one in measured.outputs] == [alone(bench, text, plan) for text in texts]
            assert measured.baseline == found.measured[source, target]["baseline"].outputs

    values = found.values()
    json.dumps(values, allow_nan=False)
    assert values["pairs"]["aa"]["bb"]["setting"] == asdict(setting)
    assert values["pairs"]["aa"]["bb"]["conditions"]["baseline"]["fluency_cost_nats"] == {
        "value": 0.0, "low": 0.0, "high": 0.0
    }  # fmt: skip
    shares = [values["pairs"][a][b]["conditions"]["steered"]["target_share"]["value"] for a, b in settings]
    averages = values["averages"]
    assert averages["all"]["pairs"] == 2
    assert averages["all"]["conditions"]["steered"]["target_share"]["value"] == pytest.approx(sum(shares) / 2)
    for side, code, share in (("source", "aa", shares[0]), ("target", "aa", shares[1])):
        assert averages[side][code]["pairs"] == 1
        assert averages[side][code]["conditions"]["steered"]["target_share"]["value"] == share


def test_steering_takes_a_half_of_the_openings_a_setting_per_pair_and_no_control_without_statistics(
    bench: Bench, mask: NeuronMask
) -> None:
    settings = {("aa", "bb"): Setting("replace", 5.0), ("bb", "aa"): Setting("add", 2.0, 0.05)}
    masks = {None: mask, 0.05: random_mask(SHAPE, seed=1)}
    cells = Counting()
    found = steering(bench, masks, OPENINGS, settings, instructed=False, halves=("test",), cells=cells)
    assert sorted(cells.computed) == [
        "baseline source=aa prompts=test",
        "baseline source=bb prompts=test",
        "steered off=aa on=bb replace x5 prompts=test",
        "steered off=bb on=aa add x2 top=0.05 prompts=test",
    ]
    assert len(found.measured["aa", "bb"]["steered"].outputs) == 2
    with pytest.raises(LapeError, match="no pair of languages"):
        steering(bench, masks, OPENINGS, {})


def test_what_cannot_be_measured_is_refused_before_anything_is_generated(
    bench: Bench, mask: NeuronMask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lape.evaluation.metrics.continuations.generate_rows", None)
    good = {("aa", "bb"): Setting("replace", 1.0)}
    for pair, setting, error in (
        (("cc", "aa"), Setting("replace", 1.0), UnknownLabel),  # no openings
        (("aa", "dd"), Setting("replace", 1.0), UnknownLabel),
        (("aa", "cc"), Setting("replace", 1.0), MeansMissing),
        (("bb", "aa"), Setting("replace", 1.0, 0.5), UnknownLabel),
    ):
        with pytest.raises(error):
            steering(bench, {None: mask}, OPENINGS, {**good, pair: setting})


def test_a_stopped_run_goes_on_and_gives_the_same(bench: Bench, mask: NeuronMask, tmp_path: Path) -> None:
    settings = dict.fromkeys([("aa", "bb"), ("bb", "aa")], Setting("replace", 5.0))
    whole = steering(bench, {None: mask}, OPENINGS, settings).values()
    begun = []

    def stopping(tasks: Sequence[Task]) -> dict[str, Any]:
        return ledger.cells([Task(task.keys, partial(third_stops, task)) for task in tasks])

    def third_stops(task: Task) -> Any:
        begun.append(task.keys)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return task.compute()

    with Ledger(tmp_path / "cells.jsonl", {}) as ledger, pytest.raises(KeyboardInterrupt):
        steering(bench, {None: mask}, OPENINGS, settings, cells=stopping)
    with Ledger(tmp_path / "cells.jsonl", {}) as ledger:
        assert ledger.kept == len(begun[0]) + len(begun[1])
        assert steering(bench, {None: mask}, OPENINGS, settings, cells=ledger.cells).values() == whole


def test_draws_are_those_of_the_source(bench: Bench) -> None:
    outcomes = [output("bb"), output("aa"), output("aa")]
    share = PairOutputs("aa", "bb", outcomes, outcomes).share("target")
    drawn = draws(3, "aa")
    assert torch.equal(share.resampled, (drawn == 0).double().sum(1) / 3)


@pytest.mark.slow
def test_the_embedded_model_is_steered_and_random_neurons_do_nothing(
    embedded: tuple[PreTrainedModel, PreTrainedTokenizerFast],
) -> None:
    from lape.evaluation.metrics.language import LanguageIdentifier
    from lape.evaluation.metrics.openings import openings
    from lape.masks.bundled import bundled_folder
    from lape.storage.names import STATISTICS_NAME

    mask = NeuronMask.from_pretrained(model=SMOLLM2.model)
    statistics = ActivationStatistics.load(bundled_folder(SMOLLM2.model) / STATISTICS_NAME)
    bench = Bench(*embedded, LanguageIdentifier(mask.languages), Decoding(max_new_tokens=24))
    settings = dict.fromkeys([("en", "fr"), ("en", "ru")], Setting("replace", 1.25))
    few: dict[str, Sequence[str]] = {"en": openings("en")[:8]}
    found = steering(bench, {None: mask}, few, settings, statistics=statistics, instructed=False).values()
    for target in ("fr", "ru"):
        conditions = found["pairs"]["en"][target]["conditions"]
        assert conditions["baseline"]["source_share"] >= 0.75
        assert conditions["steered"]["target_share"]["value"] >= 0.75
        assert conditions["random0"]["target_share"]["value"] == 0
        # The change of language is a surprise to the untouched model, but the text is no noise: ln 49,152 is 10.8.
        assert 0.3 < conditions["steered"]["fluency_cost_nats"]["value"] < 5
