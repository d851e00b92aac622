"""The next-line check: which items are made, what the model is asked, and figures worked out by hand."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from families import DOCUMENT_END, LAYERS, WIDTH, build
from samples import mask_of
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape import Intervention, NeuronMask, intervene
from lape.errors import NotEnoughText
from lape.evaluation.metrics.cells import Task, fresh
from lape.evaluation.metrics.harm import Item, next_line_check, next_line_figures, next_line_items, next_line_scores

EXAMPLE = Path(__file__).parents[2] / "examples" / "lm_eval_harness.py"


def letters(seed: str, count: int) -> str:
    chooser = random.Random(seed)
    return "".join(chooser.choice("abcdefghij ") for _ in range(count)).strip().ljust(count, "x")


def documents(lines: int = 4, count: int = 8) -> list[str]:
    return [
        "\n".join(letters(f"{document} {line}", 30 + 5 * line) for line in range(lines)) for document in range(count)
    ]


@pytest.fixture
def mask() -> NeuronMask:
    """Enough neurons in every layer to change what a tiny model says."""
    chooser = random.Random(0)
    pairs = [(layer, neuron) for layer in range(LAYERS) for neuron in range(WIDTH)]
    return mask_of({code: sorted(chooser.sample(pairs, 60)) for code in ("fr", "de")}, shape=(LAYERS, WIDTH))


def by_hand(model: PreTrainedModel, tokenizer: Tokenizer, context: str, text: str) -> float:
    """Log-probability per byte, token by token, each from a pass of its own."""
    read = [DOCUMENT_END, *tokenizer.encode(context, add_special_tokens=False)]
    total = 0.0
    for token in tokenizer.encode(text, add_special_tokens=False):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([read])).logits[0, -1].double().tolist()
        highest = max(logits)
        total += logits[token] - highest - math.log(sum(math.exp(value - highest) for value in logits))
        read.append(token)
    return total / len(text.encode())


def test_an_item_asks_for_the_line_that_follows() -> None:
    texts = documents()
    following = {}
    for text in texts:
        lines = text.split("\n")
        following |= {line + "\n": after for line, after in itertools.pairwise(lines)}
    items = next_line_items(texts, 10, 0, "fr")
    assert len(items) == len({item.context for item in items}) == 10
    for item in items:
        assert item.candidates[0] == following[item.context]


def test_the_other_lines_are_of_other_documents_and_all_differ() -> None:
    texts = documents()
    home = {line: place for place, text in enumerate(texts) for line in text.split("\n")}
    for item in next_line_items(texts, 20, 0, "fr"):
        places = [home[text] for text in item.candidates]
        assert len(set(item.candidates)) == 4
        assert places[0] == home[item.context.rstrip("\n")]
        assert places[0] not in places[1:]


def test_the_same_line_in_another_document_is_no_wrong_answer() -> None:
    same = "x" * 25
    texts = [f"{letters(str(n), 30)}\n{same}" for n in range(20)]
    for item in next_line_items(texts, 20, 0, "fr"):
        assert item.candidates.count(same) == 1


def test_the_three_nearest_in_bytes_of_the_twelve_drawn_are_taken() -> None:
    # Twelve lines elsewhere, so all of them are drawn; their lengths in bytes are 30 to 74, the true line's is 50.
    others = [letters(str(size), size) for size in range(30, 78, 4)]
    own = f"{letters('first', 40)}\n{letters('second', 50)}"
    (item,) = next_line_items([own, *others], 1, 0, "fr")
    assert item.candidates[0] == letters("second", 50)
    assert sorted(map(len, item.candidates[1:])) == [46, 50, 54]


def test_length_is_of_bytes_not_characters() -> None:
    others = [letters(str(size), size) for size in range(30, 78, 4)]
    own = f"{letters('first', 40)}\n{'é' * 25}"  # 25 characters, 50 bytes
    (item,) = next_line_items([own, *others], 1, 0, "fr")
    assert sorted(map(len, item.candidates[1:])) == [46, 50, 54]


def test_long_lines_are_cut_at_columns_and_narrow_ones_passed_over() -> None:
    wide = "語" * 100  # two columns each
    texts = [f"{'a' * 300}{'b' * 160}\nshort\n{wide}", *("c" * (20 + n) for n in range(12))]
    (item,) = next_line_items(texts, 1, 0, "ja")
    assert item.context == "b" * 160 + "\n"
    assert item.candidates[0] == "語" * 40


def test_items_depend_on_seed_and_language_alone() -> None:
    texts = documents()
    first = next_line_items(texts, 8, 0, "fr")
    assert next_line_items(lambda: iter(texts), 8, 0, "fr") == first
    assert next_line_items(texts, 8, 1, "fr") != first
    assert next_line_items(texts, 8, 0, "de") != first


@pytest.mark.parametrize(
    ("texts", "count", "said"),
    [
        (documents(lines=4, count=2), 7, "'fr' has 6 pairs of lines in 2 documents; 7 items"),
        (documents(lines=4, count=3), 2, "each needs 12 lines of other documents"),  # 8 lines elsewhere
        (["one line of text only"], 1, "0 pairs of lines in 1 documents"),
        ([], 1, "0 pairs"),
        (documents(), 0, "0 items were asked for"),
    ],
)
def test_too_little_text_says_how_much_there_is(texts: list[str], count: int, said: str) -> None:
    with pytest.raises(NotEnoughText, match=said):
        next_line_items(texts, count, 0, "fr")


def test_scores_are_log_probabilities_per_byte(tiny_model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    items = [
        Item("Il était\n", ("une fois", "é", "a longer line of text", "☃ ☃")),
        Item("x\n", ("y", "zz", "zzz", "z")),
        *(Item(letters(str(n), 10) + "\n", tuple(letters(f"{n} {m}", 5 + n) for m in range(4))) for n in range(5)),
    ]
    found = next_line_scores(tiny_model, tokenizer, items, None)
    for item, scores in zip(items, found, strict=True):
        expected = [by_hand(tiny_model, tokenizer, item.context, text) for text in item.candidates]
        assert scores == pytest.approx(expected, abs=1e-5)


def test_scores_under_an_intervention_are_those_of_the_switched_model(
    tiny_model: PreTrainedModel, tokenizer: Tokenizer, mask: NeuronMask
) -> None:
    items = [Item("Il était\n", ("une fois", "é", "a longer line of text", "z"))]
    off = Intervention(mask, off="fr")
    (found,) = next_line_scores(tiny_model, tokenizer, items, off)
    with intervene(tiny_model, off):
        expected = [by_hand(tiny_model, tokenizer, items[0].context, text) for text in items[0].candidates]
    assert found == pytest.approx(expected, abs=1e-5)
    assert found != pytest.approx(next_line_scores(tiny_model, tokenizer, items, None)[0], abs=1e-3)


def test_the_check_counts_what_the_scores_say(
    tiny_model: PreTrainedModel, tokenizer: Tokenizer, mask: NeuronMask
) -> None:
    items = {"fr": next_line_items(documents(), 6, 0, "fr"), "de": next_line_items(documents(), 4, 0, "de")}
    kept: dict[str, Any] = {}

    def cells(tasks: Sequence[Task]) -> dict[str, Any]:
        kept.update(fresh(tasks))
        return kept

    found = next_line_check(tiny_model, tokenizer, items, mask, cells)
    assert list(kept) == [f"harm off={off} text={text}" for off in ("", "fr", "de") for text in ("fr", "de")]
    for off in ("", "fr", "de"):
        for text in ("fr", "de"):
            plan = Intervention(mask, off=off) if off else None
            scores = next_line_scores(tiny_model, tokenizer, items[text], plan)
            right = [int(max(range(4), key=four.__getitem__) == 0) for four in scores]
            assert kept[f"harm off={off} text={text}"] == right
            place = found["after"][off][text] if off else found["before"][text]
            assert place["accuracy"]["value"] == pytest.approx(sum(right) / len(right))
    assert found["items"] == {"fr": 6, "de": 4}
    again = next_line_check(tiny_model, tokenizer, items, mask, lambda _: kept)
    assert again == found


def test_a_tie_is_not_right(
    tokenizer: Tokenizer, tiny_model: PreTrainedModel, mask: NeuronMask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that tells nothing apart must not be right always."""
    scores = [[-1.0, -1.0, -2.0, -3.0], [-1.0, -2.0, -2.0, -3.0]]
    monkeypatch.setattr("lape.evaluation.metrics.harm.next_line_scores", lambda *_: scores)
    found = next_line_check(tiny_model, tokenizer, {"aa": [], "bb": []}, mask)
    assert found["before"]["aa"]["accuracy"]["value"] == 0.5


