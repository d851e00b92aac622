"""Means for a mask that has none: equal to the slow oracle's, in the library and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import oracle
import pytest
import torch
from families import build, random_mask, token_ids
from recordings import histograms_of, texts_of
from samples import mask_of, statistics_of
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import lape
from lape import (
    ActivationStatistics,
    Intervention,
    LapeError,
    MaskMismatch,
    MeansMissing,
    NeuronMask,
    UnknownLabel,
    intervene,
)
from lape.cli import main
from lape.masks.calibration import calibrate, with_deviations, with_differences, with_other_means, with_quantiles
from lape.storage.names import MASK_NAME, STATISTICS_NAME

TEXTS = {
    "aa": [f"Ceci est le texte numéro {number}. " for number in range(20)],
    "bb": [f"{number} 这是一些文字" for number in range(60)],
    "cc": [f"Number {number} is not {number + 1}." for number in range(40)],
}
BLOCK, BLOCKS = 16, 4
SETTINGS = {"tokens": BLOCK * BLOCKS - 3, "block": BLOCK, "progress": False}


def no_means(model: PreTrainedModel) -> NeuronMask:
    mask = random_mask(lape.activation_sites(model).shape)
    return NeuronMask(mask.neurons, {}, mask.shape)


def refuse() -> Iterator[str]:
    pytest.fail("no text is to be read")
    yield ""


def test_means_are_those_of_the_oracle(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    mask, statistics = calibrate(no_means(tiny_model), tiny_model, tokenizer, TEXTS, **SETTINGS)
    assert statistics.tokens == dict.fromkeys(TEXTS, BLOCK * BLOCKS)
    assert mask.means.keys() == TEXTS.keys()
    for code, documents in TEXTS.items():
        counts = oracle.record(tiny_model, tokenizer, documents, blocks_read=BLOCKS, block=BLOCK, batch=2)
        expected = [counts.sum[layer][neuron] / (BLOCK * BLOCKS) for layer, neuron in mask.neurons[code].tolist()]
        assert mask.means[code].tolist() == pytest.approx(expected, abs=1e-5)
        assert max(map(abs, expected)) > 0.01


def test_it_says_what_the_means_come_from(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    before = no_means(tiny_model)
    mask, statistics = calibrate(before, tiny_model, tokenizer, TEXTS, **SETTINGS)
    assert mask.metadata["calibration"]["tokens"] == dict.fromkeys(TEXTS, BLOCK * BLOCKS)
    assert mask.metadata["calibration"]["corpora"] == statistics.metadata["corpora"]
    assert all(torch.equal(mask.neurons[code], before.neurons[code]) for code in TEXTS)
    assert before.means == {}


def test_a_second_calibration_remembers_the_tokens_of_the_first(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    one, *others = TEXTS
    first, _ = calibrate(no_means(tiny_model), tiny_model, tokenizer, {one: TEXTS[one]}, languages=[one], **SETTINGS)
    rest = {code: TEXTS[code] for code in others}
    second, _ = calibrate(first, tiny_model, tokenizer, rest, languages=others, **SETTINGS)
    assert second.metadata["calibration"]["tokens"] == dict.fromkeys(TEXTS, BLOCK * BLOCKS)
    assert second.metadata["calibration"]["corpora"].keys() == TEXTS.keys()
    assert second.means.keys() == TEXTS.keys()


def test_steering_works_after_it_and_not_before(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    mask = no_means(tiny_model)
    with pytest.raises(MeansMissing, match="Make them with `lape calibrate`, or use mode 'scale'"):
        Intervention(mask, off="aa", on="bb")
    calibrated, statistics = calibrate(mask, tiny_model, tokenizer, TEXTS, **SETTINGS)
    prompt = token_ids(1, 9)
    steered = []
    for used in (calibrated, calibrated.random_like(statistics, seed=0)):
        with intervene(tiny_model, Intervention(used, off="aa", on="bb")):
            steered.append(tiny_model(prompt).logits)
    assert not torch.allclose(steered[0], tiny_model(prompt).logits, atol=1e-3)
    assert not torch.allclose(steered[0], steered[1], atol=1e-3)


def test_some_languages_only(tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    known = random_mask(lape.activation_sites(tiny_model).shape)  # has means of aa and bb
    texts = {"bb": TEXTS["bb"], "cc": refuse}
    mask, statistics = calibrate(known, tiny_model, tokenizer, texts, languages=["bb"], **SETTINGS)
    assert statistics.languages == ("bb",)
    assert mask.means.keys() == {"aa", "bb"}
    assert torch.equal(mask.means["aa"], known.means["aa"])
    assert not torch.equal(mask.means["bb"], known.means["bb"])
    with pytest.raises(MeansMissing, match="'cc'"):
        Intervention(mask, on="cc")


@pytest.mark.parametrize(
    ("languages", "error", "message"),
    [
        (None, LapeError, r"There is no text for bb, cc\. Add some, or name the languages to calibrate"),
        (["cc", "aa"], LapeError, r"There is no text for cc\."),
        (["a"], lape.UnknownLabel, "No language in the mask 'a'. Did you mean 'aa'"),
    ],
)
def test_missing_text_is_named_before_any_is_read(
    languages: list[str] | None,
    error: type[LapeError],
    message: str,
    tiny_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    with pytest.raises(error, match=message):
        calibrate(no_means(tiny_model), tiny_model, tokenizer, {"aa": refuse}, languages=languages, **SETTINGS)


def test_another_model_is_refused_before_any_text_is_read(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    other = build("llama", intermediate_size=64)
    with pytest.raises(MaskMismatch, match=r"3 layers x 48 neurons.* 3 layers x 64 neurons"):
        calibrate(no_means(tiny_model), other, tokenizer, dict.fromkeys(TEXTS, refuse), **SETTINGS)


# The command


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for code, documents in TEXTS.items():
        (folder / f"{code}.train.txt").write_text("\n\n".join(documents * 10), encoding="utf-8")
    return folder


@pytest.fixture
def imported(tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with a mask that `lape import` wrote for the tiny model."""
    lists = [[torch.arange(start, 128, 9) for _ in range(3)] for start in range(3)]
    torch.save(lists, tmp_path / "mask.pth")
    words = [
        "--model",
        str(tiny_folder),
        "--shape",
        "3x128",
        "--languages",
        "aa,bb,cc",
        "--out",
        str(tmp_path / "mask"),
    ]
    assert main(["import", str(tmp_path / "mask.pth"), *words]) == 0
    capsys.readouterr()
    return tmp_path / "mask"


