"""Activations of chosen neurons over a text: against the first matrix's outputs, and the text in pieces."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import torch
from compiling import WAYS
from families import CONTEXT, DOCUMENT_END, FAMILIES, build, layers_of
from mixtures import MIXTURES, build_mixture
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from lape import LapeError
from lape.inspection.activations import Activations, activations, active_neurons, pieces_of
from lape.models.architectures import activation_sites

TEXT = "Bon été 그리고"  # each byte is a token of the tests' tokenizer
PIECES = ("B", "o", "n", " ", "é", "t", "é", " ", "그", "리", "고")
TOKENS = (1, 1, 1, 1, 2, 1, 2, 1, 3, 3, 3)


def by_hand(model: PreTrainedModel, ids: list[int]) -> list[list[list[float]]]:
    """`[layer][token][neuron]`: the activation function applied to the first matrix's output, in a pass of the whole
    model."""
    table, outputs = FAMILIES[model.config.model_type], []
    with ExitStack() as stack:
        for layer in layers_of(model):
            matrix = layer.get_submodule(table.first)
            stack.callback(matrix.register_forward_hook(lambda _m, _i, out: outputs.append(out)).remove)
        model(torch.tensor([ids]))
    return [table.activation(output).flatten(0, -2).tolist() for output in outputs]


@pytest.mark.parametrize("family", ["llama", "gemma2", "phi3", "opt", "gpt2"])
def test_the_values_are_those_of_a_plain_pass(family: str, tokenizer: Tokenizer) -> None:
    model = build(family)
    width = activation_sites(model).neurons
    neurons = [2 * width + 3, 5, width - 1, 2 * width]  # in no order, none of the middle layer
    seen = activations(model, tokenizer, TEXT, torch.tensor(neurons))
    expected = by_hand(model, [DOCUMENT_END, *tokenizer(TEXT, add_special_tokens=False)["input_ids"]])
    assert seen.neurons.tolist() == neurons
    assert seen.values.shape == (len(TEXT.encode()), 4)
    for token, row in enumerate(seen.values.tolist()):
        for column, flat in enumerate(neurons):
            assert row[column] == pytest.approx(expected[flat // width][token + 1][flat % width], abs=1e-5)


def test_no_hook_stays(tiny_model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    activations(tiny_model, tokenizer, TEXT, torch.tensor([0, 50, 100]))
    assert not any(module._forward_hooks for module in activation_sites(tiny_model).modules)


@pytest.mark.parametrize("way", ["its decoder's forward", "its mlps"])
def test_a_compiled_model_shows_the_same(tiny_model: PreTrainedModel, tokenizer: Tokenizer, way: str) -> None:
    """Compiled code skips hooks that came after it."""
    neurons = torch.tensor([0, 50, 100])
    expected = activations(tiny_model, tokenizer, TEXT, neurons).values
    with torch.no_grad():
        WAYS[way](tiny_model)
        tiny_model.model(input_ids=torch.full((1, len(TEXT.encode()) + 1), 5), use_cache=False)
    assert torch.equal(activations(tiny_model, tokenizer, TEXT, neurons).values, expected)
    torch._dynamo.reset()


def test_the_pieces_are_whole_characters_and_together_the_text(tokenizer: Tokenizer) -> None:
    ids, pieces, tokens = pieces_of(tokenizer, TEXT)
    assert (pieces, tokens) == (PIECES, TOKENS)
    assert len(ids) == sum(tokens)


@pytest.mark.parametrize("text", ["  a  b\n\nc ", "👩‍👩‍👧 é ا ب", "<|endoftext|>x", "\x00\ufffd", "a" * 60])
def test_odd_texts_come_back_as_they_are(text: str, tokenizer: Tokenizer) -> None:
    ids, pieces, tokens = pieces_of(tokenizer, text)
    assert "".join(pieces) == text
    assert sum(tokens) == len(ids)
    assert min(tokens) >= 1
    assert all(pieces)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("नमस्ते", ("न", "म", "स्ते")),  # a conjunct with its vowel sign
        ("กำบ", ("กำ", "บ")),  # Thai: a vowel that follows
        ("a👍🏽🇫🇷👩‍👧b", ("a", "👍🏽", "🇫🇷", "👩‍👧", "b")),
        ("e\u0301t", ("e\u0301", "t")),
    ],
)
def test_what_readers_see_as_one_character_is_one_piece(
    text: str, pieces: tuple[str, ...], tokenizer: Tokenizer
) -> None:
    _, found, tokens = pieces_of(tokenizer, text)
    assert found == pieces
    assert tokens == tuple(len(piece.encode()) for piece in pieces)


@pytest.mark.parametrize("name", ["llama", "mixtral"])
def test_which_neurons_are_active_is_kept_of_all(name: str, tokenizer: Tokenizer) -> None:
    model = build_mixture(name) if name in MIXTURES else build(name)
    sites = activation_sites(model)
    every = torch.arange(sites.shape[0] * sites.neurons)
    seen = activations(model, tokenizer, TEXT, every)
    active = active_neurons(model, tokenizer, TEXT)
    assert (active.pieces, active.tokens) == (seen.pieces, seen.tokens)
    assert torch.equal(active.of(every).values, (seen.values > 0).float())
    some = torch.tensor([7, 0, 100])
    assert torch.equal(active.of(some).values, (seen.values[:, some] > 0).float())
    assert torch.equal(active.of(some).neurons, some)


class Spaced:
    """A tokenizer that leaves spaces out, puts a token without text first, and lets two tokens overlap."""

    is_fast = True

    def __call__(self, text: str, **_: bool) -> dict[str, list]:
        assert text == " ab  cd!"
        offsets = [(0, 0), (1, 2), (2, 3), (5, 6), (5, 7), (7, 7)]
        return {"input_ids": list(range(6)), "offset_mapping": offsets}


def test_text_without_a_token_goes_to_the_next_piece() -> None:
    _, pieces, tokens = pieces_of(Spaced(), " ab  cd!")
    assert pieces == (" a", "b", "  cd!")
    assert tokens == (2, 1, 3)


def test_the_mean_of_a_piece_is_over_its_tokens() -> None:
    values = torch.tensor([[1.0], [2.0], [4.0], [6.0]])
    seen = Activations(("a", "é", "b"), (1, 2, 1), torch.tensor([7]), values)
    assert seen.by_piece(values).tolist() == [[1.0], [3.0], [6.0]]


@pytest.mark.parametrize(
    ("text", "neurons", "longest", "expected"),
    [
        ("", [0], None, "The text is empty"),
        (" \n", [0], None, "The text is empty"),
        ("a\ud800b", [0], None, "half a character"),
        ("abcdef", [0], 5, "The text has 6 tokens and at most 5 are read"),
        ("a" * 256, [0], None, "The text has 256 tokens and at most 255 are read"),
        ("a", [], None, "at least one neuron"),
        ("a", [-1], None, "inside the model's 3 layers x 48 neurons"),
        ("a", [3 * 48], None, "inside the model's 3 layers x 48 neurons"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_before_the_model_runs(
    text: str,
    neurons: list[int],
    longest: int | None,
    expected: str,
    tiny_model: PreTrainedModel,
    tokenizer: Tokenizer,
) -> None:
    chosen = torch.tensor(neurons, dtype=torch.long)
    activation_sites(tiny_model)
    tiny_model.get_decoder().register_forward_pre_hook(lambda *_: pytest.fail("the model ran"))
    with pytest.raises(LapeError, match=expected):
        activations(tiny_model, tokenizer, text, chosen, longest_tokens=longest)


def test_a_text_of_megabytes_is_refused_before_it_is_tokenised(
    tiny_model: PreTrainedModel, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tokens took 200 bytes a character, before they were found to be too many."""
    monkeypatch.setattr("lape.inspection.activations.pieces_of", lambda *_: pytest.fail("all of it was tokenised"))
    for longest, most in ((None, CONTEXT), (5, 5)):
        with pytest.raises(LapeError, match=rf"more than {most} tokens, and no more are read; shorten it"):
            activations(tiny_model, tokenizer, "a " * 2_000_000, torch.tensor([0]), longest_tokens=longest)


def test_a_long_text_that_fits_is_read(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("llama", max_position_embeddings=64)
    monkeypatch.setattr("lape.inspection.activations.LONGEST_PIECE", 9)
    assert activations(model, tokenizer, "a" * 63, torch.tensor([0])).tokens == (1,) * 63
    with pytest.raises(LapeError, match="has 64 tokens and at most 63 are read"):
        activations(model, tokenizer, "a" * 64, torch.tensor([0]))


def test_a_slow_tokenizer_is_refused(tiny_model: PreTrainedModel, tokenizer: Tokenizer) -> None:
    class Slow:
        is_fast = False

    with pytest.raises(LapeError, match="cannot say where in the text"):
        activations(tiny_model, Slow(), "a", torch.tensor([0]))