def test_figures_by_hand() -> None:
    before = {"fr": [1, 1, 1, 0], "de": [1, 1], "es": [1, 0]}
    after = {
        "fr": {"fr": [0, 0, 0, 0], "de": [1, 1], "es": [0, 1]},
        "de": {"fr": [1, 1, 1, 0], "de": [0, 1], "es": [0, 0]},
    }
    found = next_line_figures(before, after)
    assert found["guessing"] == 0.25
    assert found["before"]["fr"]["accuracy"]["value"] == 0.75
    assert found["before"]["de"]["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found["after"]["fr"]["fr"]["accuracy"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert found["after"]["fr"]["fr"]["change"]["value"] == -0.75
    # Paired: one item lost, one won, so the change is 0 but not certainly so.
    assert found["after"]["fr"]["es"]["change"] == {"value": 0.0, "low": -1.0, "high": 1.0}
    # Unchanged item by item has no width, whatever the accuracy.
    assert found["after"]["de"]["fr"]["change"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    # fr off: de 0, es 0, so the others' mean is 0; de off: fr 0, es -1/2 (its mean over two texts is -1/4).
    assert found["elsewhere"]["fr"]["change"]["value"] == 0.0
    assert found["elsewhere"]["de"]["change"] == {"value": -0.25, "low": -0.5, "high": 0.0}


def test_a_mask_of_one_language_and_text_has_no_elsewhere() -> None:
    assert next_line_figures({"fr": [1, 0]}, {"fr": {"fr": [0, 0]}})["elsewhere"] == {}


@pytest.mark.slow
def test_lm_evaluation_harness_runs_unchanged_under_an_intervention(
    tmp_path: Path, tokenizer: Tokenizer, mask: NeuronMask, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lm_eval", reason='the example needs: pip install "lape[lm-eval]"')
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = build("llama")
    off = Intervention(mask, off="fr")
    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2)
    pairs = [("Il était", " une fois"), ("Le chat", " boit"), ("x", " yz")]
    requests = [Instance("loglikelihood", {}, pair, place) for place, pair in enumerate(pairs)]

    def expected() -> list[float]:
        # The harness reads no document end: a prompt of its own tokens alone.
        found = []
        for context, text in pairs:
            ids = tokenizer.encode(context + text, add_special_tokens=False)
            with torch.no_grad():
                scores = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
            first = len(tokenizer.encode(context, add_special_tokens=False))
            found.append(sum(float(scores[place - 1, ids[place]]) for place in range(first, len(ids))))
        return found

    def harnessed() -> list[float]:
        return [value for value, _ in harness.loglikelihood(requests, disable_tqdm=True)]

    untouched = expected()
    assert harnessed() == pytest.approx(untouched, abs=1e-3)
    with intervene(model, off):
        switched = expected()
        assert harnessed() == pytest.approx(switched, abs=1e-3)
    assert switched != pytest.approx(untouched, abs=0.1)

    rows = [{"question": context, "choices": [text, " no"], "answer": 0} for context, text in pairs]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(
        f"task: mine\ndataset_path: json\ndataset_kwargs: {{data_files: {tmp_path / 'mine.jsonl'}}}\n"
        "test_split: train\noutput_type: multiple_choice\ndoc_to_text: '{{question}}'\n"
        "doc_to_choice: '{{choices}}'\ndoc_to_target: '{{answer}}'\nmetric_list: [{metric: acc}]\n"
    )
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    spec = importlib.util.spec_from_file_location("lm_eval_harness", EXAMPLE)
    assert spec
    assert spec.loader
    example = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "lm_eval_harness", example)
    spec.loader.exec_module(example)
    options = argparse.Namespace(tasks="mine", include=str(tmp_path), limit=None, batch_size=2)
    before, after = example.evaluate(model, tokenizer, off, options)
    assert set(before["mine"]) == set(after["mine"]) >= {"acc,none"}