@pytest.fixture
def words(imported: Path, tiny_folder: Path, corpus: Path) -> list[str]:
    """The command, for 64 tokens a language."""
    given = {"--model": tiny_folder, "--corpus": corpus, "--tokens": 60, "--block": BLOCK}
    return ["calibrate", str(imported), *(str(word) for option in given.items() for word in option)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_imported_mask_steers_after_calibrate(
    imported: Path, words: list[str], tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate = ["generate", "Bonjour", "--model", str(tiny_folder), "--mask", str(imported), "--off", "aa", "--json"]
    generate += ["--max-new-tokens", "2"]
    assert main(generate) == 0
    assert json.loads(capsys.readouterr().out)["neurons_changed"] == {"on": 0, "off": 45}
    assert main([*generate, "--on", "bb"]) == 2
    assert "Make them with `lape calibrate`" in capsys.readouterr().err

    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "path": str(imported / MASK_NAME),
        "tokens": {"aa": 64, "bb": 64, "cc": 64},
        "recorded": True,
    }
    assert main([*generate, "--on", "bb"]) == 0
    assert json.loads(capsys.readouterr().out)["neurons_changed"] == {"on": 0, "off": 45, "steered": 90}

    mask, statistics = NeuronMask.load(imported), ActivationStatistics.load(imported / STATISTICS_NAME)
    assert mask.metadata["released"]["file"] == "mask.pth"
    for code in mask.languages:
        expected = statistics.mean(code).flatten()[mask.flat(code)]
        assert torch.allclose(mask.means[code].double(), expected, atol=1e-6)
    assert mask.random_like(statistics, seed=0).means.keys() == mask.means.keys()


def test_statistics_with_enough_tokens_are_taken_and_nothing_is_recorded(
    imported: Path, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(words) == 0
    calibrated = contents(imported)
    mask = NeuronMask.load(imported)
    NeuronMask(mask.neurons, {}, mask.shape, mask.metadata).save(imported)  # as when it is imported again
    monkeypatch.setattr("lape.cli.released.load_model", lambda options: pytest.fail("no model is needed"))
    capsys.readouterr()
    assert main(["calibrate", str(imported), "--tokens", "64"]) == 0
    assert "nothing was recorded" in capsys.readouterr().out
    means = NeuronMask.load(imported).means
    assert means.keys() == mask.means.keys() == {"aa", "bb", "cc"}
    assert all(torch.allclose(means[code], mask.means[code], atol=1e-6) for code in means)
    assert contents(imported)[STATISTICS_NAME] == calibrated[STATISTICS_NAME]


def test_more_tokens_are_recorded_and_the_statistics_kept(
    imported: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    first = contents(imported)
    capsys.readouterr()
    assert main([*words, "--tokens", "65", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recorded"] is True
    assert found["tokens"] == {"aa": 80, "bb": 80, "cc": 80}
    assert contents(imported)[STATISTICS_NAME] == first[STATISTICS_NAME]
    assert contents(imported)[MASK_NAME] != first[MASK_NAME]


def test_statistics_of_another_model_are_not_taken(
    imported: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    other = ActivationStatistics.load(imported / STATISTICS_NAME)
    ActivationStatistics(
        other.active, other.sum, other.positive_sum, other.tokens, {**other.metadata, "model": "org/other"}
    ).save(imported / STATISTICS_NAME)
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recorded"] is True


def test_statistics_of_some_languages_are_not_written(imported: Path, words: list[str]) -> None:
    # The page draws its random control from them, for every language of the mask.
    assert main([*words, "--languages", "bb"]) == 0
    assert NeuronMask.load(imported).means.keys() == {"bb"}
    assert not (imported / STATISTICS_NAME).exists()
    assert main([*words, "--languages", "aa,cc"]) == 0
    assert NeuronMask.load(imported).means.keys() == {"aa", "bb", "cc"}


def test_another_folder_leaves_the_first_as_it_is(imported: Path, words: list[str], tmp_path: Path) -> None:
    before = contents(imported)
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert contents(imported) == before
    assert contents(tmp_path / "out").keys() == {MASK_NAME, "mask.json", STATISTICS_NAME}


def test_ctrl_c_loses_nothing(imported: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(imported)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lape.recording.recorder.Reader", interrupted)
    assert main(words) == 130
    assert contents(imported) == before


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--languages", "dd"], "No language in the mask 'dd'"),
        (["--corpus", "nowhere"], "There is no corpus at 'nowhere'"),
        (["--corpus", "{empty}"], "holds no corpus"),
        (["--tokens", "100000"], "but 100000 were asked for"),
        (["--model", "{wide}"], "The mask was made for"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    more: list[str],
    expected: str,
    imported: Path,
    words: list[str],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"empty": tmp_path / "empty", "wide": tmp_path / "wide"}
    places["empty"].mkdir()
    build("llama").save_pretrained(places["wide"])
    tokenizer.save_pretrained(places["wide"])
    before = contents(imported)
    capsys.readouterr()
    assert main([*words, *(word.format(**places) for word in more)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [line for line in printed.err.splitlines() if line.startswith("lape: ")]
    assert len(lines) == 1
    assert expected in lines[0]
    assert contents(imported) == before


def test_text_and_a_mask_are_asked_for(imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(imported)]) == 2
    assert "Say which text to read, such as --corpus" in capsys.readouterr().err
    assert main(["calibrate", str(tmp_path)]) == 2
    assert "There is no file" in capsys.readouterr().err


def test_means_over_other_languages(tmp_path: Path) -> None:
    tokens = {"aa": 5, "bb": 10, "cc": 20, "dd": 40}
    statistics = statistics_of({code: [[1, 2], [3, 4]] for code in tokens}, tokens)
    means = {code: (statistics.sum[code] / statistics.tokens[code]).tolist() for code in statistics.tokens}
    mask = mask_of({"aa": [(0, 0), (1, 1)], "bb": [(0, 0), (1, 1), (1, 0)], "cc": [(1, 1)]}, shape=(2, 2))
    found = with_other_means(mask, statistics)
    alone = {"aa": "cc", "bb": "cc"}  # of the neuron that two have
    for code, other in alone.items():
        assert found.other_means[code][0].item() == pytest.approx(means[other][0][0])
    assert found.other_means["bb"][1].item() == pytest.approx((means["aa"][1][0] + means["cc"][1][0]) / 2)
    for code in mask.languages:  # of the one that all have
        expected = sum(means[other][1][1] for other in mask.languages if other != code) / 2
        assert found.other_means[code][-1].item() == pytest.approx(expected)
    found.save(tmp_path)
    loaded = NeuronMask.load(tmp_path)
    assert found == mask == loaded
    assert all(torch.equal(loaded.other_means[code], found.other_means[code]) for code in mask.languages)
    with pytest.raises(MaskMismatch, match="2 layers x 2 neurons"):
        with_other_means(random_mask((3, 48)), statistics)
    with pytest.raises(LapeError, match="no language beside aa"):
        with_other_means(mask.only(["aa"]), statistics)


def set_to(intervention: Intervention) -> dict[int, float]:
    """The neurons that are set, to what, by their flat indices."""
    done = intervention.operations()
    assert {operation.name for operation in done} == {"set"}
    return {
        index: value
        for operation in done
        for index, value in zip(operation.neurons.tolist(), operation.values.tolist(), strict=True)
    }


def test_neurons_that_are_off_are_set_to_their_mean_over_other_languages() -> None:
    neurons = {"aa": [(0, 0), (1, 1)], "bb": [(0, 0), (0, 1)], "cc": [(0, 1)]}
    others = {"aa": torch.tensor([0.5, -2.0]), "bb": torch.tensor([0.75, 4.0])}
    mask = replace(mask_of(neurons, {"cc": [9.0]}, shape=(2, 2)), other_means=others)
    assert set_to(Intervention(mask, off=["aa", "bb"], off_value="mean")) == {0: 0.5, 1: 4.0, 3: -2.0}
    assert set_to(Intervention(mask, off="bb", on="cc", strength=2.0, off_value="mean")) == {0: 0.75, 1: 18.0}
    assert set_to(Intervention(mask, on="cc", strength=1.0, off_value="mean")) == {1: 9.0}
    with pytest.raises(MeansMissing, match=r"no means over other languages for cc.*with_other_means"):
        Intervention(mask, off=["aa", "cc"], off_value="mean")
    with pytest.raises(UnknownLabel, match=r"'men'. Did you mean 'mean'"):
        Intervention(mask, off="aa", off_value="men")


def test_deviations_are_about_the_language_s_own_mean_whatever_switches_it_on(tmp_path: Path) -> None:
    histograms = histograms_of({"aa": [[0, 2, 6, 0], [1, 1, 1, 1]], "bb": [[0, 4, 0, 0], [0, 0, 0, 3]]})
    deviations = {"aa": torch.tensor([[0.5, 0.25]]), "bb": torch.tensor([[0.125, 2.0]])}
    histograms = replace(histograms, deviations=deviations)
    mask = mask_of({"aa": [(0, 0), (0, 1)], "bb": [(0, 1)]}, {"aa": [7.0, 8.0]}, shape=(1, 2))
    found = with_deviations(mask, histograms)
    found.save(tmp_path)
    found = NeuronMask.load(tmp_path)
    assert found == mask
    assert {code: values.tolist() for code, values in found.own_means.items()} == {"aa": [1.75, 1.5], "bb": [3.0]}
    assert {code: values.tolist() for code, values in found.deviations.items()} == {"aa": [0.5, 0.25], "bb": [2.0]}
    (off,) = Intervention(found, off=["bb", "aa"], off_within=2).operations()
    assert off.neurons.tolist() == [0, 1]
    assert [sorted(ranges) for ranges in off.ranges.permute(2, 1, 0).tolist()] == [
        [[0.75, 2.75], [0.75, 2.75]],
        [[-1.0, 7.0], [1.0, 2.0]],
    ]
    with pytest.raises(MaskMismatch, match=r"the activation histograms for 1 layers? x 2 neurons"):
        with_deviations(random_mask((3, 48)), histograms)
    with pytest.raises(UnknownLabel, match="No language in these activation histograms 'cc'"):
        with_deviations(mask_of({"cc": [(0, 1)]}, shape=(1, 2)), histograms)
    with pytest.raises(LapeError, match=r"no deviations in these means of texts\. Take .*lape record --histograms"):
        with_deviations(mask, texts_of({"aa": [[1.0, 2.0]]}))


def test_a_quantile_in_the_place_of_means() -> None:
    texts = texts_of({"aa": [[4.0, 1.0], [0.0, 2.0], [2.0, 8.0]], "bb": [[1.0, 5.0]]})
    mask = mask_of({"aa": [(0, 1)], "bb": [(0, 0), (0, 1)]}, {"aa": [9.0]}, shape=(1, 2))
    found = with_quantiles(mask, texts, 1)
    assert {code: values.tolist() for code, values in found.means.items()} == {"aa": [8.0], "bb": [1.0, 5.0]}
    assert set_to(Intervention(found, on="bb", strength=2.0)) == {0: 2.0, 1: 10.0}
    assert found.metadata["calibration"]["means"] == "quantile 1 of means of texts"
    with pytest.raises(LapeError, match=r"no quantiles in these activation statistics\. Take activation histograms"):
        with_quantiles(mask, statistics_of({"aa": [[1, 2]], "bb": [[1, 2]]}), 0.5)
    with pytest.raises(LapeError, match="from 0 to 1, not 90"):
        with_quantiles(mask, texts, 90)


def test_differences_between_languages_are_what_add_adds() -> None:
    codes = ["aa", "bb", "cc"]
    statistics = statistics_of({code: [[1, 2, 3]] for code in codes}, 4)
    means = {code: (statistics.sum[code] / 4).flatten().tolist() for code in codes}
    mask = mask_of({"aa": [(0, 0)], "bb": [(0, 1), (0, 2)], "cc": [(0, 0)]}, {"aa": [9.0]}, shape=(1, 3))
    every = with_differences(mask, statistics)
    assert every.means["aa"].tolist() == pytest.approx([means["aa"][0] - (means["bb"][0] + means["cc"][0]) / 2])
    moved = with_differences(mask, statistics, off="aa")
    assert set(moved.means) == {"bb", "cc"}  # there is nothing to move aa from
    assert moved.means["bb"].tolist() == pytest.approx([means["bb"][n] - means["aa"][n] for n in (1, 2)])
    both = with_differences(mask, statistics, off="aa", both=True)
    (added,) = Intervention(both, off="aa", on="bb", mode="add", strength=2.0).operations()[1:]
    assert (added.name, added.neurons.tolist()) == ("add", [0, 1, 2])
    assert added.values.tolist() == pytest.approx([2 * (means["bb"][n] - means["aa"][n]) for n in range(3)])
    assert both.flat("aa").tolist() == [0]
    assert both.metadata["calibration"]["means"] == "differences from aa"
    with pytest.raises(UnknownLabel, match="No language in the mask 'dd'"):
        with_differences(mask, statistics, off=["aa", "dd"])
