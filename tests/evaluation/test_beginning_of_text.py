"""What a tokenizer puts before text, by everything that reads text: read once, neither counted nor scored."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families import DOCUMENT_END, EOS, bigram_model, build, byte_tokenizer, random_mask
from samples import mask_of
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import NeuronMask, load_model, record
from lape.cli import main
from lape.demo.loaded import Loaded
from lape.errors import LapeWarning
from lape.evaluation.metrics.conditions import Setting
from lape.evaluation.metrics.continuations import continuation
from lape.evaluation.metrics.harm import Item, next_line_scores
from lape.evaluation.metrics.likelihood import passages, score
from lape.evaluation.metrics.lss import lss
from lape.evaluation.metrics.parallel import Parallel
from lape.evaluation.metrics.perplexity import matrix, text_blocks
from lape.evaluation.runs.own_text import own_costs
from lape.evaluation.runs.subject import Subject
from lape.generation.prompts import encode
from lape.inspection.activations import activations
from lape.inspection.firing import firing, mask_neurons
from lape.masks.calibration import calibrate

BOS, WITH_BOS, AROUND = EOS, "<|im_end|> $A", "<|im_end|> $A <|endoftext|>"
TEXTS = {"aa": "Il était une fois une petite fille. " * 3, "bb": "Es war einmal ein alter König im Wald. " * 3}
DOCUMENTS = {code: [text] for code, text in TEXTS.items()}
BLOCK = {"tokens": 64, "block": 16}
MASK = random_mask((3, 48))
NEURONS = mask_neurons(MASK)

Reader = Callable[[PreTrainedModel, PreTrainedTokenizerFast], Any]


def numbers(of: dict[str, torch.Tensor]) -> dict[str, list[Any]]:
    return {code: values.tolist() for code, values in of.items()}


def recording(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Any:
    found = record(model, tokenizer, DOCUMENTS, **BLOCK, batch=2, progress=False)
    return found.tokens, numbers(found.active), numbers(found.sum)


def calibration(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Any:
    mask = mask_of({code: [(0, 1), (2, 3)] for code in TEXTS}, shape=MASK.shape)
    with warnings.catch_warnings(action="ignore", category=LapeWarning):
        return numbers(calibrate(mask, model, tokenizer, DOCUMENTS, **BLOCK, progress=False)[0].means)


def likelihoods(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Any:
    return score(model, tokenizer, text_blocks(tokenizer, DOCUMENTS, **BLOCK)["aa"])


def perplexity(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Any:
    return matrix(model, tokenizer, text_blocks(tokenizer, DOCUMENTS, **BLOCK), {}).values()["texts"]


def own_text(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Any:
    with warnings.catch_warnings(action="ignore", category=LapeWarning):
        *_, last = own_costs(model, tokenizer, MASK, TEXTS)
    return last.results["masks"]


def harm(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Any:
    return next_line_scores(model, tokenizer, [Item("Il était\n", ("une fois", "é", "a longer line", "☃ ☃"))], None)


def shift(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Any:
    items = [Parallel("One day", "It ran away", "Il a fui loin"), Parallel("It rained", "We stayed", "Nous restons")]
    pair = "aa", "bb"
    return lss(model, tokenizer, {None: MASK}, {pair: items}, {pair: Setting("replace", 3.0)}, seeds=())


def looked_at(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Any:
    return activations(model, tokenizer, TEXTS["aa"], NEURONS).values.tolist()


def fired(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Any:
    return [dict(piece.shares) for piece in firing(activations(model, tokenizer, TEXTS["aa"], NEURONS), MASK)]


def near(found: Any, expected: Any) -> bool:
    """Equal up to the order in which numbers are added."""
    if isinstance(found, dict):
        return found.keys() == expected.keys() and all(near(found[key], expected[key]) for key in found)
    if isinstance(found, list | tuple):
        return len(found) == len(expected) and all(map(near, found, expected))
    return bool(found == expected or found == pytest.approx(expected, rel=1e-4, abs=1e-4))


@pytest.mark.parametrize(
    "read", [recording, calibration, likelihoods, perplexity, own_text, harm, shift, looked_at, fired]
)
@pytest.mark.parametrize(
    ("template", "before"),
    [(WITH_BOS, [BOS]), (AROUND, [BOS]), ("<|endoftext|> <|im_end|> $A", [DOCUMENT_END, BOS])],
)
def test_where_tokens_do_not_see_each_other_it_changes_nothing(template: str, before: list[int], read: Reader) -> None:
    """In this model a token's activations and the next token's chances follow from it alone, and BOS is to it what a
    document end is. So figures are equal exactly where BOS is not counted, and nothing but the first token is scored
    after it."""
    model, rows = build("llama"), []
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
    model.model.embed_tokens.weight[BOS] = model.model.embed_tokens.weight[DOCUMENT_END]
    expected = read(model, byte_tokenizer())
    model.model.register_forward_pre_hook(
        lambda _module, _inputs, given: rows.extend(given["input_ids"].tolist()), with_kwargs=True
    )
    found = read(model, byte_tokenizer(template))
    rows = [row for row in rows if any(row)]  # those of zeros stand for nothing that is read
    assert near(found, expected)
    assert rows
    assert all((row[: len(before)], row.count(BOS)) == (before, 1) for row in rows)


def test_the_first_token_is_scored_after_bos() -> None:
    """By hand: after BOS a has the probability 1/4; after a document end it would have 3/4; b after a has 1/2."""
    a, b = byte_tokenizer().convert_tokens_to_ids(["a", "b"])
    model = bigram_model(
        {token: {a: chance, b: 1 - chance} for token, chance in {BOS: 0.25, DOCUMENT_END: 0.75, a: 0.5}.items()}
    )
    block = [torch.tensor([a, b])]
    for template, first in ((WITH_BOS, 0.25), (AROUND, 0.25), (None, 0.75)):
        scores = score(model, byte_tokenizer(template), block)
        assert scores.nll_nats == pytest.approx([-math.log(first * 0.5)], abs=1e-5)
        assert (scores.tokens, scores.bytes) == ((2,), (2,))


def test_bos_will_do_where_there_is_no_document_end() -> None:
    bare = byte_tokenizer(WITH_BOS)
    bare.eos_token = None
    (row,) = passages(bare, [[5, 6]])
    assert (list(row.context), list(row.scored)) == ([BOS], [5, 6])


def test_a_prompt_has_what_stands_before_and_not_what_stands_after(tiny_model: PreTrainedModel) -> None:
    plain = byte_tokenizer()("été")["input_ids"]
    for template, before in ((None, []), (WITH_BOS, [BOS]), (AROUND, [BOS]), ("$A <|endoftext|>", [])):
        tokenizer = byte_tokenizer(template)
        assert encode(tiny_model, tokenizer, ["été"])["input_ids"].tolist() == [before + plain]
        passage = continuation(tokenizer, "été", "!")
        assert (list(passage.context), len(passage.scored)) == (before + plain, 1)


@pytest.fixture
def with_bos(tmp_path: Path) -> str:
    """A tiny model on disk whose tokenizer puts BOS before text."""
    build("llama").save_pretrained(tmp_path / "model")
    byte_tokenizer(WITH_BOS).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


def without_bos(model: str) -> NeuronMask:
    """A mask for it that was recorded without."""
    return NeuronMask(MASK.neurons, {}, MASK.shape, {"model": model, "special_tokens": {"bos": False}})


WARNED = "the mask was recorded without BOS before the text, but text is read with it now"
USES: dict[str, Callable[[NeuronMask, PreTrainedModel, PreTrainedTokenizerFast, Path], object]] = {
    "calibrate": lambda mask, model, tokenizer, _: calibrate(
        mask.only(["aa", "bb"]), model, tokenizer, DOCUMENTS, **BLOCK, progress=False
    ),
    "evaluate": lambda _mask, model, tokenizer, folder: Subject(folder, lambda: (model, tokenizer)).loaded,
    "own text": lambda mask, model, tokenizer, _: list(own_costs(model, tokenizer, mask, TEXTS)),
}


@pytest.mark.parametrize("use", USES)
def test_a_mask_recorded_otherwise_warns_once(use: str, with_bos: str, tmp_path: Path) -> None:
    model, tokenizer = load_model(with_bos)
    mask = without_bos(with_bos)
    mask.save(tmp_path / "mask")
    with pytest.warns(LapeWarning, match=WARNED) as caught:
        USES[use](mask, model, tokenizer, tmp_path / "mask")
    assert len(caught) == 1


def test_look_says_it(with_bos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without_bos(with_bos).save(tmp_path / "mask")
    with warnings.catch_warnings(action="default"):
        assert main(["look", "Bonjour", "--mask", str(tmp_path / "mask"), "--model", with_bos]) == 0
    assert capsys.readouterr().err.count(WARNED) == 1


def test_the_page_notes_it(with_bos: str, tmp_path: Path) -> None:
    without_bos(with_bos).save(tmp_path / "mask")
    notes = Loaded.load(with_bos, mask=tmp_path / "mask").notes
    assert [WARNED in note for note in notes].count(True) == 1


def test_cells_of_the_other_way_are_not_mixed(tiny_model: PreTrainedModel, tmp_path: Path) -> None:
    mask_of({"fr": [(0, 1)]}, shape=MASK.shape, special_tokens={"bos": [BOS]}).save(tmp_path / "with")
    mask_of({"fr": [(0, 1)]}, shape=MASK.shape).save(tmp_path / "without")
    adding = Subject(tmp_path / "with", lambda: (tiny_model, byte_tokenizer(WITH_BOS))).model_settings()
    plain = Subject(tmp_path / "without", lambda: (tiny_model, byte_tokenizer())).model_settings()
    assert adding == {**plain, "bos": [BOS]}
    assert "bos" not in plain
