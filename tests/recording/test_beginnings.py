"""What a tokenizer puts before text is found, read before every block, and not counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import oracle
import pytest
import torch
from families import CONTEXT, DOCUMENT_END, EOS, build, byte_tokenizer
from samples import mask_of
from tokenizers import Tokenizer, models, processors
from transformers import LlamaTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from lape import CheckpointMismatch, LapeError, MaskMismatch, record
from lape.errors import LapeWarning
from lape.recording.beginnings import PROBE, beginning_of, check_beginning, prefix_of
from lape.recording.record import record_groups

BOS = EOS  # of the tokenizers here that put one before text
WITH_BOS = "<|im_end|> $A"
BLOCK, BATCH, BLOCKS = 16, 3, 8  # three passes, the last one with two blocks
SETTINGS: dict[str, Any] = {"tokens": BLOCKS * BLOCK, "block": BLOCK, "batch": BATCH, "progress": False}
CORPORA = {"xx": [f"Ceci est le texte numéro {number}. " * (1 + number % 3) for number in range(6)]}
TEMPLATES = {
    None: [],
    WITH_BOS: [BOS],
    "<|im_end|> $A <|endoftext|>": [BOS],
    "$A <|endoftext|>": [],
    "<|endoftext|> <|im_end|> $A <|im_end|>": [DOCUMENT_END, BOS],
}


@pytest.mark.parametrize(("template", "expected"), TEMPLATES.items())
def test_the_prefix_is_what_stands_before_text(template: str | None, expected: list[int]) -> None:
    tokenizer = byte_tokenizer(template)
    assert prefix_of(tokenizer) == expected
    assert beginning_of(tokenizer) == (expected or [DOCUMENT_END])


@pytest.mark.parametrize(("switched", "expected"), [(True, [1]), (False, [])])
def test_bos_can_be_switched_off(switched: bool, expected: list[int]) -> None:
    vocabulary = {token: number for number, token in enumerate(("<unk>", "<s>", "</s>", "▁", "x"))}
    tokenizer = LlamaTokenizer(vocabulary, [], add_bos_token=switched, add_eos_token=True)
    assert tokenizer("x")["input_ids"][-1] == tokenizer.eos_token_id
    assert prefix_of(tokenizer) == expected


def test_a_tokenizer_without_a_token_for_the_probe_has_no_prefix() -> None:
    core = Tokenizer(models.BPE({"<s>": 0, "</s>": 1}, []))
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core)
    assert tokenizer(PROBE)["input_ids"] == [0, 1]  # and which of them comes after text, nobody knows
    assert prefix_of(tokenizer) == []


@pytest.mark.parametrize("name", ["llama", "opt", "gpt2"])
@pytest.mark.parametrize(("template", "before"), [item for item in TEMPLATES.items() if item[1]])
def test_counts_are_those_of_the_oracle(name: str, template: str, before: list[int]) -> None:
    """Of OPT too, whose activations are those of all rows one after another."""
    model, tokenizer = build(name), byte_tokenizer(template)
    statistics = record(model, tokenizer, CORPORA, **SETTINGS)
    given = {"blocks_read": BLOCKS, "block": BLOCK, "batch": BATCH}
    oracle.assert_equal(statistics, "xx", oracle.record(model, tokenizer, CORPORA["xx"], **given, before=before))
    assert statistics.tokens == {"xx": BLOCKS * BLOCK}
    assert statistics.metadata["special_tokens"] == {"document_end": DOCUMENT_END, "bos": before}
    without = oracle.record(model, tokenizer, CORPORA["xx"], **given)
    assert statistics.active["xx"].tolist() != without.active


@pytest.mark.parametrize("name", ["llama", "opt"])
def test_groups_add_up_to_the_whole(name: str) -> None:
    model, tokenizer = build(name), byte_tokenizer(WITH_BOS)
    statistics, groups = record_groups(model, tokenizer, CORPORA, groups=4, snapshots=(), **SETTINGS)
    assert torch.equal(groups.total().active["xx"], statistics.active["xx"])
    given = {"blocks_read": 1, "block": BLOCK, "batch": 1, "before": [BOS]}
    one = record_groups(model, tokenizer, CORPORA, groups=2, snapshots=(), **{**SETTINGS, "tokens": BLOCK})[1]
    assert one.active["xx"][0].tolist() == oracle.record(model, tokenizer, CORPORA["xx"], **given).active


def test_every_row_begins_with_it_and_has_the_block_besides(tiny_model: PreTrainedModel) -> None:
    tokenizer, read = byte_tokenizer(WITH_BOS), []
    tiny_model.get_decoder().register_forward_pre_hook(
        lambda _m, _a, kwargs: read.append(kwargs["input_ids"]), with_kwargs=True
    )
    record(tiny_model, tokenizer, CORPORA, **SETTINGS)
    rows = [row for ids in read[1:] for row in ids.tolist()]  # the first pass proves the architecture
    assert rows == [[BOS, *ids] for ids in oracle.blocks(tokenizer, CORPORA["xx"], BLOCK)[:BLOCKS]]


def test_a_block_leaves_room_for_it(tiny_model: PreTrainedModel) -> None:
    corpora = {"xx": ["x" * 2 * CONTEXT]}
    with pytest.raises(LapeError, match=f"{CONTEXT} tokens, with the 1 read before it, is longer than .* {CONTEXT}"):
        record(tiny_model, byte_tokenizer(WITH_BOS), corpora, tokens=CONTEXT, block=CONTEXT, progress=False)
    for template, block in ((WITH_BOS, CONTEXT - 1), (None, CONTEXT)):
        found = record(tiny_model, byte_tokenizer(template), corpora, tokens=block, block=block, progress=False)
        assert found.tokens == {"xx": block}


def test_a_bos_the_model_does_not_have_is_refused_before_any_pass(tiny_model: PreTrainedModel) -> None:
    tokenizer = byte_tokenizer(WITH_BOS)
    tiny_model.resize_token_embeddings(1)  # the document end, 0, is left
    with pytest.raises(LapeError, match=r"The token '<\|im_end\|>' \(id 1\) is none of the model's"):
        record(tiny_model, tokenizer, CORPORA, **SETTINGS)


def test_with_and_without_do_not_mix(
    tiny_model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    adding, checkpoint = byte_tokenizer(WITH_BOS), tmp_path / "checkpoint"
    given = {**SETTINGS, "checkpoint": checkpoint, "keep_checkpoint": True}
    without = record(tiny_model, tokenizer, CORPORA, **given)
    with pytest.raises(CheckpointMismatch, match=r"special_tokens .*'bos': False.* not .*'bos': \[1\]"):
        record(tiny_model, adding, CORPORA, **given)
    checkpoint.unlink()
    both = record(tiny_model, adding, CORPORA, **given)
    assert torch.equal(record(tiny_model, adding, CORPORA, **given).sum["xx"], both.sum["xx"])  # resumed
    for one, other in ((both, without), (without, both)):
        with pytest.raises(MaskMismatch, match=r"special_tokens .* cannot be merged"):
            one.merge(other)
    assert both.merge(both).tokens == {"xx": 2 * BLOCKS * BLOCK}


SILENT: dict[str, Any] = {}  # a file from before it was said
NONE, ONE, OTHER = ({"special_tokens": {"document_end": 0, "bos": bos}} for bos in (False, [BOS], [DOCUMENT_END, BOS]))


@pytest.mark.parametrize(
    ("metadata", "template", "said"),
    [
        (SILENT, None, None),
        (NONE, None, None),
        (ONE, WITH_BOS, None),
        (SILENT, WITH_BOS, "the mask was recorded without BOS before the text, but text is read with it now"),
        (NONE, WITH_BOS, "the mask was recorded without BOS"),
        (ONE, None, "The mask was recorded with BOS before the text, but this tokenizer puts none there"),
        (OTHER, WITH_BOS, "with other tokens before the text"),
    ],
)
def test_a_mask_of_another_beginning_warns(metadata: dict[str, Any], template: str | None, said: str | None) -> None:
    mask = mask_of({"fr": [(0, 1)]}, **metadata)
    if said is None:
        check_beginning(mask.metadata, byte_tokenizer(template))  # a warning would fail the test
        return
    with pytest.warns(LapeWarning, match=said) as caught:
        check_beginning(mask.metadata, byte_tokenizer(template))
    assert len(caught) == 1
