"""Every token id that a model is given is one that it has, wherever text becomes tokens."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from families import CONTEXT, EOS, VOCABULARY, build
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from lape import LapeError, generate_rows, record
from lape.evaluation.metrics.likelihood import negative_log_likelihoods
from lape.generation.passages import Passage
from lape.generation.prompts import encode
from lape.inspection.activations import activations
from lape.models.inputs import check_ids, context_length

NONE_OF_THE_MODELS = rf"'<tool>' \(id {VOCABULARY}\) is none of the model's, which has ids 0 to {VOCABULARY - 1}"


@pytest.fixture
def larger(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A tokenizer with one token more than the models have rows."""
    larger = copy.deepcopy(tokenizer)
    larger.add_tokens(["<tool>"], special_tokens=True)
    assert larger.convert_tokens_to_ids("<tool>") == VOCABULARY
    return larger


@pytest.fixture
def passes(tiny_model: PreTrainedModel) -> list[int]:
    """Rows of each pass of the decoder, the one that proves where the activations are left out."""
    seen: list[int] = []
    tiny_model.get_decoder().register_forward_pre_hook(
        lambda _decoder, _args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    return seen


@pytest.mark.parametrize(
    "read",
    [
        lambda model, tokenizer: generate_rows(model, tokenizer, ["fine", "a <tool>"]),
        lambda model, tokenizer: activations(model, tokenizer, "a <tool>", torch.tensor([0])),
    ],
    ids=["generate", "look"],
)
def test_a_token_the_model_does_not_have_is_refused_before_any_pass(
    tiny_model: PreTrainedModel, larger: PreTrainedTokenizerFast, passes: list[int], read: Callable[..., object]
) -> None:
    with pytest.raises(LapeError, match=NONE_OF_THE_MODELS):
        read(tiny_model, larger)
    assert max(passes, default=1) == 1


def test_a_recording_stops_at_a_token_the_model_does_not_have(
    tiny_model: PreTrainedModel, larger: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(LapeError, match=NONE_OF_THE_MODELS):
        record(tiny_model, larger, {"xx": ["fine " * 9, "a <tool> " * 9]}, tokens=64, block=16, progress=False)


def test_a_document_end_the_model_does_not_have_is_refused_before_any_pass(
    tiny_model: PreTrainedModel, larger: PreTrainedTokenizerFast, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lape.recording.recorder.document_end", lambda tokenizer: VOCABULARY)
    with pytest.raises(LapeError, match=NONE_OF_THE_MODELS):
        record(tiny_model, larger, {"xx": ["fine"]}, tokens=1, block=1, progress=False)
    assert max(passes, default=1) == 1


def test_scoring_refuses_a_token_the_model_does_not_have(tiny_model: PreTrainedModel, passes: list[int]) -> None:
    for row in (Passage([VOCABULARY], [2]), Passage([2], [3, VOCABULARY])):
        with pytest.raises(LapeError, match=rf"token \(id {VOCABULARY}\) is none of the model's"):
            negative_log_likelihoods(tiny_model, [Passage([2], [3]), row])
    assert passes == []


def test_padding_is_a_token_the_model_has(tiny_model: PreTrainedModel, larger: PreTrainedTokenizerFast) -> None:
    prompts = ["ab", "abcd"]
    tiny_model.generation_config.eos_token_id = list(range(0, VOCABULARY, 3))  # so that a row ends before the other
    *_, usual = generate_rows(tiny_model, larger, prompts, max_new_tokens=8)
    assert usual.new_tokens[0] != usual.new_tokens[1]
    larger.pad_token = "<tool>"
    assert encode(tiny_model, larger, prompts)["input_ids"][0, :2].tolist() == [EOS, EOS]
    *_, padded = generate_rows(tiny_model, larger, prompts, max_new_tokens=8)
    assert padded.texts == usual.texts
    larger.eos_token = "<tool>"
    assert encode(tiny_model, larger, prompts)["input_ids"][0, :2].tolist() == [0, 0]
    *_, padded = generate_rows(tiny_model, larger, prompts, max_new_tokens=8)
    assert padded.texts == usual.texts


def test_the_last_id_is_one_of_the_models(tiny_model: PreTrainedModel) -> None:
    check_ids(VOCABULARY, torch.tensor([[0, VOCABULARY - 1]]))
    check_ids(VOCABULARY, torch.tensor([], dtype=torch.long))


def test_the_context_is_that_of_the_text_model() -> None:
    assert context_length(build("gemma3", max_position_embeddings=None)) == CONTEXT  # it is in the text_config
    assert context_length(build("gpt2", max_position_embeddings=64)) == 64
    assert context_length(build("bloom", max_position_embeddings=None)) is None
