"""Scores against values worked out by hand and against the plain model, of every family, quantised and spread."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from families import COMMON, CONTEXT, DOCUMENT_END, EOS, VOCABULARY, bigram_model, build, random_mask, token_ids
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import lape
from lape import Intervention, LapeError, activation_sites, intervene
from lape.evaluation.metrics import likelihood
from lape.evaluation.metrics.likelihood import byte_counts, negative_log_likelihoods, score
from lape.generation.passages import Passage
from lape.models import head
from lape.recording.blocks import token_blocks

A, B = 10, 11
CHANCES = {DOCUMENT_END: {A: 0.5, B: 0.5}, A: {A: 0.75, B: 0.25}, B: {A: 0.125, B: 0.875}}


@pytest.fixture
def two_tokens() -> PreTrainedModel:
    return bigram_model(CHANCES)


def by_hand(model: PreTrainedModel, row: Passage, intervention: Intervention | None = None) -> float:
    """The plain model, one row alone, one token at a time."""
    ids = [*row.context, *row.scored]
    with intervene(model, intervention or [None]):
        logits = model(torch.tensor([ids])).logits[0].double()
    nats = 0.0
    for place in range(len(row.context), len(ids)):
        nats -= float(logits[place - 1, ids[place]] - logits[place - 1].logsumexp(0))
    return nats


def rows_of_three_lengths() -> list[Passage]:
    ids = token_ids(3, 12).tolist()
    return [Passage(ids[0][:1], ids[0][1:]), Passage(ids[1][:5], ids[1][5:8]), Passage(ids[2][:2], ids[2][2:3])]


def test_two_tokens_of_known_probability(two_tokens: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    blocks = [torch.tensor([A, A, B]), torch.tensor([B, A, A])]
    scores = score(two_tokens, tokenizer, blocks)
    assert scores.nll_nats == pytest.approx(
        [-math.log(0.5 * 0.75 * 0.25), -math.log(0.5 * 0.125 * 0.75)], abs=1e-5
    )  # 0.5: the first token of each block follows a document end
    assert scores.tokens == (3, 3)
    assert scores.bytes == (3, 3)


def test_the_context_is_read_and_not_scored(two_tokens: PreTrainedModel) -> None:
    found = negative_log_likelihoods(two_tokens, [Passage([A], [B]), Passage([DOCUMENT_END, A, B], [B])])
    assert found == pytest.approx([-math.log(0.25), -math.log(0.875)], abs=1e-5)


def test_equal_logits_cost_the_logarithm_of_the_vocabulary(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    tiny_model.lm_head.weight.zero_()
    scores = score(tiny_model, tokenizer, list(token_ids(2, 10)))
    assert scores.nll_nats == pytest.approx([10 * math.log(VOCABULARY)] * 2, rel=1e-6)


@pytest.mark.parametrize("logits", [2**24, 3 * VOCABULARY], ids=["one slice", "slices of 3"])
def test_every_family_scores_as_the_plain_model(family: str, logits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "SLICE_LOGITS", logits)
    model = build(family)
    off = Intervention(random_mask(activation_sites(model).shape), off="aa")
    rows, plan = rows_of_three_lengths(), [None, off, None]
    expected = [by_hand(model, row, entry) for row, entry in zip(rows, plan, strict=True)]
    assert negative_log_likelihoods(model, rows, plan) == pytest.approx(expected, abs=2e-5)
    assert expected[1] != pytest.approx(by_hand(model, rows[1]), abs=1e-3)
    assert [by_hand(model, row, entry) for row, entry in zip(rows, plan, strict=True)] == expected  # left as it was


@pytest.mark.parametrize("batch", [None, 1, 2])
def test_rows_come_back_in_order_with_their_own_intervention(tiny_model: PreTrainedModel, batch: int | None) -> None:
    off = Intervention(random_mask(activation_sites(tiny_model).shape), off="aa")
    rows, plan = rows_of_three_lengths(), [None, off, off]
    expected = [by_hand(tiny_model, row, entry) for row, entry in zip(rows, plan, strict=True)]
    assert negative_log_likelihoods(tiny_model, rows, plan, batch=batch) == pytest.approx(expected, abs=2e-5)
    expected = [by_hand(tiny_model, row, off) for row in rows]
    assert negative_log_likelihoods(tiny_model, rows, off, batch=batch) == pytest.approx(expected, abs=2e-5)


def test_the_head_never_sees_more_than_a_slice(tiny_model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "SLICE_LOGITS", 5 * VOCABULARY + 1)
    seen = []
    with tiny_model.lm_head.register_forward_hook(lambda _module, _inputs, logits: seen.append(logits.shape)):
        negative_log_likelihoods(tiny_model, [Passage([2], [3] * 6), Passage([2, 4, 5], [3] * 7)])
    assert seen == [(1, 5, VOCABULARY), (1, 5, VOCABULARY), (1, 3, VOCABULARY)]  # 13 scored positions, no context


def test_a_pass_reads_as_many_rows_as_fill_the_device(
    tiny_model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "PASS_TOKENS_CPU", 25)
    activation_sites(tiny_model)
    shapes = []
    hook = tiny_model.model.embed_tokens.register_forward_pre_hook(lambda _m, inputs: shapes.append(inputs[0].shape))
    with hook:
        negative_log_likelihoods(tiny_model, [Passage([2], [3] * 10)] * 5)
    assert [tuple(shape) for shape in shapes if shape[0] > 1] == [(2, 10), (2, 10)]  # the last row is alone


LAYERS_ON_DISK = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk"}
LAYERS_ON_DISK |= {"model.layers.2": "disk", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "disk"}


@pytest.mark.parametrize("placed", [LAYERS_ON_DISK, {"model": "disk", "lm_head": "cpu"}], ids=["layers", "decoder"])
def test_models_spread_to_disk_score_as_whole_ones(tiny_folder: Path, placed: dict[str, str]) -> None:
    whole = lape.load_model(tiny_folder, device="cpu")[0]
    spread = lape.load_model(tiny_folder, device_map=placed)[0]
    before = dict(vars(spread.model))
    assert ("forward" in before) == ("model" in placed)  # where accelerate has put one of its own
    rows, off = rows_of_three_lengths(), Intervention(random_mask(activation_sites(whole).shape), off="aa")
    for plan in (None, off, [None, off, None]):
        assert negative_log_likelihoods(spread, rows, plan) == negative_log_likelihoods(whole, rows, plan)
        assert vars(spread.model) == before


def test_4bit_models_score_as_they_answer(tiny_folder: Path) -> None:
    model = lape.load_model(tiny_folder, quantization="4bit", device="cpu")[0]
    off = Intervention(random_mask(activation_sites(model).shape), off="aa")
    rows = rows_of_three_lengths()
    for plan in (None, off):
        expected = [by_hand(model, row, plan) for row in rows]
        # Its kernel rounds to bfloat16, otherwise for another number of rows.
        assert negative_log_likelihoods(model, rows, plan, batch=1) == pytest.approx(expected, rel=2e-3)


def test_sums_are_double(tiny_model: PreTrainedModel) -> None:
    """Many times the same float32 number: a sum in float32 would round."""
    tiny_model.lm_head.weight.zero_()
    one, many = negative_log_likelihoods(tiny_model, [Passage([2], [3]), Passage([2], [3] * 201)])
    assert many == 201 * one
    assert many != float(torch.tensor(many))


def test_logits_of_half_precision_are_normalised_in_single(tiny_model: PreTrainedModel) -> None:
    """bfloat16 has 3 digits: losses in it would be off by whole nats over 200 tokens."""
    model = tiny_model.to(torch.bfloat16)
    ids = token_ids(1, 201)[0].tolist()
    row = Passage(ids[:1], ids[1:])
    assert negative_log_likelihoods(model, [row]) == pytest.approx([by_hand(model, row)], rel=1e-5)


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([], {}, "nothing to score"),
        ([Passage([], [1])], {}, "no token to read"),
        ([Passage([1], [])], {}, "none to score"),
        ([Passage([1], [2] * (CONTEXT + 1))], {}, f"{CONTEXT + 1} tokens is longer than the model's context"),
        ([Passage([1], [2])], {"batch": 0}, "batch must be at least 1, not 0"),
        ([Passage([1], [2])], {"plan": [None, None]}, "2 rows but there are 1"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    tiny_model: PreTrainedModel, rows: list[Passage], settings: dict, message: str
) -> None:
    activation_sites(tiny_model)
    tiny_model.model.embed_tokens.register_forward_pre_hook(lambda _m, _i: pytest.fail("the model ran"))
    with pytest.raises(LapeError, match=message):
        negative_log_likelihoods(tiny_model, rows, **settings)


def test_a_row_as_long_as_the_context_is_scored(tiny_model: PreTrainedModel) -> None:
    row = Passage([2], [3] * CONTEXT)  # the last token is predicted, not read
    assert negative_log_likelihoods(tiny_model, [row])[0] > 0


def test_logits_that_are_not_finite_are_refused_and_the_model_is_left_whole(tiny_model: PreTrainedModel) -> None:
    tiny_model.lm_head.weight[5] = torch.inf
    with pytest.raises(LapeError, match="not finite"):
        negative_log_likelihoods(tiny_model, [Passage([2], [3])])
    assert "forward" not in vars(tiny_model.model)


def test_a_failing_head_leaves_the_model_whole(tiny_model: PreTrainedModel) -> None:
    def fail(*_arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with (
        tiny_model.lm_head.register_forward_pre_hook(fail),
        pytest.raises(LapeError, match="Out of memory with 1 rows of up to 1 tokens"),
    ):
        negative_log_likelihoods(tiny_model, [Passage([2], [3])])
    assert "forward" not in vars(tiny_model.model)


def test_a_tokenizer_without_a_document_end_is_refused(tiny_model: PreTrainedModel) -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0}, [])))
    with pytest.raises(LapeError, match="no token that ends a document"):
        score(tiny_model, bare, [torch.tensor([0])])


# Bytes


def test_bytes_of_characters_cut_in_two(tokenizer: PreTrainedTokenizerFast) -> None:
    e, face = tokenizer.encode("é"), tokenizer.encode("🙂")
    assert (len(e), len(face)) == (2, 4)
    assert byte_counts(tokenizer, [e, face]) == [2, 4]
    assert byte_counts(tokenizer, [e[:1], e[1:] + face[:1], face[1:]]) == [1, 2, 3]


def test_special_tokens_have_no_bytes(tokenizer: PreTrainedTokenizerFast) -> None:
    assert byte_counts(tokenizer, [[DOCUMENT_END, EOS], [DOCUMENT_END, *tokenizer.encode("a"), EOS]]) == [0, 1]


TEXTS = ["Déjà vu, 日本語 🙂🇫🇷.\n\n  Zwei  Leerzeichen\t", "한국어 и русский", "½ ≠ \u00a0\ufffd", "a"]


def sentencepiece_like(prefix: bool) -> PreTrainedTokenizerFast:
    """Spaces as marks, unknown characters as bytes, like the tokenizers of Gemma, and with a prefix of Llama 2."""
    words = ["<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += [*sorted({*"abcdefghijklmnopqrstuvwxyzDZé日и,.\u2581"}), "\u2581\u2581"]
    backend = Tokenizer(
        models.BPE({word: place for place, word in enumerate(words)}, [("\u2581", "\u2581")], byte_fallback=True)
    )
    replaced = [normalizers.Prepend("\u2581")] if prefix else []
    backend.normalizer = normalizers.Sequence([*replaced, normalizers.Replace(" ", "\u2581")])
    stripped = [decoders.Strip(" ", 1, 0)] if prefix else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), *stripped]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    tokenizer.add_tokens(["<tool>", "\n\n"])
    return tokenizer


def bytes_with_added_tokens() -> PreTrainedTokenizerFast:
    """Bytes, merged in part, and tokens that stand for themselves."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ã", "©"), ("Ġ", "v"), ("ð", "Ł")]
    words = {word: place for place, word in enumerate(["</s>", *alphabet, *map("".join, merges)])}
    backend = Tokenizer(models.BPE(words, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    tokenizer.add_tokens(["<tool>", AddedToken("  ", normalized=False), "한국"])
    return tokenizer


@pytest.mark.parametrize("block", [1, 2, 3, 7])
@pytest.mark.parametrize(
    "made", [lambda: sentencepiece_like(False), bytes_with_added_tokens], ids=["spaces marked", "bytes"]
)
def test_bytes_of_blocks_add_up_to_the_text(made, block: int) -> None:
    tokenizer = made()
    texts = [*TEXTS, "<tool> x  y"]
    text = "".join(texts)
    ids = [tokenizer(each, add_special_tokens=False)["input_ids"] for each in texts]
    assert byte_counts(tokenizer, ids) == [len(each.encode()) for each in texts]
    stream = [token for each in ids for token in (*each, tokenizer.eos_token_id)]
    assert tokenizer.decode(stream, skip_special_tokens=True) == text
    cut = [stream[start : start + block] for start in range(0, len(stream), block)]
    assert sum(byte_counts(tokenizer, cut)) == len(text.encode())


def test_a_space_put_before_a_document_is_a_byte_of_what_it_decodes_to() -> None:
    tokenizer = sentencepiece_like(True)
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("déjà", "vu")]
    assert tokenizer.decode([*ids[0], *ids[1]]) == "déjà vu"  # and the first space is stripped
    assert byte_counts(tokenizer, ids) == [len(" déjà".encode()), len(" vu")]


@pytest.mark.slow
def test_bytes_of_the_embedded_models_blocks_add_up(embedded: tuple) -> None:
    _, tokenizer = embedded
    ids = torch.cat(list(token_blocks(tokenizer, TEXTS, 1)))
    for block in (1, 3):
        assert sum(byte_counts(tokenizer, [part.tolist() for part in ids.split(block)])) == len("".join(TEXTS).encode())


GEMMA4 = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": VOCABULARY, "num_kv_shared_layers": 0}


@pytest.mark.parametrize(
    ("name", "settings"),
    [("doge", {}), ("gemma4_text", GEMMA4), ("gemma4", {"text_config": {**COMMON, **GEMMA4}})],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_heads_that_read_more_of_the_decoders_output(name: str, settings: dict[str, Any]) -> None:
    model = build(name, **settings)
    rows = rows_of_three_lengths()
    expected = [by_hand(model, row) for row in rows]
    assert negative_log_likelihoods(model, rows) == pytest.approx(expected, abs=1e-4)
